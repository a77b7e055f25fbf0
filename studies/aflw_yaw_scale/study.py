"""AFLW's yaw beside that of a head fitted to the same face's 68 points: ``python -m studies.aflw_yaw_scale.study``.

AFLW's yaw comes from a mean head fitted to up to 21 marked points, so it is a convention of its own. The
line of least squares over the training faces shows by how much a fitted head's yaw must be stretched to teach it
(`SourceConfig.yaw_scale`). How far the labels lie from that line, on training and on test faces, is how far two
measures of one face are apart when both know its marked points, which a network does not.

Writes yaw_scale.json beside this file. Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from convert.release.command import run
from convert.release.record import record

HERE = Path(__file__).parent
OUT = HERE / "yaw_scale.json"
SET, SPLITS = "aflw", ("train", "test")
"""The first split gives the line."""
EDGES_DEG = (0, 15, 30, 45, 180)


def distances(fitted_deg: np.ndarray, labelled_deg: np.ndarray, line: tuple[float, float]) -> dict[str, Any]:
    """Mean and median distance of the labels from slope and offset of a line, and the mean by |fitted yaw|.

    fitted_deg, labelled_deg: (N,), finite.
    """
    away = np.abs(labelled_deg - line[0] * fitted_deg - line[1])
    bins = []
    for low, high in zip(EDGES_DEG, EDGES_DEG[1:], strict=False):
        inside = (np.abs(fitted_deg) >= low) & (np.abs(fitted_deg) < high)
        mean = float(away[inside].mean()) if inside.any() else None
        bins.append({"low_deg": low, "high_deg": high, "n": int(inside.sum()), "mae_deg": mean})
    return {"n": len(away), "mae_deg": float(away.mean()), "median_deg": float(np.median(away)), "by_yaw": bins}


def yaws(split: str) -> tuple[int, np.ndarray, np.ndarray]:
    """(faces of the split, fitted (N,), labelled (N,)) in degrees, of those that have both."""
    from edgeface.datasets.profile_views.views import fitted_heads
    from edgeface.training.config import SourceConfig, TrainConfig
    from edgeface.training.source_faces import faces_of_source

    source = SourceConfig(SET, split=split)
    usual = TrainConfig("ccr_s", (source,))
    faces = faces_of_source(source, usual.cut_size, usual.cut_scale, Path("runs/cache"))
    heads, labelled = fitted_heads(faces), faces.pose_deg[:, 0]
    both = np.isfinite(labelled) & heads.fitted
    return len(faces), heads.pose_deg[both, 0], labelled[both]


def main(args: list[str] | None = None) -> int:
    from edgeface.files import write_json
    from studies.rows import plain

    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(args)
    found = {split: yaws(split) for split in SPLITS}
    _, fitted, labelled = found[SPLITS[0]]
    slope, offset = (float(v) for v in np.polyfit(fitted, labelled, 1))
    rows = [{"split": s, "faces": n, **distances(f, y, (slope, offset))} for s, (n, f, y) in found.items()]
    about = {**record("python -m studies.aflw_yaw_scale.study", "keras", "numpy", "scipy"), "set": SET}
    write_json(OUT, about | plain({"slope": slope, "offset_deg": offset, "rows": rows}))
    print(f"AFLW's yaw = {slope:.3f} x a fitted head's {offset:+.2f}")
    for row in rows:
        print(f"{row['split']}: {row['n']} of {row['faces']} faces, mean distance {row['mae_deg']:.2f} degrees")
    return 0


if __name__ == "__main__":
    run(main)

"""AFLW's yaw beside that of a head laid over the same face's 68 points: ``python -m results.yaw_scale``.

AFLW's yaw comes from a mean head that was laid over up to 21 marked points, so it is a convention of its own. The
line of least squares tells by how much a fitted head's yaw must be stretched to teach it (`SourceConfig.yaw_scale`),
and what is left how far two measurements of one face lie apart, whatever a network does. Training faces alone.

Writes yaw_scale.json beside this file. Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from results.command import run

HERE = Path(__file__).parent
OUT = HERE / "yaw_scale.json"
SET, SPLIT = "aflw", "train"
EDGES_DEG = (0, 15, 30, 45, 60, 180)


def compared(fitted_deg: np.ndarray, labelled_deg: np.ndarray) -> dict[str, Any]:
    """The line ``labelled = slope * fitted + offset`` by least squares, and errors around it, by |fitted yaw|.

    fitted_deg, labelled_deg: (N,), finite.
    """
    slope, offset = np.polyfit(fitted_deg, labelled_deg, 1)
    away = np.abs(labelled_deg - slope * fitted_deg - offset)
    bins = []
    for low, high in zip(EDGES_DEG, EDGES_DEG[1:], strict=False):
        inside = (np.abs(fitted_deg) >= low) & (np.abs(fitted_deg) < high)
        mean = float(away[inside].mean()) if inside.any() else None
        bins.append({"low_deg": low, "high_deg": high, "n": int(inside.sum()), "mae_deg": mean})
    before = float(np.abs(labelled_deg - fitted_deg).mean())
    return {
        "n": len(away),
        "slope": float(slope),
        "offset_deg": float(offset),
        "mae_before_deg": before,
        "mae_deg": float(away.mean()),
        "by_yaw": bins,
    }


def main(args: list[str] | None = None) -> int:
    from convert.latency import machine
    from convert.metadata import commit
    from edgeface.datasets.turned import with_3d_labels
    from edgeface.files import write_json
    from edgeface.training.config import SourceConfig, TrainConfig
    from edgeface.training.sources import packed_source
    from results.rows import plain

    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(args)
    source = SourceConfig(SET, split=SPLIT)
    usual = TrainConfig("ccr_s", (source,))
    faces = packed_source(source, usual.pack_size, usual.pack_scale, Path("runs/cache"))
    blank = replace(faces, pose_deg=np.full_like(faces.pose_deg, np.nan))
    labelled, fitted = faces.pose_deg[:, 0], with_3d_labels(blank).pose_deg[:, 0]
    both = np.isfinite(labelled) & np.isfinite(fitted)
    row = {"set": SET, "split": SPLIT, "faces": len(faces), **compared(fitted[both], labelled[both])}
    about = {"command": "python -m results.yaw_scale", "commit": commit(), "machine": machine()}
    write_json(OUT, about | plain(row))
    line = f"AFLW's yaw = {row['slope']:.3f} x a fitted head's {row['offset_deg']:+.2f}"
    print(f"{row['n']} of {row['faces']} faces: {line}")
    print(f"mean distance {row['mae_deg']:.2f} degrees, {row['mae_before_deg']:.2f} as they are")
    return 0


if __name__ == "__main__":
    run(main)

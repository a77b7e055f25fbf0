"""What the head fitted to 2D points says of known poses: ``python -m studies.head_fit.study MODEL.keras``.

Photographs get their 3D points and poses from a head fitted to their 68 annotated 2D points
(`edgeface.datasets.profile_views.fit`). No face at hand has both such points and a measured pose. What comes near: the 2D
points that a network, taught by annotators alone, finds on AFLW2000-3D's 199 faces, whose poses are known. So the pose
error here is the network's and the laying's together; between the rows it is the laying's alone.

Rows: a contour point's distance along the outline in full, at the share that is used (`CONTOUR_TANGENT_WEIGHT`), and
with the frontal heads' pitch bias removed (`FRONTAL_PITCH_BIAS_DEG`), as labels are made. Writes laid_heads.json beside
this file.
Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from convert.release.command import run
from edgeface.head_pose import ANGLES

HERE = Path(__file__).parent
OUT = HERE / "laid_heads.json"
SET, SPLIT, MARKUP, TRUTH = "aflw2000_3d", "val", "ibug68", "ibug68_3d"


def ways() -> dict[str, dict[str, float]]:
    """Name of a row -> constants of `edgeface.datasets.profile_views.fit`."""
    from edgeface.datasets.profile_views import fit

    return {
        "outline in full": {"CONTOUR_TANGENT_WEIGHT": 1.0, "FRONTAL_PITCH_BIAS_DEG": 0.0},
        "outline across": {"CONTOUR_TANGENT_WEIGHT": fit.CONTOUR_TANGENT_WEIGHT, "FRONTAL_PITCH_BIAS_DEG": 0.0},
        "outline across, raised heads taken back": {
            "CONTOUR_TANGENT_WEIGHT": fit.CONTOUR_TANGENT_WEIGHT,
            "FRONTAL_PITCH_BIAS_DEG": fit.FRONTAL_PITCH_BIAS_DEG,
        },
    }


@contextmanager
def constants(values: dict[str, float]) -> Iterator[None]:
    from edgeface.datasets.profile_views import fit

    before = {name: getattr(fit, name) for name in values}
    try:
        for name, value in values.items():
            setattr(fit, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(fit, name, value)


def figures(laid_deg: np.ndarray, true_deg: np.ndarray) -> dict[str, Any]:
    """Errors of poses (N, 3): mean absolute and median signed errors, and by how much of a degree a true degree of yaw and of
    pitch is understated (slope of the signed error over the truth)."""
    error = laid_deg - true_deg
    out: dict[str, Any] = {"n": len(error)}
    out["mae"] = dict(zip(ANGLES, np.abs(error).mean(0).tolist(), strict=True))
    out["median_signed"] = dict(zip(ANGLES, np.median(error, axis=0).tolist(), strict=True))
    out["slope"] = {name: float(np.polyfit(true_deg[:, i], error[:, i], 1)[0]) for i, name in enumerate(ANGLES[:2])}
    return out


def row_of(path: Path) -> dict[str, Any]:
    from edgeface.datasets.profile_views.fit import fit_heads
    from edgeface.evaluation.evaluate import run as answer
    from edgeface.evaluation.networks import deployed
    from edgeface.files import sha256
    from edgeface.models.io import load_model
    from edgeface.models.outputs import StageOutputs
    from studies.scoring import faces_of

    network, _ = load_model(path)
    _, side, _, channels = network.input_shape
    faces = faces_of(SET, SPLIT, TRUTH, side, channels)
    found = answer(deployed(network, network.name, MARKUP, StageOutputs.of(network).stages), faces)["landmarks"]
    pixels = np.stack([crop.to_image(points) for crop, points in zip(faces.frames, found, strict=True)])
    within = ~faces.beyond_pose_limit()
    rows = {}
    for name, values in ways().items():
        with constants(values):
            laid = fit_heads(pixels).pose_deg
        rows[name] = [figures(laid[b & within], faces.pose_deg[b & within]) for b in faces.in_yaw_bins()]
    return {"model": path.stem, "sha256": sha256(path), "skipped": int((~within).sum()), "ways": rows}


def main(args: list[str] | None = None) -> int:
    from studies.rows import keep

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    for path in parser.parse_args(args).models:
        row = row_of(path)
        keep(OUT, row, ("sha256",), "python -m studies.head_fit.study MODEL.keras")
        for name, bins in row["ways"].items():
            first = bins[0]
            print(
                f"{path.name}: {name}: frontal pitch {first['mae']['pitch']:.2f}, slope {first['slope']['pitch']:+.2f}"
            )
    return 0


if __name__ == "__main__":
    run(main)

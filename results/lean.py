"""By how much 300W-LP's profiles lean more than a network says: ``python -m results.lean MODEL.keras [...]``.

What is left between a network's poses and AFLW2000-3D's, as a turn about the picture's horizontal axis: its mean by
|yaw|, and the pose error after such a turn in proportion to the squared sine of yaw (`edgeface.datasets.turned.fit`,
`LEAN_DEG`) is taken back. The constant that is best for all faces is fitted to these very faces; beside it stands the
one that is best for a random half of them, tried on the other half.

Writes lean.json beside this file, a row a network. Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.headpose import ANGLES, geodesic_deg, to_matrix
from results.command import run

HERE = Path(__file__).parent
OUT = HERE / "lean.json"
SET, SPLIT, TRUTH = "aflw2000_3d", "val", "ibug68_3d"
EDGES_DEG = (0, 15, 30, 60, 90)
TRIED_DEG = np.arange(-6, 6.01, 0.25)
HALVINGS, SEED = 20, 0


def lean_left(answered_deg: np.ndarray, true_deg: np.ndarray) -> np.ndarray:
    """(N,) degrees: the horizontal axis' part of the turn that leads from the truth (N, 3) to the answer (N, 3)."""
    turn = to_matrix(answered_deg) @ np.swapaxes(to_matrix(true_deg), 1, 2)
    angle = np.deg2rad(geodesic_deg(answered_deg, true_deg))
    # The axis times its sine is the antisymmetric part; np.sinc keeps small turns finite.
    return np.rad2deg((turn[:, 2, 1] - turn[:, 1, 2]) / (2 * np.sinc(angle / np.pi)))


def errors(answered_deg: np.ndarray, true_deg: np.ndarray, lean_deg: float) -> np.ndarray:
    """(N, 3) absolute errors of the answers after a lean was added."""
    from edgeface.datasets.turned.fit import leaned

    return np.abs(leaned(answered_deg, lean_deg) - true_deg)


def best(answered_deg: np.ndarray, true_deg: np.ndarray) -> float:
    """The lean among `TRIED_DEG` with the least mean error."""
    return float(min(TRIED_DEG, key=lambda lean: errors(answered_deg, true_deg, lean).mean()))


def by_halves(answered_deg: np.ndarray, true_deg: np.ndarray) -> np.ndarray:
    """(3,) errors where each half of the faces is leaned by what was best for the other; mean over `HALVINGS`."""
    rng, out = np.random.default_rng(SEED), []
    for _ in range(HALVINGS):
        order = rng.permutation(len(true_deg))
        for found, tried in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            out.append(errors(answered_deg[tried], true_deg[tried], best(answered_deg[found], true_deg[found])))
    return np.concatenate(out).mean(0)


def row_of(path: Path) -> dict[str, Any]:
    from convert.metadata import sha256
    from edgeface.datasets.turned.fit import LEAN_DEG
    from edgeface.models.deploy import landmark_markups, stage_count
    from edgeface.models.io import load_model
    from edgeface.training.evaluate import run as answer
    from edgeface.training.networks import deployed
    from results.scoring import faces_of

    network, info = load_model(path)
    _, side, _, channels = network.input_shape
    faces = faces_of(SET, SPLIT, TRUTH, side, channels)
    head = landmark_markups(network)[0]
    poses = answer(deployed(network, network.name, head, stage_count(network)), faces)["pose"]
    within = ~faces.beyond_pose_limit()
    answered, true = poses[within].astype(np.float64), faces.pose_deg[within].astype(np.float64)
    left, yaw = lean_left(answered, true), np.abs(true[:, 0])
    bins = []
    for low, high in zip(EDGES_DEG[:-1], EDGES_DEG[1:], strict=True):
        inside = left[(yaw >= low) & ((yaw < high) | (high == EDGES_DEG[-1]))]
        error = float(inside.std(ddof=1) / np.sqrt(len(inside)))
        bins.append({"low_deg": low, "high_deg": high, "n": len(inside), "mean": float(inside.mean()), "sem": error})
    of_all = best(answered, true)
    return {
        "model": path.stem,
        "sha256": sha256(path),
        "learned_lean_deg": info["training"].get("laid_heads", {}).get("lean_deg", 0.0),
        "n": len(true),
        "skipped": int((~within).sum()),
        "lean_left": bins,
        "as_it_answers": _by_angle(errors(answered, true, 0.0).mean(0)),
        "lean_of_the_labels": {"lean_deg": LEAN_DEG} | _by_angle(errors(answered, true, LEAN_DEG).mean(0)),
        "lean_of_all_faces": {"lean_deg": of_all} | _by_angle(errors(answered, true, of_all).mean(0)),
        "lean_of_the_other_half": {"halvings": HALVINGS} | _by_angle(by_halves(answered, true)),
    }


def _by_angle(mae: np.ndarray) -> dict[str, float]:
    return dict(zip((*ANGLES, "mean"), [*mae.tolist(), float(mae.mean())], strict=True))


def main(args: list[str] | None = None) -> int:
    from results.rows import keep

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    for path in parser.parse_args(args).models:
        row = row_of(path)
        keep(OUT, row, ("sha256",), "python -m results.lean MODEL.keras")
        for key in ("as_it_answers", "lean_of_the_labels", "lean_of_all_faces", "lean_of_the_other_half"):
            print(f"{path.name}: {key.replace('_', ' ')}: pose MAE {row[key]['mean']:.2f}")
    return 0


if __name__ == "__main__":
    run(main)

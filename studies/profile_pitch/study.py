"""By how much 300W-LP raises heads in profile more than a network does: ``python -m studies.profile_pitch.study MODEL.keras``.

What is left between a network's poses and AFLW2000-3D's, as a nod about the head's own axis from ear to ear: its mean
by |yaw|, and the pose error after a nod in proportion to the squared sine of yaw
(`edgeface.datasets.profile_views.fit.as_labelled`) was added to the answers. The constant that is best for all faces is
fitted to these very faces; beside it stands what half of them choose, tried on the other half. Near profile pitch and
roll multiply such a nod several times over; the geodesic distance does not.

Writes profile_nod.json beside this file, one row per network. Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from convert.release.command import run
from edgeface.head_pose import ANGLES, geodesic_deg, to_matrix

HERE = Path(__file__).parent
OUT = HERE / "profile_nod.json"
SET, SPLIT, TRUTH = "aflw2000_3d", "val", "ibug68_3d"
EDGES_DEG = (0, 15, 30, 60, 90)
TRIED_DEG = np.arange(-6, 6.01, 0.25)
HALVINGS, SEED = 20, 0
WAYS = ("as_it_answers", "nod_of_the_labels", "nod_of_all_faces", "nod_of_the_other_half")


def nod_left(answered_deg: np.ndarray, true_deg: np.ndarray) -> np.ndarray:
    """(N,) degrees: the part about the head's axis from ear to ear of the turn from the truth (N, 3) to the answer."""
    turn = to_matrix(answered_deg) @ np.swapaxes(to_matrix(true_deg), 1, 2)
    angle = np.deg2rad(geodesic_deg(answered_deg, true_deg))
    # The axis times its sine is the antisymmetric part; np.sinc keeps small turns finite.
    return np.rad2deg((turn[:, 2, 1] - turn[:, 1, 2]) / (2 * np.sinc(angle / np.pi)))


def errors(answered_deg: np.ndarray, true_deg: np.ndarray, nod_deg: float) -> np.ndarray:
    """(N, 4) absolute errors of yaw, pitch and roll and the geodesic distance, after a nod was added."""
    from edgeface.datasets.profile_views.fit import as_labelled

    nodded = as_labelled(answered_deg, nod_deg)
    return np.concatenate([np.abs(nodded - true_deg), geodesic_deg(nodded, true_deg)[:, None]], axis=1)


def best(answered_deg: np.ndarray, true_deg: np.ndarray) -> float:
    """The nod among `TRIED_DEG` with the least mean error of the three angles."""
    return float(min(TRIED_DEG, key=lambda nod: errors(answered_deg, true_deg, nod)[:, :3].mean()))


def by_halves(answered_deg: np.ndarray, true_deg: np.ndarray) -> np.ndarray:
    """(4,) `errors` where each half of the faces is nodded by what was best for the other; mean over `HALVINGS`."""
    rng, out = np.random.default_rng(SEED), []
    for _ in range(HALVINGS):
        order = rng.permutation(len(true_deg))
        for found, tried in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            out.append(errors(answered_deg[tried], true_deg[tried], best(answered_deg[found], true_deg[found])))
    return np.concatenate(out).mean(0)


def row_of(path: Path) -> dict[str, Any]:
    from edgeface.datasets.profile_views.fit import PROFILE_PITCH_OFFSET_DEG
    from edgeface.evaluation.evaluate import run as answer
    from edgeface.evaluation.networks import deployed
    from edgeface.files import sha256
    from edgeface.models.io import load_model
    from edgeface.models.outputs import StageOutputs
    from studies.scoring import faces_of

    network, info = load_model(path)
    _, side, _, channels = network.input_shape
    faces = faces_of(SET, SPLIT, TRUTH, side, channels)
    names = StageOutputs.of(network)
    head = names.markups[0]
    poses = answer(deployed(network, network.name, head, names.stages), faces)["pose"]
    within = ~faces.beyond_pose_limit()
    answered, true = poses[within].astype(np.float64), faces.pose_deg[within].astype(np.float64)
    left, yaw = nod_left(answered, true), np.abs(true[:, 0])
    bins = []
    for low, high in zip(EDGES_DEG[:-1], EDGES_DEG[1:], strict=True):
        inside = left[(yaw >= low) & ((yaw < high) | (high == EDGES_DEG[-1]))]
        error = float(inside.std(ddof=1) / np.sqrt(len(inside)))
        bins.append({"low_deg": low, "high_deg": high, "n": len(inside), "mean": float(inside.mean()), "sem": error})
    of_all = best(answered, true)
    return {
        "model": path.stem,
        "sha256": sha256(path),
        "learned_nod_deg": info["training"].get("laid_heads", {}).get("profile_nod_deg", 0.0),
        "n": len(true),
        "skipped": int((~within).sum()),
        "nod_left": bins,
        "as_it_answers": _named(errors(answered, true, 0.0).mean(0)),
        "nod_of_the_labels": {"nod_deg": PROFILE_PITCH_OFFSET_DEG}
        | _named(errors(answered, true, PROFILE_PITCH_OFFSET_DEG).mean(0)),
        "nod_of_all_faces": {"nod_deg": of_all} | _named(errors(answered, true, of_all).mean(0)),
        "nod_of_the_other_half": {"halvings": HALVINGS} | _named(by_halves(answered, true)),
    }


def _named(values: np.ndarray) -> dict[str, float]:
    angles = [float(v) for v in values[:3]]
    return dict(zip(ANGLES, angles, strict=True)) | {"mean": float(np.mean(angles)), "geodesic": float(values[3])}


def main(args: list[str] | None = None) -> int:
    from studies.rows import keep

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    for path in parser.parse_args(args).models:
        row = row_of(path)
        keep(OUT, row, ("sha256",), "python -m studies.profile_pitch.study MODEL.keras")
        for key in WAYS:
            print(
                f"{path.name}: {key.replace('_', ' ')}: MAE {row[key]['mean']:.2f}, geodesic {row[key]['geodesic']:.2f}"
            )
    return 0


if __name__ == "__main__":
    run(main)

"""What is left between a network's 3D points and AFLW2000-3D's: ``python -m studies.labels.study MODEL.keras [...]``.

300W-LP's 68 points lie elsewhere on a head than 300W's; `LABEL_SHIFTS_CM` (edgeface/datasets/profile_views/model.py) moves the
training labels there. The shifts were chosen on aflw2000_3d val, so a score on it is flattered by as much as they were
fitted to these very faces. How much that is: the shifts that would bring a network's answers nearest to the annotation
are found on one half of the faces and tried on the other, and the other way round, beside those found on all.

Writes labels.json beside this file, one row per network. Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from convert.release.command import run

HERE = Path(__file__).parent
OUT = HERE / "labels.json"
SET, SPLIT, MARKUP = "aflw2000_3d", "val", "ibug68_3d"
ROUNDS = 10
PRIOR = 0.3
"""Keeps a shift that no face can tell (depth, from the front) at 0; in faces."""
HALVES_SEED = 0


def group_shifts(away: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(68, 3) shifts on the head, one a group of `LABEL_SHIFTS_CM`, that explain most of ``away``.

    away: (N, 68, 2), y up, annotation minus answer. rotation: (N, 3, 3) applied to the head. Least distances
    (iteratively reweighted), mirrored on the head's left side.
    """
    from edgeface.datasets.profile_views.model import LABEL_SHIFTS_CM
    from edgeface.markup import MARKUPS

    mirror = MARKUPS[MARKUP].mirror
    out = np.zeros((68, 3))
    for points, _ in LABEL_SHIFTS_CM:
        cameras, seen = [], []
        for point in points:
            for place, sign in {point: 1, mirror[point]: -1 if mirror[point] != point else 1}.items():
                cameras.append(rotation[:, :2] * (sign, 1, 1))
                seen.append(away[:, place])
        camera, target = np.concatenate(cameras).reshape(-1, 3), np.concatenate(seen).ravel()
        shift = np.zeros(3)
        for _ in range(ROUNDS):
            distance = np.linalg.norm((target - camera @ shift).reshape(-1, 2), axis=1)
            weight = np.repeat(1 / np.maximum(distance, 1), 2)[:, None] * camera
            shift = np.linalg.solve(weight.T @ camera + PRIOR * np.eye(3), weight.T @ target)
        for point in points:
            middle = mirror[point] == point
            out[mirror[point]] = shift * (-1, 1, 1)
            out[point] = shift * (0, 1, 1) if middle else shift
    return out


def shifted(away: np.ndarray, rotation: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """``away`` after the answers were moved by shifts on the head."""
    return away - (shifts @ np.swapaxes(rotation, 1, 2))[..., :2]


def by_bin(away: np.ndarray, in_bins: np.ndarray) -> dict[str, Any]:
    """NME in percent: of all faces, by |yaw|, and the mean of the bins. in_bins: (bins, N) bool."""
    nme = np.linalg.norm(away, axis=2).mean(1)
    bins = [float(nme[inside].mean()) for inside in in_bins]
    return {"nme": float(nme.mean()), "by_yaw": bins, "mean_of_bins": float(np.mean(bins))}


def row_of(path: Path) -> dict[str, Any]:
    from edgeface.evaluation.evaluate import run as answer
    from edgeface.evaluation.networks import deployed
    from edgeface.files import sha256
    from edgeface.head_pose import to_matrix
    from edgeface.models.io import load_model
    from edgeface.models.outputs import StageOutputs
    from studies.scoring import faces_of

    network, _ = load_model(path)
    _, side, _, channels = network.input_shape
    faces = faces_of(SET, SPLIT, MARKUP, side, channels)
    answers = answer(deployed(network, network.name, MARKUP, StageOutputs.of(network).stages), faces)
    pixels = np.stack([crop.to_image(points) for crop, points in zip(faces.frames, answers["landmarks"], strict=True)])
    away = 100 * (faces.landmarks_px - pixels) * (1, -1) / faces.normalizer_px[:, None, None]
    rotation = np.swapaxes(to_matrix(faces.pose_deg), 1, 2)
    in_bins = faces.in_yaw_bins()
    order = np.random.default_rng(HALVES_SEED).permutation(len(away))
    other = away.copy()
    for found, tried in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        other[tried] = shifted(away[tried], rotation[tried], group_shifts(away[found], rotation[found]))
    everything = group_shifts(away, rotation)
    return {
        "model": path.stem,
        "sha256": sha256(path),
        "n": len(away),
        "as_it_is": by_bin(away, in_bins),
        "shifts_of_all_faces": by_bin(shifted(away, rotation, everything), in_bins),
        "shifts_of_the_other_half": by_bin(other, in_bins),
        "largest_shift_percent": float(np.abs(everything).max()),
    }


def main(args: list[str] | None = None) -> int:
    from studies.rows import keep

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    for path in parser.parse_args(args).models:
        row = row_of(path)
        keep(OUT, row, ("sha256",), "python -m studies.labels.study MODEL.keras")
        for key in ("as_it_is", "shifts_of_all_faces", "shifts_of_the_other_half"):
            print(f"{path.name}: {key.replace('_', ' ')}: mean of bins {row[key]['mean_of_bins']:.2f}")
    return 0


if __name__ == "__main__":
    run(main)

"""What the pose does to the landmarks in trained networks of AC-DC: ``python -m results.steering RUN/model.keras ...``.

In AC-DC a stage's pose opens and closes channels of the next stage's input. Here trained networks, as they are, are
steered by another pose than their own, in all stages: by the average pose of the faces (the steering gone), by another
face's, by the true one. Landmarks that do not move say that the steering is ignored; that get worse, that the next
stages count on it; that get better by the true pose, that a better estimate would pay.

Scored are the last stage's landmarks on 300W common, which has no true poses, and on AFLW2000-3D's 199 faces.
Writes steering.json beside this file. Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.errors import InputError
from results.command import run

HERE = Path(__file__).parent
OUT = HERE / "steering.json"
SCORED = (("300w", "test", "ibug68"), ("aflw2000_3d", "val", "ibug68_3d"))
BATCH = 32
OWN, AVERAGE, OTHER, TRUE = "its own", "the average face's", "another face's", "the true one"


def steered(network, markup: str):
    """A trained network of AC-DC with its steering poses laid open: (the poses' graph, the answers' graph).

    The first answers (B, 3) a stage, in the network's unit; the second takes the image and such poses and answers
    landmarks (B, K, 2) and, a stage, how far each channel is open (B, C). InputError: no stage is steered.
    """
    import keras

    from edgeface.models.deploy import stage_count

    last, layers = stage_count(network), {layer.name: layer for layer in network.layers}
    stages = [i for i in range(1, last) if f"s{i}_excite" in layers]
    if not stages:
        raise InputError(f"a network must have stages that a pose steers. Received: {network.name}")
    steering = [layers.get(f"s{i}_excite_unit", layers[f"s{i}_excite"]).input for i in stages]
    opened = [layers[f"s{i}_excite_sigmoid"].output for i in stages]
    answers = [network.output[f"s{last}_{markup}"], *opened]
    return keras.Model(network.input, steering), keras.Model([network.input, *steering], answers)


def ways_to_steer(own: list[np.ndarray], true_deg: np.ndarray) -> dict[str, list[np.ndarray]]:
    """What steers -> a (N, 3) a stage. own: the network's, likewise; true_deg: (N, 3), NaN unknown: then its own stay.

    "Another face's" is that of the next face whose turn is random, drawn without itself.
    """
    from edgeface.models.layers import POSE_UNIT_DEG

    count = len(own[0])
    order = np.random.default_rng(0).permutation(count)
    other = np.empty(count, int)
    other[order] = np.roll(order, 1)
    ways = {
        OWN: own,
        AVERAGE: [np.broadcast_to(p.mean(axis=0), p.shape) for p in own],
        OTHER: [p[other] for p in own],
    }
    known = np.isfinite(true_deg).all(axis=1, keepdims=True)
    if known.any():
        ways[TRUE] = [np.where(known, true_deg / POSE_UNIT_DEG, p).astype(np.float32) for p in own]
    return ways


def row_of(path: Path) -> dict[str, Any]:
    """One network: {"set/split head": {what steers: NME, and how far the channels' openings vary over the faces}}."""
    from convert.metadata import sha256
    from edgeface.models.io import load_model
    from edgeface.training.evaluate import score
    from results.rows import plain
    from results.scoring import faces_of

    network, info = load_model(path)
    _, side, _, channels = network.input_shape
    trained = info["training"]
    row: dict[str, Any] = {"run": trained["config"]["name"], "sha256": sha256(path), "steps": trained["steps"]}
    for name, split, markup in SCORED:
        poses, answers = steered(network, markup)
        faces = faces_of(name, split, markup, side, channels)
        crops = faces.crops.astype(np.float32)
        own = _as_list(poses.predict(crops, batch_size=BATCH, verbose=0))
        true_deg = np.where(faces.beyond_pose_limit()[:, None], np.nan, faces.pose_deg)
        row[f"{name}/{split} {markup}"] = found = {}
        for way, steering in ways_to_steer(own, true_deg).items():
            points, *opened = answers.predict([crops, *steering], batch_size=BATCH, verbose=0)
            scores = score({"landmarks": points}, faces, markup).as_dict(per_face=False)
            found[way] = {key: scores[key] for key in ("n", "nme", "mean_of_bins")}
            found[way]["by_yaw"] = [b["nme"] for b in scores["by_yaw"]]
            # A stage: the mean over its channels of the standard deviation over faces.
            found[way]["opening_sd"] = [float(o.std(axis=0).mean()) for o in opened]
    return plain(row)


def _as_list(values: Any) -> list:
    return list(values) if isinstance(values, list | tuple) else [values]


def main(args: list[str] | None = None) -> int:
    from results.rows import keep

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    for path in parser.parse_args(args).models:
        row = row_of(path)
        keep(OUT, row, ("run",), "python -m results.steering RUN/model.keras ...")
        print(f"{row['run']}, {row['steps']:,} steps")
        for name, split, markup in SCORED:
            for way, figures in row[f"{name}/{split} {markup}"].items():
                varies = ", ".join(f"{v:.3f}" for v in figures["opening_sd"])
                print(f"  {name}, {way}: NME {figures['nme']:.3f}, channels vary by {varies}")
    return 0


if __name__ == "__main__":
    run(main)

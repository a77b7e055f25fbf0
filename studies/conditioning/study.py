"""What one task's answer does to the other's in trained networks: ``python -m studies.conditioning.study RUN/model.keras ...``.

In AC-DC a stage's pose opens and closes channels of the next stage's input; in CCR a block's pose features are added to
what the next block reads. Here trained networks, as they are, are steered by another face's pose (or features) than
their own, in all stages: by the average over the faces (the steering gone), by another face's, in AC-DC by the true
pose. Answers that do not move say that the steering is ignored; that get worse, that the next stages count on it; that
get better by the true pose, that a better estimate would pay.

Scored are the last stage's answers. Writes steering.json beside this file. Needs the folder of annotated faces
(EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from convert.release.command import run
from edgeface.errors import InputError

HERE = Path(__file__).parent
OUT = HERE / "steering.json"
SCORED = {
    "acdc": (("300w", "test", "ibug68"), ("aflw2000_3d", "val", "ibug68_3d")),
    "ccr": (("aflw", "test", "aflw21"), ("300w", "test", "ibug68")),
}
BATCH = 32
OWN, AVERAGE, OTHER, TRUE = "its own", "the average", "another face's", "the true one"


def steered(network, markup: str):
    """A trained network with what steers its stages laid open: (the steering's graph, the answers' graph).

    The first answers a tensor a steering: AC-DC's channels (B, C) ahead of their sigmoid, which are linear in the pose,
    CCR's two additions (B, H, W, C). The second takes the image and such tensors; it answers ``landmarks`` (B, K, 2),
    ``pose`` (B, 3) degrees and, for AC-DC, ``open1`` … (B, C), how far each channel is open. InputError: no stage is
    steered.
    """
    import keras

    from edgeface.models.deploy import stage_count

    last, layers = stage_count(network), {layer.name: layer for layer in network.layers}
    opening = [i for i in range(1, last) if f"s{i}_excite" in layers]
    names = [f"s{i}_excite" for i in opening]
    names += [f"s{i}_{part}_bn" for i in range(1, last) for part in ("unify", "middle")]
    steering = [layers[name].output for name in names if name in layers]
    if not steering:
        raise InputError(f"a network must have stages that a pose steers. Received: {network.name}")
    answers = {"landmarks": network.output[f"s{last}_{markup}"], "pose": network.output[f"s{last}_pose"]}
    answers |= {f"open{i}": layers[f"s{i}_excite_sigmoid"].output for i in opening}
    return keras.Model(network.input, steering), keras.Model([network.input, *steering], answers)


def by_pose(network, pose_deg: np.ndarray) -> list[np.ndarray]:
    """What poses (N, 3) in degrees steer AC-DC's channels by, (N, C) a stage; [] for CCR."""
    import keras

    from edgeface.models.layers import POSE_UNIT_DEG

    excite = {layer.name: layer for layer in network.layers if "_excite" in layer.name}
    dense = [(name, layer) for name, layer in excite.items() if isinstance(layer, keras.layers.Dense)]
    found = []
    for name, layer in dense:
        gain = excite[f"{name}_unit"].scale if f"{name}_unit" in excite else 1.0
        kernel, bias = (np.asarray(w) for w in layer.get_weights())
        found.append((pose_deg / POSE_UNIT_DEG * gain @ kernel + bias).astype(np.float32))
    return found


def ways_to_steer(own: list[np.ndarray], true: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """What steers -> (N, ...) a steering. own: the network's, likewise; true: by the true poses, NaN where unknown:
    then its own stay; [] where it is no pose that steers.

    "Another face's" is that of the next face in a random order of all.
    """
    count = len(own[0])
    order = np.random.default_rng(0).permutation(count)
    other = np.empty(count, int)
    other[order] = np.roll(order, 1)
    ways = {
        OWN: own,
        AVERAGE: [np.broadcast_to(p.mean(axis=0), p.shape) for p in own],
        OTHER: [p[other] for p in own],
    }
    if any(np.isfinite(t).any() for t in true):
        ways[TRUE] = [np.where(np.isfinite(t), t, p) for t, p in zip(true, own, strict=True)]
    return ways


def row_of(path: Path) -> dict[str, Any]:
    """One network: {"set/split head": {what steers: scores, and how far the channels vary over the faces}}."""
    from convert.release.rows import plain
    from convert.release.scoring import faces_of
    from edgeface.convert.make_card import sha256
    from edgeface.evaluation.evaluate import score
    from edgeface.models.io import load_model

    network, info = load_model(path)
    _, side, _, channels = network.input_shape
    trained = info["training"]
    row: dict[str, Any] = {"network": info["network"], "run": trained["config"]["name"], "steps": trained["steps"]}
    row["sha256"] = sha256(path)
    for name, split, markup in SCORED[info["network"]]:
        lay_open, answers = steered(network, markup)
        faces = faces_of(name, split, markup, side, channels)
        crops = faces.crops.astype(np.float32)
        own = lay_open.predict(crops, batch_size=BATCH, verbose=0)
        own = list(own) if isinstance(own, list | tuple) else [own]
        true = by_pose(network, np.where(faces.beyond_pose_limit()[:, None], np.nan, faces.pose_deg))
        row[f"{name}/{split} {markup}"] = found = {}
        for way, steering in ways_to_steer(own, true).items():
            answer = answers.predict([crops, *steering], batch_size=BATCH, verbose=0)
            scores = score({k: answer[k] for k in ("landmarks", "pose")}, faces, markup).as_dict(per_face=False)
            found[way] = {key: scores[key] for key in ("n", "nme", "mean_of_bins")}
            found[way] |= {"pose": scores["pose"]["mean"], "yaw": scores["pose"]["yaw"]}
            # A stage: the mean over its channels of the standard deviation over faces.
            found[way]["opening_sd"] = [float(v.std(axis=0).mean()) for k, v in answer.items() if k.startswith("open")]
    return plain(row)


def main(args: list[str] | None = None) -> int:
    from convert.release.rows import keep

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    for path in parser.parse_args(args).models:
        row = row_of(path)
        keep(OUT, row, ("run",), "python -m studies.conditioning.study RUN/model.keras ...")
        print(f"{row['run']}, {row['steps']:,} steps")
        for name, split, markup in SCORED[row["network"]]:
            for way, figures in row[f"{name}/{split} {markup}"].items():
                print(f"  {name}, steered by {way}: NME {figures['nme']:.3f}, yaw {figures['yaw'] or float('nan'):.2f}")
    return 0


if __name__ == "__main__":
    run(main)

"""Short training runs side by side: what `results.papers`, `results.sources` and `results.pareto` have in common.

A trial is a training config that is trained in a folder of its own (and goes on where it was) and scored on real faces;
its row goes into a JSON file beside this one as soon as it is there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from edgeface.files import read_json, write_json

if TYPE_CHECKING:
    from edgeface.training.config import TrainConfig

HERE = Path(__file__).parent
RUNS, CONFIGS = Path("runs/trials"), HERE.parent / "configs"
Scored = tuple[tuple[str, str, str], ...]
"""What a network is scored on: set, split, the head that answers."""
SPREAD_GROUPS = 5
SHORT = {"init": "", "learning_rate": 2e-3, "ema": 0.997, "warmup": 200, "epoch_steps": 500}
"""What a short run from nothing has in place of a long one's."""


def trial(config: TrainConfig, scored: Scored, every_stage: bool = False) -> dict[str, Any]:
    """Trains the config in runs/trials/NAME; its facts, and the scores of its last stage (or of each)."""
    import keras

    from edgeface.models.deploy import stage_count
    from edgeface.models.io import load_model
    from edgeface.models.summary import count_macs, count_parameters
    from edgeface.training.train import train

    keras.backend.clear_session()
    network, info = load_model(train(config, RUNS / config.name))
    last = stage_count(network)
    stages = range(1, last + 1) if every_stage else (last,)
    return {
        "steps": config.steps,
        "seed": config.seed,
        "parameters": count_parameters(network),
        "macs": count_macs(network),
        "last_loss": info["training"]["last"]["loss"],
        "stages": [score_stage(network, scored, stage) for stage in stages],
    }


def score_stage(network, scored: Scored, stage: int) -> dict[str, Any]:
    """{"set/split head": scores} of one stage, the arg max of its maps and what the spread tells of the errors."""
    from edgeface.models.deploy import deploy
    from edgeface.training.evaluate import run, score
    from edgeface.training.networks import KerasNetwork, deployed

    rows = {}
    for name, split, markup in scored:
        faces, predicted = faces_of(network, name, split, markup)
        answers = run(deployed(network, network.name, markup, stage), faces)
        scores = score(answers, faces, predicted, network.name, name)
        plain = scores.as_dict(per_face=False)
        row = {key: plain[key] for key in ("markup", "n", "skipped", "nme", "failure_rate", "mean_of_bins")}
        row["by_yaw"] = [{"n": b["n"], "nme": b["nme"], "pose": b["pose"]["mean"]} for b in plain["by_yaw"]]
        row["pose"] = {key: plain["pose"][key] for key in ("n", "yaw", "pitch", "roll", "mean", "geodesic")}
        maps = deploy(network, markup, ("landmarks",), stage, head=False)
        peaks = run(KerasNetwork(maps, network.name, markup), faces)["maps"]
        row["nme_of_arg_max"] = score({"landmarks": arg_max(peaks)}, faces, predicted).nme
        row["spread"] = ranking(answers["spread"].mean(axis=1), scores.nme_per_face)
        rows[f"{name}/{split} {markup}"] = row
    return rows


def faces_of(network, name: str, split: str, markup: str, kept: dict = {}):  # noqa: B006
    """(prepared faces, the markup that answers), read once a set and input."""
    from edgeface.datasets.load import load_set
    from edgeface.training.evaluate import prepare, protocol_for

    _, side, _, channels = network.input_shape
    key = (name, split, markup, side, channels)
    if key not in kept:
        samples = load_set(name, split)
        protocol, predicted = protocol_for(name, samples, (markup,))
        kept[key] = prepare(samples, protocol, side, channels), predicted
    return kept[key]


def arg_max(maps: np.ndarray) -> np.ndarray:
    """(N, H, W, K) -> (N, K, 2) in [0, 1]: the centre of each map's highest cell, what CCR's eq. 3 replaces."""
    count, height, width, points = maps.shape
    cell = maps.reshape(count, height * width, points).argmax(axis=1)
    return np.stack([(cell % width + 0.5) / width, (cell // width + 0.5) / height], axis=-1)


def ranking(spread: np.ndarray, nme: np.ndarray) -> dict[str, Any]:
    """How well the spread tells the errors: rank correlation, mean NME of each fifth by spread, NME without the worst.

    spread, nme: (N,), a face each. ``kept_nme``: mean NME of the 90, 80 and 50 % of faces of least spread.
    """
    order = np.argsort(spread, kind="stable")
    groups = np.array_split(order, SPREAD_GROUPS)
    return {
        "rank_correlation": float(np.corrcoef(_ranks(spread), _ranks(nme))[0, 1]),
        "groups": [[float(spread[g].mean()), float(nme[g].mean()), len(g)] for g in groups],
        "kept_nme": {str(share): float(nme[order[: round(share * len(order))]].mean()) for share in (0.9, 0.8, 0.5)},
    }


def _ranks(values: np.ndarray) -> np.ndarray:
    """Equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def keep(path: Path, row: dict[str, Any], same: tuple[str, ...], command: str) -> None:
    """Puts a row into the file, in place of the one that agrees in ``same``."""
    from convert.latency import machine
    from convert.metadata import commit, versions

    rows = [r for r in stored(path) if [r[k] for k in same] != [row[k] for k in same]]
    about = {"command": command, "commit": commit(), "machine": machine(), "versions": versions("keras", "tensorflow")}
    write_json(path, {"rows": [*rows, row | about]})


def stored(path: Path) -> list[dict[str, Any]]:
    return read_json(path)["rows"] if path.exists() else []

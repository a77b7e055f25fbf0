"""Faces and runs so small that a training takes seconds. As a program: `python -m tests.training.tiny DIR`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgeface.box import Box
from edgeface.datasets.sample import FaceSample
from edgeface.schema import from_dict
from edgeface.training.config import TrainConfig

MEAN = np.array([[22, 26], [42, 26], [32, 36], [25, 45], [39, 45]], np.float32)
"""Five points of a 64 px image."""

ACDC = {"stages": 1, "side": 32, "stem": [4], "widths": [4], "markups_2d": ["mtfl5"], "markups_3d": []}
CCR = {
    "stages": 1,
    "side": 32,
    "channels": 1,
    "stem": [4, 4],
    "width": 8,
    "hourglass_depth": 1,
    "patch": False,
    "pose_widths": [4, 8, 8],
    "markups": ["mtfl5"],
    "bins": 12,
}


def samples(count: int, seed: int = 0) -> list[FaceSample]:
    """Noise with a bright dot at every point; the pose follows the points' shift."""
    return [_sample(i, np.random.default_rng([seed, i])) for i in range(count)]


def _sample(index: int, rng: np.random.Generator) -> FaceSample:
    shift = rng.uniform(-6, 6, 2).astype(np.float32)
    points = MEAN + shift
    image = rng.integers(0, 60, (64, 64, 3), np.uint8)
    for x, y in np.rint(points).astype(int):
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
    return FaceSample(
        id=f"tiny{index}",
        dataset="mtfl",
        split="train",
        load=lambda: image,
        box=Box(14, 14, 50, 54),
        landmarks_px={"mtfl5": points},
        visible={"mtfl5": np.ones(5, bool)},
        pose_deg=np.array([5 * shift[0], 3 * shift[1], np.nan if index % 3 == 0 else 0], np.float32),
    )


def config(**changes) -> TrainConfig:
    base = {
        "network": "acdc_n",
        "model": ACDC,
        "name": "tiny",
        "steps": 10,
        "epoch_steps": 4,  # the last epoch is a short one
        "batch_size": 4,
        "learning_rate": 5e-3,
        "ema": 0.9,
        "clip": 1.0,
        "cut_size": 48,
        "sources": [{"set": "mtfl", "split": "train"}],
        "validation": {"set": "mtfl", "split": "train", "limit": 5},
    }
    return from_dict(TrainConfig, base | changes, "tiny")


TOML = """
network = "acdc_n"
batch_size = 4
learning_rate = 5e-3
ema = 0.9
cut_size = 48
{more}
[model]
stages = 1
side = 32
stem = [4]
widths = [4]
markups_2d = ["mtfl5"]
markups_3d = []
[[sources]]
set = "mtfl"
split = "train"
"""
"""`config` without its validation, as a file; ``more``: what differs, steps and epoch_steps among it."""


def use_tiny_faces(set_attribute) -> None:
    """set_attribute(module, name, value), a monkeypatch: sets are read from memory."""
    import edgeface.training.source_faces
    import edgeface.training.train

    def load_set(name, split, limit=None, root=None):
        return samples(12)[:limit]

    set_attribute(edgeface.training.source_faces, "load_set", load_set)
    set_attribute(edgeface.training.train, "load_set", load_set)


@contextmanager
def logged() -> Iterator[list[str]]:
    """Within it, what edgeface logs is appended to the list."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    log = logging.getLogger("edgeface")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code under test catches it."""


def run_killed_at(run: TrainConfig, out: Path, step: int, set_attribute, distribute: bool = False) -> None:
    """Trains until ``step``, then dies at the worst moment: the row is written, its checkpoint is not."""
    import edgeface.training.monitor as monitor
    from edgeface.training.train import train

    real = monitor.save_checkpoint

    def save_checkpoint(path, network, optimizer, at, fingerprint):
        if at == step:
            raise Killed
        real(path, network, optimizer, at, fingerprint)

    set_attribute(monitor, "save_checkpoint", save_checkpoint)
    try:
        train(run, out, distribute=distribute)
    except Killed:
        return
    finally:
        set_attribute(monitor, "save_checkpoint", real)
    raise AssertionError("the run was not killed")


def curve(out: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the columns that time decides."""
    from edgeface.training.checkpoint import read_rows

    return [{k: v for k, v in row.items() if "seconds" not in k} for row in read_rows(out / "metrics.csv")]


def compare_with_killed(whole: Path, parts: Path) -> dict:
    """A finished run, and one of the same config that is killed and resumed: curves, largest difference of weights."""
    import keras

    from edgeface.training.train import train

    run_killed_at(config(), parts, 8, setattr)
    killed = curve(parts)
    train(config(), parts)
    first, second = (keras.saving.load_model(p / "model.keras", compile=False).get_weights() for p in (whole, parts))
    return {
        "backend": keras.backend.backend(),
        "whole": curve(whole),
        "killed": killed,
        "parts": curve(parts),
        "weights": max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True)),
    }


def loss_values() -> dict[str, float]:
    """Both losses on fixed arrays: every backend must give the same."""
    from edgeface.training.losses import AcdcLoss, CcrLoss, acdc_loss, ccr_loss

    rng = np.random.default_rng(0)
    target = {"mtfl5": rng.uniform(0, 1, (3, 5, 2)), "pose": rng.uniform(-60, 60, (3, 3))}
    target["mtfl5"][0] = target["mtfl5"][1, 2] = target["pose"][2, 1] = np.nan
    target = {k: v.astype(np.float32) for k, v in target.items()}
    predicted = {}
    for stage in (1, 2):
        predicted[f"s{stage}_mtfl5"] = rng.uniform(0, 1, (3, 5, 2)).astype(np.float32)
        predicted[f"s{stage}_mtfl5_maps"] = rng.normal(0, 1, (3, 8, 8, 5)).astype(np.float32)
        predicted[f"s{stage}_pose"] = rng.uniform(-60, 60, (3, 3)).astype(np.float32)
        predicted[f"s{stage}_bins"] = rng.normal(0, 1, (3, 3, 12)).astype(np.float32)
    return {
        "acdc": float(acdc_loss(target, predicted, AcdcLoss())),
        "wing": float(acdc_loss(target, predicted, AcdcLoss(coordinate="wing"))),
        "ccr": float(ccr_loss(target, predicted, CcrLoss())),
    }


def main(folder: Path) -> dict:
    from edgeface.training.train import train

    use_tiny_faces(setattr)
    train(config(), folder / "whole")
    return compare_with_killed(folder / "whole", folder / "parts") | {"losses": loss_values()}


if __name__ == "__main__":
    import json
    import sys

    sys.modules["tensorflow"] = None  # training must do without it
    print(json.dumps(main(Path(sys.argv[1]))))

"""A trained network behind one small interface, whether it comes from a .keras or a .tflite file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgeface.errors import InputError, must_be_one_of

BATCH = 32
SAME_INDICES = ({"ibug68", "ibug68_3d"},)
"""Markups that number the same points: a network with one may be scored on the other, and the score says so."""


class Network(Protocol):
    """What `evaluate` needs. ``infer_batch``: crops (N, side, side, channels) uint8 -> landmarks (N, K, 2) in [0, 1]
    and, where the network has them, pose (N, 3) degrees and spread (N, K)."""

    name: str
    side: int
    channels: int
    markup: str
    crop_scale: float

    def infer_batch(self, crops: np.ndarray) -> dict[str, np.ndarray]: ...


@dataclass
class KerasNetwork:
    """A functional Keras model with outputs landmarks[, pose, spread]."""

    model: Any
    name: str
    markup: str
    crop_scale: float = 1.3

    @property
    def side(self) -> int:
        return self.model.input_shape[1]

    @property
    def channels(self) -> int:
        return self.model.input_shape[3]

    def infer_batch(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        parts = []
        for start in range(0, len(crops), BATCH):
            chunk = crops[start : start + BATCH].astype(np.float32)
            # One shape for every call: the last batch is filled up, or each backend would compile again.
            filled = np.concatenate([chunk, np.zeros((BATCH - len(chunk), *chunk.shape[1:]), np.float32)])
            out = self.model.predict_on_batch(filled)
            parts.append({k: np.asarray(v, np.float32)[: len(chunk)] for k, v in out.items()})
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


@dataclass
class TFLiteNetwork:
    """A converted model, run one face at a time as a device does."""

    model: Any
    name: str

    @property
    def side(self) -> int:
        return self.model.card.input.side

    @property
    def channels(self) -> int:
        return self.model.card.input.channels

    @property
    def markup(self) -> str:
        return self.model.card.markup

    @property
    def crop_scale(self) -> float:
        return self.model.card.crop.scale

    def infer_batch(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        outs = [self.model.infer(crop) for crop in crops]
        return {k: np.stack([np.asarray(o[k], np.float32) for o in outs]) for k in outs[0] if outs[0][k] is not None}


def load_network(path: str | Path, markup: str | None = None, stages: int | None = None, threads: int = 1) -> Network:
    """A .keras file (its first ``stages`` stages, all by default) or a .tflite file.

    markup: the landmarks wanted, or others with the same indices; None: the file's first. InputError: no such file,
    not a model, no such markup or stage.
    """
    path = Path(path)
    if path.suffix == ".keras":
        from edgeface.models.io import load_model
        from edgeface.models.outputs import StageOutputs

        model, info = load_model(path)
        markup = pick_markup(StageOutputs.of(model).markups, markup, path.name)
        return deployed(model, path.name, markup, stages, info.get("crop", {}).get("scale", 1.3))
    if path.suffix == ".tflite":
        if stages is not None:
            raise InputError(
                f"stages must not be given for a converted model, it holds what it holds. Received: {stages}"
            )
        from edgeface.runtime.interpreter import TFLiteModel

        network = TFLiteNetwork(TFLiteModel(path, threads=threads), path.name)
        pick_markup((network.markup,), markup, path.name)
        return network
    raise InputError(f"a model must be a .keras or a .tflite file. Received: {path}")


def markups_of(path: str | Path) -> tuple[str, ...]:
    """The markups that a model file has been trained to predict, without loading it; InputError where it is not one."""
    path = Path(path)
    if path.suffix == ".tflite":
        from edgeface.card import read_card

        return (read_card(path).markup,)
    if path.suffix != ".keras":
        raise InputError(f"a model must be a .keras or a .tflite file. Received: {path}")
    from edgeface.models.io import config_of, read_info

    info = read_info(path)
    untrained = info.get("training", {}).get("untrained", [])
    return tuple(m for m in config_of(info).markups if m not in untrained)


def deployed(model: Any, name: str, markup: str, stages: int | None = None, crop_scale: float = 1.3) -> KerasNetwork:
    """The network that a training graph becomes: the outputs of its last (or ``stages``-th) stage.

    Args:
        model: a training graph, float or quantized.
        name: what to call it.
        markup: the landmarks to keep.
        stages: how many to keep; None: all.
        crop_scale: of its input, in longer sides of the box.
    """
    from edgeface.models.deploy import OUTPUTS, deploy
    from edgeface.models.outputs import StageOutputs

    has_pose = StageOutputs.of(model).has_pose
    outputs = tuple(name for name in OUTPUTS if has_pose or name != "pose")
    try:
        return KerasNetwork(deploy(model, markup, outputs, stages), name, markup, crop_scale)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def pick_markup(has: tuple[str, ...], wanted: str | None, name: str) -> str:
    """The wanted markup, else one with the same indices; InputError where the network has neither.

    Args:
        has: the network's markups.
        wanted: the one that is asked for; None: the first.
        name: what to call the network in the error.
    """
    if wanted is None or wanted in has:
        return wanted or has[0]
    for same in SAME_INDICES:
        for other in has:
            if wanted in same and other in same:
                return other
    raise InputError(must_be_one_of(f"markup of {name}", has, wanted))

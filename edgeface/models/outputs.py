"""The names of a training graph's outputs, and of the layers that belong to a stage.

A network has stages 1, 2, …; each answers for every markup and, where it has one, for the head pose:

| name | shape | what |
| --- | --- | --- |
| ``s{i}_{markup}`` | (B, K, 2) | landmarks in the crop's [0, 1] |
| ``s{i}_{markup}_spread`` | (B, K) | width of each attention map |
| ``s{i}_{markup}_maps`` | (B, H, W, K) | linear maps, before the spatial softmax |
| ``s{i}_pose`` | (B, 3) | yaw, pitch, roll in degrees |
| ``s{i}_bins`` | (B, 3, N) | logits of the binned angles |
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeface.errors import InputError

if TYPE_CHECKING:
    import keras

_NAME = re.compile(r"s([1-9]\d*)_(.+)")
_POSE, _BINS, _SPREAD, _MAPS = "pose", "bins", "_spread", "_maps"


@dataclass(frozen=True)
class StageOutputs:
    """What a model answers, by stage: the one place that writes and reads the names of outputs."""

    names: tuple[str, ...]
    """Every output, in the model's order."""
    stages: int
    """How many there are; they are counted from 1."""
    markups: tuple[str, ...]
    """The markups that are predicted, in the model's order."""

    @classmethod
    def of(cls, outputs: keras.Model | Iterable[str]) -> StageOutputs:
        """Reads a model's outputs, or their names. InputError where none is a stage's landmarks.

        Args:
            outputs: a model whose output is a dict, or the names, such as a dict of predictions.
        """
        found = getattr(outputs, "output", outputs)
        names = tuple(found) if not hasattr(found, "shape") else ()
        parts = [part for part in map(split_stage, names) if part is not None]
        kinds = [(stage, rest, _kind(rest)) for stage, rest in parts]
        markups = tuple(dict.fromkeys(rest for _, rest, kind in kinds if kind == "landmarks"))
        if not markups:
            raise InputError(f"network outputs must be named s1_<markup>, s1_pose, …. Received: {', '.join(names)}")
        return cls(names, max(stage for stage, _, _ in kinds), markups)

    @classmethod
    def of_network(cls, network: keras.Model, name: str | Path) -> StageOutputs:
        """Reads a training graph: one input named image, outputs by stage. InputError where it is another model.

        Args:
            network: any Keras model.
            name: what to call it in the error.
        """
        inputs = [tensor.name for tensor in getattr(network, "inputs", None) or ()]
        outputs = getattr(network, "output", None)
        if inputs == ["image"] and isinstance(outputs, dict):
            with suppress(InputError):
                return cls.of(outputs)
        got = sorted(outputs)[:3] if isinstance(outputs, dict) else type(outputs).__name__
        raise InputError(
            f"{name} must be a training graph of edgeface.models: one input named image, outputs named s1_<markup>, "
            f"s1_<markup>_spread and so on. Received: inputs {inputs}, outputs {got}"
        )

    @staticmethod
    def landmarks(stage: int, markup: str) -> str:
        """Name of a stage's landmarks, (B, K, 2) in [0, 1]; of the layer that decodes them too."""
        return stage_name(stage, markup)

    @staticmethod
    def spread(stage: int, markup: str) -> str:
        """Name of the width of each attention map, (B, K)."""
        return stage_name(stage, markup + _SPREAD)

    @staticmethod
    def maps(stage: int, markup: str) -> str:
        """Name of the linear maps, (B, H, W, K)."""
        return stage_name(stage, markup + _MAPS)

    @staticmethod
    def pose(stage: int) -> str:
        """Name of a stage's head pose, (B, 3) degrees; of the layer that decodes it too."""
        return stage_name(stage, _POSE)

    @staticmethod
    def bins(stage: int) -> str:
        """Name of the logits of a stage's binned angles, (B, 3, N)."""
        return stage_name(stage, _BINS)

    @staticmethod
    def kind(name: str) -> str:
        """``landmarks``, ``spread``, ``maps``, ``pose`` or ``bins``: what an output of that name is."""
        part = split_stage(name)
        return _kind(part[1] if part else name)

    @property
    def has_pose(self) -> bool:
        return self.pose(self.stages) in self.names

    @property
    def has_bins(self) -> bool:
        return self.bins(self.stages) in self.names

    @property
    def with_maps(self) -> tuple[tuple[int, str], ...]:
        """(stage, markup) of every landmark output whose maps are an output as well."""
        every = ((stage, markup) for stage in range(1, self.stages + 1) for markup in self.markups)
        return tuple(pair for pair in every if self.maps(*pair) in self.names)

    def of_stage(self, stage: int) -> tuple[str, ...]:
        """The names of one stage's outputs, in the model's order."""
        return tuple(name for name in self.names if (part := split_stage(name)) and part[0] == stage)

    def deployed(self, stage: int, markup: str) -> dict[str, str]:
        """{name in a deployable model: name here} of what one stage answers for one markup."""
        names = {"landmarks": self.landmarks(stage, markup), "pose": self.pose(stage)}
        names["spread"] = self.spread(stage, markup)
        return {key: name for key, name in names.items() if name in self.names}


def stage_name(stage: int, rest: str) -> str:
    """Name of an output or a layer that belongs to a stage, counted from 1."""
    return f"s{stage}_{rest}"


def split_stage(name: str) -> tuple[int, str] | None:
    """The inverse of `stage_name`; None where the name belongs to no stage."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def _kind(rest: str) -> str:
    if rest in (_POSE, _BINS):
        return rest
    return next((end[1:] for end in (_SPREAD, _MAPS) if rest.endswith(end)), "landmarks")

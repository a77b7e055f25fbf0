"""Golden faces: crops of rendered faces, and what LiteRT on this machine answers for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeface.card import Card
from edgeface.crop import square_crop
from edgeface.datasets.synthetic import synthetic_samples
from edgeface.errors import InputError
from edgeface.quantize.tflite_graph import read_graph
from edgeface.runtime.interpreter import TFLiteModel, dequantize
from edgeface.runtime.predictor import cut

FACES = 8


@dataclass(frozen=True, eq=False)
class Answers:
    """Landmarks (N, K, 2) in the crop's [0, 1] and pose (N, 3) degrees, where the file has them."""

    landmarks: np.ndarray | None
    pose_deg: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Case:
    """A file, its crops, and the reference: the same file through LiteRT on this machine."""

    path: Path
    card: Card
    crops: np.ndarray
    """(N, S, S, C) uint8."""
    stored: dict[str, np.ndarray]
    """The reference's outputs by role as stored, (N, ...)."""
    answers: Answers
    """The reference's, decoded."""
    float_answers: Answers | None
    """Answers of the float32 file NAME_float32.tflite in the same folder; None where there is none."""
    integer: bool
    """Its convolutions are int8."""
    model: TFLiteModel

    def decode(self, outputs: dict[str, np.ndarray]) -> Answers:
        """Outputs by role (N, ...), as stored or already real -> answers; the card decodes."""
        specs = self.card.outputs
        real = {
            role: dequantize(values, specs[role]) if values.dtype.kind in "iu" else values.astype(np.float32)
            for role, values in outputs.items()
        }
        return _answers([self.model.decode({k: v[i : i + 1] for k, v in real.items()}) for i in range(len(self.crops))])


def golden_crops(card: Card, faces: int = FACES) -> np.ndarray:
    """(N, S, S, C) uint8: rendered test faces, cut as the card says. The same ones at every call."""
    spec = card.input
    samples = synthetic_samples(faces, size=2 * spec.side, split="test")
    return np.stack([cut(s.load(), square_crop(s.box, card.crop.scale), spec.side, spec.channels) for s in samples])


def prepare(files: Sequence[str | Path], faces: int = FACES) -> list[Case]:
    """InputError where a file is not one of ours, or its names are not its outputs' roles."""
    if faces < 1:
        raise InputError(f"faces must be at least 1. Received: {faces}")
    return [_case(Path(file), faces) for file in files]


def _case(path: Path, faces: int) -> Case:
    model = TFLiteModel(path)
    crops = golden_crops(model.card, faces)
    stored = _stack([model.run(crop, raw=True) for crop in crops])
    graph = read_graph(path)
    sibling = path.with_name(path.name.removesuffix(f"_{model.card.variant}.tflite") + "_float32.tflite")
    float_answers = None
    if sibling.is_file():
        other = TFLiteModel(sibling)
        float_answers = _answers([other.infer(crop) for crop in crops])
    return Case(
        path=path,
        card=model.card,
        crops=crops,
        stored=stored,
        answers=_answers([model.infer(crop) for crop in crops]),
        float_answers=float_answers,
        integer=any(graph.dtype(op) == "int8" for op in graph.ops if op.type.endswith("CONV_2D")),
        model=model,
    )


def _stack(each: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {role: np.concatenate([outputs[role] for outputs in each]) for role in each[0]}


def _answers(each: list[dict[str, np.ndarray]]) -> Answers:
    def stacked(role: str) -> np.ndarray | None:
        return np.stack([answer[role] for answer in each]) if role in each[0] else None

    return Answers(stacked("landmarks"), stacked("pose"))

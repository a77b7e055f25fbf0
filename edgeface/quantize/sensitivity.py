"""Which tensor's grid costs how much: each rounded alone, everything else in float."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from rich.progress import track

from edgeface.errors import InputError
from edgeface.quantize.keras_graph import inputs_of, read_graph
from edgeface.quantize.layers import FakeQuant, QuantKernel
from edgeface.quantize.switches import unrounded

Outputs = Any
"""The model's output structure, of numpy arrays."""


@dataclass(frozen=True)
class Sensitivity:
    """What one tensor's rounding alone does to the answers."""

    name: str
    """Name of the FakeQuant or QuantKernel."""
    kind: Literal["activation", "kernel"]
    cost: float
    """Mean of `measure` over the batches."""
    low: float | None = None
    high: float | None = None
    """Upper end of an activation's range."""


def sensitivity(
    model: keras.Model,
    batches: Iterable[Any],
    measure: Callable[[Outputs, Outputs], float],
    progress: bool = True,
) -> list[Sensitivity]:
    """What the rounding of each tensor alone costs, the costliest first. The model runs once per tensor and batch.

    Args:
        model: a calibrated quantized model.
        batches: of inputs or (inputs, targets); a few dozen images tell the tensors apart.
        measure: (exact, rounded) -> a cost of the difference between two answers to one batch, such as a mean shift.
        progress: show a progress bar.

    Raises:
        InputError: no batch, or a range that is not set.
    """
    inputs = [inputs_of(model, batch) for batch in batches]
    if not inputs:
        raise InputError("batches must hold at least one batch. Received: none")
    layers = {c.layer.name: c.layer for c in read_graph(model).calls if isinstance(c.layer, (FakeQuant, QuantKernel))}
    unset = [q.name for q in layers.values() if isinstance(q, FakeQuant) and not (q.fixed_range or float(q.steps))]
    if unset:
        raise InputError(f"model must be calibrated. Received: one without a range for {', '.join(unset[:3])}")
    with unrounded(model):
        exact = [_answers(model, x) for x in inputs]
    found = []
    for layer in track(list(layers.values()), "rounding one tensor at a time", disable=not progress, transient=True):
        with unrounded(model, but=layer.name):
            costs = [measure(truth, _answers(model, x)) for truth, x in zip(exact, inputs, strict=True)]
        cost = float(np.mean(costs))
        if isinstance(layer, FakeQuant):
            found.append(Sensitivity(layer.name, "activation", cost, *layer.range()))
        else:
            found.append(Sensitivity(layer.name, "kernel", cost))
    return sorted(found, key=lambda s: -s.cost)


def _answers(model: keras.Model, inputs: Any) -> Outputs:
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(inputs, training=False))

"""Which layers of a quantized model stay float, read off its graph: one missing fake-quant makes what follows float."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from edgeface.quantize.keras_graph import read_graph
from edgeface.quantize.kinds import inherits, keeps_float, reason_against, selects
from edgeface.quantize.layers import FakeQuant, FloatGate, QuantKernel


@dataclass(frozen=True)
class Uncovered:
    """A layer that computes in float in the converted file."""

    name: str
    reason: str


def coverage(model: keras.Model) -> list[Uncovered]:
    """Every layer of a quantized model that stays float, in the graph's order, and why; `KeepFloat` layers among them.

    A layer is int8 where everything it reads is on a quantization grid and so is its output: it inherits its input's,
    or nothing but a FakeQuant reads it. What the converter does inside a float layer shows in the file alone, see
    `coverage_check`.

    Args:
        model: made by `quantize_aware`.
    """
    graph = read_graph(model)
    on_grid: set = set()
    found: dict[str, Uncovered] = {}
    for call in graph.calls:
        layer = call.layer
        if isinstance(layer, FakeQuant):
            on_grid.update(call.outputs)
        if isinstance(layer, (FakeQuant, FloatGate)):
            continue
        off = [slot for slot in call.inputs if slot not in on_grid]
        ranged = all(
            reader is not None and isinstance(reader.layer, FakeQuant)
            for slot in call.outputs
            for reader in graph.readers[slot]
        )
        reason = None
        if keeps_float(layer):
            reason = f"kept float ({type(layer).__name__})"
        elif not isinstance(layer, QuantKernel) and reason_against(layer):
            reason = reason_against(layer)
        elif off:
            reason = "it reads float values"
        elif inherits(layer) or selects(layer):
            on_grid.update(call.outputs)
        elif not ranged:
            reason = "its output is not fake-quantized"
        elif not isinstance(layer, QuantKernel) and getattr(layer, "weights", None):
            reason = "its weights are not fake-quantized"
        if reason:
            found.setdefault(layer.name, Uncovered(layer.name, reason))
    return list(found.values())

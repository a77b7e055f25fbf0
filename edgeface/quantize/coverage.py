"""What a twin leaves in float, read off its graph: one missing fake-quant makes what follows float without a word."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from edgeface.quantize.keras_graph import read_graph
from edgeface.quantize.kinds import inherits, is_island, reason_against
from edgeface.quantize.layers import FakeQuant, FloatGate, QuantKernel


@dataclass(frozen=True)
class Uncovered:
    """A layer that computes in float in the converted file."""

    name: str
    reason: str


def coverage(twin: keras.Model) -> list[Uncovered]:
    """Every layer of `twin` that stays float, in the graph's order, and why. Float islands are among them.

    A layer is int8 where everything it reads is on a grid and so is what it gives: it inherits its input's, or nothing
    but a FakeQuant reads it. (What the converter does inside an island is for the file's own inspection to see.)
    """
    graph = read_graph(twin)
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
        if is_island(layer):
            reason = f"float island ({type(layer).__name__})"
        elif not isinstance(layer, QuantKernel) and reason_against(layer):
            reason = reason_against(layer)
        elif off:
            reason = "it reads float values"
        elif inherits(layer):
            on_grid.update(call.outputs)
        elif not ranged:
            reason = "its output is not fake-quantised"
        elif not isinstance(layer, QuantKernel) and layer.weights:
            reason = "its weights are not fake-quantised"
        if reason:
            found.setdefault(layer.name, Uncovered(layer.name, reason))
    return list(found.values())

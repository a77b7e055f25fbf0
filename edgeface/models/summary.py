"""What a network costs: parameters and multiply-accumulates, a layer and a stage."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class LayerCost:
    """One call of one layer. A shared layer's parameters are counted at its first call only."""

    name: str
    part: str
    """The stem, ``s1``, ``s2``, … or ``shared``."""
    parameters: int
    macs: int


def layer_costs(model: keras.Model) -> list[LayerCost]:
    """Costs in graph order at batch 1. MACs of convolutions, dense and head layers; elementwise work is not counted."""
    own = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    costs, seen = [], set()
    for layer in model.layers:
        for node in layer._inbound_nodes:
            if id(node) not in own or not node.input_tensors:
                continue
            parameters = 0 if layer.name in seen else sum(math.prod(w.shape) for w in layer.weights)
            seen.add(layer.name)
            costs.append(LayerCost(layer.name, _part(layer, node), parameters, _macs(layer, node)))
    return costs


def _part(layer, node) -> str:
    if not layer.name.startswith("gtn_"):
        return (
            layer.name.split("_")[0].rstrip("0123456789") if layer.name.startswith("stem") else layer.name.split("_")[0]
        )
    # A shared layer's call belongs to the stage whose tensors it reads.
    tensor = node.input_tensors[0]
    while tensor._keras_history.operation.name.startswith("gtn_"):
        history = tensor._keras_history
        tensor = history.operation._inbound_nodes[history.node_index].input_tensors[0]
    return tensor._keras_history.operation.name.split("_")[0]


def _macs(layer, node) -> int:
    """MACs by the kernel's shape, so that a fake-quantized layer counts like the one it replaces."""
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    shape = tuple(kernel.shape)
    if len(shape) == 2:
        return math.prod(shape)
    # A fake-quantized layer says what it replaces in `op`.
    transposed = "Transpose" in type(layer).__name__ or getattr(layer, "op", None) == "transpose"
    tensor = node.input_tensors[0] if transposed else node.outputs[0]
    return math.prod(tensor.shape[1:3]) * math.prod(shape)


def count_macs(model: keras.Model) -> int:
    """Multiply-accumulates of one face."""
    return sum(c.macs for c in layer_costs(model))


def count_parameters(model: keras.Model) -> int:
    """Parameters, batch norm's running statistics included."""
    return sum(c.parameters for c in layer_costs(model))


def summary_table(model: keras.Model) -> str:
    """Parameters and MACs by part, and in all, as text."""
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for cost in layer_costs(model):
        totals[cost.part][0] += cost.parameters
        totals[cost.part][1] += cost.macs
    lines = [f"{model.name}", f"{'part':<10}{'parameters':>14}{'MMAC':>10}"]
    for part, (parameters, macs) in totals.items():
        lines.append(f"{part:<10}{parameters:>14,}{macs / 1e6:>10.1f}")
    lines.append(f"{'all':<10}{count_parameters(model):>14,}{count_macs(model) / 1e6:>10.1f}")
    return "\n".join(lines)

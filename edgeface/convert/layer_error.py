"""Which tensor hurts: an int8 file's tensors against those of the float32 file of the same model, on the same crops.

Tensors are matched by the Keras layer in their names, which the converter keeps; those it renamed (outputs of the
graph) by their operator and what they read. What has no counterpart is listed, never guessed. Three figures a tensor:

- ``sqnr_db``: signal to noise, 10 log10(sum float^2 / sum (float - int8)^2): all error that has gathered up to here.
- ``own_db``: the same for the float tensor rounded to the int8 tensor's grid: what this tensor's range alone costs.
- ``drop_db``: how far ``sqnr_db`` is below that of its worst input: what the operator, its weights and range add.

A file made from a fine-tuned quantized model has weights of its own: then ``sqnr_db`` also holds what fine-tuning
changed. Both files run on the interpreter's own kernels, without the XNNPACK delegate, which shows nothing of its
inside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeface.card import read_card, split_card
from edgeface.errors import InputError
from edgeface.quantize.tflite_graph import Graph, Op, read_graph
from edgeface.runtime.interpreter import quantize

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")


@dataclass(frozen=True)
class TensorError:
    """One tensor. Decibels are None where there is no error; own_db also without a grid, drop_db without an input."""

    position: int
    """Among the operators of the int8 file, in the order they run."""
    layer: str
    operator: str
    dtype: str
    """dtype of the int8 file's tensor: a head that stayed float has float32 ones."""
    shape: tuple[int, ...]
    sqnr_db: float | None
    own_db: float | None
    clipped: float | None
    """The share of float's values that lie outside the int8 range."""
    drop_db: float | None


@dataclass(frozen=True)
class LayerErrors:
    file: str
    float_file: str
    crops: int
    tensors: tuple[TensorError, ...]
    unmatched: tuple[str, ...]
    """Operators of the int8 file that have no counterpart in the float one, and why, in words."""


def layer_errors(file: str | Path, float_file: str | Path, crops: np.ndarray) -> LayerErrors:
    """crops: (N, S, S, C) uint8. InputError: files of two models, crops that do not fit, a file that does not run."""
    cards = read_card(file), read_card(float_file)
    inputs = [card.input.shape for card in cards]
    if inputs[0] != inputs[1] or crops.dtype != np.uint8 or crops.shape[1:] != inputs[0][1:] or len(crops) == 0:
        raise InputError(
            f"{file} and {float_file} must take the crops that are given. Received: inputs {inputs[0]}, "
            f"{inputs[1]}, crops {crops.dtype} {crops.shape}"
        )
    graphs = read_graph(file), read_graph(float_file)
    pairs, unmatched = match(*graphs)
    if not pairs:
        raise InputError(f"{file} must be of the same model as {float_file}. Received: no tensor of the same layer")
    signal, noise, own, clipped = np.zeros((4, len(pairs)))
    runs = [_Tensors(path, card, graph) for path, card, graph in zip((file, float_file), cards, graphs, strict=True)]
    for crop in crops:
        for run in runs:
            run.feed(crop)
        for i, (op, float_op) in enumerate(pairs):
            got, true = runs[0].values(op.outputs[0]), runs[1].values(float_op.outputs[0])
            rounded, outside = _on_grid(true, graphs[0].tensors[op.outputs[0]])
            signal[i] += np.square(true).sum()
            noise[i] += np.square(true - got).sum()
            own[i] += np.square(true - rounded).sum()
            clipped[i] += outside / len(crops)
    sqnr = [_decibels(s, n) for s, n in zip(signal, noise, strict=True)]
    worst_input = _worst_inputs(graphs[0], pairs, sqnr)
    order = {id(op): i for i, op in enumerate(graphs[0].ops)}
    labels = _numbered([(op.type, _label(graphs[1], float_op)) for op, float_op in pairs])
    tensors = []
    for i, (op, _) in enumerate(pairs):
        tensor = graphs[0].tensors[op.outputs[0]]
        integer = tensor.scale is not None
        drop = None if sqnr[i] is None or worst_input[i] is None else worst_input[i] - sqnr[i]
        tensors.append(
            TensorError(
                order[id(op)],
                labels[i],
                op.type,
                tensor.dtype,
                tensor.shape,
                sqnr[i],
                _decibels(signal[i], own[i]) if integer else None,
                clipped[i] if integer else None,
                drop,
            )  # fmt: skip
        )
    return LayerErrors(Path(file).name, Path(float_file).name, len(crops), tuple(tensors), tuple(unmatched))


def match(graph: Graph, reference: Graph) -> tuple[list[tuple[Op, Op]], list[str]]:
    """Operators of ``graph`` with the reference's that compute the same, and the rest in words.

    By type, shape and a Keras layer that both names hold; a layer's several calls and several operators in the order in
    which they run. Then, for what is left, by type, shape and what they read.
    """
    ops = [op for op in graph.ops if op.type not in CONVERSIONS]
    others = [op for op in reference.ops if op.type not in CONVERSIONS]
    names, other_names = _layers(graph, ops), _layers(reference, others)
    partner: dict[int, int] = {}
    taken: set[int] = set()
    reasons = {}
    for i, op in enumerate(ops):
        alike = [j for j, o in enumerate(others) if j not in taken and _alike(graph, op, reference, o)]
        alike = [(len(names[i] & other_names[j]), -j) for j in alike if names[i] & other_names[j]]
        if not alike:
            continue
        j = -max(alike)[1]
        taken.add(j)
        if op.type in KERNELS and _adds_bias(graph.name(op)) != _adds_bias(reference.name(others[j])):
            reasons[i] = "its bias is added by another operator"
        else:
            partner[i] = j
    _match_by_inputs(graph, reference, ops, others, partner, taken, reasons)
    told = [
        f"{op.type} {_label(graph, op)}: {reasons.get(i, 'no such operator in the float file')}"
        for i, op in enumerate(ops)
        if i not in partner
    ]
    return [(op, others[partner[i]]) for i, op in enumerate(ops) if i in partner], told


def _match_by_inputs(graph, reference, ops, others, partner, taken, reasons) -> None:
    """Adds to ``partner`` the operators whose inputs are matched, where just one of the reference reads the same."""
    for i, op in enumerate(ops):
        if i in partner or i in reasons:
            continue
        place = {id(o): k for k, o in enumerate(ops)}
        sources = [partner.get(place[id(s)]) if s is not None else None for s in _sources(graph, op)]
        other_place = {id(o): k for k, o in enumerate(others)}
        found = [
            j
            for j, o in enumerate(others)
            if j not in taken
            and _alike(graph, op, reference, o)
            and [None if s is None else other_place[id(s)] for s in _sources(reference, o)] == sources
        ]
        if len(found) == 1 and any(s is not None for s in sources):
            partner[i] = found[0]
            taken.add(found[0])


def _alike(graph: Graph, op: Op, reference: Graph, other: Op) -> bool:
    shapes = graph.tensors[op.outputs[0]].shape, reference.tensors[other.outputs[0]].shape
    return op.type == other.type and shapes[0] == shapes[1]


def _sources(graph: Graph, op: Op) -> list[Op | None]:
    """The operators that made an operator's inputs, conversions looked through; None: the graph's input."""
    made_by = {t: o for o in graph.ops for t in o.outputs}
    sources = []
    for tensor in op.inputs:
        if graph.tensors[tensor].constant:
            continue
        maker = made_by.get(tensor)
        while maker is not None and maker.type in CONVERSIONS:
            maker = made_by.get(maker.inputs[0])
        if maker is None or maker not in sources:
            sources.append(maker)
    return sources


def _layers(graph: Graph, ops: Sequence[Op]) -> list[set[str]]:
    """The Keras layers in each operator's name: ``model_1/conv_1/convolution;model_1/relu_1/Relu`` -> conv, relu.

    The model's own scope, a call's number and what a quantized model puts behind a name are taken off. A name
    without a scope (an output) stands for itself.
    """
    paths = [[part.split("/") for part in graph.name(op).split(";") if part] for op in ops]
    first = {path[0] for parts in paths for path in parts if len(path) > 1}
    skip = 1 if len(first) == 1 else 0
    found = []
    for parts in paths:
        layers = set()
        for path in parts:
            if len(path) == 1:
                layers.add(f"output {path[0]}")
            elif len(path) > skip + 1 or not skip:
                layers.add(_layer(path[skip]))
        found.append(layers)
    return found


def _layer(scope: str) -> str:
    return re.sub(r"(_step\d+)?(_raw)?(_\d+)?$", "", scope)


def _label(graph: Graph, op: Op) -> str:
    """A short name to show: the last layer that went into a fused operator, or the one with the weights."""
    parts = [part.split("/") for part in graph.name(op).split(";") if part]
    weighted = next((path for path in parts if op.type in KERNELS and path[-1].startswith("MatMul")), None)
    path = weighted or (parts[0] if parts else [op.type.lower()])
    return path[0] if len(path) == 1 else _layer(path[1 if len(path) > 2 else 0])


def _numbered(names: Sequence[tuple[str, str]]) -> list[str]:
    """(operator, layer) pairs -> layers, those that do the same operator again with their turn: maps, maps (2), …"""
    turn: dict[tuple[str, str], int] = {}
    labels = []
    for name in names:
        turn[name] = turn.get(name, 0) + 1
        labels.append(name[1] if turn[name] == 1 else f"{name[1]} ({turn[name]})")
    return labels


def _adds_bias(name: str) -> bool:
    return any(part.split("/")[-1].lower().startswith(("add", "biasadd")) for part in name.split(";"))


def _on_grid(values: np.ndarray, tensor) -> tuple[np.ndarray, float]:
    """(values rounded to an int8 tensor's grid, the share of them outside its range); themselves where it has none."""
    if tensor.scale is None:
        return values, 0.0
    info = np.iinfo(tensor.dtype)
    steps = np.rint(values / tensor.scale) + tensor.zero_point
    kept = np.clip(steps, info.min, info.max)
    return (kept - tensor.zero_point) * tensor.scale, float((steps != kept).mean())


def _decibels(signal: float, noise: float) -> float | None:
    if noise == 0 or signal == 0:
        return None
    return float(10 * np.log10(signal / noise))


def _worst_inputs(graph: Graph, pairs, sqnr) -> list[float | None]:
    """For each matched operator the lowest SQNR among the matched ones that it reads, others looked through."""
    known = {id(op): value for (op, _), value in zip(pairs, sqnr, strict=True)}

    def inputs(op: Op) -> list[float | None]:
        found = []
        for source in _sources(graph, op):
            if source is not None:
                found += [known[id(source)]] if id(source) in known else inputs(source)
        return found

    return [min((v for v in inputs(op) if v is not None), default=None) for op, _ in pairs]


class _Tensors:
    """A file in an interpreter that keeps every tensor, without the delegate that would take them all in."""

    def __init__(self, path, card, graph: Graph) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        # The interpreter keeps no copy: the bytes must live as long as it does.
        self._content = split_card(Path(path).read_bytes(), str(path))[0]
        self._interpreter = Interpreter(
            model_content=self._content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._path, self._card, self._graph = path, card, graph
        self._run(self._interpreter.allocate_tensors)

    def feed(self, crop: np.ndarray) -> None:
        self._interpreter.set_tensor(self._graph.inputs[0], quantize(crop, self._card.input)[None])
        self._run(self._interpreter.invoke)

    def _run(self, step) -> None:
        try:
            step()
        except (RuntimeError, ValueError) as error:
            got = " ".join(str(error).split())
            raise InputError(f"{self._path} must run on the interpreter's own kernels. Received: {got}") from None

    def values(self, index: int) -> np.ndarray:
        """A tensor's real values, float64."""
        tensor, stored = self._graph.tensors[index], self._interpreter.get_tensor(index).astype(np.float64)
        return stored if tensor.scale is None else (stored - tensor.zero_point) * tensor.scale

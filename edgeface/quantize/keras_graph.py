"""A functional Keras model as a flat list of layer calls: the one reader of Keras' graph internals in this package.

Keras has no public way to walk a functional graph call by call (`clone_model` maps one layer to one layer, so nothing
can be fused). Used here, of Keras 3.15: `model._nodes_by_depth`, `layer._inbound_nodes`, `node.operation`,
`.arguments`, `.outputs`, `.is_input`, and `Sequential._functional`.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import tree

from edgeface.errors import InputError


@dataclass(frozen=True)
class Slot:
    """A tensor of the graph, by number."""

    index: int


@dataclass(frozen=True, eq=False)
class Call:
    """One call of one layer. A shared layer has several. `args` and `kwargs` hold Slots where tensors were."""

    layer: Any  # a keras.Layer, or a bare keras operation (keras.ops on symbolic tensors)
    args: Any
    kwargs: Any
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    node: int  # orders the layer's calls as they were made; `_nodes_by_depth` does not

    def run(self, layer, tensors: dict[Slot, Any]) -> list:
        """`layer` called as this call was, on other tensors; its outputs, flat."""
        args, kwargs = tree.map_structure(lambda v: tensors[v] if isinstance(v, Slot) else v, (self.args, self.kwargs))
        return tree.flatten(layer(*args, **kwargs))


@dataclass
class Graph:
    """Calls in an order in which each only reads what came before. Nested functional models are inlined."""

    calls: list[Call] = field(default_factory=list)
    inputs: Any = None  # the model's input structure, of Slots
    outputs: Any = None  # the model's output structure, of Slots
    input_tensors: list = field(default_factory=list)  # the model's own, flat

    def __post_init__(self):
        self.readers: dict[Slot, list[Call | None]] = defaultdict(list)  # None: a model output
        self.calls_of: dict[int, list[Call]] = defaultdict(list)  # by id(layer), as they were made

    def only_reader(self, slot: Slot) -> Call | None:
        """The call that alone reads `slot`, or None where there are several, none, or it is a model output."""
        readers = self.readers[slot]
        return readers[0] if len(readers) == 1 else None


def functional(model) -> keras.Model:
    """The functional model in `model`, or InputError."""
    if isinstance(model, keras.Sequential) and model.built:
        model = model._functional
    if not isinstance(model, keras.Model) or not hasattr(model, "_nodes_by_depth"):
        raise InputError(f"model must be a functional Keras model. Received: {type(model).__name__}")
    return model


def read_graph(model: keras.Model) -> Graph:
    """The calls of a functional (or built Sequential) model."""
    model = functional(model)
    graph, counter = Graph(input_tensors=list(model.inputs)), itertools.count()
    slots = {id(t): Slot(next(counter)) for t in model.inputs}
    _add(graph, model, slots, counter)

    def of(struct):
        return tree.map_structure(lambda t: slots[id(t)], struct)

    graph.inputs, graph.outputs = of(model.input), of(model.output)
    for call in graph.calls:
        graph.calls_of[id(call.layer)].append(call)
    for calls in graph.calls_of.values():
        calls.sort(key=lambda call: call.node)
    for call in graph.calls:
        for slot in dict.fromkeys(call.inputs):
            graph.readers[slot].append(call)
    for slot in tree.flatten(graph.outputs):
        graph.readers[slot].append(None)
    return graph


def _add(graph: Graph, model, slots: dict[int, Slot], counter) -> None:
    """Append the calls of `model`; `slots` (KerasTensor id -> Slot) knows its inputs and learns the rest."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            layer, arguments = node.operation, node.arguments
            if isinstance(layer, keras.Sequential) or hasattr(layer, "_nodes_by_depth"):
                inner = functional(layer)
                given = [slots[id(t)] for t in arguments.keras_tensors]
                inside = {id(t): s for t, s in zip(inner.inputs, given, strict=True)}
                _add(graph, inner, inside, counter)
                for t, t_inner in zip(node.outputs, inner.outputs, strict=True):
                    slots[id(t)] = inside[id(t_inner)]
                continue
            for t in node.outputs:
                slots[id(t)] = Slot(next(counter))
            args, kwargs = tree.map_structure(
                lambda v: slots[id(v)] if isinstance(v, keras.KerasTensor) else v,
                (arguments.args, arguments.kwargs),
            )
            inputs = tuple(slots[id(t)] for t in arguments.keras_tensors)
            outputs = tuple(slots[id(t)] for t in node.outputs)
            graph.calls.append(Call(layer, args, kwargs, inputs, outputs, layer._inbound_nodes.index(node)))


def inputs_of(model: keras.Model, batch: Any) -> Any:
    """What of a batch the model takes: the first of (inputs, targets). A list is such a pair too, unless the model has
    several inputs: then it is they."""
    pair = isinstance(batch, tuple) or (isinstance(batch, list) and len(model.inputs) == 1)
    return batch[0] if pair else batch


def layers_by_name(model) -> dict[str, keras.layers.Layer]:
    """Every layer that is called in `model`, those in nested models too. InputError where two share a name."""
    layers = {id(call.layer): call.layer for call in read_graph(model).calls}
    twice = [name for name, n in Counter(layer.name for layer in layers.values()).items() if n > 1]
    if twice:
        raise InputError(f"layers of a model must have distinct names. Received more than one: {', '.join(twice)}")
    return {layer.name: layer for layer in layers.values()}


def named_outputs(model: keras.Model, outputs: Any) -> dict[str, Any]:
    """Outputs of a model (tensors, arrays or slots) by name: a dict as it is, others by the layers that make them.

    InputError: one name for two.
    """
    if isinstance(outputs, dict):
        return outputs
    names = [t._keras_history.operation.name for t in tree.flatten(model.output)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            "outputs must have distinct names: make the model's outputs a dict. "
            f"Received: several of layer {', '.join(twice)}"
        )
    return dict(zip(names, tree.flatten(outputs), strict=True))


def output_layers(model: keras.Model) -> dict[str, str]:
    """Output name -> the layer that makes it."""
    return {name: t._keras_history.operation.name for name, t in named_outputs(model, model.output).items()}


def outputs_of(model: keras.Model, kind: type) -> dict[str, Any]:
    """Layer name -> the tensor that one of its calls makes, for the layers of a class, in the graph's order."""
    model = functional(model)
    found: dict[str, Any] = {}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if not node.is_input and isinstance(node.operation, kind):
                found.setdefault(node.operation.name, node.outputs[0])
    return found

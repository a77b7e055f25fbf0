"""The last float operators of a quantized model without its heads: answers of one stage that condition the next."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, tree

from edgeface.quantize.annotations import annotation_of
from edgeface.quantize.keras_graph import Call, Graph, Slot, read_graph
from edgeface.quantize.layers import FakeQuant, FloatGate, QuantKernel
from edgeface.quantize.weights import copy_named


def integer_conditioning(model: keras.Model) -> keras.Model:
    """The model with its `KeepFloat(mean_dense=True)` layers in int8 where only int8 layers read them.

    A model's answer must be float: 255 steps are few for it. As the condition of a squeeze-and-excitation they are
    many. Here the mean keeps the features' grid, the dense layer's kernel is rounded, and its output gets the range
    that was measured behind the float layer.

    Args:
        model: a calibrated quantized model. The result shares its layers and weights.
    """
    graph = read_graph(model)
    tensors: dict[Slot, Any] = dict(zip(tree.flatten(graph.inputs), model.inputs, strict=True))
    made_by = {slot: call for call in graph.calls for slot in call.outputs}
    for call in graph.calls:
        if getattr(annotation_of(call.layer), "mean_dense", False) and _conditions(graph, call):
            results = [_in_int8(call, made_by, tensors)]
        else:
            results = call.run(call.layer, tensors)
        tensors.update(zip(call.outputs, results, strict=True))
    ends = tree.map_structure(lambda slot: tensors[slot], graph.outputs)
    return keras.Model(model.inputs[0], ends, name=model.name)


def _conditions(graph: Graph, call: Call) -> bool:
    readers = graph.readers[call.outputs[0]]
    return bool(readers) and all(reader is not None and isinstance(reader.layer, FakeQuant) for reader in readers)


def _in_int8(call: Call, made_by: dict[Slot, Call], tensors: dict[Slot, Any]):
    source = call.inputs[0]
    if isinstance(made_by[source].layer, FloatGate):
        source = made_by[source].inputs[0]
    maker = made_by[source]
    while not isinstance(maker.layer, FakeQuant):  # what lies between keeps the grid
        maker = made_by[maker.inputs[0]]
    grid = maker.layer
    name = f"{call.layer.name}_of_{grid.name}"
    mean = layers.GlobalAveragePooling2D(name=f"{name}_mean", dtype="float32")(tensors[source])
    dense = QuantKernel("dense", tuple(call.layer.kernel.shape), use_bias=True, name=f"{name}_int8")
    answer = dense(grid(mean, observe=False))
    copy_named(call.layer, dense, ("kernel", "bias"))
    return answer

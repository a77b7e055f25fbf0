"""The last float operators of a twin whose heads are cut off: the answers of one stage that condition the next.

A float island that declares ``mean_dense = True`` is a dense layer (``kernel``, ``bias``) on its input's spatial mean.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, tree

from edgeface.quantize.keras_graph import Call, Graph, Slot, read_graph
from edgeface.quantize.layers import FakeQuant, FloatGate, QuantKernel


def integer_conditioning(twin: keras.Model) -> keras.Model:
    """A twin whose ``mean_dense`` islands are int8 where only the trunk reads them; weights and layers are shared.

    A model's answer must be float: 255 steps are few for it. As the condition of a squeeze-and-excitation they are
    many. Here the mean keeps the features' grid, the dense layer's kernel is rounded, and the range that the twin
    measured behind the island closes it.
    """
    graph = read_graph(twin)
    tensors: dict[Slot, Any] = dict(zip(tree.flatten(graph.inputs), twin.inputs, strict=True))
    made_by = {slot: call for call in graph.calls for slot in call.outputs}
    for call in graph.calls:
        if getattr(call.layer, "mean_dense", False) and _conditions(graph, call):
            results = [_in_int8(call, made_by, tensors)]
        else:
            results = call.run(call.layer, tensors)
        tensors.update(zip(call.outputs, results, strict=True))
    ends = tree.map_structure(lambda slot: tensors[slot], graph.outputs)
    return keras.Model(twin.inputs[0], ends, name=twin.name)


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
    dense.kernel.assign(call.layer.kernel)
    dense.bias.assign(call.layer.bias)
    return answer

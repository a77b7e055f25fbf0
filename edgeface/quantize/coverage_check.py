"""What an int8 file computes in float, against what `edgeface.quantize.coverage` says of the model it was made from."""

from __future__ import annotations

import keras

from edgeface.errors import InputError
from edgeface.quantize.coverage import coverage
from edgeface.quantize.keras_graph import layers_by_name
from edgeface.quantize.layers import FloatGate
from edgeface.quantize.tflite_graph import Graph, Op


def check(graph: Graph, model: keras.Model, output_layers: dict[str, str]) -> None:
    """InputError where a layer is float in the file and int8 in the model, or has int8 weights and is float in the
    model; or where the file cannot run.

    Args:
        graph: the file's.
        model: the quantized model that was converted.
        output_layers: output name -> the layer that makes it. (The operator that makes an output has its name.)
    """
    layers = layers_by_name(model)
    announced = {uncovered.name for uncovered in coverage(model)}
    makers = {graph.output_names[name]: layer for name, layer in output_layers.items()}
    expected = announced | {name for name, layer in layers.items() if isinstance(layer, FloatGate)}
    weighted = {name for name in announced if getattr(layers[name], "weights", None)}
    made = {*graph.inputs, *(i for op in graph.ops for i in op.outputs)}
    float_tensors = set(graph.inputs)  # that a layer which stays float may read
    floats, rounded = [], []
    for op in graph.ops:
        of = layers_of(graph, op, makers) & set(layers)
        if "float32" in _dtypes(graph, op.outputs) and op.type != "DEQUANTIZE":
            # A grouped convolution loses its layer's name: it is judged by what it reads.
            nameless = not of and _inputs(graph, op) <= float_tensors
            if of & expected or (nameless and announced):
                float_tensors.update(op.outputs)
            else:
                floats.append(graph.where(op))
        elif of & weighted and any(graph.tensors[i].constant and graph.tensors[i].dtype == "int8" for i in op.inputs):
            rounded.append(graph.where(op))
    if unmade := [graph.where(op) for op in graph.ops if not _inputs(graph, op) <= made]:
        # The converter loses the QUANTIZE behind a float tensor that is an output.
        raise InputError(f"a float output must not be read by an int8 layer too. Received: one read by {_few(unmade)}")
    if floats:
        raise InputError(f"every operator of an int8 layer must be int8. Received: a file with float {_few(floats)}")
    if rounded:
        raise InputError(f"the weights of a float layer must stay float. Received: a file with int8 {_few(rounded)}")


def layers_of(graph: Graph, op: Op, makers: dict[int, str]) -> set[str]:
    """The layers that an operator comes from, as far as its name tells."""
    made = {makers[i] for i in op.outputs if i in makers}
    return made or set(graph.layer(op).split(" + "))


def _inputs(graph: Graph, op: Op) -> set[int]:
    """Tensors that an operator reads, without constants."""
    return {i for i in op.inputs if not graph.tensors[i].constant}


def _dtypes(graph: Graph, tensors: tuple[int, ...]) -> set[str]:
    return {graph.tensors[i].dtype for i in tensors}


def _few(found: list[str]) -> str:
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")

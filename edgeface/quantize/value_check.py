"""Values that no int8 file can hold: not finite, absurd ranges, biases beyond int32. The layer is named."""

from __future__ import annotations

import keras
import numpy as np

from edgeface.errors import InputError
from edgeface.quantize.coverage_check import layers_of
from edgeface.quantize.keras_graph import layers_by_name
from edgeface.quantize.layers import FakeQuant, QuantKernel
from edgeface.quantize.tflite_graph import Graph

LARGEST = 1e18
"""Limit of a range's ends and of a weight."""
SMALLEST_STEP = 1e-12
BIAS_LIMIT = 2**30
"""Half of int32: the other half is for the sum of products that the bias is added to."""


def check_values(model: keras.Model) -> None:
    """InputError where a range or a weight of a quantized model is not finite or absurd.

    Args:
        model: made by `quantize_aware`, calibrated.
    """
    found = []
    for name, layer in layers_by_name(model).items():
        if isinstance(layer, FakeQuant):
            low, high = layer.range()
            sane = np.isfinite([low, high]).all() and -LARGEST < low <= 0 <= high < LARGEST
            if not sane or (high - low) / (2**layer.bits - 1) < SMALLEST_STEP:
                found.append(f"range {low:g} to {high:g} at {name}")
            continue
        arrays = layer.folded() if isinstance(layer, QuantKernel) else getattr(layer, "weights", None) or ()
        for array in arrays:
            values = None if array is None else np.abs(keras.ops.convert_to_numpy(array))
            if values is not None and values.size and not values.max() < LARGEST:
                found.append(f"a weight of {values.max():g} at {name}")
                break
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise InputError(
            f"ranges and weights must be finite and within {LARGEST:g}, and a range must have a width. "
            f"Received: {', '.join(found[:3])}{more}"
        )


def check_biases(graph: Graph, output_layers: dict[str, str]) -> None:
    """InputError where an int32 bias of the file is so large that it, or the sum it is added to, leaves int32.

    Args:
        graph: the file's.
        output_layers: output name -> the layer that makes it.
    """
    makers = {graph.output_names[name]: layer for name, layer in output_layers.items()}
    for op in graph.ops:
        for index in op.inputs[1:]:
            tensor = graph.tensors[index]
            if tensor.constant and tensor.dtype == "int32" and tensor.scales and tensor.largest > BIAS_LIMIT:
                raise InputError(
                    "a bias must fit int32 at the scale of its layer's input and kernel: the kernel is too small for "
                    "it, so scale the layer up, drop its dead channels, or keep it float. "
                    f"Received: {tensor.largest:.3g} at {' + '.join(sorted(layers_of(graph, op, makers)))}"
                )

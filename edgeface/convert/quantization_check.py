"""Quantization parameters as TensorFlow Lite's int8 kernels need them, checked tensor by tensor."""

from __future__ import annotations

import math

from edgeface.quantize.tflite_graph import Graph, Op, Tensor

CHANNEL_AXIS = {"CONV_2D": 0, "TRANSPOSE_CONV": 0, "DEPTHWISE_CONV_2D": 3}
"""Axis of the output channels in a kernel; a FULLY_CONNECTED has one scale for all of them (tflite-runtime 2.14)."""
LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def wrong_parameters(graph: Graph) -> list[str]:
    """Every tensor whose scale or zero point is not what a kernel expects, in words."""
    failures = []
    for tensor in graph.tensors:
        failures += [f"tensor {tensor.name!r} {why}" for why in _activation(tensor)]
    for op in graph.ops:
        if graph.dtype(op) == "int8" and op.type in (*CHANNEL_AXIS, "FULLY_CONNECTED"):
            failures += [f"{graph.where(op)}: {why}" for why in _kernel(graph, op)]
    return failures


def _activation(tensor: Tensor) -> list[str]:
    """Per tensor, scale finite and above 0, zero point within the dtype."""
    if tensor.constant or tensor.dtype not in LIMITS:
        return []
    if len(tensor.scales) != 1:
        return [f"of {tensor.dtype} with {len(tensor.scales)} scales, not 1"]
    low, high = LIMITS[tensor.dtype]
    scale, zero = tensor.scales[0], tensor.zero_points[0]
    wrong = [f"with scale {scale}, not finite and above 0"] if not (math.isfinite(scale) and scale > 0) else []
    return wrong + ([f"with zero point {zero}, not within {low} and {high}"] if not low <= zero <= high else [])


def _kernel(graph: Graph, op: Op) -> list[str]:
    """Weights symmetric in int8, one scale per channel; bias int32 with the scale input * weights and no zero point."""
    tensors = [graph.tensors[i] for i in op.inputs]
    # TRANSPOSE_CONV: output shape, weights, input[, bias]; the others: input, weights[, bias].
    image, weights = (tensors[2], tensors[1]) if op.type == "TRANSPOSE_CONV" else (tensors[0], tensors[1])
    bias = next((t for t in tensors[2:] if t is not image), None)
    wrong = []
    if weights.dtype != "int8":
        return [f"weights in {weights.dtype}, not int8"]
    if any(weights.zero_points):
        wrong.append(f"weights with zero point {next(z for z in weights.zero_points if z)}, not 0")
    axis = CHANNEL_AXIS.get(op.type)
    channels = 1 if axis is None else weights.shape[axis]
    if len(weights.scales) != channels or (axis is not None and channels > 1 and weights.axis != axis):
        wrong.append(f"weights with {len(weights.scales)} scales along axis {weights.axis}, not {channels}")
    if bias is None or wrong:
        return wrong
    if bias.dtype != "int32" or any(bias.zero_points) or len(bias.scales) != channels:
        return [f"bias in {bias.dtype} with {len(bias.scales)} scales, not int32 with {channels} and zero point 0"]
    for own, weight in zip(bias.scales, weights.scales, strict=True):
        # Scales are float32; the kernels allow 2 % of the result.
        if not math.isclose(own, image.scales[0] * weight, rel_tol=1e-4):
            return [f"bias with scale {own:g}, not input times weights, {image.scales[0] * weight:g}"]
    return []

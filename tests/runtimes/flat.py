"""`.tflite` files of one operator, written without a converter."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

KINDS = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32}


def gather_nd(path: Path) -> Path:
    """float32 (1, 8, 8, 4) -> GATHER_ND -> (2, 4)."""
    indices = np.array([[0, 1, 2], [0, 3, 4]], np.int32)
    return _write(path, schema.BuiltinOperator.GATHER_ND, [("x", (1, 8, 8, 4)), ("at", indices)], ("y", (2, 4)))


def square(path: Path) -> Path:
    """float32 (1, 8, 8, 4) -> x * x."""
    options = (schema.BuiltinOptions.MulOptions, schema.MulOptionsT())
    return _write(path, schema.BuiltinOperator.MUL, [("x", (1, 8, 8, 4))], ("y", (1, 8, 8, 4)), options, twice=True)


def strided_int8_conv(path: Path, side: int = 8, zero_point: int = 0) -> Path:
    """int8 (1, S, S, 4) -> 1x1 convolution of stride 2 -> (1, ceil(S / 2), ceil(S / 2), 4), all int8."""
    kernel = np.random.default_rng(0).integers(-127, 128, (4, 1, 1, 4)).astype(np.int8)
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, 2, 2
    options.dilationHFactor = options.dilationWFactor = 1
    half = (side + 1) // 2
    return _write(
        path,
        schema.BuiltinOperator.CONV_2D,
        [("x", (1, side, side, 4)), ("kernel", kernel), ("bias", np.zeros(4, np.int32))],
        ("y", (1, half, half, 4)),
        (schema.BuiltinOptions.Conv2DOptions, options),
        scales={"x": 1.0, "kernel": 0.01, "bias": 0.01, "y": 2.0},
        zero_point=zero_point,
    )


def _write(path, kind, inputs, output, options=None, scales=None, twice=False, zero_point=0) -> Path:
    """inputs: (name, shape) of what is fed, (name, values) of constants."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, graph.tensors = 3, [schema.BufferT()], []
    for name, what in [*inputs, output]:
        tensor = schema.TensorT()
        constant = isinstance(what, np.ndarray)
        dtype = what.dtype.name if constant else "int8" if scales else "float32"
        tensor.name, tensor.type, tensor.buffer = name.encode(), KINDS[dtype], 0
        tensor.shape = list(what.shape if constant else what)
        if scales:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scales[name]], [zero_point * (name == "x")]
        if constant:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(what.tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(tensor)
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, min(kind, 127), 3 if scales else 1
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, [0, 0] if twice else list(range(len(inputs))), [len(inputs)]
    if options is not None:
        op.builtinOptionsType, op.builtinOptions = options
    graph.inputs, graph.outputs, graph.operators = [0], [len(inputs)], [op]
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path

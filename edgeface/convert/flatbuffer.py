"""Changing a `.tflite` after it is written: operators and tensors added to its flatbuffer."""

from __future__ import annotations

import copy
from typing import Any

from edgeface.card import split_card


def parse(data: bytes) -> Any:
    """The model's objects (`schema_py_generated.ModelT`); a card behind the flatbuffer is left out."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(split_card(data, "the model")[0], 0)


def pack(model: Any) -> bytes:
    """Constants start at multiples of 16 bytes, as the converter's own files have them and the schema demands."""
    import flatbuffers

    class Aligned(flatbuffers.Builder):
        def StartVector(self, elem_size: int, count: int, alignment: int):
            return super().StartVector(elem_size, count, 16 if elem_size == 1 else alignment)

    builder = Aligned(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def builtin_of(model: Any, op: Any) -> int:
    """The operator's `BuiltinOperator`. Old writers fill only the 8-bit field, new ones both."""
    code = model.operatorCodes[op.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def new_operator(
    model: Any, builtin: int, version: int, inputs: list[int], outputs: list[int], options: tuple | None = None
) -> Any:
    """An operator to be put among ``subgraph.operators``. options: (BuiltinOptions kind, its object)."""
    from ai_edge_litert import schema_py_generated as schema

    codes = model.operatorCodes
    found = [
        i
        for i, c in enumerate(codes)
        if max(c.builtinCode, c.deprecatedBuiltinCode) == builtin and c.version >= version
    ]
    if not found:
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        codes.append(code)
        found = [len(codes) - 1]
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = found[0], inputs, outputs
    if options is not None:
        op.builtinOptionsType, op.builtinOptions = options
    return op


def new_tensor(graph: Any, like: int, suffix: str, shape: tuple[int, ...] | None = None) -> int:
    """A tensor that an operator makes, of the type and quantization of another; its index."""
    tensor = copy.copy(graph.tensors[like])
    tensor.name = tensor.name + suffix.encode()
    tensor.buffer = 0
    if shape is not None:
        tensor.shape, tensor.shapeSignature = list(shape), None
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def new_constant(model: Any, graph: Any, name: str, values: Any) -> int:
    """A constant int32 tensor; its index. values: a numpy array of int32."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.name, tensor.type, tensor.shape = name.encode(), schema.TensorType.INT32, list(values.shape)
    tensor.buffer = len(model.buffers) - 1
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1

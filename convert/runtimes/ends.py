"""A copy of a file whose 8-bit input and outputs are float, for LiteRT.js, which has no int8 tensors."""

from __future__ import annotations

from typing import Any

from edgeface.convert.flatbuffer import builtin_of, new_operator, new_tensor, pack, parse


def _integers() -> set[int]:
    from ai_edge_litert import schema_py_generated as schema

    return {schema.TensorType.INT8, schema.TensorType.UINT8}


def has_integer_ends(data: bytes) -> bool:
    """Whether an input or an output is int8 or uint8."""
    graph = parse(data).subgraphs[0]
    return any(graph.tensors[i].type in _integers() for i in (*graph.inputs, *graph.outputs))


def with_float_ends(data: bytes) -> bytes:
    """The model (its card left out) with a QUANTIZE after each integer input and a DEQUANTIZE before each such output.

    The numbers between them are unchanged: the input's QUANTIZE from uint8 to int8 becomes one from float32 with the
    same result for whole numbers.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = parse(data)
    graph = model.subgraphs[0]
    kinds, builtin = _integers(), schema.BuiltinOperator
    renamed: dict[int, int] = {}
    for index in [int(i) for i in graph.inputs if graph.tensors[i].type in kinds]:
        twin = renamed[index] = _float_twin(graph, index)
        readers = [op for op in graph.operators if index in list(op.inputs)]
        if all(builtin_of(model, op) == builtin.QUANTIZE for op in readers):
            for op in readers:
                op.inputs = [twin]
        else:
            graph.operators.insert(0, new_operator(model, builtin.QUANTIZE, 1, [twin], [index]))
    for index in [int(i) for i in graph.outputs if graph.tensors[i].type in kinds]:
        twin = renamed[index] = _float_twin(graph, index)
        graph.operators.append(new_operator(model, builtin.DEQUANTIZE, 2, [index], [twin]))
    graph.inputs = [renamed.get(int(i), int(i)) for i in graph.inputs]
    graph.outputs = [renamed.get(int(i), int(i)) for i in graph.outputs]
    for signature in model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = renamed.get(entry.tensorIndex, entry.tensorIndex)
    return pack(model)


def _float_twin(graph: Any, index: int) -> int:
    from ai_edge_litert import schema_py_generated as schema

    twin = new_tensor(graph, index, "_float")
    graph.tensors[twin].type, graph.tensors[twin].quantization = schema.TensorType.FLOAT32, None
    return twin

"""Operator versions that the interpreters in use load: the oldest, tflite-runtime 2.14.0, and LiteRT 2.3.0.

An interpreter refuses a file that holds an operator in a version it does not know, and says so only on the device.
The table was measured: for each operator and version a file with that one operator was opened in both interpreters
(`one_operator`). tflite-runtime 2.14.0 sets every limit.
"""

from __future__ import annotations

from edgeface.quantize.tflite_graph import Graph

OLDEST = "tflite-runtime 2.14.0"
MAX_VERSION: dict[str, int] = {
    "ABS": 5, "ADD": 5, "AVERAGE_POOL_2D": 3, "BATCH_MATMUL": 4, "BATCH_TO_SPACE_ND": 4, "BROADCAST_TO": 3,
    "CAST": 5, "CEIL": 1, "CONCATENATION": 4, "CONV_2D": 7, "COS": 1, "CUMSUM": 1, "DEPTHWISE_CONV_2D": 7,
    "DEPTH_TO_SPACE": 2, "DEQUANTIZE": 5, "DIV": 2, "ELU": 1, "EQUAL": 4, "EXP": 2, "EXPAND_DIMS": 1, "FILL": 4,
    "FLOOR": 1, "FULLY_CONNECTED": 10, "GELU": 2, "GREATER": 2, "GREATER_EQUAL": 3, "HARD_SWISH": 1,
    "L2_NORMALIZATION": 2, "L2_POOL_2D": 1, "LEAKY_RELU": 2, "LESS": 3, "LESS_EQUAL": 2, "LOG": 1, "LOGICAL_AND": 1,
    "LOGICAL_NOT": 1, "LOGICAL_OR": 1, "LOGISTIC": 3, "LOG_SOFTMAX": 2, "MAXIMUM": 4, "MAX_POOL_2D": 3, "MEAN": 3,
    "MINIMUM": 4, "MIRROR_PAD": 3, "MUL": 7, "NEG": 1, "NOT_EQUAL": 3, "ONE_HOT": 1, "PACK": 4, "PAD": 4, "PADV2": 4,
    "POW": 1, "PRELU": 1, "QUANTIZE": 3, "REDUCE_MAX": 3, "REDUCE_MIN": 3, "REDUCE_PROD": 2, "RELU": 3, "RELU6": 3,
    "RELU_0_TO_1": 1, "RELU_N1_TO_1": 1, "RESHAPE": 1, "RESIZE_BILINEAR": 4, "RESIZE_NEAREST_NEIGHBOR": 4, "ROUND": 1,
    "RSQRT": 2, "SELECT": 4, "SELECT_V2": 2, "SIGN": 2, "SIN": 1, "SLICE": 6, "SOFTMAX": 3, "SPACE_TO_BATCH_ND": 4,
    "SPACE_TO_DEPTH": 2, "SPLIT": 4, "SPLIT_V": 2, "SQRT": 1, "SQUARE": 1, "SQUARED_DIFFERENCE": 2, "SQUEEZE": 2,
    "STRIDED_SLICE": 8, "SUB": 5, "SUM": 2, "TANH": 3, "TILE": 3, "TOPK_V2": 3, "TRANSPOSE": 6, "TRANSPOSE_CONV": 4,
    "UNPACK": 4, "ZEROS_LIKE": 1,
}  # fmt: skip
"""The highest version that both load."""


def too_new(graph: Graph, refused: frozenset[str] = frozenset()) -> list[str]:
    """Operators that an interpreter in use does not load, in words; one that is not in the table is one of them.

    refused: operators that are named elsewhere.
    """
    failures = []
    for op in graph.ops:
        known = MAX_VERSION.get(op.type, 0)
        if op.version > known and not op.type.startswith("CUSTOM:") and op.type not in refused:
            limit = f"{OLDEST} loads at most {known}" if known else f"not known to load on {OLDEST}"
            failures.append(f"{graph.where(op)} in version {op.version}, {limit}")
    return failures


def one_operator(name: str, version: int) -> bytes:
    """A `.tflite` of one operator without options: enough for an interpreter to say whether it knows it."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    code, op, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    # Readers older than 2.3 know the 8-bit field alone, which stops at 127.
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    op.opcodeIndex, op.inputs, op.outputs = 0, [0], [1]
    for tensor_name in ("a", "b"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = tensor_name, [1, 2, 2, 1], 0, 0
        graph.tensors = [*(graph.tensors or []), tensor]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [op]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(512)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())

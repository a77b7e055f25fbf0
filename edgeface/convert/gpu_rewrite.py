"""Two rewrites after which the GPU engine (ML Drift, ai-edge-litert 2.3.0) computes int8 files rightly.

Both leave every number of every CPU runtime as it was:

- An int8 1x1 convolution of stride 2: the engine forgets the stride and reads the map's top left quarter (poses were
  off by 30 degrees). It becomes a 1x1 pooling of stride 2, which only leaves out pixels, and a convolution of stride 1.
- An int8 product of a map (1, H, W, C) with (1, C): the engine writes a shader that does not compile. The second factor
  is reshaped to (1, 1, 1, C) first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeface.convert.flatbuffer import builtin_of, new_constant, new_operator, new_tensor, pack, parse


def for_gpu(data: bytes) -> bytes:
    """The flatbuffer rewritten; the same bytes where there is nothing to rewrite. A card is not carried over."""
    from ai_edge_litert import schema_py_generated as schema

    model = parse(data)
    graph = model.subgraphs[0]
    kinds = schema.BuiltinOperator
    changed = 0
    for op in list(graph.operators):
        if graph.tensors[op.outputs[0]].type != schema.TensorType.INT8:
            continue
        kind = builtin_of(model, op)
        if kind == kinds.CONV_2D and _is_strided_1x1(graph, op):
            _pool_first(model, graph, op)
            changed += 1
        elif kind == kinds.MUL and (flat := _flat_factor(graph, op)) is not None:
            _reshape_first(model, graph, op, flat)
            changed += 1
    return pack(model) if changed else data


def _is_strided_1x1(graph: Any, op: Any) -> bool:
    height, width = list(graph.tensors[op.inputs[1]].shape)[1:3]
    return height == width == 1 and max(op.builtinOptions.strideH, op.builtinOptions.strideW) > 1


def _pool_first(model: Any, graph: Any, op: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    pool, conv = schema.Pool2DOptionsT(), op.builtinOptions
    pool.strideH, pool.strideW, pool.filterHeight, pool.filterWidth = conv.strideH, conv.strideW, 1, 1
    # With a 1x1 window, SAME and VALID read the same pixels.
    pool.padding = conv.padding
    source = int(op.inputs[0])
    batch, height, width, channels = graph.tensors[source].shape
    shape = (batch, -(-height // conv.strideH), -(-width // conv.strideW), channels)
    kept = new_tensor(graph, source, "_strided", shape)
    options = (schema.BuiltinOptions.Pool2DOptions, pool)
    # Version 2 is the first that takes int8.
    before = new_operator(model, schema.BuiltinOperator.MAX_POOL_2D, 2, [source], [kept], options)
    _insert_before(graph, op, before)
    op.inputs = [kept, *(int(i) for i in op.inputs[1:])]
    conv.strideH = conv.strideW = 1


def _flat_factor(graph: Any, op: Any) -> int | None:
    """Which input of a product is (1, C) where the other is a map; None where neither is."""
    ranks = [len(graph.tensors[i].shape) for i in op.inputs]
    return ranks.index(2) if sorted(ranks) == [2, 4] else None


def _reshape_first(model: Any, graph: Any, op: Any, flat: int) -> None:
    from ai_edge_litert import schema_py_generated as schema

    source = int(op.inputs[flat])
    shape = (1, 1, *(int(n) for n in graph.tensors[source].shape))
    spread = new_tensor(graph, source, "_spread", shape)
    target = new_constant(model, graph, f"shape_of_{spread}", np.array(shape, np.int32))
    reshape = schema.ReshapeOptionsT()
    reshape.newShape = list(shape)
    options = (schema.BuiltinOptions.ReshapeOptions, reshape)
    before = new_operator(model, schema.BuiltinOperator.RESHAPE, 1, [source, target], [spread], options)
    _insert_before(graph, op, before)
    op.inputs = [spread if place == flat else int(i) for place, i in enumerate(op.inputs)]


def _insert_before(graph: Any, op: Any, before: Any) -> None:
    place = next(i for i, other in enumerate(graph.operators) if other is op)
    graph.operators.insert(place, before)

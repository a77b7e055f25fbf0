"""Cross-layer equalization: scales moved between neighbors, so that one per-tensor range suits all channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from edgeface.quantize.keras_graph import Call, Graph, layers_by_name, read_graph
from edgeface.quantize.kinds import activation_of, reason_against, relu_of
from edgeface.quantize.weights import copy_weights, value_of

# Per channel and positively homogeneous: f(s x) = s f(x) for s > 0.
_PASSING = (
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.ZeroPadding2D,
    layers.UpSampling2D,
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.Cropping2D,
    layers.Identity,
)
_FIRST = (layers.Conv2D, layers.DepthwiseConv2D)
_LIMIT = 1e4  # of a scale: a channel that is all but dead must not blow up its neighbor


@dataclass(frozen=True)
class Pair:
    """Two weighted layers with nothing but a batch norm, ReLUs and passing layers between them."""

    first: Any
    norm: Any | None
    second: Any


def equalize(model: keras.Model, sweeps: int = 10) -> tuple[keras.Model, tuple[str, ...]]:
    """Cross-layer equalization: each pair of neighbors with channels of equal size, the function unchanged.

    Nagel et al. (ICCV 2019), section 4.1: with r1, r2 the largest weight of channel i in the first layer's output
    (batch norm folded in) and in the second's input, s = sqrt(r1 r2) / r2 divides the one and multiplies the other.
    Only where the graph allows: Conv2D or DepthwiseConv2D, perhaps a batch norm, ReLU (no other activation: s must
    pass), pooling or resizing, Conv2D or DepthwiseConv2D, each reading the last alone; no layer that is called twice.

    Args:
        model: float and functional; it is not changed.
        sweeps: passes over all pairs, at most; fewer where the scales have settled.

    Returns:
        The equalized copy and the pairs' names, "first - second".
    """
    copy = keras.models.clone_model(model)
    copy_weights(model, copy)
    by_name = layers_by_name(copy)
    pairs = [
        Pair(by_name[p.first.name], p.norm and by_name[p.norm.name], by_name[p.second.name])
        for p in find_pairs(read_graph(model))
    ]
    for _ in range(sweeps):
        moved = max((_equalize(pair) for pair in pairs), default=0.0)
        if moved < 1e-3:
            break
    return copy, tuple(f"{p.first.name} - {p.second.name}" for p in pairs)


def find_pairs(graph: Graph) -> list[Pair]:
    """Where a scale can move."""
    pairs = []
    for call in graph.calls:
        if (
            type(call.layer) not in _FIRST
            or not _once(graph, call)
            or activation_of(call.layer) not in ("linear", "relu")
        ):
            continue
        if reason_against(call.layer):
            continue
        norm, follower = None, graph.only_reader(call.outputs[0])
        while follower is not None and _once(graph, follower):
            layer = follower.layer
            is_norm = type(layer) is layers.BatchNormalization
            if type(layer) in _FIRST:
                if reason_against(layer) is None:
                    pairs.append(Pair(call.layer, norm, layer))
                break
            if is_norm and (norm is not None or activation_of(call.layer) != "linear" or not _scales(layer)):
                break
            if not is_norm and relu_of(layer) != "relu" and type(layer) not in _PASSING:
                break
            norm = layer if is_norm else norm
            follower = graph.only_reader(follower.outputs[0])
    return pairs


def _once(graph: Graph, call: Call) -> bool:
    return len(graph.calls_of[id(call.layer)]) == 1


def _scales(norm) -> bool:
    return bool(norm.scale and norm.center)


def _equalize(pair: Pair) -> float:
    """Move one pair's scales; returns how far from 1 the largest is, as |log|."""
    first, second = _kernel(pair.first), _kernel(pair.second)
    gain = 1.0
    if pair.norm is not None:
        gain = value_of(pair.norm.gamma) / np.sqrt(value_of(pair.norm.moving_variance) + pair.norm.epsilon)
    # Output channels of a depthwise kernel are its third axis; a Conv2D reads its input channels there too.
    depthwise = type(pair.first) is layers.DepthwiseConv2D
    r1 = np.abs(first).max(axis=(0, 1, 3) if depthwise else (0, 1, 2)) * np.abs(gain)
    r2 = np.abs(second).max(axis=(0, 1, 3))
    alive = (r1 > 1e-8) & (r2 > 1e-8)
    scale = np.where(alive, np.sqrt(np.where(alive, r1, 1.0) / np.where(alive, r2, 1.0)), 1.0)
    scale = np.clip(scale, 1 / _LIMIT, _LIMIT)
    if pair.norm is not None:
        pair.norm.gamma.assign(value_of(pair.norm.gamma) / scale)
        pair.norm.beta.assign(value_of(pair.norm.beta) / scale)
    else:
        _assign_kernel(pair.first, first / (scale[:, None] if depthwise else scale))
        if pair.first.use_bias:
            pair.first.bias.assign(value_of(pair.first.bias) / scale)
    _assign_kernel(pair.second, second * scale[:, None])
    return float(np.abs(np.log(scale)).max())


def _kernel(layer) -> np.ndarray:
    return value_of(layer.kernel)


def _assign_kernel(layer, value: np.ndarray) -> None:
    layer.kernel.assign(value)

"""A larger network that begins as a trained smaller one: wider layers, more stages.

Widths grow as in Net2Net (Chen, Goodfellow, Shlens, ICLR 2016), but for the newcomers: instead of copies of old
channels, which noise would have to tell apart, they have random weights of their own, and what was there before does
not listen to them yet. So the larger network answers as the smaller one did, and learns from there.
"""

from __future__ import annotations

from dataclasses import fields

import keras
import numpy as np
from keras import layers

from edgeface.models.layers import PoseFromFeatures
from edgeface.models.outputs import split_stage, stage_name

_WIDTHS = ("stem", "widths", "width", "pose_widths")
_BY_CHANNEL = (layers.BatchNormalization, layers.DepthwiseConv2D)
"""Their weights belong to channels that come in; the others' outputs are channels of their own."""


def check_growth(small, large) -> None:
    """ValueError names the field in which the config ``large`` is no wider or longer form of ``small``.

    Args:
        small: the trained network's config.
        large: the other one's.
    """
    if type(small) is not type(large):
        raise ValueError(f"network must be {large.network}. Received: {small.network}")
    for field in fields(large):
        before, after = getattr(small, field.name), getattr(large, field.name)
        if field.name in _WIDTHS:
            olds, news = ((v,) if isinstance(v, int) else v for v in (before, after))
            if len(olds) != len(news) or any(old > new for old, new in zip(olds, news, strict=True)):
                raise ValueError(f"{field.name} must be at most {after}, level by level. Received: {before}")
        elif field.name == "stages":
            # The first stage alone does not show how one steers the next.
            if before != after and not 2 <= before < after:
                raise ValueError(f"stages must be {after}, or from 2 to that. Received: {before}")
        elif field.name != "name" and before != after:
            raise ValueError(f"{field.name} must be {after}. Received: {before}")


def grow(small: keras.Model, large: keras.Model) -> None:
    """Sets the weights of ``large`` so that the stages it shares with ``small`` answer as they do there.

    Further stages begin as the last that ``small`` has. The networks' configs must pass `check_growth`; of what can be
    seen in weights, ValueError names the layer that has no counterpart or another shape.

    Args:
        small: the trained network.
        large: a new network; its weights are set.
    """
    sources = {layer.name: _source(small, layer.name) for layer in large.layers if layer.weights}
    unused = {layer.name for layer in small.layers if layer.weights} - {layer.name for layer in sources.values()}
    if unused:
        raise ValueError(f"{large.name} must have all layers of {small.name}. Received: none for {min(unused)}")
    incoming, outgoing = _places(large, sources)
    for name, source in sources.items():
        layer = large.get_layer(name)
        new, old = layer.get_weights(), source.get_weights()
        if len(new) != len(old):
            raise ValueError(f"{name} must have {len(old)} weights, as its source. Received: {len(new)}")
        layer.set_weights([_grown(layer, *pair, incoming[name], outgoing[name]) for pair in zip(new, old, strict=True)])


def _source(small: keras.Model, name: str) -> keras.layers.Layer:
    """The layer of ``small`` by that name, or by the same of the nearest earlier stage."""
    known = {layer.name: layer for layer in small.layers}
    at = name
    while at not in known:
        stage, rest = split_stage(at) or (1, at)
        if stage == 1:
            raise ValueError(f"{small.name} must have a layer for every one that is to grow. Received: none for {name}")
        at = stage_name(stage - 1, rest)
    return known[at]


def _places(large: keras.Model, sources: dict) -> tuple[dict, dict]:
    """{layer: where among its (incoming, outgoing) channels those of its source are}."""
    at = {id(t): np.arange(t.shape[-1]) for t in large.inputs}
    producers, incoming, outgoing = {}, {}, {}
    for depth in sorted(large._nodes_by_depth, reverse=True):
        for node in large._nodes_by_depth[depth]:
            if node.is_input:
                continue
            layer, inputs = node.operation, node.input_tensors
            here = [at[id(t)] for t in inputs]
            if layer.name in sources:
                incoming[layer.name] = here[0]
                outgoing[layer.name] = here[0] if isinstance(layer, _BY_CHANNEL) else _first(sources[layer.name])
                places = outgoing[layer.name]
            elif isinstance(layer, layers.Concatenate):
                starts = np.cumsum([0, *(t.shape[-1] for t in inputs[:-1])])
                places = np.concatenate([start + own for start, own in zip(starts, here, strict=True)])
            elif isinstance(layer, layers.Add | layers.Multiply):
                places = max(here, key=len) if len({len(h) for h in here}) > 1 else here[0]
                for tensor, own in zip(inputs, here, strict=True):
                    if len(own) == len(places) and not np.array_equal(own, places):
                        # What a dense layer makes one by one (the scales of channels) follows what it is made for.
                        outgoing[_maker(tensor, producers, sources)] = places
            else:
                kept = inputs[0].shape[-1] == node.outputs[0].shape[-1]
                places = here[0] if kept else np.arange(node.outputs[0].shape[-1])
            for tensor in node.outputs:
                at[id(tensor)], producers[id(tensor)] = places, node
    return incoming, outgoing


def _first(source: keras.layers.Layer) -> np.ndarray:
    """Old channels come before new ones."""
    kernel = source.get_weights()[0]
    return np.arange(kernel.shape[-2] if isinstance(source, layers.Conv2DTranspose) else kernel.shape[-1])


def _maker(tensor, producers: dict, sources: dict) -> str:
    node = producers[id(tensor)]
    while node.operation.name not in sources:
        node = producers[id(node.input_tensors[0])]
    return node.operation.name


def _grown(layer, new: np.ndarray, old: np.ndarray, into: np.ndarray, out: np.ndarray) -> np.ndarray:
    """One of the layer's weights: ``old`` in its places, nothing from new channels to old ones, ``new`` elsewhere."""
    flips = isinstance(layer, layers.Conv2DTranspose)
    if new.ndim == 1:
        index, zeroed = (out,), None
    elif isinstance(layer, _BY_CHANNEL):
        index, zeroed = (slice(None), slice(None), into), None
    elif isinstance(layer, layers.Dense | layers.Conv2D | layers.Conv2DTranspose | PoseFromFeatures):
        rows, columns = (out, into) if flips else (into, out)
        index = (..., rows[:, None], columns[None, :])
        zeroed = (..., out, slice(None)) if flips else (..., out)
    else:  # of shapes that no width changes
        index, zeroed = (...,), None
    fits = new.ndim == old.ndim and all(places.max() < new.shape[axis] for places, axis in _axes(layer, new, into, out))
    if not fits or new[index].shape != old.shape:
        raise ValueError(f"{layer.name} must be as its source but for width. Received: {old.shape} to be {new.shape}")
    grown = new.copy()
    if zeroed is not None:
        grown[zeroed] = 0
    grown[index] = old
    return grown


def _axes(layer, new: np.ndarray, into: np.ndarray, out: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """(places, the axis of ``new`` that they count) of a weight."""
    if new.ndim == 1:
        return [(out, 0)]
    if isinstance(layer, _BY_CHANNEL):
        return [(into, 2)]
    flips = isinstance(layer, layers.Conv2DTranspose)
    return [(into, -1 if flips else -2), (out, -2 if flips else -1)]

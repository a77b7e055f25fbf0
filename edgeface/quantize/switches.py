"""A quantized model with its rounding switched off, in whole or in part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from edgeface.quantize.keras_graph import layers_by_name
from edgeface.quantize.layers import FakeQuant, QuantKernel


@contextmanager
def unrounded(model: keras.Model, but: str | None = None) -> Iterator[None]:
    """Within it nothing is rounded, except by the layer named `but`. Call the model itself: `predict` keeps a compiled
    graph from before."""
    layers = [layer for layer in layers_by_name(model).values() if isinstance(layer, (FakeQuant, QuantKernel))]
    before = [(layer, layer.observer, getattr(layer, "exact", None)) for layer in layers]
    try:
        for layer in layers:
            if layer.name == but:
                continue
            if isinstance(layer, FakeQuant):
                layer.observer = _pass
            else:
                layer.exact = True
        yield
    finally:
        for layer, observer, exact in before:
            layer.observer = observer
            if exact is not None:
                layer.exact = exact


def _pass(tensor) -> None:
    """An observer that looks at nothing: with one, a FakeQuant rounds nothing."""

"""Bias correction: a rounded kernel shifts its channels' means; what it shifts is taken out of the bias."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from edgeface.errors import InputError
from edgeface.quantize.keras_graph import inputs_of, read_graph
from edgeface.quantize.layers import QuantKernel
from edgeface.quantize.switches import unrounded


def correct_bias(model: keras.Model, batches: Iterable[Any]) -> dict[str, float]:
    """Fold each weighted layer's mean error on the batches, per channel, into its bias or its batch norm's beta.

    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), the empirical
    form (appendix D): layer by layer, each after those before it were corrected. Here in two passes over all images at
    once: one with nothing rounded, whose means are kept; one with rounding, in which each layer is corrected as it is
    reached. A layer that is called several times, or has neither bias nor beta, is left as it is.

    Args:
        model: a calibrated quantized model; changed in place.
        batches: of inputs or (inputs, targets); a hundred images or so.

    Returns:
        {layer: its largest shift, as a share of the largest mean size of a channel}.

    Raises:
        InputError: there is no batch.
    """
    parts = [inputs_of(model, batch) for batch in batches]
    if not parts:
        raise InputError("batches must hold at least one batch. Received: none")
    inputs = keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
    calls = Counter(id(call.layer) for call in read_graph(model).calls)
    kernels = [
        call.layer
        for call in read_graph(model).calls
        if isinstance(call.layer, QuantKernel) and calls[id(call.layer)] == 1 and _place(call.layer)
    ]
    means: dict[str, np.ndarray] = {}
    shifts: dict[str, float] = {}

    def keep(layer: QuantKernel, x):
        means[layer.name] = _channel_means(x)
        return x

    def correct(layer: QuantKernel, x):
        shift = means[layer.name] - _channel_means(x)
        add_to_output(layer, shift)
        shifts[layer.name] = float(np.abs(shift).max() / max(np.abs(means[layer.name]).max(), 1e-12))
        return x + ops.convert_to_tensor(shift.astype("float32"))

    try:
        for observer in (keep, correct):
            for layer in kernels:
                layer.observer = observer
            if observer is keep:
                with unrounded(model):
                    model(inputs, training=False)
            else:
                model(inputs, training=False)
    finally:
        for layer in kernels:
            layer.observer = None
    return shifts


def add_to_output(layer: QuantKernel, shift: np.ndarray) -> None:
    """Move the layer's output by `shift` (channels,), through its beta or its bias."""
    place = _place(layer)
    if place == "bias" and layer.norm:
        factor = 1 / np.sqrt(ops.convert_to_numpy(layer.moving_variance) + layer.norm["epsilon"])
        gamma = 1.0 if layer.gamma is None else ops.convert_to_numpy(layer.gamma)
        # A dead channel (gamma 0) has a constant output, which no bias under its norm can move.
        shift = np.divide(shift, factor * gamma, out=np.zeros_like(shift), where=np.abs(factor * gamma) > 1e-12)
    weight = getattr(layer, place)
    weight.assign(ops.convert_to_numpy(weight) + shift)


def _place(layer: QuantKernel) -> str | None:
    return "beta" if layer.beta is not None else "bias" if layer.bias is not None else None


def _channel_means(x) -> np.ndarray:
    return ops.convert_to_numpy(x).astype("float64").reshape(-1, x.shape[-1]).mean(axis=0)

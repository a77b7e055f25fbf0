"""Weights moved between a float model and its quantized copy.

Always as numpy copies: on JAX `variable.assign(other_variable)` shares the other's buffer, and a training step of
either model gives it away, after which the other model cannot be used.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from edgeface.errors import InputError
from edgeface.quantize.keras_graph import layers_by_name
from edgeface.quantize.layers import FakeQuant, FloatGate, QuantKernel


def to_float(quantized: keras.Model, model: keras.Model) -> keras.Model:
    """A copy of the float model with the tuned weights of the quantized one.

    Args:
        quantized: made by `quantize_aware(model)`, trained; it is not changed.
        model: the float model. Its batch norm statistics are kept; it is not changed.

    Raises:
        InputError: `quantized` was not made from this model.
    """
    tuned = keras.models.clone_model(model)
    copy_weights(model, tuned)
    by_name = layers_by_name(tuned)

    def named(name: str):
        if name not in by_name:
            raise InputError(
                f"quantized must be made from this model. Received: one with layer {name}, which is not in it"
            )
        return by_name[name]

    for layer in layers_by_name(quantized).values():
        if isinstance(layer, QuantKernel):
            if layer.kernel_of:
                copy_named(layer, named(layer.kernel_of), ("kernel", "bias"))
            if layer.norm_of:
                copy_named(layer, named(layer.norm_of), ("gamma", "beta"))
        elif not isinstance(layer, (FakeQuant, FloatGate)) and getattr(layer, "weights", None):
            copy_weights(layer, named(layer.name))
    return tuned


def value_of(variable: Any) -> np.ndarray:
    """A variable's value, an array of its own."""
    return np.array(keras.ops.convert_to_numpy(variable))


def copy_weights(source: Any, target: Any) -> None:
    """Every weight of a layer or model into another of the same structure."""
    target.set_weights([value_of(variable) for variable in source.weights])


def copy_named(source: Any, target: Any, names: tuple[str, ...]) -> None:
    """The weights of these names that the source has, such as ("kernel", "bias")."""
    for name in names:
        variable = getattr(source, name, None)
        if variable is not None:
            getattr(target, name).assign(value_of(variable))

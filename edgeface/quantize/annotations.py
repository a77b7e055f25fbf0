"""How a custom layer is to be quantized: ``quantization = KeepFloat() | SameScale() | FixedRange(low, high)``.

Set on the class or on one layer before `quantize_aware`:

    class Softmax(keras.layers.Layer):
        quantization = KeepFloat()

The attribute belongs to the class, so saved models do not store it. Plain values: nothing here needs Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeface.errors import InputError


@dataclass(frozen=True)
class KeepFloat:
    """The layer computes in float32.

    Args:
        exact_entry: its first operator is one that the converter leaves in float32, or that is exact in int8 (a
            maximum). No `FloatGate` is put before it.
        mean_dense: the layer is a dense layer (weights ``kernel`` and ``bias``) on the spatial mean of its input, so
            that `integer_conditioning` may make it int8 where only int8 layers read it.
    """

    exact_entry: bool = False
    mean_dense: bool = False


@dataclass(frozen=True)
class SameScale:
    """The layer moves, selects or splits values without changing them: its outputs keep its input's range."""


@dataclass(frozen=True)
class FixedRange:
    """The layer's output lies in [low, high] by its nature; what lies outside saturates."""

    low: float
    high: float

    def __post_init__(self):
        if not self.low <= 0 <= self.high or self.low == self.high:
            raise InputError(
                f"FixedRange must satisfy low <= 0 <= high and low < high. Received: {self.low}, {self.high}"
            )


def annotation_of(layer: Any) -> KeepFloat | SameScale | FixedRange | None:
    """The annotation of a layer, None for one without. InputError: an attribute of another kind."""
    value = getattr(layer, "quantization", None)
    if value is not None and not isinstance(value, (KeepFloat, SameScale, FixedRange)):
        raise InputError(
            f"quantization must be KeepFloat(), SameScale() or FixedRange(low, high). "
            f"Received: {value!r} at layer {layer.name}"
        )
    return value

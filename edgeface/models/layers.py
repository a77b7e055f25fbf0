"""Layers that standard Keras lacks: the expectation heads, which stay float in every int8 file.

``quantization = KeepFloat()`` makes `edgeface.quantize` leave a layer in float32: an int8 softmax has a fixed step
of 1/256, while most of a spatial softmax's mass lies in cells below it. The max-subtracted, reduced form used here
(exp, sums, one division) also keeps the TFLite converter from turning the head into int8 by itself.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from edgeface.quantize.annotations import FixedRange, KeepFloat, SameScale

PACKAGE = "edgeface"
POSE_UNIT_DEG = 90.0
"""Unit of a pose inside the networks, in degrees."""


class FloatLayer(keras.layers.Layer):
    """Base of the layers that compute in float32 whatever the model's precision or quantization."""

    quantization = KeepFloat()

    def __init__(self, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)


@keras.saving.register_keras_serializable(PACKAGE)
class SpatialExpectation(FloatLayer):
    """Maps (B, H, W, K) -> landmarks (B, K, 2) in [0, 1] and spread (B, K): soft-argmax.

    AC-DC eq. 2 and 3, CCR eq. 3 (Sun et al., ECCV 2018). Cell (i, j) stands for ((j + .5) / W, (i + .5) / H);
    ``sharpness`` multiplies the maps before the softmax. Spread is sqrt(Var x + Var y) of the attention, in crop
    widths.
    """

    quantization = KeepFloat(exact_entry=True)

    def __init__(self, sharpness: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.sharpness = sharpness

    def call(self, maps):
        height, width, points = maps.shape[1:]
        x = ((np.arange(width, dtype="float32") + 0.5) / width).reshape(1, 1, width, 1)
        y = ((np.arange(height, dtype="float32") + 0.5) / height).reshape(1, height, 1, 1)
        attention = _unnormalized_attention(maps, self.sharpness)
        # Marginals first: two sums over the maps, everything after them is small.
        columns = ops.sum(attention, axis=1, keepdims=True)
        rows = ops.sum(attention, axis=2, keepdims=True)
        total = ops.sum(columns, axis=2, keepdims=True)
        mean_x = ops.sum(columns * x, axis=2, keepdims=True) / total
        mean_y = ops.sum(rows * y, axis=1, keepdims=True) / total
        variance = ops.sum(columns * ops.square(x - mean_x), axis=2, keepdims=True) / total
        variance += ops.sum(rows * ops.square(y - mean_y), axis=1, keepdims=True) / total
        mean_x, mean_y, variance = (ops.reshape(v, (-1, points)) for v in (mean_x, mean_y, variance))
        # The floor keeps sqrt's gradient finite on a one-cell map.
        return ops.stack([mean_x, mean_y], axis=-1), ops.sqrt(ops.maximum(variance, 1e-12))

    def compute_output_spec(self, maps):
        batch, points = maps.shape[0], maps.shape[-1]
        return (
            keras.KerasTensor((batch, points, 2), dtype=self.compute_dtype),
            keras.KerasTensor((batch, points), dtype=self.compute_dtype),
        )

    def get_config(self):
        return {**super().get_config(), "sharpness": self.sharpness}


@keras.saving.register_keras_serializable(PACKAGE)
class AttentionMask(FloatLayer):
    """Maps (B, H, W, K) -> one mask (B, H, W, 1): max over K of min-max-normalized attention, AC-DC eq. 4.

    The softmax's denominator cancels in the normalization, so it is never computed.
    """

    quantization = KeepFloat(exact_entry=True)

    def call(self, maps):
        attention = _unnormalized_attention(maps)
        low = ops.min(attention, axis=(1, 2), keepdims=True)
        # The largest value is exp(0) = 1; a flat map (low = 1) must give 0 / epsilon = 0, not NaN.
        normalized = (attention - low) / ops.maximum(1.0 - low, 1e-6)
        return ops.max(normalized, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@keras.saving.register_keras_serializable(PACKAGE)
class BelowPeak(keras.layers.Layer):
    """Maps (B, H, W, K) -> each less its own maximum, (B, H, W, K): 0 at the peak, the attention's logarithm but for a
    constant."""

    quantization = FixedRange(-8.0, 0.0)
    """Attention under exp(-8) = 0.0003 of the peak's is none: a twelfth of an int8 step of the mask."""

    def call(self, maps):
        return maps - ops.max(maps, axis=(1, 2), keepdims=True)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(PACKAGE)
class PeakMask(keras.layers.Layer):
    """What `BelowPeak` gives (B, H, W, K) -> one mask (B, H, W, 1): max over K of exp.

    `AttentionMask` without its subtraction of each map's least attention, which a trained network does not have
    (medians of 5e-5 of the peak). The exponential is taken after the maximum, on one channel, so that all of it fits
    int8: a look-up table of 256 entries and no sum that small values could be lost from.
    """

    quantization = FixedRange(0.0, 1.0)

    def call(self, below_peak):
        return ops.exp(ops.max(below_peak, axis=-1, keepdims=True))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@keras.saving.register_keras_serializable(PACKAGE)
class PoseFromPoints(FloatLayer):
    """3D landmarks (B, K, 2) -> pose in units of 90 degrees (B, 3) by one dense layer (AC-DC section III-A)."""

    def build(self, input_shape):
        _, points, axes = input_shape
        self.kernel = self.add_weight(shape=(points * axes, 3), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(3,), initializer="zeros", name="bias")

    def call(self, points):
        flat = ops.reshape(points, (-1, points.shape[1] * points.shape[2]))
        return ops.matmul(flat, self.kernel) + self.bias

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 3)


@keras.saving.register_keras_serializable(PACKAGE)
class PoseFromFeatures(FloatLayer):
    """Features (B, H, W, C) -> pose in units of 90 degrees (B, 3): global mean, one dense layer.

    Float, because an int8 output over +-99 degrees would move in steps of 0.8.
    """

    quantization = KeepFloat(mean_dense=True)

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 3), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(3,), initializer="zeros", name="bias")

    def call(self, features):
        return ops.matmul(ops.mean(features, axis=(1, 2)), self.kernel) + self.bias

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 3)


@keras.saving.register_keras_serializable(PACKAGE)
class Degrees(FloatLayer):
    """Units of 90 degrees -> degrees, any shape."""

    def call(self, unit):
        return unit * POSE_UNIT_DEG


@keras.saving.register_keras_serializable(PACKAGE)
class BinExpectation(FloatLayer):
    """Bin logits (B, 3, N) -> angles (B, 3) degrees: softmax, then the mean of the bin centres (Hopenet; CCR 3.1)."""

    quantization = KeepFloat(exact_entry=True)

    def __init__(self, low_deg: float, high_deg: float, **kwargs):
        super().__init__(**kwargs)
        self.low_deg = low_deg
        self.high_deg = high_deg

    def call(self, logits):
        bins = logits.shape[-1]
        step = (self.high_deg - self.low_deg) / bins
        centers = (self.low_deg + step * (np.arange(bins, dtype="float32") + 0.5)).reshape(1, 1, bins)
        weights = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
        return ops.sum(weights * centers, axis=-1) / ops.sum(weights, axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape[:-1]

    def get_config(self):
        return {**super().get_config(), "low_deg": self.low_deg, "high_deg": self.high_deg}


@keras.saving.register_keras_serializable(PACKAGE)
class ChannelSlice(keras.layers.Layer):
    """Channels [start, stop) of (B, H, W, C): the overlapping inputs of AC-DC's two geometry streams."""

    quantization = SameScale()

    def __init__(self, start: int, stop: int, **kwargs):
        super().__init__(**kwargs)
        self.start = start
        self.stop = stop

    def call(self, features):
        return features[..., self.start : self.stop]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.stop - self.start)

    def get_config(self):
        return {**super().get_config(), "start": self.start, "stop": self.stop}


def _unnormalized_attention(maps, sharpness: float = 1.0):
    """exp of the maps less their maximum: in (0, 1], the softmax times a constant per map."""
    shifted = maps - ops.max(maps, axis=(1, 2), keepdims=True)
    return ops.exp(shifted * sharpness if sharpness != 1.0 else shifted)

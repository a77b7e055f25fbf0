"""A rebuilt model made quantization-aware by tensorflow-model-optimization, with its own ways out where it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras import quant_ops

from convert.tfmot.rebuild import FLOAT, GRID, INHERITING, RANGED, Grid, KerasThree, Rebuilt, rebuild

quantizers = tfmot.quantization.keras.quantizers

WHY = {
    GRID: "a float head's result is read by int8 layers",
    RANGED: "a layer of our own",
    INHERITING: "a layer of our own",
    "Multiply": "tfmot does not support Multiply",
    "Rescaling": "tfmot does not support Rescaling",
}
"""Kinds that get a custom QuantizeConfig."""


class OutputRange(tfmot.quantization.keras.QuantizeConfig):
    """Nothing but the output, with the quantizer that tfmot itself gives to Add: per tensor, moving range, 8 bits.

    fixed: a range for good; inherit: none at all.
    """

    def __init__(self, fixed: tuple[float, float] | None = None, inherit: bool = False):
        self.fixed, self.inherit = fixed, inherit

    def get_weights_and_quantizers(self, layer):
        return []

    def get_activations_and_quantizers(self, layer):
        return []

    def set_quantize_weights(self, layer, quantize_weights):
        pass

    def set_quantize_activations(self, layer, quantize_activations):
        pass

    def get_output_quantizers(self, layer):
        if self.inherit:
            return []
        if self.fixed is not None:
            return [quantizers.FixedQuantizer(8, *self.fixed, narrow_range=False)]
        return [quantizers.MovingAverageQuantizer(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)]

    def get_config(self):
        return {"fixed": self.fixed, "inherit": self.inherit}


@dataclass(frozen=True)
class Quantized:
    """model: outputs as ``rebuilt``'s. customized, floats: {layer: why}, what tfmot did not do by itself."""

    model: tf_keras.Model
    rebuilt: Rebuilt
    customized: dict[str, str]
    floats: dict[str, str]

    def deployed(self, wanted: dict[str, str]) -> tf_keras.Model:
        """What a device runs: {output name: key of the training graph}."""
        outputs = self.rebuilt.by_key(self.model.outputs)
        return tf_keras.Model(self.model.input, {name: outputs[key] for name, key in wanted.items()})


def quantize(model: keras.Model) -> Quantized:
    """tfmot's default 8-bit scheme on a functional Keras 3 model: every layer annotated but those kept float."""
    customized: dict[str, str] = {}
    floats: dict[str, str] = {}

    def annotate(layer, kind: str):
        if kind == FLOAT:
            floats[layer.name] = "float head, left without annotation"
            return layer
        if kind not in WHY:
            return tfmot.quantization.keras.quantize_annotate_layer(layer)
        config = OutputRange(layer.fixed_range if kind == RANGED else None, kind == INHERITING)
        what = "no range" if config.inherit else f"the range {config.fixed}" if config.fixed else "a range"
        customized[layer.name] = f"{WHY[kind]}: custom QuantizeConfig with {what} on the output"
        return tfmot.quantization.keras.quantize_annotate_layer(layer, config)

    rebuilt = rebuild(model, annotate)
    customized |= {name: "a sum of more than two inputs: split into sums of two" for name in rebuilt.split}
    with tfmot.quantization.keras.quantize_scope({"OutputRange": OutputRange, "KerasThree": KerasThree, "Grid": Grid}):
        quantized = tfmot.quantization.keras.quantize_apply(rebuilt.model)
    return Quantized(quantized, rebuilt, customized, floats)


def calibrate(model: tf_keras.Model, images: Iterable[np.ndarray]) -> int:
    """Set every activation range to the extremes over the batches, and every kernel's to its own; returns how many
    activations there are. Activations pass unrounded meanwhile.

    tfmot itself has no such step: its ranges begin at -6..6, an activation's then moves by a thousandth of the
    difference at each step of training.
    """
    ends: dict[Any, list[float]] = {}
    variables: dict[Any, tuple[Any, Any]] = {}

    def observe(inputs, min_var, max_var, **kwargs):
        found = ends.setdefault(id(min_var), [0.0, 0.0])
        variables[id(min_var)] = (min_var, max_var)
        found[0] = min(found[0], float(tf.reduce_min(inputs)))
        found[1] = max(found[1], float(tf.reduce_max(inputs)))
        return inputs

    def as_in_training(inputs, min_var, max_var, is_training, **kwargs):
        return round_kernel(inputs, min_var, max_var, is_training=True, **kwargs)

    round_kernel = quant_ops.LastValueQuantize
    observers = {"MovingAvgQuantize": observe, "AllValuesQuantize": observe, "LastValueQuantize": as_in_training}
    with _replaced(quant_ops, **observers):
        for batch in images:
            model(tf.convert_to_tensor(batch, tf.float32), training=False)
    for key, (low, high) in variables.items():
        low.assign(ends[key][0])
        high.assign(max(ends[key][1], ends[key][0] + 1e-4))
    return len(variables)


@contextmanager
def _replaced(module, **functions):
    kept = {name: getattr(module, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(module, name, function)
        yield
    finally:
        for name, function in kept.items():
            setattr(module, name, function)

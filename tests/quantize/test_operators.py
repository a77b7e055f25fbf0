"""Operators that TFLite computes in int8 on conditions of its own: `to_int8` holds the file to the model."""

from __future__ import annotations

from itertools import product

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgeface.errors import InputError
from edgeface.quantize import Recipe, calibrate, coverage, quantize_aware, to_int8
from edgeface.quantize.tflite_graph import read_graph

needs_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the converter reads TensorFlow")
SIDE = 6


def _images(count: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 2)).astype("float32")


def _calibrated(image, outputs: dict, recipe: Recipe | None = None) -> keras.Model:
    model = keras.Model(image, outputs)
    quantized = quantize_aware(model, recipe)
    calibrate(quantized, [_images()], progress=False)
    assert coverage(quantized) == []
    expected, got = model(_images()), quantized(_images(), training=False)
    for key, value in expected.items():
        value = ops.convert_to_numpy(value)
        # A handful of roundings of 1/255 of a range each.
        assert np.abs(value - ops.convert_to_numpy(got[key])).mean() < 0.02 * np.ptp(value), key
    return quantized


def _transposed(x, name: str, form: str, **options):
    """(raw, activated): one transposed convolution with one of the ways to write a ReLU behind it."""
    inside = "relu" if form == "inside" else None
    raw = layers.Conv2DTranspose(3, activation=inside, name=f"{name}_up", **options)(x)
    if form == "norm":
        x = layers.BatchNormalization(name=f"{name}_bn")(raw)
        return None, layers.ReLU(6.0, name=f"{name}_relu")(x)
    return raw if form == "read twice" else None, raw if inside else layers.ReLU(name=f"{name}_relu")(raw)


@needs_tensorflow
def test_a_transposed_convolution_with_a_relu_is_int8_in_every_form():
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 2), name="image")
    small = layers.Rescaling(1 / 64, name="small")(image)  # so that ReLU6 cuts some values
    forms, outputs = ("inside", "behind", "norm", "read twice"), {}
    for i, (kernel, stride, padding) in enumerate(product((1, 2, 3, 4), (1, 2, 3), ("same", "valid"))):
        how = {"kernel_size": kernel, "strides": stride, "padding": padding, "use_bias": i % 3 > 0}
        raw, outputs[f"y{i}"] = _transposed(small, f"t{i}", forms[(i + i // 4) % 4], **how)
        outputs |= {} if raw is None else {f"raw{i}": raw}
    quantized = _calibrated(image, outputs)
    graph = read_graph(to_int8(quantized, [_images()], tolerance=0.5))
    kinds = [graph.dtype(op) for op in graph.ops if op.type == "TRANSPOSE_CONV"]
    assert len(kinds) == 24 and set(kinds) == {"int8"}


@needs_tensorflow
def test_operators_that_keep_one_scale_compute_what_the_model_does():
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 2), name="image")
    loud = layers.Conv2D(4, 3, padding="same", activation="relu", name="loud")(image)
    soft = layers.Conv2D(4, 3, padding="same", name="soft", kernel_initializer=keras.initializers.RandomNormal(0, 0.1))
    soft = soft(image)
    most, mean = layers.Maximum(name="most")([loud, soft]), layers.Average(name="mean")([loud, soft])
    first, second = ops.split(loud, 2, axis=-1)
    x = {
        "sum": layers.Add(name="sum")([most, mean]),
        "least": ops.minimum(loud, soft),
        "same": ops.maximum(loud, layers.MaxPooling2D(1, name="pool")(loud)),
        "three": layers.Average(name="three")([loud, soft, mean]),
        "halves": layers.Concatenate(name="halves")([layers.Conv2D(2, 1, name="half")(first), second]),
        "strided": soft[:, ::2, 1:],
        "turned": ops.transpose(soft, (0, 2, 1, 3)),
        "size": ops.abs(soft),
        "written": (loud + soft) * mean - soft,
    }
    quantized = _calibrated(image, {k: layers.Conv2D(2, 1, name=k + "_out")(v) for k, v in x.items()} | {"most": most})
    graph = read_graph(to_int8(quantized, [_images()], tolerance=0.5))
    for kind in ("MAXIMUM", "MINIMUM", "SPLIT", "STRIDED_SLICE", "TRANSPOSE", "ABS"):
        assert {graph.dtype(op) for op in graph.ops if op.type == kind} == {"int8"}, kind


def test_the_grid_of_a_maximum_holds_all_its_inputs_in_training_too():
    image = keras.Input((SIDE, SIDE, 2), name="image")
    negative = layers.Rescaling(-2.0, name="negative")(image)
    most = layers.Maximum(name="most")([image, negative])
    quantized = quantize_aware(keras.Model(image, most), Recipe(ema_decay=0.0))
    quantized(_images(), training=True)
    low, high = quantized.get_layer("most_common").range()
    assert low < -400 and high > 200


@pytest.mark.parametrize("operator", [ops.maximum, ops.minimum])
def test_a_maximum_with_a_constant_is_refused_at_once(operator):
    image = keras.Input((SIDE, SIDE, 2), name="image")
    model = keras.Model(image, operator(layers.Conv2D(2, 1, name="conv")(image), 0.5))
    with pytest.raises(InputError, match="one of its inputs is a constant"):
        quantize_aware(model)

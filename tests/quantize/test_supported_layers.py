"""What `quantize_aware` takes: layers at their places, inputs, images. What has no int8 form is refused, or float."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgeface.errors import InputError
from edgeface.quantize import FixedRange, Recipe, SameScale, calibrate, coverage, quantize_aware, to_float, uncalibrated


@pytest.fixture(autouse=True, scope="module")
def _seed():
    keras.utils.set_random_seed(0)


def _images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype("float32")


class Gain(layers.Layer):
    """A custom layer with weights."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), name="gain")

    def call(self, x):
        return ops.relu(x * self.gain)


class Bounded(Gain):
    quantization = FixedRange(0.0, 4.0)


class Inheriting(Gain):
    quantization = SameScale()


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (layers.UpSampling2D(2, interpolation="bicubic", name="odd"), "its interpolation bicubic has no int8 form"),
        (layers.Conv2DTranspose(2, 3, dilation_rate=2, name="odd"), "its dilation_rate is not 1"),
        (Bounded(name="odd"), "it has weights"),
        (Inheriting(name="odd"), "it has weights"),
        (lambda x: layers.Add(name="odd")([x, np.full((1, 6, 6, 2), 9.0)]), "one of its inputs is a constant"),
        (lambda x: layers.Concatenate(name="odd")([x, np.ones((4, 6, 6, 2))]), "one of its inputs is a constant"),
    ],
)
def test_what_has_no_int8_form_is_an_error_or_float_as_it_was(layer, reason):
    image = keras.Input((8, 8, 1), name="image")
    x = layer(layers.Conv2D(2, 3, name="conv")(image))
    model = keras.Model(image, layers.Conv2D(2, 3, name="last")(x))
    with pytest.raises(InputError, match=rf"odd \(\w+\): {reason}"):
        quantize_aware(model)
    quantized = quantize_aware(model, Recipe(allow_float=True))
    calibrate(quantized, [_images()], progress=False)
    assert "odd" in [u.name for u in coverage(quantized)]
    expected, got = (ops.convert_to_numpy(m(_images(), training=False)) for m in (model, quantized))
    assert np.abs(expected - got).mean() < 0.05 * expected.std()
    to_float(quantized, model)


def test_inputs_must_be_float():
    image = keras.Input((8, 8, 1), dtype="uint8", name="image")
    model = keras.Model(image, layers.Conv2D(2, 3, name="conv")(layers.Rescaling(1 / 255, name="scale")(image)))
    message = r"inputs must be float32 \(to_int8 makes them uint8\). Received: image uint8"
    with pytest.raises(InputError, match=message):
        quantize_aware(model)


def test_a_layer_that_splits_gives_each_part_its_input_s_range():
    class Split(layers.Layer):
        quantization = SameScale()

        def call(self, x):
            return x[..., :2], x[..., 2:]

    image = keras.Input((8, 8, 1), name="image")
    first, second = Split(name="split")(layers.Conv2D(4, 3, name="conv")(image))
    model = keras.Model(image, {"first": first, "second": layers.Conv2D(1, 1, name="last")(second)})
    quantized = quantize_aware(model)
    calibrate(quantized, [_images()], progress=False)
    assert coverage(quantized) == []
    got = quantized(_images(), training=False)
    for key, value in model(_images()).items():
        low, high = quantized.get_layer("conv" if key == "first" else "last").range()
        error = np.abs(ops.convert_to_numpy(value) - ops.convert_to_numpy(got[key]))
        assert error.max() < 6 * (high - low) / 255, key


def test_images_that_do_not_suit_the_input_range_are_refused():
    def batch(low: float, high: float) -> np.ndarray:
        return np.array([low, high], "float32").reshape(1, 2, 1, 1)

    image = keras.Input((2, 1, 1), name="image")
    model = keras.Model(image, layers.Conv2D(1, 1, name="conv")(image))
    quantized = quantize_aware(model)
    message = r"images must lie in Recipe.input_range \(0, 255\) and fill it. Received: "
    for batches, got in (([batch(0, 1)], "0 to 1"), ([batch(0, 99), batch(-9, 255)], "-9 to 255")):
        with pytest.raises(InputError, match=message + got):
            calibrate(quantized, batches, progress=False)
    assert uncalibrated(quantized)
    for ends in ((0, 255), (-0.5, 255.5), (0, 13)):
        calibrate(quantized, [batch(*ends)], progress=False)
    calibrate(quantize_aware(model, Recipe(input_range=(-1, 1))), [batch(-1, 1)], progress=False)

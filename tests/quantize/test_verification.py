"""The written file is run: what differs from its model is refused, with the layer where it begins."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgeface.errors import InputError
from edgeface.quantize import calibrate, export, quantize_aware, to_int8, verification, verify

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the converter reads TensorFlow")


def _images(count: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 2)).astype("float32")


def _network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="first")(image)
    x = layers.Conv2D(4, 3, name="second")(x)
    return keras.Model(image, {"map": x, "score": layers.Dense(3, name="score")(layers.Flatten(name="flat")(x))})


@pytest.fixture
def quantized() -> keras.Model:
    quantized = quantize_aware(_network())
    calibrate(quantized, [_images()], progress=False)
    return quantized


def test_a_file_is_compared_by_output_and_by_layer_in_its_own_steps(quantized, monkeypatch, tmp_path):
    data = to_int8(quantized, [_images()])
    (tmp_path / "m.tflite").write_bytes(data)
    for given in (_images(), {"image": _images()}, [(_images(), None)], None):
        found = verify(tmp_path / "m.tflite", quantized, given)
        assert [d.name for d in found.outputs] == ["map", "score"] and found.failures(0.5) == ()
        assert [d.name for d in found.layers] == ["image_quant", "first", "second", "score"]
        assert max(d.mean_steps for d in found.layers) < 0.5 and found.samples in (8, 16)
    low, high = quantized.get_layer("score").range()
    assert found.outputs[1].step == pytest.approx((high - low) / 255)

    kernel = quantized.get_layer("second_raw")
    kernel.bias.assign(np.array(kernel.bias) + 20 * found.outputs[0].step)  # the model moves on, the file does not
    moved = {d.name: d.mean_steps for d in verify(data, quantized, _images()).layers}
    assert moved["first"] < 0.5 and 10 < moved["second"] <= 20
    monkeypatch.setattr(export, "rename_ends", lambda converted: data)
    with pytest.raises(InputError, match=r"within 2 steps on average .*Received: map \d+.* it begins at layer second"):
        to_int8(quantized, _images())
    assert to_int8(quantized, verify=False) == data
    with pytest.raises(InputError, match="the file must take the inputs .*'other'.*Received: .'image'"):
        verify(data, keras.Model(other := keras.Input((8, 8, 2), name="other"), layers.ReLU(name="r")(other)))


def test_a_float_output_that_hardly_varies_is_judged_by_its_size():
    expected = 5.0 + 1e-4 * np.arange(6.0).reshape(2, 3)
    found = verification._difference("pose", expected + 0.01, expected, None)
    assert found.mean_steps == pytest.approx(0.01 / (5 / 255), rel=1e-2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: m.get_layer("first_raw").kernel.assign(np.full((3, 3, 2, 4), np.nan)), "nan at first_raw"),
        (lambda m: m.get_layer("score_raw").bias.assign([0.0, np.inf, 0.0]), "inf at score_raw"),
        (lambda m: m.get_layer("second_raw").kernel.assign(np.full((3, 3, 4, 4), 1e20)), r"1e\+20 at second_raw"),
        (lambda m: m.get_layer("second").high.assign(np.inf), "range .* to inf at second"),
        (lambda m: m.get_layer("first").high.assign(np.nan), "range 0 to nan at first"),
        (lambda m: m.get_layer("first").high.assign(1e-20), "range 0 to 1e-20 at first"),
        (lambda m: m.get_layer("second").low.assign(1e6), "range 1e.06 to .* at second"),
    ],
)
def test_values_that_no_file_can_hold_are_refused_by_name(quantized, spoil, message):
    spoil(quantized)
    with pytest.raises(InputError, match=f"must be finite.*Received: .*{message}"):
        to_int8(quantized)


def test_a_bias_that_leaves_int32_is_refused_by_name(quantized):
    kernel = quantized.get_layer("second_raw")
    kernel.kernel.assign(1e-6 * np.array(kernel.kernel))
    kernel.bias.assign([500.0] * 4)
    calibrate(quantized, [_images()], progress=False)
    with pytest.raises(InputError, match=r"a bias must fit int32.*Received: 2\.15e\+09 at second"):
        to_int8(quantized)

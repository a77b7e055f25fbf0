"""Interpreter and predictor on models whose answer is known (tests/runtime/tiny.py)."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from edgeface import zoo
from edgeface.box import Box
from edgeface.card import attach_card, read_card, split_card
from edgeface.errors import InputError
from edgeface.runtime import interpreter
from edgeface.runtime.interpreter import TFLiteModel, dequantize, quantize
from edgeface.runtime.predictor import Predictor, cut
from edgeface.runtime.show import face_json
from tests.runtime import tiny

BOX = Box(90, 50, 170, 130)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load(tiny.float_model())


def test_landmarks_come_back_to_the_image(predictor):
    face = predictor.predict(tiny.scene(128.0, 93.0), BOX)
    # A crop pixel is 5 px wide here; the centroid of a blob of sigma 6 px is exact to a few hundredths of that.
    np.testing.assert_allclose(face.landmarks_px, np.tile([128.0, 93.0], (5, 1)), atol=0.3)
    assert face.crop.size == pytest.approx(1.5 * 80)
    np.testing.assert_allclose(face.spread_px, 0.125 * 120, rtol=1e-6)


def test_without_a_box_the_image_is_the_crop(predictor):
    face = predictor.predict(tiny.scene(128.0, 93.0))
    # A crop pixel is 10 px wide, the image's longer side over 24.
    np.testing.assert_allclose(face.landmarks_px, np.tile([128.0, 93.0], (5, 1)), atol=1.0)
    assert face.crop.size == pytest.approx(240)
    assert face.box.size == pytest.approx(160)


def test_channels_keep_their_order(predictor):
    image = np.full((60, 60, 3), (150, 100, 30), np.uint8)
    pose = predictor.predict(image).pose
    assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == pytest.approx((50, 0, -70), abs=1e-3)


def test_int8_logits_are_decoded_on_the_host():
    predictor = Predictor.load(tiny.logits_model())
    image = tiny.scene(128.0, 93.0, sigma=40.0)
    face = predictor.predict(image, BOX)
    # The softmax of 25 times a blob of sigma 40 px has a sigma near 8 px; a cell is 10 px: exact to a tenth of a cell.
    np.testing.assert_allclose(face.landmarks_px, np.tile([128.0, 93.0], (5, 1)), atol=1.0)
    brightest = cut(image, face.crop, tiny.SIDE, 1).max() / 255 * (tiny.BINS - 1)
    # Bins are 10 degrees wide; logits of slope 2 put the expectation within a third of a bin of the peak.
    assert face.pose.yaw_deg == pytest.approx(-100 + 10 * brightest, abs=3.5)
    np.testing.assert_allclose(face.spread_px, np.hypot(8, 8), rtol=0.2)


def test_raw_outputs_are_the_stored_integers():
    model = TFLiteModel(tiny.logits_model())
    crop = np.full((tiny.SIDE, tiny.SIDE, 1), 255, np.uint8)
    raw, real = model.run(crop, raw=True), model.run(crop)
    assert raw["maps"].dtype == np.int8 and (raw["maps"] == tiny.ZERO).all()
    np.testing.assert_array_equal(real["maps"], 0.0)


@pytest.mark.parametrize(("dtype", "scale", "zero"), [("uint8", 1.0, 0), ("int8", 1.0, -128), ("uint8", 0.5, 3)])
def test_quantize_and_back(dtype, scale, zero):
    spec = dataclasses.replace(
        read_card(tiny.logits_model()).input, dtype=dtype, scale=scale, zero_point=zero, shape=(1, 4, 4, 1)
    )
    values = np.arange(100, dtype=np.uint8)
    stored = quantize(values, spec)
    assert stored.dtype == dtype
    np.testing.assert_allclose(dequantize(stored, spec), values, atol=scale / 2)


def test_spread_pose_and_landmarks_are_optional():
    card = read_card(tiny.float_model())
    model = TFLiteModel(tiny.float_model())
    predictor = Predictor(model)
    object.__setattr__(model, "card", dataclasses.replace(card, outputs={"pose": card.outputs["pose"]}))
    face = predictor.predict(tiny.scene())
    assert face.landmarks_px is None and face.spread_px is None and face.pose is not None
    assert face_json(face)["landmarks_px"] is None


def test_json_has_no_nan(predictor):
    face = dataclasses.replace(predictor.predict(tiny.scene()), landmarks_px=np.array([[np.nan, 1.23456]]))
    assert face_json(face)["landmarks_px"] == [[None, 1.235]]


@pytest.mark.parametrize(
    ("image", "received"),
    [
        (np.zeros((9, 9), np.uint8), r"uint8 \(9, 9\)"),
        (np.zeros((9, 9, 4), np.uint8), r"uint8 \(9, 9, 4\)"),
        (np.zeros((9, 9, 3), np.float32), r"float32 \(9, 9, 3\)"),
        (np.zeros((0, 9, 3), np.uint8), r"uint8 \(0, 9, 3\)"),
        (7, "int"),
    ],
)
def test_images_that_are_none(predictor, image, received):
    with pytest.raises(InputError, match=rf"image must be a uint8 array \(H, W, 3\), RGB. Received: {received}"):
        predictor.predict(image)


@pytest.mark.parametrize(
    ("box", "rule"),
    [
        ((1, 2, 3), "four numbers"),
        ((10, 10, 10, 20), "a width and a height"),
        ((20, 10, 10, 20), "x0 <= x1"),
        ((0, 0, np.nan, 5), "finite"),
        ((500, 500, 600, 600), "overlap the image of 240 x 180 px"),
    ],
)
def test_boxes_that_are_none(predictor, box, rule):
    with pytest.raises(InputError, match=rf"box must .*{rule}.*Received"):
        predictor.predict(tiny.scene(), box)


def test_a_crop_of_another_size_is_refused():
    model = TFLiteModel(tiny.float_model())
    with pytest.raises(InputError, match=r"crop must be a uint8 array \(24, 24, 3\). Received: uint8 \(24, 23, 3\)"):
        model.infer(np.zeros((24, 23, 3), np.uint8))
    with pytest.raises(InputError, match="Received: float32"):
        model.infer(np.zeros((24, 24, 3), np.float32))


def test_a_damaged_model_is_refused_before_it_is_run(tmp_path):
    path = tmp_path / "light.tflite"
    data = bytearray(tiny.float_model().read_bytes())
    data[len(split_card(bytes(data))[0]) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match="must have sha256"):
        TFLiteModel(path)


def test_a_card_that_does_not_fit_its_model_is_refused(tmp_path):
    path = tmp_path / "light.tflite"
    shutil.copy(tiny.float_model(), path)
    card = read_card(path)
    attach_card(path, dataclasses.replace(card, input=dataclasses.replace(card.input, shape=(1, 32, 32, 3))))
    with pytest.raises(InputError, match=r"input must be float32 \(1, 32, 32, 3\). Received: float32 \(1, 24, 24, 3\)"):
        TFLiteModel(path)
    lost = dataclasses.replace(card.outputs["pose"], name="posture")
    attach_card(path, dataclasses.replace(card, outputs={"pose": lost}))
    with pytest.raises(InputError, match="must have the output 'posture' of its card"):
        TFLiteModel(path)


def test_bytes_that_only_look_like_a_model(tmp_path):
    path = tmp_path / "fake.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(64))
    attach_card(path, read_card(tiny.float_model()))
    with pytest.raises(InputError, match="fake.tflite must be a model that the interpreter loads"):
        TFLiteModel(path)


def test_no_interpreter_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(interpreter, "INTERPRETERS", ("no_such_interpreter.interpreter",))
    with pytest.raises(InputError, match="pip install ai-edge-litert"):
        TFLiteModel(tiny.float_model())


def test_threads_must_be_positive():
    with pytest.raises(InputError, match="threads must be at least 1 and at most 256. Received: 0"):
        TFLiteModel(tiny.float_model(), threads=0)


def test_zoo_names_and_paths(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    assert zoo.available() == ()
    with pytest.raises(InputError, match="packages no models"):
        zoo.path("light")
    shutil.copy(tiny.float_model(), tmp_path / "light.tflite")
    assert zoo.available() == ("light",)
    assert zoo.resolve("light") == tmp_path / "light.tflite"
    assert Predictor.load("light").model.card.name == "light"
    with pytest.raises(InputError, match="model must be one of light. Received: 'dark'"):
        zoo.resolve("dark")
    assert str(zoo.resolve("elsewhere/light.tflite")) == "elsewhere/light.tflite"

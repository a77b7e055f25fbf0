"""What conversion takes from the model besides its weights: how faces are cut out, and which outputs are wanted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import edgeface.convert.calibration_set
from convert.__main__ import main
from edgeface import quantize as qat
from edgeface.card import CropRule, split_card
from edgeface.convert.convert_all import Conversion, Job, convert_all
from edgeface.convert.gate import gate
from edgeface.convert.parity import ParityRun
from edgeface.convert.report import build as report
from edgeface.convert.variants import VARIANTS
from edgeface.errors import InputError
from edgeface.files import sha256
from edgeface.models.deploy import deploy
from edgeface.models.io import halve_model, load_model, model_info, save_model
from edgeface.runtime.interpreter import TFLiteModel
from tests.convert import tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def scales(monkeypatch) -> list[float]:
    """The scales at which faces were cut out to be run through a model."""
    found = []

    def cut(samples, side, channels, scale=None):
        found.append(scale)
        return tiny.crops(replace(tiny.ACDC, side=side, channels=channels), len(samples))

    monkeypatch.setattr(edgeface.convert.calibration_set, "cut", cut)
    monkeypatch.setattr(edgeface.convert.calibration_set, "SYNTHETIC_CROPS", 4)
    return found


def test_a_model_s_own_crop_is_what_it_is_calibrated_and_checked_on(tiny_files, tmp_path, scales):
    model, _ = load_model(tiny_files.model)
    save_model(model, tmp_path / "wide.keras", model_info(tiny.ACDC) | {"crop": {"rule": "square", "scale": 1.7}})
    (half,) = convert_all(Job(tmp_path / "wide.keras", tmp_path), [VARIANTS["float16"]])
    assert half.card.crop.scale == 1.7 and scales == [1.7], "the float16 overflow check"
    left = half.path.with_name(f".{half.path.stem}.ab12cd34.tflite")
    left.write_bytes(b"half")
    (poses,) = convert_all(Job(tmp_path / "wide.keras", tmp_path, outputs=("pose",)), [VARIANTS["int8_logits"]])
    assert not left.exists(), "what a killed conversion left"
    assert scales[1:] == [1.7], "the calibrated twin"
    check_the_pose_alone(poses, model)
    gate(half.path, faces=2)
    assert scales[2:] == [1.7], "the gate, from the file's card"
    gate(_without_card(half.path, tmp_path / "bare.tflite"), VARIANTS["float16"], faces=2)
    assert scales[3:] == [1.3]


def test_a_twin_knows_the_model_that_it_was_tuned_from(tiny_files, tmp_path):
    """In a halved file too, but not in another model."""
    (kept, whole), half, other = load_model(tiny_files.model), tmp_path / "half.keras", tmp_path / "other.keras"
    halve_model(tiny_files.model, half)
    save_model(kept, other, whole | {"training": {"steps": 8}})
    twin = qat.quantize_aware(kept)
    qat.calibrate(twin, [tiny_files.crops.astype(np.float32)])
    made = model_info(tiny.ACDC, "qat", training={"float_sha256": sha256(tiny_files.model)})
    save_model(twin, tmp_path / "whole_qat.keras", made)
    assert main(["halve", str(tmp_path / "whole_qat.keras"), "--out", str(tmp_path / "qat.keras")]) == 0
    halved, _ = load_model(tmp_path / "qat.keras")
    for old, new in zip(twin.variables, halved.variables, strict=True):
        expected = np.asarray(old, np.float16 if len(old.shape) > 1 else None).astype(old.dtype)
        np.testing.assert_array_equal(np.asarray(new), expected, err_msg=old.path)
    job = Job(half, tmp_path / "half", tmp_path / "qat.keras", outputs=("pose",))
    (done,) = convert_all(job, [VARIANTS["int8_qat"]])
    assert done.card.float_sha256 == sha256(half)
    ParityRun.load(half, [tiny_files.files["float32"].path])
    with pytest.raises(InputError, match="must be the quantized model of .*other.keras. Received: one of a model"):
        convert_all(Job(other, tmp_path / "other", tmp_path / "qat.keras"), [VARIANTS["int8_qat"]])


def check_the_pose_alone(converted, model: keras.Model) -> None:
    """What nobody reads is not in the file: no maps, and what the card says of their decoding holds all the same."""
    assert list(converted.card.outputs) == ["pose_features"] and converted.gate.float_operators == 0
    assert (converted.card.decode.map_height, converted.card.decode.pose) == (16, "features")
    crops = tiny.crops(tiny.ACDC, 4)
    expected = np.asarray(deploy(model).predict_on_batch(crops.astype(np.float32))["pose"])
    answers = [TFLiteModel(converted.path).infer(crop) for crop in crops]
    assert [list(a) for a in answers] == [["pose"]] * 4
    assert np.abs(np.stack([a["pose"] for a in answers]) - expected).mean() < 0.3


def _without_card(path, to):
    to.write_bytes(split_card(path.read_bytes())[0])
    return to


def test_a_manifest_s_faces_are_cut_as_the_model_was_trained(tiny_files, tmp_path, monkeypatch):
    asked = []

    def load_calibration(manifest, side, channels, scale, *, root):
        asked.append(scale)
        raise InputError("enough")

    monkeypatch.setattr(edgeface.convert.calibration_set, "load_calibration", load_calibration)
    model, _ = load_model(tiny_files.model)
    save_model(model, tmp_path / "wide.keras", model_info(tiny.ACDC) | {"crop": {"rule": "square", "scale": 1.7}})
    with pytest.raises(InputError, match="enough"):
        convert_all(Job(tmp_path / "wide.keras", tmp_path, calibration="m.json"), [VARIANTS["int8_ptq"]])
    assert asked == [1.7]


def test_several_calibration_sets_follow_one_another(tiny_files, tmp_path, monkeypatch):
    def load_calibration(manifest, side, channels, scale, *, root):
        return np.full((2, side, side, channels), int(Path(manifest).stem), np.uint8)

    monkeypatch.setattr(edgeface.convert.calibration_set, "load_calibration", load_calibration)
    rendered = np.full((1, 32, 32, 1), 7, np.uint8)
    monkeypatch.setattr(edgeface.convert.calibration_set, "synthetic_crops", lambda *_: rendered)
    job = Job(tiny_files.model, tmp_path, calibration="some/3.json,synthetic,4.json")
    conversion = Conversion.load(job, [VARIANTS["int8_ptq"]])
    assert conversion.crops[:, 0, 0, 0].tolist() == [3, 3, 7, 4, 4]
    assert conversion.quantization_of(VARIANTS["int8_ptq"])["calibration"] == "3.json, synthetic, 4.json"


def test_the_report_compares_tensors_on_the_crops_of_the_card(tiny_files, scales, monkeypatch):
    monkeypatch.setattr(report, "layer_errors", lambda *_: (_ for _ in ()).throw(InputError("enough")))
    entries = [
        SimpleNamespace(path=f.path, card=replace(f.card, crop=CropRule(scale=1.7)))
        for f in (tiny_files.files[name] for name in ("float32", "int8_qat"))
    ]
    assert report._layer_errors(entries, {report._model(entries[0]): 0}, 2) == ([], ["enough"])
    assert scales == [1.7]

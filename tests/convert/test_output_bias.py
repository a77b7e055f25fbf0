"""The answers of a calibrated file lie about its float model's, not beside them."""

import numpy as np
import pytest

from edgeface.convert.convert_all import Job, convert_all
from edgeface.convert.output_bias import moved, offsets
from edgeface.convert.tflite import to_tflite
from edgeface.convert.variants import VARIANTS
from edgeface.models.deploy import deploy
from edgeface.models.io import load_model, model_info, save_model
from tests.convert import tiny

pytestmark = pytest.mark.slow

PTQ = VARIANTS["int8_ptq"]


def mean_distance(model, data, crops):
    return {key: np.abs(value) for key, value in offsets(model, data, crops).items()}


def test_a_calibrated_file_answers_as_float_does_on_the_mean(tmp_path, monkeypatch):
    crops = tiny.crops(tiny.CCR, 24)
    trained = tiny.trained_like(tiny.CCR)
    save_model(trained, tmp_path / "model.keras", model_info(tiny.CCR))
    monkeypatch.setattr("edgeface.convert.calibration_set.calibration_crops", lambda *_: crops)
    (file,) = convert_all(Job(tmp_path / "model.keras", tmp_path), [PTQ])
    deployed = deploy(load_model(tmp_path / "model.keras")[0])
    beside = mean_distance(deployed, to_tflite(deployed, PTQ, crops), crops)
    centred = mean_distance(deployed, file.path.read_bytes(), crops)
    # The trunk is the same to the bit, so that the constant goes whole.
    assert set(centred) == {"landmarks", "pose"}
    for key, distance in beside.items():
        assert centred[key].max() < 0.05 * distance.max(), key


def test_answers_are_moved_and_all_else_stays():
    deployed = deploy(tiny.trained_like(tiny.ACDC))
    image = tiny.crops(tiny.ACDC, 2).astype(np.float32)
    by = {"landmarks": np.full((68, 2), 0.25, np.float32), "pose": np.float32([1, 2, 3])}
    before, after = deployed.predict(image, verbose=0), moved(deployed, by).predict(image, verbose=0)
    for key in before:
        moved_by = np.broadcast_to(by.get(key, 0), after[key].shape)
        np.testing.assert_allclose(after[key] - before[key], moved_by, atol=1e-5)
    only = moved(deploy(tiny.trained_like(tiny.ACDC), outputs=("pose",)), {"pose": by["pose"]})
    np.testing.assert_allclose(only.predict(image, verbose=0)["pose"], after["pose"], atol=1e-5)

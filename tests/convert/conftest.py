"""One tiny model, converted once a session to every variant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeface.convert.convert_all import Converted, Job, convert_all
from edgeface.models.deploy import deploy
from edgeface.models.io import model_info, save_model
from tests.convert import tiny


@dataclass(frozen=True)
class TinyFiles:
    model: Path
    """The float `.keras` file."""
    folder: Path
    files: dict[str, Converted]
    """By variant."""
    crops: np.ndarray
    expected: dict[str, np.ndarray]
    """The float Keras model's answers on the crops."""


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory) -> TinyFiles:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter reads what Keras's TensorFlow backend exports")
    root = tmp_path_factory.mktemp("tiny")
    trained = tiny.trained_like(tiny.ACDC)
    model = root / "tiny.keras"
    save_model(trained, model, model_info(tiny.ACDC, training={"steps": 7}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeface.convert.calibration_set.synthetic_crops", lambda *_: tiny.crops(tiny.ACDC, 16))
        done = convert_all(Job(model, root / "out"))
    crops = tiny.crops(tiny.ACDC, 8)
    expected = deploy(trained).predict_on_batch(crops.astype(np.float32))
    return TinyFiles(
        model, root / "out", {c.card.variant: c for c in done}, crops, {k: np.asarray(v) for k, v in expected.items()}
    )

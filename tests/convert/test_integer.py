"""The `int8_logits` file: not one float operator, and the host's few lines give the model's own answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import edgeface.quantize as qat
from edgeface.convert.convert_all import without_float_gates
from edgeface.convert.gate import check
from edgeface.convert.tflite import to_tflite
from edgeface.convert.variants import VARIANTS
from edgeface.models.deploy import deploy
from edgeface.quantize.integer import integer_conditioning
from edgeface.quantize.tflite_graph import read_graph
from edgeface.runtime.interpreter import TFLiteModel
from tests.convert import tiny

pytestmark = pytest.mark.slow


def calibrated(config):
    quantized = qat.quantize_aware(tiny.trained_like(config))
    qat.calibrate(quantized, [tiny.crops(config, 16).astype(np.float32)], progress=False)
    return quantized


def test_no_operator_computes_in_float(tiny_files):
    converted = tiny_files.files["int8_logits"]
    assert converted.gate.float_operators == 0 and converted.card.notes == (
        "the quantisation-aware twin was calibrated, not fine-tuned",
    )
    assert converted.gate.inputs["image"].dtype == "int8"
    assert {t.dtype for t in converted.gate.outputs.values()} == {"int8"}
    assert set(converted.gate.outputs) == {"maps", "pose_features"}


def test_the_host_decodes_what_the_device_would(tiny_files):
    host, device = (TFLiteModel(tiny_files.files[v].path) for v in ("int8_logits", "int8_qat"))
    shift, turn = [], []
    for crop in tiny_files.crops:
        a, b = host.infer(crop), device.infer(crop)
        assert set(a) == set(b) == {"landmarks", "pose", "spread"}
        shift.append(np.abs(a["landmarks"] - b["landmarks"]).mean())
        turn.append(np.abs(a["pose"] - b["pose"]).max())
    # What differs is the pose that conditions the second stage: int8 here, float there.
    assert np.mean(shift) < 0.002 and np.max(turn) < 0.5


def test_conditioning_moves_by_rounding_alone():
    quantized = calibrated(tiny.ACDC)
    cut = deploy(quantized, head=False)
    images = tiny.crops(tiny.ACDC, 8, seed=3).astype(np.float32)
    before = cut.predict_on_batch(images)
    after = integer_conditioning(cut).predict_on_batch(images)
    for key, value in before.items():
        off = np.abs(after[key] - value)
        assert 0 < off.max() < 0.1 * np.ptp(value) and off.mean() < 0.01 * np.ptp(value), key


def test_the_papers_mask_stays_float():
    config = replace(tiny.ACDC, mask_form="minmax")
    variant = VARIANTS["int8_logits"]
    source = without_float_gates(deploy(calibrated(config), head=False), head_on_host=True)
    report = check(read_graph(to_tflite(source, variant)), variant)
    assert report.passed and 0 < report.float_operators < 12

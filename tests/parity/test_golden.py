"""The host decode against golden vectors, which a decoder in any language can be held to."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeface.card import OutputSpec
from edgeface.codecs import BinnedAngles, IntegralHeatmap, LinearPose
from edgeface.runtime.interpreter import dequantize
from tests.parity.golden import GOLDEN, expectation, pose

CASES = json.loads(GOLDEN.read_text())


@pytest.fixture(params=CASES, ids=[case["from"] for case in CASES])
def case(request):
    return request.param


def stored(tensor) -> np.ndarray:
    """As the interpreter gives it, then as the runtime makes real values of it."""
    values = np.array(tensor["values"]).astype(np.int8).reshape(tensor["shape"])
    spec = OutputSpec("maps", (1, *tensor["shape"]), "int8", tensor["scale"], tensor["zero_point"])
    return dequantize(values, spec)


def test_the_file_is_small_and_has_both_networks():
    assert GOLDEN.stat().st_size < 50_000
    assert [("pose_features" in c, "pose_logits" in c) for c in CASES] == [(True, False), (False, True)]


def test_the_answers_are_what_the_definitions_give(case):
    landmarks, spread = expectation(case["maps"], case["sharpness"])
    np.testing.assert_allclose(landmarks, case["landmarks"], atol=1e-7)
    np.testing.assert_allclose(spread, case["spread"], atol=1e-7)
    np.testing.assert_allclose(pose(case), case["pose_deg"], atol=1e-5)


def test_landmarks_and_spread(case):
    height, width, _ = case["maps"]["shape"]
    landmarks, spread = IntegralHeatmap(height, width).decode(case["sharpness"] * stored(case["maps"]))
    # Float32 sums over 1024 cells; 1e-5 is a thousandth of a pixel of a 128 px crop.
    np.testing.assert_allclose(landmarks, case["landmarks"], atol=1e-5)
    # The variance is the small difference of two float32 numbers: a two-hundredth of a pixel.
    np.testing.assert_allclose(spread, case["spread"], atol=5e-5)


def test_pose(case):
    if "pose_logits" in case:
        angles = BinnedAngles(case["bins_low_deg"], case["bins_high_deg"], case["bins"])
        got = angles.decode(stored(case["pose_logits"]))
    else:
        bias, kernel = tuple(case["pose_bias"]), tuple(tuple(row) for row in case["pose_kernel"])
        got = LinearPose(kernel, bias).decode(stored(case["pose_features"]))
    np.testing.assert_allclose(got, case["pose_deg"], atol=1e-3)

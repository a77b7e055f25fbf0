"""Network configs: what cannot be built, or would mean something else than it says, is refused when it is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeface.models.acdc import AcdcConfig
from edgeface.models.ccr import CcrConfig
from edgeface.models.presets import PRESETS, build
from edgeface.schema import from_dict
from edgeface.training.config import TrainConfig
from edgeface.training.train import network_config_of

CCR = PRESETS["ccr_n"]
ACDC = PRESETS["acdc_n"]


@pytest.mark.parametrize("side", [112, 144])
def test_pose_features_must_come_back_at_the_maps_side(side):
    """14 or 18 cells halved twice by the pose branch and doubled twice are 16 or 20."""
    with pytest.raises(ValueError, match=f"side must be a multiple of 32. Received: {side}"):
        replace(CCR, side=side)
    for alone in ({"cross": False}, {"stages": 1}):
        model = build(replace(CCR, side=side, **alone))
        answer = model(np.zeros((1, side, side, 3), np.float32), training=False)
        assert answer["s1_ibug68"].shape == (1, 68, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AcdcConfig(widths=(32, 48)), r"stream_slices must be two .* <= widths\[0\] = 32. Received: \(\(0, 48"),
        (lambda: AcdcConfig(stream_slices=((0, 48),)), "stream_slices must be two"),
        (lambda: AcdcConfig(stream_slices=((0, 48), (48, 48))), "stream_slices must be two"),
        (lambda: AcdcConfig(pose_from="feature", excitation=False), "pose_from must be one of .*, features, none. Rec"),
        (lambda: AcdcConfig(mask_form="Peak"), "mask_form must be one of minmax, peak. Received: 'Peak'"),
        (lambda: AcdcConfig(mask_from="finer"), "mask_from must be one of all, finest. Received: 'finer'"),
        (lambda: AcdcConfig(side=4, stem=(8, 8), patch=True), "side must be a multiple of 64. Received: 4"),
        (lambda: AcdcConfig(side=0), "side must be a multiple of 8. Received: 0"),
        (lambda: AcdcConfig(widths=()), "widths must hold at least one"),
        (lambda: AcdcConfig(widths=(64, 0)), r"widths must be at least 1. Received: \(64, 0\)"),
        (lambda: AcdcConfig(channels=2), r"channels must be 1 \(gray\) or 3. Received: 2"),
        (lambda: AcdcConfig(markups_3d=("wflw98", "ibug68_3d")), "markups must be distinct"),
        (lambda: AcdcConfig(markups_3d=("nose",)), "markup must be one of .* Received: 'nose'"),
        (
            lambda: CcrConfig(low_deg=60, high_deg=-60),
            "between low_deg and a higher high_deg. Received: 80 from 60",
        ),
        (lambda: CcrConfig(bins=1), "bins must be at least 2"),
        (lambda: CcrConfig(sharpness=0), "sharpness must be > 0. Received: 0"),
        (lambda: CcrConfig(hourglass_depth=0), "hourglass_depth must be at least 1. Received: 0"),
        (lambda: CcrConfig(pose_units=(1, 0, 1, 1)), "pose_units must be at least 1"),
        (lambda: CcrConfig(unit="bottle"), "unit must be one of bottleneck, residual, conv. Received: 'bottle'"),
        (lambda: CcrConfig(upsample="nearest"), "upsample must be one of deconv, bilinear. Received: 'nearest'"),
        (lambda: CcrConfig(width=2), "at least 4 for bottlenecks"),
        (lambda: CcrConfig(stem=(), patch=True), "patch must have a stem"),
    ],
)
def test_values_that_mean_nothing_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_training_config_with_such_a_network_is_refused_before_it_trains():
    run = {"network": "ccr_n", "model": {"side": 112}, "sources": [{"set": "synthetic", "limit": 8}]}
    with pytest.raises(ValueError, match="model: side must be a multiple of 32. Received: 112"):
        network_config_of(from_dict(TrainConfig, run, "here"))


def test_narrow_networks_are_fine_with_slices_that_fit():
    config = replace(ACDC, side=32, stem=(4,), widths=(8, 8), stream_slices=((0, 6), (2, 8)))
    answer = build(config)(np.zeros((1, 32, 32, 1), np.float32), training=False)
    assert answer["s2_ibug68"].shape == (1, 68, 2)

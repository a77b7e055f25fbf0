"""The losses by hand, their masks, their gradients, and their targets against the codecs."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from edgeface.codecs import BinnedAngles, IntegralHeatmap
from edgeface.errors import InputError
from edgeface.training.losses import (
    SMOOTH_L1_WIDTH,
    WING_WIDTH,
    AcdcLoss,
    CcrLoss,
    acdc_loss,
    bin_targets,
    ccr_loss,
    coordinate_loss,
    gaussian_maps,
    last_stage_errors,
    loss_for,
    stage_weights,
)

NAN = np.float32(np.nan)


def gradient(function, value):
    """d function / d value on the backend under test."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(ops.convert_to_tensor(value)))
    import tensorflow as tf

    variable = tf.Variable(value)
    with tf.GradientTape() as tape:
        out = function(variable)
    return tape.gradient(out, variable).numpy()


def acdc_case():
    target = {
        "mtfl5": np.full((2, 5, 2), NAN, np.float32),
        "pose": np.array([[10, NAN, NAN], [NAN, NAN, NAN]], np.float32),
    }
    target["mtfl5"][0, :2] = [[0.5, 0.5], [0.25, 0.75]]
    predicted = {
        "s1_mtfl5": np.full((2, 5, 2), 0.5, np.float32),
        "s1_pose": np.array([[1, 2, 3], [4, 5, 6]], np.float32),
    }
    return target, predicted


def test_acdc_by_hand():
    target, predicted = acdc_case()
    # Two known points: L1 distances 0 and .25 + .25, mean .25. One known angle: |1 - 10| / 90 = .1, weight 2.
    assert float(acdc_loss(target, predicted, AcdcLoss(pose=2.0))) == pytest.approx(0.25 + 0.2, abs=1e-6)
    assert float(acdc_loss(target, predicted, AcdcLoss(pose=0.0, markups={"mtfl5": 0.5}))) == pytest.approx(0.125)


def test_acdc_weighs_the_last_stages():
    target, predicted = acdc_case()
    exact = {"s2_mtfl5": np.nan_to_num(target["mtfl5"]), "s2_pose": np.nan_to_num(target["pose"])}
    one = float(acdc_loss(target, predicted, AcdcLoss()))
    # Of two stages the first weighs 0.5; a perfect second adds nothing.
    assert float(acdc_loss(target, predicted | exact, AcdcLoss())) == pytest.approx(0.5 * one)
    assert stage_weights((0.125, 0.25, 0.5, 1.0), 4) == (0.125, 0.25, 0.5, 1.0)
    assert stage_weights((1.0,), 3) == (1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="at least 3"):
        stage_weights((0.5, 1.0), 3)


def test_gradients_of_masked_targets_are_zero_not_nan():
    target, predicted = acdc_case()
    grad = gradient(lambda p: acdc_loss(target, predicted | {"s1_mtfl5": p}, AcdcLoss()), predicted["s1_mtfl5"])
    assert np.isfinite(grad).all()
    assert (grad[1] == 0).all() and (grad[0, 2:] == 0).all()
    np.testing.assert_allclose(grad[0, 1], [0.5, -0.5])  # d mean(|dx| + |dy|) over two points

    nothing = {k: np.full_like(v, NAN) for k, v in target.items()}
    assert float(acdc_loss(nothing, predicted, AcdcLoss())) == 0
    assert (
        gradient(lambda p: acdc_loss(nothing, predicted | {"s1_pose": p}, AcdcLoss()), predicted["s1_pose"]) == 0
    ).all()


@pytest.mark.parametrize("kind", ["l1", "l2", "smooth_l1", "wing"])
def test_coordinate_losses_are_continuous_and_grow(kind):
    error = np.linspace(0, 0.5, 2001, dtype=np.float32)
    value = np.asarray(coordinate_loss(ops.convert_to_tensor(error), kind))
    assert value[0] == 0 and (np.diff(value) > 0).all()
    np.testing.assert_array_equal(value, np.asarray(coordinate_loss(ops.convert_to_tensor(-error), kind)))
    # No jump at the knots: wing's slope is at most width / curvature = 5, the others' 1.
    assert np.diff(value).max() <= 5.0 * np.diff(error).max() * 1.01
    assert error[0] < SMOOTH_L1_WIDTH < WING_WIDTH < error[-1]


def ccr_case(error_cells: float = 0.0):
    """One face, five points, maps that are already the target's Gaussians and a pose that is exact."""
    points = np.array([[[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.35, 0.7], [0.65, 0.7]]], np.float32)
    pose = np.array([[10, -20, 30]], np.float32)
    config = CcrLoss(low_deg=-60, high_deg=60)
    target = {"mtfl5": points, "pose": pose}
    with np.errstate(divide="ignore"):
        logits = np.log(BinnedAngles(-60, 60, 12).encode(pose))
    predicted = {
        "s1_mtfl5": points + np.float32([error_cells / 16, 0]),
        "s1_mtfl5_maps": IntegralHeatmap(16, 16).encode(points),
        "s1_pose": pose,
        "s1_bins": np.maximum(logits, -50).astype(np.float32),
    }
    return target, predicted, config


def test_ccr_by_hand():
    target, predicted, config = ccr_case()
    floor = float(ccr_loss(target, predicted, config))
    # Exact predictions leave the entropy of the targets: 10 and 30 sit midway between two 10-degree bins' centres
    # (-55 + 10 j), so does -20: ln 2 each.
    assert floor == pytest.approx(np.log(2), abs=1e-4)
    target, predicted, config = ccr_case(error_cells=1.0)
    assert float(ccr_loss(target, predicted, config)) - floor == pytest.approx(1.0, abs=1e-4)
    predicted["s1_pose"] = predicted["s1_pose"] + np.float32(10)  # one bin
    assert float(ccr_loss(target, predicted, config)) - floor == pytest.approx(2.0, abs=1e-4)


def test_an_absolute_angle_error_grows_by_the_bin():
    target, predicted, config = ccr_case()
    config = replace(config, angle="absolute", bins=0.0)
    predicted["s1_pose"] = predicted["s1_pose"] + np.float32(40)  # four bins
    assert float(ccr_loss(target, predicted, config)) == pytest.approx(4.0, abs=1e-4)


def test_ccr_weights():
    target, predicted, _ = ccr_case(error_cells=1.0)
    predicted["s1_mtfl5_maps"] = np.zeros_like(predicted["s1_mtfl5_maps"])
    config = CcrLoss(low_deg=-60, high_deg=60, bins=0.0, landmarks=3.0, maps=0.5)
    # A whole Gaussian of sigma 1 that is missing costs pi (its squared integral): 3 * (1 + 0.5 * pi).
    assert float(ccr_loss(target, predicted, config)) == pytest.approx(3 * (1 + 0.5 * np.pi), rel=1e-3)


def test_ccr_without_coordinates_sees_the_maps_alone():
    target, predicted, _ = ccr_case(error_cells=3.0)
    config = CcrLoss(low_deg=-60, high_deg=60, bins=0.0, coordinates=0.0)
    points = predicted["s1_mtfl5"]
    assert float(ccr_loss(target, predicted, config)) == pytest.approx(0, abs=1e-6)
    # No pull on the coordinates, while the maps are still held to their Gaussians.
    predicted["s1_mtfl5_maps"] = predicted["s1_mtfl5_maps"] + np.float32(0.1)
    assert (gradient(lambda p: ccr_loss(target, predicted | {"s1_mtfl5": p}, config), points) == 0).all()
    assert float(ccr_loss(target, predicted, config)) == pytest.approx(0.01 * 16 * 16, rel=1e-4)


def test_ccr_wants_no_attention_on_an_invisible_point_of_an_annotated_face():
    target, predicted, config = ccr_case()
    exact = float(ccr_loss(target, predicted, config))
    hidden = target["mtfl5"].copy()
    hidden[0, 4] = NAN
    target["mtfl5"] = hidden
    # Its map still has the Gaussian, which should now be zero: pi over five points.
    assert float(ccr_loss(target, predicted, config)) - exact == pytest.approx(np.pi / 5, rel=1e-3)


def test_ccr_ignores_a_face_without_the_markup():
    target, predicted, config = ccr_case(error_cells=1.0)
    one = float(ccr_loss(target, predicted, config))
    target = {k: np.concatenate([v, np.full_like(v, NAN)]) for k, v in target.items()}
    predicted = {k: np.concatenate([v, v + 3]) for k, v in predicted.items()}
    assert float(ccr_loss(target, predicted, config)) == pytest.approx(one, rel=1e-6)
    grad = gradient(lambda m: ccr_loss(target, predicted | {"s1_mtfl5_maps": m}, config), predicted["s1_mtfl5_maps"])
    assert np.isfinite(grad).all() and (grad[1] == 0).all()


def test_targets_are_those_of_the_codecs():
    pose = np.random.default_rng(0).uniform(-110, 110, (4, 3)).astype(np.float32)  # beyond the bins too
    got = np.asarray(bin_targets(ops.convert_to_tensor(pose), CcrLoss(), 66))
    # float32 positions of up to 66: half an ulp of 64 is 4e-6
    np.testing.assert_allclose(got, BinnedAngles(-99, 99, 66).encode(pose), atol=2e-5)

    points = np.random.default_rng(1).uniform(-0.1, 1.1, (2, 5, 2)).astype(np.float32)
    mask = np.ones((2, 5), np.float32)
    mask[0, 1] = 0
    got = np.asarray(gaussian_maps(ops.convert_to_tensor(points), ops.convert_to_tensor(mask), 12, 16, 1.5))
    np.testing.assert_allclose(got, IntegralHeatmap(12, 16, 1.5).encode(points, mask > 0), atol=1e-5)


def test_last_stage_errors():
    target, predicted = acdc_case()
    errors = last_stage_errors(target, predicted)
    mean, count = errors["landmarks"]
    assert float(count) == 2 and float(mean) == pytest.approx(100 * np.hypot(0.25, 0.25) / 2, rel=1e-5)
    mean, count = errors["pose"]
    assert float(count) == 1 and float(mean) == pytest.approx(9)


def test_loss_for():
    class Decoder:
        low_deg, high_deg = -120.0, 120.0

    class Network:
        output = ("s1_aflw21", "s1_bins", "s1_pose")

        @staticmethod
        def get_layer(name):
            return Decoder

    assert loss_for(Network, {"maps": 2}) == CcrLoss(maps=2.0, low_deg=-120.0, high_deg=120.0)
    with pytest.raises(InputError, match="stage_weights.*Received: 'pots'"):
        loss_for(Network, {"pots": 2})
    with pytest.raises(InputError, match="loss.markups must be among the network's, aflw21. Received: .'ibug86'"):
        loss_for(Network, {"markups": {"ibug86": 3.0}})

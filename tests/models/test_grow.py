"""A larger network begins as the smaller one that it grew from."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from edgeface.errors import InputError
from edgeface.models.acdc import AcdcConfig, build_acdc
from edgeface.models.ccr import CcrConfig, build_ccr
from edgeface.models.grow import grow
from edgeface.models.io import model_info, save_model
from edgeface.training.train import start_from

ACDC = AcdcConfig(
    side=32,
    stem=(6, 8),
    stages=2,
    widths=(8, 12),
    relu6=True,
    markups_2d=("aflw21", "mtfl5"),
    stream_slices=None,
    pose_from="features",
    mask_from="finest",
    mask_form="peak",
)
CCR = CcrConfig(
    side=32,
    stem=(6, 8),
    width=8,
    hourglass_depth=2,
    unit="conv",
    pose_widths=(8, 8, 12),
    pose_units=(1, 1, 1),
    sharpness=1.0,
)
WIDER = [
    (build_acdc, ACDC, {"stem": (7, 10), "widths": (10, 17)}),
    (build_acdc, replace(ACDC, separable=True), {"widths": (9, 17)}),
    (build_acdc, replace(ACDC, stream_slices=((0, 6), (2, 8)), pose_from="landmarks_3d"), {"stem": (6, 11)}),
    (build_ccr, CCR, {"stem": (7, 10), "width": 10, "pose_widths": (9, 11, 13)}),
    (build_ccr, replace(CCR, upsample="deconv"), {"width": 13}),
    (build_ccr, replace(CCR, unit="residual"), {"stem": (6, 10), "width": 10, "pose_widths": (10, 12, 12)}),
]
DEEPER = [(build_acdc, ACDC, {"stages": 3, "widths": (10, 16)}), (build_ccr, CCR, {"stages": 3})]


def _trained(build, config) -> keras.Model:
    """Biases and batch statistics such as no fresh network has."""
    network, rng = build(config), np.random.default_rng(0)
    # Kernels keep their size, so that maps stay soft; variances stay positive.
    network.set_weights([w + (0.2 * rng.random(w.shape) if w.ndim == 1 else 0) for w in network.get_weights()])
    return network


def _answers(network: keras.Model) -> dict[str, np.ndarray]:
    image = np.random.default_rng(1).integers(0, 256, (2, *network.input_shape[1:])).astype("float32")
    return {name: keras.ops.convert_to_numpy(tensor) for name, tensor in network(image).items()}


@pytest.mark.parametrize(("build", "config", "changes"), WIDER)
def test_a_wider_network_answers_as_the_one_it_grew_from(build, config, changes):
    small, large = _trained(build, config), build(replace(config, **changes))
    assert large.count_params() > small.count_params()
    grow(small, large)
    before, after = _answers(small), _answers(large)
    assert before.keys() == after.keys()
    for name, answer in before.items():
        assert np.abs(answer).max() > 1e-3, name
        # Sums over more channels, most of them zero, add up in another order.
        np.testing.assert_allclose(after[name], answer, rtol=1e-4, atol=1e-4 * np.abs(answer).max(), err_msg=name)


@pytest.mark.parametrize(("build", "config", "changes"), DEEPER)
def test_a_further_stage_begins_as_the_last_and_leaves_the_others_alone(build, config, changes):
    small, large = _trained(build, config), build(replace(config, **changes))
    grow(small, large)
    before, after = _answers(small), _answers(large)
    for name, answer in before.items():
        np.testing.assert_allclose(after[name], answer, rtol=1e-4, atol=1e-4 * np.abs(answer).max(), err_msg=name)
    last = large.get_layer("s3_in_conv" if build is build_acdc else "s3_pose1_1_conv").kernel.numpy()
    first = large.get_layer("s2_in_conv" if build is build_acdc else "s2_pose1_1_conv").kernel.numpy()
    old = small.get_layer("s2_in_conv" if build is build_acdc else "s2_pose1_1_conv").kernel.numpy()
    assert old.any()
    for kernel in (last, first):
        assert {v for v in old.ravel().tolist()} <= {v for v in kernel.ravel().tolist()}


def test_new_channels_learn():
    # From fresh weights, whose maps are not so steep that nothing would learn.
    small, large = build_acdc(ACDC), build_acdc(replace(ACDC, widths=(10, 16)))
    grow(small, large)
    trainer = keras.Model(large.input, large.output["s2_aflw21"])
    trainer.compile("sgd", "mse")
    kernel = large.get_layer("s2_in_conv").kernel
    before = kernel.numpy().copy()
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (4, 32, 32, 1)).astype("float32")
    trainer.fit(image, rng.random((4, 21, 2)).astype("float32"), epochs=2, verbose=0)
    changed = np.abs(kernel.numpy() - before)
    assert changed[..., 8:].any() and np.isfinite(kernel.numpy()).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (6, 12)}, "must be as its source but for width. Received: "),
        ({"widths": (8, 12, 16)}, "must have a layer for every one that is to grow. Received: none for s1_enc3a_conv"),
        ({"side": 64, "stem": (6, 8), "separable": True}, "must "),
    ],
)
def test_a_network_of_another_shape_is_refused_by_layer(changes, message):
    with pytest.raises(ValueError, match=message):
        grow(_trained(build_acdc, ACDC), build_acdc(replace(ACDC, **changes)))


def test_a_run_begins_with_a_narrower_network_or_says_what_init_must_hold(tmp_path):
    small, wider = _trained(build_acdc, ACDC), replace(ACDC, name="wider", widths=(10, 12))
    save_model(small, tmp_path / "small.keras", model_info(ACDC))
    network = build_acdc(wider)
    start_from(network, wider, str(tmp_path / "small.keras"))
    answer = _answers(small)["s2_aflw21"]
    np.testing.assert_allclose(_answers(network)["s2_aflw21"], answer, atol=1e-4)
    save_model(network, tmp_path / "wider.keras", model_info(wider))
    with pytest.raises(InputError, match="init must hold a network like acdc_paper, or one that is only narrower"):
        start_from(build_acdc(ACDC), ACDC, str(tmp_path / "wider.keras"))

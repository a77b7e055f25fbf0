"""A larger network begins as the smaller one that it grew from."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from edgeface.errors import InputError
from edgeface.models.acdc import AcdcConfig, build_acdc
from edgeface.models.ccr import CcrConfig, build_ccr
from edgeface.models.grow import check_growth, grow
from edgeface.models.io import model_info, save_model
from edgeface.training.train import start_from

pytestmark = pytest.mark.slow

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
    (build_acdc, replace(ACDC, patch=True), {"stem": (7, 10), "widths": (10, 12)}),
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
    for layer in (x for x in small.layers if x.weights and x.name.startswith("s2_")):
        second, third = large.get_layer(layer.name), large.get_layer(layer.name.replace("s2_", "s3_"))
        for old, before, after in zip(layer.get_weights(), second.get_weights(), third.get_weights(), strict=True):
            old_place = tuple(slice(n) for n in old.shape)
            if before.shape == old.shape:
                np.testing.assert_array_equal(before, old)
            # Where stages read the fused features, the old channels are not the first; they are the same in both.
            if not layer.name.startswith("s2_in_conv"):
                np.testing.assert_array_equal(before[old_place], old)
                np.testing.assert_array_equal(after[old_place], old)


def test_new_channels_learn():
    # From fresh weights, whose maps are not so steep that nothing would learn.
    keras.utils.set_random_seed(0)
    small, large = build_acdc(ACDC), build_acdc(replace(ACDC, widths=(10, 16)))
    grow(small, large)
    trainer = keras.Model(large.input, large.output["s2_aflw21"])
    # Gradients reach new channels through weights that were zero a step before: by Adam, whose steps do not shrink
    # with them.
    trainer.compile(keras.optimizers.Adam(1e-2, epsilon=1e-20), "mse", run_eagerly=True)
    kernel = large.get_layer("s2_in_conv").kernel
    before = kernel.numpy().copy()
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (4, 32, 32, 1)).astype("float32")
    trainer.fit(image, rng.random((4, 21, 2)).astype("float32"), epochs=4, verbose=0)
    changed = np.abs(kernel.numpy() - before)
    assert (changed[..., 8:].max(axis=(0, 1, 2)) > 1e-3).all() and np.isfinite(kernel.numpy()).all()


@pytest.mark.parametrize(
    ("small", "changes", "message"),
    [
        (ACDC, {"widths": (6, 12)}, r"widths must be at most \(6, 12\), level by level. Received: \(8, 12\)"),
        (ACDC, {"widths": (8, 12, 16)}, "widths must be at most"),
        (ACDC, {"stages": 1}, "stages must be 1, or from 2 to that. Received: 2"),
        (replace(ACDC, stages=1), {"stages": 3}, "stages must be 3, or from 2 to that. Received: 1"),
        (ACDC, {"side": 64}, "side must be 64. Received: 32"),
        (ACDC, {"relu6": False}, "relu6 must be False. Received: True"),
        (ACDC, {"markups_3d": ()}, r"markups_3d must be \(\). Received: "),
        (ACDC, {"excite_unit_deg": 15.0}, "excite_unit_deg must be 15.0"),
        (CCR, {"pose_units": (1, 2, 1)}, "pose_units must be"),
        (CCR, {"low_deg": -99.0}, "low_deg must be -99.0. Received: -120.0"),
    ],
)
def test_configs_that_differ_in_more_than_widths_and_stages_are_refused_by_field(small, changes, message):
    with pytest.raises(ValueError, match=message):
        check_growth(small, replace(small, **changes))


def test_what_weights_show_is_refused_by_layer():
    with pytest.raises(ValueError, match="network must be ccr. Received: acdc"):
        check_growth(ACDC, CCR)
    check_growth(ACDC, replace(ACDC, name="larger", stages=4, widths=(8, 13)))
    small = build_acdc(ACDC)
    with pytest.raises(ValueError, match="Received: none for s1_enc3a_conv"):
        grow(small, build_acdc(replace(ACDC, widths=(8, 12, 16))))
    with pytest.raises(
        ValueError, match="acdc_paper must have all layers of acdc_paper. Received: none for gtn_ibug68_3d"
    ):
        grow(small, build_acdc(replace(ACDC, markups_3d=())))
    with pytest.raises(ValueError, match="must be as its source but for width"):
        grow(small, build_acdc(replace(ACDC, widths=(6, 12))))


def test_a_run_begins_with_a_narrower_network_or_says_what_init_must_hold(tmp_path):
    small, wider = _trained(build_acdc, ACDC), replace(ACDC, name="wider", widths=(10, 12))
    save_model(small, tmp_path / "small.keras", model_info(ACDC))
    network = build_acdc(wider)
    start_from(network, wider, str(tmp_path / "small.keras"))
    answer = _answers(small)["s2_aflw21"]
    np.testing.assert_allclose(_answers(network)["s2_aflw21"], answer, atol=1e-4)
    save_model(network, tmp_path / "wider.keras", model_info(wider))
    rule = (
        "init must hold a network like acdc_paper, or one that is only narrower or of fewer stages. Received: wider; "
    )
    with pytest.raises(InputError, match=rule + "widths must be at most"):
        start_from(build_acdc(ACDC), ACDC, str(tmp_path / "wider.keras"))

"""Both networks against what the papers and the design fix, and the deployable graphs drawn from them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeface.codecs import BinnedAngles, IntegralHeatmap, LinearPose
from edgeface.errors import InputError
from edgeface.models.acdc import AcdcConfig
from edgeface.models.ccr import CcrConfig
from edgeface.models.deploy import deploy, host_pose_layer
from edgeface.models.io import config_of, load_model, model_info, save_model
from edgeface.models.layers import AttentionMask, BelowPeak, BinExpectation, PeakMask, SpatialExpectation
from edgeface.models.outputs import StageOutputs
from edgeface.models.presets import ABLATIONS, PRESETS, build, preset
from edgeface.models.summary import count_macs, count_parameters, layer_costs, summary_table

TINY_ACDC = replace(PRESETS["acdc_s"], side=64, stem=(4, 8), widths=(8, 12, 16))
TINY_CCR = replace(PRESETS["ccr_s"], side=64, stem=(4, 8), width=8, pose_widths=(8, 12, 16), hourglass_depth=2, bins=20)


def _outputs(model: keras.Model, seed: int = 0) -> dict[str, np.ndarray]:
    image = np.random.default_rng(seed).integers(0, 256, (2, *model.input.shape[1:])).astype("float32")
    return {k: np.asarray(v) for k, v in model(image, training=False).items()}


def _scattered(model: keras.Model, seed: int = 1) -> keras.Model:
    """The model with random weights everywhere (no zero bias hides a difference) and batch norms that fit its input."""
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.normal(0, 0.02, w.shape).astype(w.dtype) for w in model.get_weights()])
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    model(rng.integers(0, 256, (4, *model.input.shape[1:])).astype("float32"), training=True)
    for layer in norms:
        layer.momentum = 0.99
    return model


@pytest.mark.slow
def test_acdc_paper_is_the_papers_network():
    model = build("acdc_paper")
    assert count_parameters(model) < 10e6, "section III-B: less than 10 M parameters"
    assert count_parameters(model) == model.count_params() == 9_511_582
    kernels = [layer for layer in model.layers if type(layer) is keras.layers.Conv2D]
    for stage in range(1, 5):
        own = [c for c in kernels if c.name.startswith(f"s{stage}_")]
        assert len(own) == 13, "a 13-layer U-Net a stage"
        assert [c.filters for c in own[1:7]] == [64, 64, 128, 128, 256, 256]
    # I, I * mask, H, H * mask: 1 + 1 + 64 + 64 (section III-B), and each stage has an excitation of its own.
    assert model.get_layer("s1_fuse").output.shape == (None, 128, 128, 130)
    assert {f"s{i}_excite" for i in (1, 2, 3)} <= {layer.name for layer in model.layers}
    assert model.output["s4_wflw98"].shape == (None, 98, 2) and StageOutputs.of(model).stages == 4
    assert StageOutputs.of(model).markups == ("wflw98", "ibug68", "mtfl5", "ibug68_3d")
    # The geometry transfer network is one set of layers, whatever the number of stages.
    shared = [c for c in layer_costs(model) if c.name == "gtn_wflw98"]
    assert len(shared) == 4 and [bool(c.parameters) for c in shared] == [True, False, False, False]


@pytest.mark.slow
def test_ccr_paper_is_the_papers_network():
    model = build("ccr_paper")
    assert model.input.shape == (None, 256, 256, 3) and StageOutputs.of(model).stages == 2
    assert model.output["s2_aflw21_maps"].shape == (None, 64, 64, 21)
    assert model.output["s2_bins"].shape == (None, 3, 80)
    assert count_parameters(model) == model.count_params()
    names = {layer.name for layer in model.layers}
    assert {"s1_deconv1_conv", "s1_deconv2_conv", "s1_unify_conv", "s1_middle_conv", "s2_inform_add"} <= names
    # The pose branch has ResNet-50's 3 + 4 + 6 + 3 bottlenecks in each block.
    assert sum(n.startswith("s1_pose") and n.endswith("_add") for n in names) == 16


@pytest.mark.parametrize("name", ["acdc_n", "acdc_s", "acdc_m", "ccr_n", "ccr_s", "ccr_m"])
def test_edge_presets_keep_the_contract(name):
    model = build(name)
    assert len({layer.name for layer in model.layers}) == len(model.layers)
    small = deploy(model)
    assert {k: v.shape[1:] for k, v in small.output.items()} == {"landmarks": (68, 2), "pose": (3,), "spread": (68,)}
    assert count_macs(small) <= count_macs(model)
    if name in ("acdc_n", "ccr_n"):
        assert count_parameters(small) < 0.35e6
    assert f"{count_parameters(model):,}" in summary_table(model)


@pytest.mark.slow
def test_sizes_are_ordered():
    for network in ("acdc", "ccr"):
        macs = [count_macs(build(f"{network}_{size}")) for size in "nsm"]
        assert macs == sorted(macs) and macs[0] < 60e6


def test_macs_by_hand():
    image = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(4, 3, 2, padding="same", use_bias=False, name="s1_conv")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="s1_dw")(x)
    x = keras.layers.Conv2DTranspose(2, 4, 2, padding="same", use_bias=False, name="s1_up")(x)
    x = keras.layers.Dense(3, use_bias=False, name="s1_dense")(keras.layers.Flatten(name="s1_flat")(x))
    model = keras.Model(image, x)
    by_name = {c.name: c.macs for c in layer_costs(model)}
    assert by_name["s1_conv"] == 4 * 4 * 3 * 3 * 2 * 4
    assert by_name["s1_dw"] == 4 * 4 * 3 * 3 * 4
    assert by_name["s1_up"] == 4 * 4 * 4 * 4 * 4 * 2
    assert by_name["s1_dense"] == 128 * 3


@pytest.mark.slow
@pytest.mark.parametrize("upsample", ["deconv", "bilinear"])
def test_a_twin_costs_what_its_float_model_costs(upsample):
    """Its convolutions are layers of another class: what they are must be known all the same."""
    from edgeface.quantize import quantize_aware

    model = build(replace(TINY_CCR, upsample=upsample))
    assert count_macs(quantize_aware(model)) == count_macs(model)


@pytest.mark.slow
@pytest.mark.parametrize("tiny", [TINY_ACDC, TINY_CCR], ids=["acdc", "ccr"])
def test_activations_end_at_6_or_nowhere_and_the_weights_are_the_same_ones(tiny):
    assert tiny.relu6, "as in the edge presets"
    six, without = _scattered(build(tiny)), build(replace(tiny, relu6=False))
    for model, end in ((six, 6.0), (without, None)):
        assert {x.max_value for x in model.layers if isinstance(x, keras.layers.ReLU)} == {end}
    assert [w.path for w in six.weights] == [w.path for w in without.weights]
    without.set_weights(six.get_weights())
    ended, open_ended = _outputs(six), _outputs(without)
    assert max(np.abs(ended[key] - open_ended[key]).max() for key in ended) > 1e-3


@pytest.mark.parametrize("ablation", sorted(ABLATIONS))
def test_ablations_are_configs(ablation):
    model = build(replace(TINY_ACDC, **ABLATIONS[ablation]))
    names = {layer.name for layer in model.layers}
    assert ("s1_mask" in names) == (ablation != "cascade")
    assert ("s1_pose" in model.output) == (ablation in ("ac_pose", "acdc"))
    assert ("s1_excite" in names) == (ablation == "acdc")
    assert np.isfinite(np.concatenate([v.ravel() for v in _outputs(model).values()])).all()


@pytest.mark.slow
def test_conditioning_reaches_the_next_stage():
    """Turning the pose head must move the second stage's landmarks in AC-DC, not in AC+Pose."""
    for ablation, moves in (("acdc", True), ("ac_pose", False)):
        model = _scattered(build(replace(TINY_ACDC, **ABLATIONS[ablation])))
        before = _outputs(model)
        head = model.get_layer("gtn_pose")
        head.bias.assign([0.9, -0.9, 0.9])
        after = _outputs(model)
        assert not np.allclose(before["s1_pose"], after["s1_pose"])
        assert np.allclose(before["s1_ibug68"], after["s1_ibug68"])
        assert bool(np.abs(before["s2_ibug68"] - after["s2_ibug68"]).max() > 1e-6) == moves


@pytest.mark.slow
def test_ccr_cross_connection_carries_the_pose_branch():
    for cross, moves in ((True, True), (False, False)):
        model = _scattered(build(replace(TINY_CCR, cross=cross)))
        before = _outputs(model)
        for layer in model.layers:
            if layer.name == "s1_pose3_1_bn":
                layer.beta.assign(layer.beta + 3.0)
        after = _outputs(model)
        assert np.allclose(before["s1_ibug68"], after["s1_ibug68"])
        assert bool(np.abs(before["s2_ibug68"] - after["s2_ibug68"]).max() > 1e-6) == moves


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AcdcConfig(side=100), "multiple of"),
        (lambda: AcdcConfig(markups_2d=("mtfl5", "wflw98")), "finest to coarsest"),
        (lambda: AcdcConfig(stages=0), "at least 1"),
        (lambda: AcdcConfig(pose_from="none"), "excitation must have a pose"),
        (lambda: CcrConfig(side=250), "multiple of"),
        (lambda: CcrConfig(markups=("nose",)), "markup must be one of"),
        (lambda: preset("acdc_xl"), "preset must be one of"),
        (lambda: deploy(build(TINY_ACDC), markup="wflw98"), "markup must be one of"),
        (lambda: deploy(build(TINY_ACDC), stages=3), "stages must be 1 to 2"),
        (lambda: deploy(build(TINY_ACDC), outputs=("gaze",)), "outputs must be among"),
    ],
)
def test_bad_configs_say_what_must_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_heads_agree_with_the_codecs():
    """The graph's expectation heads and the device's numpy decode are one definition."""
    rng = np.random.default_rng(3)
    maps = rng.normal(0, 3, (2, 8, 12, 5)).astype("float32")
    points, spread = (np.asarray(v) for v in SpatialExpectation(sharpness=1.5)(maps))
    expected, expected_spread = IntegralHeatmap(8, 12).decode(maps * 1.5)
    # float32 sums over 96 cells: a few units in the last place of 1.
    np.testing.assert_allclose(points, expected, atol=2e-6)
    np.testing.assert_allclose(spread, expected_spread, atol=5e-5)
    logits = rng.normal(0, 2, (2, 3, 66)).astype("float32")
    np.testing.assert_allclose(np.asarray(BinExpectation(-99, 99)(logits)), BinnedAngles().decode(logits), atol=1e-4)


def test_attention_mask_is_equation_4():
    maps = np.random.default_rng(4).normal(0, 2, (2, 6, 6, 3)).astype("float32")
    phi = np.exp(maps) / np.exp(maps).sum((1, 2), keepdims=True)
    low, high = phi.min((1, 2), keepdims=True), phi.max((1, 2), keepdims=True)
    expected = ((phi - low) / (high - low)).max(-1, keepdims=True)
    np.testing.assert_allclose(np.asarray(AttentionMask()(maps)), expected, atol=1e-5)
    flat = np.asarray(AttentionMask()(np.zeros((1, 4, 4, 2), "float32")))
    assert np.isfinite(flat).all()


def test_expectation_survives_extreme_maps():
    for value in (1e4, -1e4, 0.0):
        maps = np.full((1, 4, 4, 1), value, "float32")
        points, spread = SpatialExpectation()(maps)
        np.testing.assert_allclose(np.asarray(points), 0.5, atol=1e-6)
        assert np.isfinite(np.asarray(spread)).all()


@pytest.mark.slow
@pytest.mark.parametrize("config", [TINY_ACDC, TINY_CCR], ids=["acdc", "ccr"])
def test_deploy_cuts_the_cascade(config):
    model = _scattered(build(config))
    full = _outputs(model)
    for stage in (1, 2):
        cut = deploy(model, stages=stage)
        got = _outputs(cut)
        np.testing.assert_allclose(got["landmarks"], full[f"s{stage}_ibug68"], atol=1e-6)
        np.testing.assert_allclose(got["pose"], full[f"s{stage}_pose"], atol=1e-4)
        np.testing.assert_allclose(got["spread"], full[f"s{stage}_ibug68_spread"], atol=1e-6)
    assert count_macs(deploy(model, stages=1)) < 0.7 * count_macs(deploy(model))
    assert set(deploy(model, outputs=("pose",)).output) == {"pose"}
    whole = deploy(model, head=False)
    kept = {o: set(deploy(model, outputs=o, head=False).output) for o in (("pose",), ("landmarks",), ("spread",))}
    assert list(kept.values()) == [set(whole.output) - {"maps"}, {"maps"}, {"maps"}]
    host = _outputs(whole)
    maps = host["maps"]
    if "pose_features" in host:
        layer = host_pose_layer(model, 2)
        pose = LinearPose((90 * np.asarray(layer.kernel)).tolist(), (90 * np.asarray(layer.bias)).tolist())
        np.testing.assert_allclose(pose.decode(host["pose_features"]), full["s2_pose"], atol=1e-3)
    sharpness = model.get_layer("s2_ibug68").sharpness
    points, _ = IntegralHeatmap(*maps.shape[1:3]).decode(maps * sharpness)
    np.testing.assert_allclose(points, full["s2_ibug68"], atol=1e-5)


def test_the_peaks_mask_is_the_papers_where_maps_fall_off():
    rng = np.random.default_rng(0)
    centers = rng.uniform(4, 12, (2, 2, 5))
    y, x = np.mgrid[:16, :16]
    far = (x[None, ..., None] - centers[0][:, None, None]) ** 2 + (y[None, ..., None] - centers[1][:, None, None]) ** 2
    maps = (rng.uniform(-3, 3, (2, 1, 1, 5)) - 0.3 * far).astype("float32")
    paper = np.asarray(AttentionMask()(maps))
    peak = np.asarray(PeakMask()(BelowPeak()(maps)))
    assert peak.shape == (2, 16, 16, 1) and peak.max() == 1 and 0.05 < paper.mean() < 0.9
    np.testing.assert_allclose(peak, paper, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("config", [TINY_ACDC, TINY_CCR], ids=["acdc", "ccr"])
def test_save_and_load(config, tmp_path: Path):
    model = _scattered(build(config))
    save_model(model, tmp_path / "m.keras", model_info(config, note="here"))
    loaded, info = load_model(tmp_path / "m.keras")
    assert config_of(info) == config and info["note"] == "here" and info["kind"] == "float"
    for key, value in _outputs(model).items():
        np.testing.assert_array_equal(value, _outputs(loaded)[key])
    model.save_weights(tmp_path / "m.weights.h5")
    fresh = build(config)
    fresh.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(_outputs(fresh)["s2_ibug68"], _outputs(model)["s2_ibug68"])
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_loading_something_else_is_an_input_error(tmp_path: Path):
    whole = tmp_path / "m.keras"
    save_model(build(TINY_ACDC), whole, model_info(TINY_ACDC))
    (tmp_path / "cut.keras").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "empty.keras").touch()
    build(TINY_ACDC).save(tmp_path / "plain.keras")
    for name in ("cut.keras", "empty.keras", "plain.keras", "absent.keras"):
        with pytest.raises(InputError, match="must be a .keras file"):
            load_model(tmp_path / name)
    with pytest.raises(InputError, match="must end in .keras"):
        save_model(build(TINY_ACDC), tmp_path / "m.h5", {})


_OTHER_BACKEND = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
from edgeface.models.io import load_model
for folder in sys.argv[2:]:
    model, _ = load_model(folder + "/m.keras")
    outputs = model(np.load(folder + "/image.npy"), training=False)
    np.savez(folder + "/there.npz", **{k: np.asarray(v) for k, v in outputs.items()})
"""


def test_jax_and_tensorflow_agree(jax_env, tmp_path: Path):
    """Same weights, same input: 1e-4 of the crop, and of 90 degrees."""
    answers = {}
    for name in ("acdc_n", "ccr_n"):
        model, folder = _scattered(build(name)), tmp_path / name
        folder.mkdir()
        save_model(model, folder / "m.keras", model_info(preset(name)))
        image = np.random.default_rng(5).integers(0, 256, (2, *model.input.shape[1:])).astype("float32")
        np.save(folder / "image.npy", image)
        answers[folder] = {k: np.asarray(v) for k, v in model(image, training=False).items()}
    other = "jax" if keras.backend.backend() == "tensorflow" else "tensorflow"
    subprocess.run(
        [sys.executable, "-c", _OTHER_BACKEND, str(Path(__file__).parents[2]), *answers],
        env=jax_env | {"KERAS_BACKEND": other},
        check=True,
        capture_output=True,
    )
    for folder, here in answers.items():
        there = np.load(folder / "there.npz")
        assert set(there) == set(here)
        for key, value in here.items():
            scale = 90.0 if key.endswith("_pose") else max(1.0, float(np.abs(value).max()))
            assert np.abs(value - there[key]).max() / scale < 1e-4, (folder.name, key)


@pytest.mark.slow
def test_presets_print_their_price():
    run = [sys.executable, "-m", "edgeface.models"]
    shown = subprocess.run([*run, "acdc_n"], check=True, capture_output=True, text=True).stdout
    assert shown.startswith("acdc_n\n") and f"{count_parameters(build('acdc_n')):,}" in shown
    refused = subprocess.run([*run, "acdc_xl"], capture_output=True, text=True)
    assert refused.returncode == 1 and "preset must be one of acdc_paper" in refused.stderr

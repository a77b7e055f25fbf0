"""Each of the recipes beyond running ranges, alone, where what it should do is known."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgeface.convert.distill import distillation_loss, with_maps
from edgeface.errors import InputError
from edgeface.quantize import (
    FakeQuant,
    QuantKernel,
    Recipe,
    calibrate,
    correct_bias,
    equalize,
    quantize_aware,
    sensitivity,
)
from edgeface.quantize.bias_correction import add_to_output
from edgeface.quantize.layers import LEARNING_GAIN
from edgeface.quantize.ranges import _SHRINKS, least_squares_range
from edgeface.quantize.switches import unrounded
from edgeface.training.losses import loss_for
from tests.convert import tiny

on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes gradients with a tape")


def _numpy(value) -> np.ndarray:
    return np.array(ops.convert_to_numpy(value))


def _images(count: int = 16, side: int = 12, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels)).astype("float32")


def _chain() -> keras.Model:
    """conv-bn-relu, depthwise-bn-relu, pool, conv-relu, a skip, conv: random batch norms, channels of unequal size."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    image = keras.Input((12, 12, 2), name="image")
    x = layers.Conv2D(4, 3, use_bias=False, name="a")(image)
    x = layers.ReLU(name="a_relu")(layers.BatchNormalization(name="a_bn")(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="b")(x)
    x = layers.ReLU(name="b_relu")(layers.BatchNormalization(name="b_bn")(x))
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = skip = layers.Conv2D(4, 3, activation="relu", padding="same", name="c")(x)
    x = layers.Conv2D(4, 3, padding="same", name="d")(x)
    x = layers.ReLU(6.0, name="d_relu6")(x)
    x = layers.Conv2D(4, 3, padding="same", name="e")(x)
    model = keras.Model(image, layers.Conv2D(3, 1, name="f")(layers.Add(name="sum")([x, skip])))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights([
                10 ** rng.uniform(-1.5, 0.5, size), rng.normal(0, 0.3, size), rng.normal(0, 20, size),
                (120 if layer.name == "a_bn" else 1) ** 2 * rng.uniform(0.5, 2, size),
            ])  # fmt: skip
        elif isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)) and layer.use_bias:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    return model


@pytest.fixture(scope="module")
def chain() -> keras.Model:
    return _chain()


def _calibrated(model, recipe: Recipe | None = None) -> keras.Model:
    quantized = quantize_aware(model, recipe)
    calibrate(quantized, [_images()], progress=False)
    return quantized


# -- ranges


def test_the_least_squares_range_clips_a_rare_outlier_and_keeps_what_fills_its_range():
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(0, 1, 20_000), 40.0)
    low, high = least_squares_range(values, np.ones_like(values), values.min(), values.max(), bits=4)

    def cost(low: float, high: float) -> float:
        step = (high - low) / 15
        zero = np.round(-low / step)
        return float(((np.clip(np.round(values / step) + zero, 0, 15) - zero) * step - values).__pow__(2).sum())

    tried = {(a, b): cost(a, b) for a in np.linspace(-4, -1, 13) for b in np.linspace(1, 40, 79)}
    assert high < 12 and cost(low, high) < 1.2 * min(tried.values()) < 0.5 * cost(values.min(), 40.0)
    even = np.linspace(0, 5, 1000)
    np.testing.assert_allclose(least_squares_range(even, np.ones(1000), 0.0, 5.0, bits=8), (0.0, 5.0), atol=0.1)


def test_no_integer_falls_on_a_tie_between_two_ranges_shrunk_from_the_same_extremes():
    ratios = (_SHRINKS[:, None] / _SHRINKS)[~np.eye(len(_SHRINKS), dtype=bool)]
    turned = np.arange(1, 256, dtype=np.float32) * ratios[:, None].astype(np.float32)
    assert not (turned % 1 == 0.5).any()
    assert (np.arange(1, 256) * np.float32(9 / 8) % 1 == 0.5).any()  # which a grid of tenths would have


def test_mse_calibration_clips_where_that_rounds_better():
    image = keras.Input((48, 48, 1))
    model = keras.Model(image, layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones", name="same")(image))
    x = np.random.default_rng(0).normal(0, 1, (8, 48, 48, 1)).astype("float32")
    x[0, 0, 0] = 40.0
    quantized = quantize_aware(model, Recipe(activation_bits=4, input_range=None))
    quantized.layers[1].bits = 16  # the image itself
    errors = {}
    for method in ("minmax", "mse"):
        calibrate(quantized, [x[:4], x[4:]], method, progress=False)
        errors[method] = np.square(_numpy(quantized(x, training=False)) - x).mean()
    high = quantized.get_layer("same").range()[1]
    assert high < 15 and errors["mse"] < 0.5 * errors["minmax"], (high, errors)


# -- learned ranges


def _learned(bits: int = 3, low: float = 0.0, high: float = 1.0) -> tuple[keras.Model, FakeQuant]:
    inputs = keras.Input((64,))
    layer = FakeQuant(bits=bits, learned=True, name="grid")
    model = keras.Model(inputs, layer(inputs))
    layer.set_range(low, high)
    return model, layer


def test_a_learned_range_computes_plain_fake_quant():
    model, layer = _learned(8, -1.3, 2.1)
    plain = FakeQuant(fixed_range=(-1.3, 2.1))
    x = np.random.default_rng(0).normal(0, 1, (16, 64)).astype("float32")
    np.testing.assert_array_equal(_numpy(model(x, training=False)), _numpy(plain(x)))
    np.testing.assert_allclose(_numpy(model(x, training=True)), _numpy(plain(x)), atol=1e-6)
    layer.log_high.assign(np.log(2) / LEARNING_GAIN)
    np.testing.assert_allclose(layer.range(), (-1.3, 4.2), rtol=1e-5)
    np.testing.assert_allclose(
        _numpy(model(x, training=False)), _numpy(FakeQuant(fixed_range=(-1.3, 4.2))(x)), atol=1e-5
    )


@on_tensorflow
def test_a_learned_range_s_gradient_is_lsq_s():
    import tensorflow as tf

    model, layer = _learned(3, 0.0, 2.0)
    x = np.random.default_rng(0).uniform(-0.5, 3.0, (4, 64)).astype("float32")
    slope = np.random.default_rng(1).normal(0, 1, (4, 64)).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(x))
        loss = tf.reduce_sum(model(given, training=True) * slope)
    to_high, to_x = tape.gradient(loss, [layer.log_high.value, given])
    level = x / (2 / 7)
    # Esser et al., eq. 3, on the step; seven steps make the range, and the range is high = 2 exp(100 log_high).
    to_step = np.where(x >= 2, 7, np.where(x <= 0, 0, np.round(level) - level))
    expected = (slope * to_step / 7).sum() * 2 / np.sqrt(64 * 7)
    np.testing.assert_allclose(to_high, expected, rtol=1e-4)
    np.testing.assert_allclose(to_x, np.where((x >= 0) & (x <= 2), slope, 0), atol=1e-6)


@pytest.mark.parametrize("high", [12.0, 0.7])
def test_a_learned_range_finds_its_way_from_too_wide_and_from_too_narrow(high):
    model, layer = _learned(4, -high, high)
    x = np.random.default_rng(0).normal(0, 1, (256, 64)).astype("float32")
    model.compile(keras.optimizers.Adam(3e-4), "mse")
    before = model.evaluate(x, x, verbose=0)
    model.fit(x, x, epochs=10, batch_size=32, verbose=0)
    best = least_squares_range(x.ravel(), np.ones(x.size), x.min(), x.max(), 4)
    after, least = model.evaluate(x, x, verbose=0), _error_at(best, x)
    assert after < 0.5 * before and after < 1.5 * least, (before, after, least)


def _error_at(ends: tuple[float, float], x: np.ndarray) -> float:
    return float(np.square(_numpy(FakeQuant(bits=4, fixed_range=ends)(x)) - x).mean())


def test_learned_ranges_start_where_calibration_puts_them_and_do_not_follow_batches(chain, tmp_path):
    quantized = _calibrated(chain, Recipe(ranges="learned"))
    layer = quantized.get_layer("a_relu")
    before = layer.range()
    quantized(10 * _images(), training=True)
    assert layer.range() == before
    layer.log_high.assign(0.001)
    quantized.save(tmp_path / "twin.keras")
    loaded = keras.saving.load_model(tmp_path / "twin.keras")
    assert loaded.get_layer("a_relu").range() == layer.range() != before
    layer.set_range(0.0, 3.0)
    assert layer.range() == (0.0, 3.0)


# -- bias correction


def test_bias_correction_takes_the_mean_error_out_of_every_channel(chain):
    quantized = _calibrated(chain, Recipe(weight_bits=3))
    exact = _numpy(chain(_images())).mean(axis=(0, 1, 2))
    before = np.abs(_numpy(quantized(_images(), training=False)).mean(axis=(0, 1, 2)) - exact)
    shifts = correct_bias(quantized, [_images()[:8], _images()[8:]])
    after = np.abs(_numpy(quantized(_images(), training=False)).mean(axis=(0, 1, 2)) - exact)
    assert after.max() < 0.1 * before.max(), (before, after)
    assert set(shifts) == {"a", "b", "c_raw", "d", "e_raw", "f_raw"} and max(shifts.values()) > 0.01
    with pytest.raises(InputError, match="at least one batch"):
        correct_bias(quantized, [])


def test_bias_correction_goes_through_whatever_the_layer_has():
    for use_bias, center in ((True, True), (False, True), (True, False)):
        norm = {"epsilon": 1e-3, "scale": True, "center": center}
        layer = QuantKernel("conv", (1, 1, 2, 3), use_bias=use_bias, norm=norm)
        x = _images(2, 4)
        layer.build(x.shape)
        layer.gamma.assign([2.0, 0.5, -1.0])
        layer.moving_variance.assign([4.0, 0.1, 9.0])
        before = _numpy(layer(x))
        add_to_output(layer, np.array([1.0, -2.0, 3.0]))
        difference = _numpy(layer(x)) - before
        np.testing.assert_allclose(difference, np.broadcast_to([1, -2, 3], difference.shape), atol=1e-3)


# -- cross-layer equalization


def test_equalization_computes_the_same_and_evens_out_neighbors(chain):
    before = [np.array(w) for w in chain.get_weights()]
    equal, pairs = equalize(chain)
    # Not across the skip (c has two readers), nor across ReLU6.
    assert pairs == ("a - b", "b - c")
    np.testing.assert_allclose(_numpy(equal(_images())), _numpy(chain(_images())), rtol=1e-3, atol=1e-3)
    for old, new in zip(before, chain.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    first, second = (np.abs(_numpy(q.folded()[0])) for q in map(quantize_aware(equal).get_layer, ("b", "c_raw")))
    np.testing.assert_allclose(first.max(axis=(0, 1, 3)), second.max(axis=(0, 1, 3)), rtol=1e-2)


def test_equalization_leaves_a_layer_that_is_called_twice_alone():
    image = keras.Input((8, 8, 2))
    shared = layers.Conv2D(2, 3, padding="same", activation="relu", name="shared")
    model = keras.Model(image, layers.Conv2D(2, 1, name="last")(shared(shared(image))))
    assert equalize(model)[1] == ()


# -- which tensor, and sixteen bits for it


def test_sensitivity_names_the_tensor_whose_range_is_spoilt_and_sixteen_bits_mend_it(chain):
    def cost(exact, rounded) -> float:
        return float(np.abs(exact - rounded).mean())

    quantized = _calibrated(chain)
    wide = _calibrated(chain, Recipe(wide=("b_relu",)))
    for model in (quantized, wide):
        layer = model.get_layer("b_relu")
        layer.set_range(0.0, 30 * layer.range()[1])
    found = {name: sensitivity(m, [_images()], cost, progress=False) for name, m in (("8", quantized), ("16", wide))}
    assert (found["8"][0].name, found["8"][0].kind) == ("b_relu", "activation")
    assert [s.cost for s in found["8"]] == sorted((s.cost for s in found["8"]), reverse=True)
    assert {s.name for s in found["8"] if s.kind == "kernel"} == {"a", "b", "c_raw", "d", "e_raw", "f_raw"}
    costs = [next(s.cost for s in rows if s.name == "b_relu") for rows in found.values()]
    assert costs[1] < 0.01 * costs[0]
    for name in ("nowhere", "image", "c_raw"):  # an input and a kernel are none
        message = f"wide must name activation ranges of the quantized model. Received: {name}"
        with pytest.raises(InputError, match=message):
            quantize_aware(chain, Recipe(wide=(name,)))
    with pytest.raises(InputError, match="model must be calibrated. Received: one without a range for a_relu, b_relu"):
        sensitivity(quantize_aware(chain), [_images()], cost, progress=False)


def test_an_unrounded_quantized_model_is_the_float_model_and_rounds_again_afterwards(chain):
    quantized = _calibrated(chain)
    rounded, exact = _numpy(quantized(_images(), training=False)), _numpy(chain(_images()))
    with unrounded(quantized):
        got = _numpy(quantized(_images(), training=False))
    np.testing.assert_allclose(got, exact, atol=1e-4 * np.abs(exact).max())
    assert np.abs(rounded - exact).max() > 100 * np.abs(got - exact).max()
    np.testing.assert_array_equal(_numpy(quantized(_images(), training=False)), rounded)


# -- distillation


@pytest.mark.parametrize("config", [tiny.ACDC, tiny.CCR], ids=lambda c: c.network)
def test_distillation_costs_nothing_where_the_student_is_the_teacher(config):
    teacher = with_maps(tiny.trained_like(config))
    loss = loss_for(teacher)
    sharpness = {k[:-5]: float(teacher.get_layer(k[:-5]).sharpness) for k in teacher.output if k.endswith("_maps")}
    assert sorted(sharpness) == sorted(f"s{i + 1}_{m}" for i in range(config.stages) for m in config.markups)
    taught = teacher(tiny.crops(config, 2).astype("float32"), training=False)
    assert float(distillation_loss(taught, taught, loss, sharpness)) == pytest.approx(0, abs=1e-6)
    for part in ("_pose", f"_{config.markups[0]}", f"_{config.markups[0]}_maps", "_bins"):
        key = f"s{config.stages}{part}"
        if key in taught:
            moved = taught[key] * (1 + 0.5 * np.random.default_rng(0).normal(size=taught[key].shape).astype("float32"))
            assert float(distillation_loss(taught, taught | {key: moved}, loss, sharpness)) > 1e-5, key

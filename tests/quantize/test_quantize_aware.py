"""The fake-quantized model: its graph, its arithmetic, its ranges and its training, on whichever backend runs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgeface.errors import InputError
from edgeface.models.layers import PoseFromFeatures, SpatialExpectation
from edgeface.quantize import (
    FakeQuant,
    FloatGate,
    QuantKernel,
    Recipe,
    calibrate,
    coverage,
    quantize_aware,
    to_float,
    uncalibrated,
)


@pytest.fixture(autouse=True, scope="module")
def _seed():
    keras.utils.set_random_seed(0)


def _images(count: int = 4, side: int = 16, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels)).astype("float32")


def _fitted(model: keras.Model, seed: int = 1) -> keras.Model:
    """Random weights with no zero bias to hide a mistake, and batch norms that fit the input."""
    rng = np.random.default_rng(seed)
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    model(_images(8, model.input.shape[1], model.input.shape[-1], seed=9), training=True)
    model.set_weights([w * rng.uniform(0.7, 1.3, w.shape) + rng.normal(0, 0.02, w.shape) for w in model.get_weights()])
    return model


def _network() -> keras.Model:
    """Conv + BN + ReLU, a depthwise one, a skip, two heads on one shared layer, a layer that is kept float."""
    keras.utils.set_random_seed(1)
    image = keras.Input((16, 16, 1), name="image")
    x = layers.ZeroPadding2D(1, name="pad")(image)
    x = layers.Conv2D(6, 3, 2, use_bias=False, name="stem_conv")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.ReLU(name="stem_relu")(x)
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="dw_conv")(x)
    y = layers.BatchNormalization(name="dw_bn")(y)
    y = layers.Add(name="sum")([y, x, x])
    y = layers.ReLU(name="sum_relu")(y)
    transfer = layers.Conv2D(5, 1, name="transfer")
    first, second = transfer(x), transfer(y)
    points, spread = SpatialExpectation(name="points")(second)
    return keras.Model(image, {"s1_maps": first, "s2_maps": second, "points": points, "spread": spread}, name="toy")


@pytest.fixture(scope="module")
def toy() -> keras.Model:
    return _fitted(_network())


@pytest.fixture(scope="module")
def quantized_toy(toy) -> keras.Model:
    quantized = quantize_aware(toy)
    assert set(uncalibrated(quantized)) == {"stem_relu", "dw_bn", "sum_step1", "sum_relu", "transfer", "transfer_2"}
    assert calibrate(quantized, [_images(), (_images(seed=1), {"points": None})], progress=False) == 2
    assert uncalibrated(quantized) == []
    return quantized


def _numpy(outputs: dict) -> dict[str, np.ndarray]:
    return {k: ops.convert_to_numpy(v) for k, v in outputs.items()}


def _step(layer: FakeQuant) -> float:
    return float(layer.high - layer.low) / 255


# -- the graph


def test_quantized_model_has_the_models_interface_and_names(toy, quantized_toy):
    assert quantized_toy.name == "toy"
    assert set(quantized_toy.output) == set(toy.output)
    assert quantized_toy.input.shape == toy.input.shape and quantized_toy.input.name == "image"
    for name in ("stem_relu", "dw_bn", "sum_relu", "transfer"):  # a group's last layer names the quantized value
        assert isinstance(quantized_toy.get_layer(name), FakeQuant)
    assert quantized_toy.get_layer("points").input.shape == (None, 8, 8, 5)
    assert not [layer for layer in quantized_toy.layers if isinstance(layer, layers.BatchNormalization)]


def test_shared_layer_keeps_one_set_of_weights_and_has_a_range_for_each_call(quantized_toy):
    kernels = [layer for layer in quantized_toy.layers if isinstance(layer, QuantKernel)]
    assert sorted(k.name for k in kernels) == ["dw_conv", "stem_conv", "transfer_raw"]
    first, second = quantized_toy.get_layer("transfer"), quantized_toy.get_layer("transfer_2")
    assert float(first.high) != float(second.high)


def test_quantized_model_agrees_with_float_within_a_few_steps(toy, quantized_toy):
    expected, got = _numpy(toy(_images())), _numpy(quantized_toy(_images(), training=False))
    for key, layer in (("s1_maps", "transfer"), ("s2_maps", "transfer_2")):
        steps = np.abs(expected[key] - got[key]) / _step(quantized_toy.get_layer(layer))
        # Image, stem, depthwise, sum, transfer: each rounds its kernel and its output by half a step at most.
        assert steps.max() < 6 and steps.mean() < 1, (key, steps.max(), steps.mean())
    assert np.abs(expected["points"] - got["points"]).max() < 0.02


def test_every_quantized_value_lies_on_its_grid(quantized_toy):
    layer = quantized_toy.get_layer("transfer")
    levels = _numpy(quantized_toy(_images(), training=False))["s1_maps"] / _step(layer)
    assert np.abs(levels - np.round(levels)).max() < 1e-3  # 0 is on the grid, so its multiples are


def test_fewer_bits_give_fewer_levels(toy):
    quantized = quantize_aware(toy, Recipe(activation_bits=3))
    calibrate(quantized, [_images()], progress=False)
    assert len(np.unique(_numpy(quantized(_images()))["s1_maps"])) <= 8


def test_kernels_are_symmetric_integers_per_output_channel(toy, quantized_toy):
    kernel = quantized_toy.get_layer("stem_conv")
    folded, bias = kernel.folded()
    conv, norm = toy.get_layer("stem_conv"), toy.get_layer("stem_bn")
    factor = np.asarray(norm.gamma) / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    np.testing.assert_allclose(folded, np.asarray(conv.kernel) * factor, rtol=1e-5)
    np.testing.assert_allclose(bias, np.asarray(norm.beta) - np.asarray(norm.moving_mean) * factor, rtol=1e-4)
    integers = np.asarray(kernel._round(folded)) / (np.abs(folded).max(axis=(0, 1, 2)) / 127)
    np.testing.assert_allclose(integers, np.round(integers), atol=1e-3)
    assert (np.abs(integers).max(axis=(0, 1, 2)).round() == 127).all()


def test_batch_norm_folds_only_where_nothing_else_reads():
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, name="conv")(image)
    y = layers.BatchNormalization(name="bn")(x)
    y = layers.ReLU(6.0, name="relu")(y)
    model = _fitted(keras.Model(image, {"before": x, "after": y}))
    quantized = quantize_aware(model)
    calibrate(quantized, [_images(4, 8)], progress=False)
    assert quantized.get_layer("conv_raw").norm is None and quantized.get_layer("bn").op == "affine"
    assert quantized.get_layer("relu").activation == "relu6" and coverage(quantized) == []
    expected, got = _numpy(model(_images(4, 8))), _numpy(quantized(_images(4, 8), training=False))
    # The batch norm's gain (about 1 / std) multiplies the rounding of `before`.
    assert np.abs(expected["after"] - got["after"]).max() < 6 * _step(quantized.get_layer("relu"))


@pytest.mark.parametrize("fold", [True, False])
def test_shared_batch_norm(fold):
    """A conv and its batch norm both called twice fold; a batch norm behind two convs does not."""
    image = keras.Input((8, 8, 2), name="image")
    convs = [layers.Conv2D(2, 3, padding="same", use_bias=False, name="a")]
    convs.append(convs[0] if fold else layers.Conv2D(2, 3, padding="same", use_bias=False, name="b"))
    norm = layers.BatchNormalization(name="bn")
    x = layers.ReLU(name="r1")(norm(convs[0](image)))
    x = layers.ReLU(name="r2")(norm(convs[1](x)))
    model = keras.Model(image, x)
    model.set_weights([w + 0.1 for w in model.get_weights()])
    quantized = quantize_aware(model)
    calibrate(quantized, [_images(4, 8, 2)], progress=False)
    kinds = sorted(layer.op for layer in quantized.layers if isinstance(layer, QuantKernel))
    assert kinds == (["conv"] if fold else ["affine", "conv", "conv"])
    error = np.abs(np.asarray(model(_images(4, 8, 2))) - np.asarray(quantized(_images(4, 8, 2), training=False)))
    assert error.max() < 6 * _step(quantized.get_layer("r2"))


def test_nested_models_are_inlined():
    inner_image = keras.Input((8, 8, 1))
    inner = keras.Model(inner_image, layers.ReLU(name="r")(layers.Conv2D(2, 3, name="c")(inner_image)), name="inner")
    image = keras.Input((8, 8, 1), name="image")
    model = keras.Model(image, layers.MaxPooling2D(2, name="pool")(inner(image)))
    quantized = quantize_aware(model)
    calibrate(quantized, [_images(4, 8)], progress=False)
    assert coverage(quantized) == [] and isinstance(quantized.get_layer("r"), FakeQuant)
    error = np.abs(np.asarray(model(_images(4, 8))) - np.asarray(quantized(_images(4, 8))))
    assert error.max() < 4 * _step(quantized.get_layer("r"))  # nine weights of half a step each, and the output's half
    with pytest.raises(InputError, match="functional"):
        quantize_aware(layers.Dense(3))


# -- what stays float


def test_coverage_names_float_layers_alone(quantized_toy):
    assert [(u.name, u.reason) for u in coverage(quantized_toy)] == [("points", "kept float (SpatialExpectation)")]
    # Its first operator is a maximum, exact in int8 (``exact_entry``): nothing stands guard before it.
    assert not [layer for layer in quantized_toy.layers if isinstance(layer, FloatGate)]


def test_a_gate_stands_before_a_float_layer_that_the_converter_would_take():
    image = keras.Input((8, 8, 1), name="image")
    features = layers.Conv2D(2, 3, name="conv")(image)
    quantized = quantize_aware(keras.Model(image, {"pose": PoseFromFeatures(name="pose")(features)}))
    assert [layer.name for layer in quantized.layers if isinstance(layer, FloatGate)] == ["conv_float"]


def test_unsupported_layer_is_an_error_or_listed():
    image = keras.Input((8, 8, 1), name="image")
    x = layers.ReLU(name="relu")(layers.Conv2D(2, 3, name="conv")(image))
    x = layers.Activation("gelu", name="odd")(x)
    model = keras.Model(image, layers.Conv2D(2, 3, name="last")(x))
    with pytest.raises(InputError, match=r"odd \(Activation\): activation gelu"):
        quantize_aware(model)
    for recipe in (Recipe(allow_float=True), Recipe(keep_float=("odd",))):
        quantized = quantize_aware(model, recipe)
        assert [u.name for u in coverage(quantized)] == ["odd"]
        assert isinstance(quantized.get_layer("odd_quant"), FakeQuant)
    quantized = quantize_aware(model, Recipe(allow_float=True, keep_float=("last",)))
    assert [u.name for u in coverage(quantized)] == ["odd", "last"]
    np.testing.assert_array_equal(quantized.get_layer("last").kernel, model.get_layer("last").kernel)
    with pytest.raises(InputError, match="keep_float must name layers of the model. Received: nowhere"):
        quantize_aware(model, Recipe(keep_float=("nowhere",)))


def test_bare_keras_operations_are_named():
    image = keras.Input((8, 8, 1), name="image")
    model = keras.Model(image, layers.Conv2D(2, 3, name="conv")(image) * 2.0)
    with pytest.raises(InputError, match="Multiply"):
        quantize_aware(model)
    assert len(coverage(quantize_aware(model, Recipe(allow_float=True)))) == 1


def test_coverage_sees_a_missing_fake_quant():
    image = keras.Input((8, 8, 1), name="image")
    x = FakeQuant(fixed_range=(0, 255), name="image_quant")(image)
    x = QuantKernel("conv", (3, 3, 1, 2), name="conv")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    reasons = {u.name: u.reason for u in coverage(keras.Model(image, x))}
    assert reasons == {"conv": "its output is not fake-quantized", "pool": "it reads float values"}


# -- ranges


def _line() -> keras.Model:
    """y = x for x in any range: one observed tensor."""
    image = keras.Input((2, 1, 1), name="image")
    model = keras.Model(image, layers.Conv2D(1, 1, use_bias=False, name="same")(image))
    model.set_weights([np.ones((1, 1, 1, 1))])
    return model


def _batch(low: float, high: float) -> np.ndarray:
    return np.array([low, high], "float32").reshape(1, 2, 1, 1)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("minmax", (-4.0, 10.0)),
        ("ema", (-2 * 0.9 - 4 * 0.1, 6 * 0.9 + 10 * 0.1)),
        ("percentile", (np.mean([-2 + 0.8, -4 + 1.4]), np.mean([6 - 0.8, 10 - 1.4]))),  # of two values, linear
    ],
)
def test_calibration_methods(method, expected):
    quantized = quantize_aware(_line(), Recipe(input_range=None))
    calibrate(quantized, [_batch(-2, 6), _batch(-4, 10)], method, percentile=90, progress=False)
    layer = quantized.get_layer("same")
    np.testing.assert_allclose([float(layer.low), float(layer.high)], expected, rtol=1e-4)
    assert layer.observer is None


def test_range_always_holds_zero_and_has_a_width():
    for batch, ends in ((_batch(3, 5), (0, 5)), (_batch(-5, -3), (-5, 0)), (_batch(0, 0), (0, 1e-4))):
        quantized = quantize_aware(_line(), Recipe(input_range=None))
        calibrate(quantized, [batch], progress=False)
        layer = quantized.get_layer("same")
        np.testing.assert_allclose([float(layer.low), float(layer.high)], ends, rtol=1e-4)
        assert np.isfinite(np.asarray(quantized(batch))).all()


def test_calibration_errors():
    quantized = quantize_aware(_line(), Recipe(input_range=None))
    for batches, options, message in (
        ([], {}, "at least one batch"),
        ([_batch(0, np.nan)], {}, "must be finite"),
        ([_batch(0, 1)], {"method": "magic"}, "minmax, percentile, mse, ema. Received: 'magic'"),
        ([_batch(0, 1)], {"percentile": 3}, r"percentile must be in \(50, 100\]. Received: 3"),
    ):
        with pytest.raises(InputError, match=message):
            calibrate(quantized, batches, progress=False, **options)
    assert uncalibrated(quantized)
    with pytest.raises(InputError, match="^activations must be finite. Received: nan to nan at layer image_quant$"):
        calibrate(quantized, [_batch(np.nan, np.nan)], progress=False)
    for function in (uncalibrated, lambda model: calibrate(model, [_batch(0, 1)], progress=False)):
        with pytest.raises(InputError, match="model must be made by quantize_aware. Received: "):
            function(_line())


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"ema_decay": 0.5}, [20.0, 30.0, 35.0]),
        ({"ema_decay": 0.5, "freeze_ranges_after_steps": 1}, [20.0, 30.0, 30.0]),
        ({"ranges": "frozen"}, [20.0, 20.0, 20.0]),
    ],
)
def test_ranges_follow_training_as_the_recipe_says(recipe, expected):
    quantized = quantize_aware(_line(), Recipe(**recipe))
    calibrate(quantized, [_batch(0, 20)], progress=False)
    layer = quantized.get_layer("same")
    seen = [float(layer.high)]
    for _ in range(2):
        quantized(_batch(0, 40), training=True)
        seen.append(float(layer.high))
    np.testing.assert_allclose(seen, expected, atol=1e-4)
    quantized(_batch(0, 90), training=False)
    assert float(layer.high) == seen[-1]


def test_first_training_batch_sets_an_uncalibrated_range():
    quantized = quantize_aware(_line())
    quantized(_batch(0, 200), training=True)
    assert uncalibrated(quantized) == [] and abs(float(quantized.get_layer("same").high) - 200) < 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight_bits", 1),
        ("activation_bits", 8.5),
        ("ranges", "fixed"),
        ("ema_decay", 1.0),
        ("freeze_ranges_after_steps", -1),
        ("input_range", (1, 2)),
        ("keep_float", "head"),
    ],
)
def test_recipe_says_what_it_takes(field, value):
    with pytest.raises(InputError, match=f"{field} must .* Received: "):
        Recipe(**{field: value})


# -- training, weights and files


@pytest.mark.slow
def test_fine_tuning_lowers_the_loss_and_moves_every_weight(toy):
    quantized = quantize_aware(toy)
    x = _images(16)
    y = _numpy(toy(x))
    spoilt = [
        w + np.random.default_rng(3).normal(0, 0.05, w.shape) if w.ndim == 4 else w for w in quantized.get_weights()
    ]
    quantized.set_weights(spoilt)
    calibrate(quantized, [x], progress=False)
    before = [np.array(w) for w in quantized.trainable_weights]
    losses = {"s1_maps": "mse", "s2_maps": "mse", "points": "mse", "spread": None}
    quantized.compile(keras.optimizers.Adam(5e-3), losses)
    y.pop("spread")
    start = quantized.evaluate(x, y | {"spread": np.zeros((16, 5))}, verbose=0, return_dict=True)["loss"]
    quantized.fit(x, y | {"spread": np.zeros((16, 5))}, epochs=15, batch_size=8, verbose=0)
    end = quantized.evaluate(x, y | {"spread": np.zeros((16, 5))}, verbose=0, return_dict=True)["loss"]
    assert end < 0.3 * start, (start, end)
    for old, new in zip(before, quantized.trainable_weights, strict=True):
        assert np.any(old != np.asarray(new)), new.path

    frozen = [np.array(w) for w in toy.get_weights()]
    tuned = to_float(quantized, toy)
    for old, new in zip(frozen, toy.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)  # the float model itself is left alone
    assert set(tuned.output) == set(toy.output)
    got, rounded = _numpy(tuned(x)), _numpy(quantized(x, training=False))
    assert np.abs(got["s2_maps"] - rounded["s2_maps"]).mean() < 2 * _step(quantized.get_layer("transfer_2"))
    with pytest.raises(InputError, match="quantized must be made from this model"):
        to_float(quantized, _line())


def test_save_and_load_changes_nothing(quantized_toy, tmp_path):
    quantized_toy.save(tmp_path / "twin.keras")
    loaded = keras.saving.load_model(tmp_path / "twin.keras")
    assert coverage(loaded) == coverage(quantized_toy) and uncalibrated(loaded) == []
    expected, got = _numpy(quantized_toy(_images(), training=False)), _numpy(loaded(_images(), training=False))
    for key in expected:
        np.testing.assert_array_equal(expected[key], got[key])


def test_quantized_model_computes_in_float32_under_a_half_precision_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = _network()
        quantized = quantize_aware(model)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in quantized.layers if not isinstance(layer, layers.InputLayer)} == {
        "float32"
    }

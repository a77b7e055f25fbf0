"""A quantized model against the `.tflite` file that TensorFlow's converter makes of it, and against itself on JAX."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from edgeface.models.layers import AttentionMask, PoseFromFeatures, SpatialExpectation
from edgeface.quantize import FakeQuant, calibrate, coverage, quantize_aware

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
needs_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the converter reads TensorFlow")


def _images(count: int = 8) -> np.ndarray:
    """Smooth images, as faces are: noise would be all edges."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.uniform(0, 255, (count, 4, 4, 1)), np.ones((1, 8, 8, 1)))
    return np.clip(coarse + rng.normal(0, 8, coarse.shape), 0, 255).round().astype("float32")


def _conv(x, filters: int, name: str, **options):
    x = layers.Conv2D(filters, 3, use_bias=False, name=f"{name}_conv", **options)(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _network() -> keras.Model:
    """Every layer that the two networks have, once: a U-Net with a fused second stage and a shared head."""
    image = keras.Input((32, 32, 1), name="image")
    x = layers.Rescaling(1 / 255, name="normalise")(image)
    x = skip = _conv(layers.ZeroPadding2D(1, name="stem_pad")(x), 8, "stem", strides=2)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="dw")(x)
    x = layers.BatchNormalization(name="dw_bn")(x)
    x = deep = layers.ReLU(6.0, name="dw_relu")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="up")(x)
    x = hidden = _conv(layers.Concatenate(name="unet")([x, skip]), 8, "dec", padding="same")
    transfer = layers.Conv2D(5, 1, name="transfer")
    maps = transfer(x)
    mask = AttentionMask(name="mask")(maps)
    pose = PoseFromFeatures(name="pose")(deep)
    x = layers.Multiply(name="masked")([hidden, mask])
    x = layers.Add(name="sum")([x, hidden, skip])
    pooled = layers.GlobalAveragePooling2D(name="gap")(x)
    scale = layers.Dense(8, activation="sigmoid", name="excite")(layers.Concatenate(name="both")([pooled, pose]))
    x = layers.Multiply(name="excited")([x, layers.Reshape((1, 1, 8), name="excite_shape")(scale)])
    t = layers.Conv2DTranspose(8, 4, 2, padding="same", use_bias=False, name="deconv")(
        layers.AveragePooling2D(2, name="avg")(x)
    )
    t = layers.ReLU(name="deconv_relu")(layers.BatchNormalization(name="deconv_bn")(t))
    maps2 = transfer(layers.ReLU(name="last")(layers.Add(name="last_sum")([x, t])))
    points, spread = SpatialExpectation(name="points")(maps2)
    bins = layers.Reshape((3, 4), name="bins")(layers.Dense(12, name="logits")(pooled))
    outputs = {"maps": maps, "maps2": maps2, "bins": bins, "pose": pose, "points": points, "spread": spread}
    return keras.Model(image, outputs, name="every_layer")


@pytest.fixture(scope="module")
def quantized() -> keras.Model:
    keras.utils.set_random_seed(5)
    model = _network()
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(_images(), training=True)
    quantized = quantize_aware(model)
    calibrate(quantized, [_images()], progress=False)
    reference, got = model(_images(), training=False), quantized(_images(), training=False)
    for key in reference:
        expected = np.asarray(reference[key])
        # A dozen roundings, each half of 1/255 of a range at most, add up to far less; a lost layer gives far more.
        assert np.abs(expected - np.asarray(got[key])).mean() < 0.05 * expected.std(), key
    return quantized


@pytest.fixture(scope="module")
def outputs(quantized) -> dict[str, np.ndarray]:
    return {k: np.asarray(v) for k, v in quantized(_images(), training=False).items()}


def _grid(layer: FakeQuant) -> tuple[float, float]:
    """(step, low) of a range as the converter nudges it."""
    step = (float(layer.high) - float(layer.low)) / 255
    return step, step * np.round(float(layer.low) / step)


@pytest.fixture(scope="module")
def interpreter(quantized, tmp_path_factory):
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    folder = str(tmp_path_factory.mktemp("saved"))
    archive = keras.export.ExportArchive()
    archive.track(quantized)
    spec = tf.TensorSpec((1, *quantized.input.shape[1:]), tf.float32, name="image")
    archive.add_endpoint("serve", lambda image: quantized(image, training=False), [spec])
    archive.write_out(folder, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    return interpreter


@needs_tensorflow
def test_every_operator_outside_the_heads_is_int8(interpreter, quantized):
    assert {u.name for u in coverage(quantized)} == {"mask", "pose", "points"}
    tensors = {t["index"]: t for t in interpreter.get_tensor_details()}
    operators = [op for op in interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]
    float_made: set[int] = {d["index"] for d in interpreter.get_input_details()}
    int8 = Counter()
    for op in operators:
        kinds = {tensors[i]["dtype"] for i in op["outputs"]}
        reads_float = any(i in float_made for i in op["inputs"])
        if op["op_name"] == "DEQUANTIZE" or (reads_float and kinds == {np.float32}):
            float_made.update(op["outputs"])
            continue
        assert kinds == {np.int8}, f"{op['op_name']} is not int8 and follows no DEQUANTIZE"
        if op["op_name"] != "QUANTIZE":
            assert not reads_float, op["op_name"]
            int8[op["op_name"]] += 1
    assert int8["CONV_2D"] == 4  # stem, dec, and transfer at its two places
    assert int8["DEPTHWISE_CONV_2D"] == 1 and int8["TRANSPOSE_CONV"] == 1 and int8["FULLY_CONNECTED"] == 2
    assert int8["ADD"] == 3 and int8["MUL"] == 3  # sum in two steps and last_sum; normalise, masked, excited
    for name in ("PAD", "MAX_POOL_2D", "RESIZE_BILINEAR", "AVERAGE_POOL_2D", "MEAN", "LOGISTIC"):
        assert int8[name] == 1, name
    assert int8["RELU"] == 0  # all fused
    # The pose head's mean and matmul lie between two fake-quants: without the gate they would be int8.
    names = Counter(op["op_name"] for op in operators)
    assert names["FULLY_CONNECTED"] == 3 and names["MEAN"] == 2


@needs_tensorflow
def test_scales_in_the_file_are_the_trained_ranges(interpreter, quantized):
    scales = {round(float(t["quantization"][0]), 9) for t in interpreter.get_tensor_details() if t["dtype"] is np.int8}
    assert 1.0 in scales  # the image: raw 0..255
    assert round(1 / 256, 9) in scales  # sigmoid
    for name in ("stem_relu", "dw_relu", "dec_relu", "transfer", "transfer_2", "excited", "logits"):
        step = _grid(quantized.get_layer(name))[0]
        assert min(abs(step - s) for s in scales) < 1e-4 * step, name


@needs_tensorflow
def test_file_agrees_with_the_quantized_model(interpreter, quantized, outputs):
    run = interpreter.get_signature_runner()
    got = [run(image=image[None]) for image in _images()]
    for key, name in (("maps", "transfer"), ("maps2", "transfer_2"), ("bins", "logits")):
        steps = np.abs(np.concatenate([g[key] for g in got]) - outputs[key]) / _grid(quantized.get_layer(name))[0]
        # A sum that lies on a rounding edge may fall to either side and shift what follows by a step; rarely by two.
        assert (steps < 1.5).mean() >= 0.99, (key, (steps < 1.5).mean(), steps.max())
    points = np.abs(np.concatenate([g["points"] for g in got]) - outputs["points"])
    assert points.mean() < 0.002  # of the crop's width


JAX_SIDE = """
import sys
import keras, numpy as np
import edgeface.quantize, edgeface.models.layers
quantized = keras.saving.load_model(sys.argv[1])
images = np.load(sys.argv[2])
np.savez(sys.argv[3], **{k: np.asarray(v) for k, v in quantized.predict(images, verbose=0).items()})
layer = quantized.get_layer("stem_relu")
kernel, steps = np.array(quantized.get_layer("stem_conv").kernel), float(layer.steps)
quantized.compile("adam", {"maps": "mse", "points": "mse"} | {k: None for k in ("maps2", "bins", "pose", "spread")})
targets = {k: np.zeros((8, *v.shape[1:])) for k, v in quantized.output.items()}
quantized.fit(images, targets, batch_size=4, verbose=0)
assert np.any(kernel != np.asarray(quantized.get_layer("stem_conv").kernel)), "the kernel got no gradient"
assert float(layer.steps) == steps + 2, "the ranges did not follow"
assert "tensorflow" not in sys.modules  # until Keras saves
quantized.save(sys.argv[4])
np.savez(sys.argv[5], **{k: np.asarray(v) for k, v in quantized.predict(images, verbose=0).items()})

# Learned ranges have a gradient of their own.
learned = edgeface.quantize.FakeQuant(bits=4, learned=True)
grid = keras.Sequential([keras.Input((64,)), learned])
learned.set_range(-12.0, 12.0)
values = np.random.default_rng(0).normal(0, 1, (256, 64)).astype("float32")
grid.compile(keras.optimizers.Adam(3e-4), "mse")
before = grid.evaluate(values, values, verbose=0)
grid.fit(values, values, epochs=10, batch_size=32, verbose=0)
assert grid.evaluate(values, values, verbose=0) < 0.2 * before, (before, learned.range())
"""


def test_jax_gives_the_same_numbers_and_trains(jax_env, quantized, outputs, tmp_path):
    pytest.importorskip("jax")
    quantized.save(tmp_path / "twin.keras")
    np.save(tmp_path / "images.npy", _images())
    names = ("twin.keras", "images.npy", "out.npz", "trained.keras", "trained.npz")
    command = [sys.executable, "-c", JAX_SIDE, *(str(tmp_path / name) for name in names)]
    subprocess.run(command, check=True, cwd=ROOT, env=jax_env, timeout=300)
    _must_agree(np.load(tmp_path / "out.npz"), outputs, quantized)
    # And back: what JAX has trained is loaded here, unchanged.
    trained = keras.saving.load_model(tmp_path / "trained.keras")
    assert any(np.any(np.asarray(a) != np.asarray(b)) for a, b in zip(trained.weights, quantized.weights, strict=True))
    here = {k: np.asarray(v) for k, v in trained(_images(), training=False).items()}
    _must_agree(np.load(tmp_path / "trained.npz"), here, trained)


def _must_agree(there, here: dict[str, np.ndarray], quantized: keras.Model) -> None:
    """Answers of two backends."""
    for key, name in (("maps", "transfer"), ("maps2", "transfer_2"), ("bins", "logits")):
        steps = np.abs(there[key] - here[key]) / _grid(quantized.get_layer(name))[0]
        # A resize of values on a grid often lands between two levels exactly; float noise then decides.
        assert (steps < 0.5).mean() > 0.85 and (steps < 1.5).mean() > 0.99, (key, (steps < 0.5).mean(), steps.max())
    assert np.abs(there["points"] - here["points"]).mean() < 1e-3

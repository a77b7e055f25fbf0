"""`to_int8`, for networks that are not faces."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import edgeface.quantize as qat
from edgeface.convert.tflite import KERNELS
from edgeface.errors import InputError
from edgeface.models.layers import SpatialExpectation
from edgeface.quantize import to_int8
from edgeface.quantize.tflite_graph import read_graph

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the converter reads TensorFlow"),
]


def _images(count: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 2)).astype("float32")


def _two() -> keras.Model:
    """Two pictures in, a list of two answers out, neither of them named by a dict."""
    keras.utils.set_random_seed(0)
    left, right = keras.Input((8, 8, 2), name="left"), keras.Input((8, 8, 2), name="right")
    shared = layers.Conv2D(4, 3, activation="relu", name="shared")
    both = layers.Subtract(name="difference")([shared(left), shared(right)])
    return keras.Model([left, right], [both, layers.Dense(3, name="score")(layers.Flatten(name="flat")(both))])


@pytest.fixture(scope="module")
def quantized() -> keras.Model:
    quantized = qat.quantize_aware(_two(), qat.Recipe(ranges="learned"))
    qat.calibrate(quantized, [[_images(), _images(seed=1)]], progress=False)
    for layer in quantized.layers:
        if isinstance(layer, qat.FakeQuant) and layer.learned:
            layer.log_high.assign(0.001)  # as if it had been trained: by 10 %
    return quantized


def test_several_inputs_and_outputs_keep_their_names_and_learned_ranges_their_values(quantized):
    from ai_edge_litert.interpreter import Interpreter

    data = to_int8(quantized, inputs="int8", outputs="int8")
    graph = read_graph(data)
    assert set(graph.input_names) == {"left", "right"} and set(graph.output_names) == {"difference", "score"}
    assert {graph.tensors[i].dtype for i in (*graph.inputs, *graph.outputs)} == {"int8"}
    low, high = quantized.get_layer("score").range()
    score = graph.tensors[graph.output_names["score"]]
    assert score.scale == pytest.approx((high - low) / 255, rel=1e-3)
    run = Interpreter(model_content=data).get_signature_runner()
    left, right = _images(4), _images(4, seed=1)
    pairs = zip(*((x - 128).astype("int8")[:, None] for x in (left, right)), strict=True)
    got = [run(left=a, right=b) for a, b in pairs]
    expected = np.asarray(quantized([left, right], training=False)[1])
    answers = (np.concatenate([g["score"] for g in got]).astype(float) - score.zero_point) * score.scale
    assert np.abs(answers - expected).max() < 1.5 * score.scale


def _calibrated(outputs, image, recipe: qat.Recipe | None = None) -> keras.Model:
    quantized = qat.quantize_aware(keras.Model(image, outputs), recipe)
    qat.calibrate(quantized, [_images()], progress=False)
    return quantized


def _computes(data: bytes) -> list[tuple[str, str]]:
    """(layer, dtype) of each operator with a kernel."""
    graph = read_graph(data)
    return [(graph.layer(op), graph.dtype(op)) for op in graph.ops if op.type in KERNELS]


def _chain(image, **options):
    """conv - a layer to keep - conv."""
    x = layers.Conv2D(4, 3, padding="same", name="conv")(image)
    return layers.Conv2D(2, 1, name="last")(layers.Conv2D(4, 3, name="kept", **options)(x))


def test_layers_that_are_kept_float_between_int8_layers_are_float_in_the_file():
    from ai_edge_litert.interpreter import Interpreter

    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(image)
    x = layers.Conv2D(4, 3, activation="relu", name="kept_conv")(x)
    x = layers.Conv2D(4, 3, padding="same", name="between")(x)
    x = layers.Conv2D(4, 3, groups=2, padding="same", name="grouped")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="kept_depthwise")(layers.ReLU(name="relu")(x))
    x = layers.ReLU(name="kept_relu")(layers.Conv2D(4, 3, name="after")(x))
    x = layers.Dense(6, name="kept_dense")(layers.GlobalAveragePooling2D(name="pool")(x))
    kept = ("kept_conv", "kept_depthwise", "kept_relu", "kept_dense")
    quantized = _calibrated(
        {"p": layers.Dense(3, name="last")(x)}, image, qat.Recipe(keep_float=kept, allow_float=True)
    )
    assert [u.name for u in qat.coverage(quantized)] == [kept[0], "grouped", *kept[1:]]
    data = to_int8(quantized)
    dtypes = [dtype for _, dtype in _computes(data)]
    #                  conv    kept       between grouped    depthwise  after   dense      last
    assert dtypes == ["int8", "float32", "int8", "float32", "float32", "int8", "float32", "int8"]
    graph = read_graph(data)
    assert [graph.dtype(op) for op in graph.ops if graph.layer(op) == "kept_relu"] == ["float32"]
    run = Interpreter(model_content=data).get_signature_runner()
    got = np.concatenate([run(image=x[None].astype("uint8"))["p"] for x in _images()])
    expected = np.asarray(quantized(_images(), training=False)["p"])
    assert np.abs(got - expected).max() < 2.5 * graph.tensors[graph.ops[-1].inputs[0]].scale


def test_rounded_weights_of_a_layer_that_coverage_calls_float_are_refused(monkeypatch):
    monkeypatch.setattr(qat.FloatGate, "call", lambda self, x: x * (1 + 2.0**-20))  # which the kernel takes in
    image = keras.Input((8, 8, 2), name="image")
    quantized = _calibrated({"p": _chain(image)}, image, qat.Recipe(keep_float=("kept",)))
    with pytest.raises(InputError, match="weights of a float layer must stay float. .* int8 CONV_2D .*layer kept"):
        to_int8(quantized)


class Odd(layers.Layer):
    """TFLite has no int8 form of its division."""

    quantization = qat.FixedRange(0.0, 1.0)

    def call(self, x):
        e = keras.ops.exp(x * 0.01)
        return e / (1 + e)


@pytest.mark.parametrize("place", ["beside a float layer", "making an output"])
def test_a_float_operator_that_coverage_did_not_announce_is_refused(place):
    image = keras.Input((8, 8, 2), name="image")
    x = Odd(name="odd")(layers.Conv2D(2, 3, name="conv")(image))
    x = layers.Softmax(name="soft")(layers.Conv2D(2, 3, name="last")(x))
    outputs = {"p": x if place == "beside a float layer" else Odd(name="odd_too")(x)}
    quantized = _calibrated(outputs, image, qat.Recipe(keep_float=("soft",)))
    assert [u.name for u in qat.coverage(quantized)] == ["soft"]
    with pytest.raises(InputError, match="every operator of an int8 layer must be int8. .*DIV .*layer odd"):
        to_int8(quantized)


def test_activations_with_a_gradient_of_their_own_and_long_names_pass():
    from ai_edge_litert.interpreter import Interpreter

    key = "a_rather_long_name_of_an_output_that_somebody_chose"
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Activation("silu", name="silu")(layers.Conv2D(4, 3, name="conv")(image))
    outputs = {key + end: layers.Conv2D(2, 3, name=f"last{end}")(x) for end in ("", "_too")}
    quantized = _calibrated(outputs, image, qat.Recipe(allow_float=True))
    interpreter = Interpreter(model_content=to_int8(quantized))
    assert {d["name"] for d in interpreter.get_output_details()} == set(outputs)
    assert [d["name"] for d in interpreter.get_input_details()] == ["image"]
    got = interpreter.get_signature_runner()(image=_images(1).astype("uint8"))
    for name, value in quantized(_images(1), training=False).items():
        assert np.abs(got[name] - np.asarray(value)).max() < 0.05 * np.abs(value).max(), name


def test_an_end_that_must_be_float_is_not_called_integer():
    image = keras.Input((8, 8, 2), name="image")
    first = _calibrated({"p": _chain(image)}, image, qat.Recipe(keep_float=("conv",)))
    with pytest.raises(InputError, match="inputs must be float32 for a model whose first layer is float. .*'uint8'"):
        to_int8(first)
    assert [dtype for _, dtype in _computes(to_int8(first, inputs="float32"))] == ["float32", "int8", "int8"]
    last = _calibrated({"p": layers.Softmax(name="p")(_chain(image))}, image, qat.Recipe(keep_float=("p",)))
    with pytest.raises(InputError, match="outputs must be float32 for a model whose last layer is float. .*'int8'"):
        to_int8(last, outputs="int8")


def test_what_cannot_be_converted_is_refused(quantized):
    with pytest.raises(InputError, match="every activation range must be set"):
        to_int8(qat.quantize_aware(_two()))
    with pytest.raises(InputError, match="inputs must be uint8, int8 or float32, and .* Received: 'int4'"):
        to_int8(quantized, inputs="int4")
    for recipe in (qat.Recipe(wide=("difference",)), qat.Recipe(weight_bits=4)):
        odd = qat.quantize_aware(_two(), recipe)
        qat.calibrate(odd, [[_images(), _images(seed=1)]], progress=False)
        with pytest.raises(InputError, match="every tensor must have 8 bits. Received: others for"):
            to_int8(odd)
    image = keras.Input((None, None, 2), name="image")
    free = qat.quantize_aware(keras.Model(image, layers.Conv2D(2, 3, name="conv")(image)))
    qat.calibrate(free, [_images()], progress=False)
    with pytest.raises(InputError, match="every input must have a fixed shape. Received: image"):
        to_int8(free)
    image = keras.Input((8, 8, 2), name="image")
    pair = SpatialExpectation(name="points")(layers.Conv2D(2, 3, name="conv")(image))
    with pytest.raises(InputError, match="outputs must have distinct names: .* Received: several of layer points"):
        to_int8(_calibrated(list(pair), image))

    x = layers.Conv2D(4, 3, name="conv")(image)
    again = {"kept": layers.Activation("elu", name="kept")(x)}
    again["p"] = layers.Conv2D(2, 3, name="last")(again["kept"])
    with pytest.raises(InputError, match="a float output must not be read by an int8 layer too. .*layer last"):
        to_int8(_calibrated(again, image, qat.Recipe(keep_float=("kept",))))

    class Hard(layers.Layer):
        quantization = qat.KeepFloat()

        def call(self, x):
            return keras.ops.erfinv(x)

    with pytest.raises(InputError, match="model must be one that TFLite can convert. Received: .*"):
        to_int8(_calibrated({"p": Hard(name="hard")(_chain(image))}, image))

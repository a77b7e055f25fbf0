"""`to_int8`, for networks that are not faces."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import convert.qat as qat
from convert.graph import read_graph
from convert.tflite import to_int8
from edgeface.errors import InputError

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the converter reads TensorFlow")


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
def twin() -> keras.Model:
    twin = qat.quantize_aware(_two(), qat.Recipe(ranges="learned"))
    qat.calibrate(twin, [[_images(), _images(seed=1)]], progress=False)
    for layer in twin.layers:
        if isinstance(layer, qat.FakeQuant) and layer.learned:
            layer.log_high.assign(0.001)  # as if it had been trained: by 10 %
    return twin


def test_several_inputs_and_outputs_keep_their_names_and_learned_ranges_their_values(twin):
    from ai_edge_litert.interpreter import Interpreter

    data = to_int8(twin, inputs="int8", outputs="int8")
    graph = read_graph(data)
    assert set(graph.input_names) == {"left", "right"} and set(graph.output_names) == {"difference", "score"}
    assert {graph.tensors[i].dtype for i in (*graph.inputs, *graph.outputs)} == {"int8"}
    low, high = twin.get_layer("score").range()
    score = graph.tensors[graph.output_names["score"]]
    assert score.scale == pytest.approx((high - low) / 255, rel=1e-3)
    run = Interpreter(model_content=data).get_signature_runner()
    left, right = _images(4), _images(4, seed=1)
    pairs = zip(*((x - 128).astype("int8")[:, None] for x in (left, right)), strict=True)
    got = [run(left=a, right=b) for a, b in pairs]
    expected = np.asarray(twin([left, right], training=False)[1])
    answers = (np.concatenate([g["score"] for g in got]).astype(float) - score.zero_point) * score.scale
    assert np.abs(answers - expected).max() < 1.5 * score.scale


def test_a_float_operator_that_coverage_did_not_announce_is_refused(twin, monkeypatch):
    monkeypatch.setattr("convert.qat.coverage", lambda model: [])
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Activation("elu", name="odd")(layers.Conv2D(2, 3, name="conv")(image))
    hidden = qat.quantize_aware(keras.Model(image, layers.Conv2D(2, 3, name="last")(x)), qat.Recipe(allow_float=True))
    qat.calibrate(hidden, [_images()], progress=False)
    with pytest.raises(InputError, match="every operator must be int8. Received: a file with float .*ELU"):
        to_int8(hidden)


def test_what_cannot_be_converted_is_refused(twin):
    with pytest.raises(InputError, match="every range of the twin must be set"):
        to_int8(qat.quantize_aware(_two()))
    with pytest.raises(InputError, match="inputs must be uint8, int8 or float32, and .* Received: 'int4'"):
        to_int8(twin, inputs="int4")
    for recipe in (qat.Recipe(wide=("difference",)), qat.Recipe(weight_bits=4)):
        odd = qat.quantize_aware(_two(), recipe)
        qat.calibrate(odd, [[_images(), _images(seed=1)]], progress=False)
        with pytest.raises(InputError, match="every tensor of the twin must have 8 bits. Received: others for"):
            to_int8(odd)
    image = keras.Input((None, None, 2), name="image")
    free = qat.quantize_aware(keras.Model(image, layers.Conv2D(2, 3, name="conv")(image)))
    qat.calibrate(free, [_images()], progress=False)
    with pytest.raises(InputError, match="every input must have a fixed shape. Received: image"):
        to_int8(free)

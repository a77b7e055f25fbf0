"""Files that must not pass, each really converted from a Keras model with one thing wrong with it."""

from __future__ import annotations

import tempfile

import keras
from keras import layers

from edgeface.convert.tflite import exported, to_tflite, with_full_range
from edgeface.convert.variants import VARIANTS
from edgeface.models.layers import SpatialExpectation
from edgeface.quantize.annotations import KeepFloat
from edgeface.quantize.export import converter_for, rename_ends
from tests.convert import tiny

SIDE = 32


def network(middle=lambda x: x, head=None, scale: float = 1.0) -> keras.Model:
    """image -> two convs -> ``middle`` -> 68 maps -> landmarks; ``scale`` multiplies the first conv's weights."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 1), name="image")
    x = layers.Rescaling(1 / 255, name="to_unit")(image)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="first")(x)
    x = middle(layers.Conv2D(16, 3, padding="same", activation="relu", name="second")(x))
    maps = layers.Conv2D(68, 1, name="maps_conv")(x)
    landmarks = (head or SpatialExpectation(name="s1_ibug68"))(maps)
    model = keras.Model(image, {"landmarks": landmarks[0] if isinstance(landmarks, tuple) else landmarks}, name="toy")
    first = model.get_layer("first")
    first.set_weights([scale * w for w in first.get_weights()])
    return model


def hidden_float_conv() -> bytes:
    """Post-training quantisation that was told to leave one conv alone."""
    model = network()
    model.get_layer("second").quantization = KeepFloat()
    return to_tflite(model, VARIANTS["int8_ptq"], tiny.crops(tiny.ACDC, 8))


def int8_softmax() -> bytes:
    """What a converter makes of a softmax when it quantises everything."""

    class Softmaxed(layers.Layer):
        def call(self, maps):
            flat = keras.ops.reshape(maps, (-1, (SIDE // 2) ** 2, 68))
            weights = keras.ops.softmax(keras.ops.transpose(flat, (0, 2, 1)), axis=-1)
            return keras.ops.matmul(weights, keras.ops.ones(((SIDE // 2) ** 2, 2)) * 0.5)

    return _everything_int8(network(head=Softmaxed(name="attention")))


def _everything_int8(model: keras.Model) -> bytes:
    import tensorflow as tf

    def prepare(converter):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        crops = tiny.crops(tiny.ACDC, 4)
        converter.representative_dataset = lambda: ({"image": crop[None]} for crop in with_full_range(crops))
        converter.inference_input_type = tf.uint8

    return _converted(model, prepare)


def flex_op() -> bytes:
    """An operator that TensorFlow Lite lacks, let in with TensorFlow's own."""
    import tensorflow as tf

    def prepare(converter):
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]

    class Erf(layers.Layer):
        def call(self, x):
            return keras.ops.erf(x)

    return _converted(network(Erf(name="odd_activation")), prepare)


def dynamic_batch() -> bytes:
    """As `model.export` and most tutorials leave it."""
    import tensorflow as tf

    model = network()
    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.track(model)
        spec = {"input_signature": [tf.TensorSpec((None, SIDE, SIDE, 1), tf.float32, name="image")]}
        archive.add_endpoint("serving_default", lambda image: model(image, training=False), **spec)
        archive.write_out(folder, verbose=False)
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def five_dimensions() -> bytes:
    """A grouped maximum, written the way that comes to mind."""

    class GroupedMax(layers.Layer):
        def call(self, x):
            _, height, width, channels = x.shape
            return keras.ops.max(keras.ops.reshape(x, (-1, height, width, channels // 2, 2)), axis=-1)

    return to_tflite(network(GroupedMax(name="grouped")), VARIANTS["float32"])


def overflowing_weights() -> bytes:
    return to_tflite(network(scale=1e8), VARIANTS["float16"])


def overflowing_activations() -> bytes:
    """Every weight fits float16; what they make of a face does not."""
    model = network(layers.Rescaling(1e-6, name="back_to_unit"), scale=1e6)
    return to_tflite(model, VARIANTS["float16"])


def _converted(model: keras.Model, prepare) -> bytes:
    with exported(model) as saved:
        converter = converter_for(saved.folder)
        prepare(converter)
        return rename_ends(converter.convert())

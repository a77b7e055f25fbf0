"""Two models small enough to make in a second, whose right answer is known: every point is where the light is.

All five landmarks are the centroid of the crop's red channel, the pose is its mean colour minus 100.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np

from edgeface.card import Card, CropRule, Decode, InputSpec, OutputSpec, attach_card

SIDE, POINTS, CELLS, BINS = 24, 5, 12, 21
MAP_SCALE, POSE_SCALE, ZERO = 0.025, 0.4, 100
SHARPNESS = 10.0


@functools.cache
def float_model() -> Path:
    """float32, three outputs, with a signature."""
    import tensorflow as tf

    class Light(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32, name="image")])
        def __call__(self, image):
            red = image[..., 0] / (tf.reduce_sum(image[..., 0], axis=(1, 2), keepdims=True) + 1e-6)
            grid = (tf.range(SIDE, dtype=tf.float32) + 0.5) / SIDE
            x = tf.reduce_sum(tf.reduce_sum(red, axis=1) * grid, axis=-1, keepdims=True)
            y = tf.reduce_sum(tf.reduce_sum(red, axis=2) * grid, axis=-1, keepdims=True)
            landmarks = tf.tile(tf.stack([x, y], axis=-1), (1, POINTS, 1))
            pose = tf.reduce_mean(image, axis=(1, 2)) - 100.0
            return {"landmarks": landmarks, "pose": pose, "spread": 0.125 + 0.0 * landmarks[..., 0]}

    folder = Path(tempfile.mkdtemp(prefix="edgeface-test-"))
    light = Light()
    tf.saved_model.save(light, str(folder / "saved"), signatures=light.__call__)
    path = folder / "light.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved")).convert())
    attach_card(
        path,
        _card(
            variant="float32",
            input=InputSpec((1, SIDE, SIDE, 3), "float32"),
            outputs={
                "landmarks": OutputSpec("landmarks", (1, POINTS, 2), "float32"),
                "pose": OutputSpec("pose", (1, 3), "float32"),
                "spread": OutputSpec("spread", (1, POINTS), "float32"),
            },
        ),
    )
    return path


@functools.cache
def logits_model() -> Path:
    """uint8 gray in, int8 maps and pose logits out, no signature: outputs are found by their place in the card."""
    import tensorflow as tf

    def stored(values, scale, zero):
        return tf.cast(tf.clip_by_value(tf.round(values / scale) + zero, -128, 127), tf.int8)

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 1), tf.uint8, name="image")])
    def light(image):
        gray = tf.cast(image, tf.float32)
        maps = tf.nn.avg_pool2d(gray, SIDE // CELLS, SIDE // CELLS, "VALID") / 255.0 * 2.5
        # The brighter, the higher the bin: logits fall off from it by 2 per bin.
        bin_ = tf.reduce_max(gray) / 255.0 * (BINS - 1)
        pose = -2.0 * tf.abs(tf.range(BINS, dtype=tf.float32) - bin_)
        maps = stored(tf.tile(maps, (1, 1, 1, POINTS)) - 2.5, MAP_SCALE, ZERO)
        return maps, stored(tf.tile(pose[None, None], (1, 3, 1)), POSE_SCALE, ZERO)

    concrete = light.get_concrete_function()
    path = Path(tempfile.mkdtemp(prefix="edgeface-test-")) / "logits.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], light).convert())
    shapes = {"maps": (1, CELLS, CELLS, POINTS), "pose_logits": (1, 3, BINS)}
    order = _output_shapes(path)
    attach_card(
        path,
        _card(
            variant="int8_logits",
            input=InputSpec((1, SIDE, SIDE, 1), "uint8", channels=1, scale=1.0, zero_point=0),
            outputs={
                "maps": OutputSpec("m", shapes["maps"], "int8", MAP_SCALE, ZERO, order.index(shapes["maps"])),
                "pose_logits": OutputSpec(
                    "p", shapes["pose_logits"], "int8", POSE_SCALE, ZERO, order.index(shapes["pose_logits"])
                ),
            },
            decode=Decode(CELLS, CELLS, SHARPNESS, "bins", BINS, -105.0, 105.0),
        ),
    )
    return path


def scene(x: float = 130.0, y: float = 90.0, sigma: float = 6.0, width: int = 240, height: int = 180) -> np.ndarray:
    """(H, W, 3) uint8: a bright blob on black."""
    columns, rows = np.arange(width) - x, np.arange(height)[:, None] - y
    blob = 255 * np.exp(-(columns**2 + rows**2) / (2 * sigma**2))
    return np.repeat(np.rint(blob).astype(np.uint8)[..., None], 3, axis=-1)


def _card(**values) -> Card:
    return Card(
        name="light", network="acdc", preset="tiny", version="0", crop=CropRule("square", 1.5), markup="mtfl5", **values
    )


def _output_shapes(path: Path) -> list[tuple[int, ...]]:
    from ai_edge_litert.interpreter import Interpreter

    return [tuple(d["shape"].tolist()) for d in Interpreter(model_path=str(path)).get_output_details()]

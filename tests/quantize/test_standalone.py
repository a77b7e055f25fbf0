"""`edgeface.quantize` alone: with the rest of edgeface blocked, and without OpenCV or TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys

ALLOWED = ("edgeface.errors", "edgeface.files", "edgeface.quiet", "edgeface.quantize")
BLOCKED = ("cv2", "tensorflow", "grain", "matplotlib", "ai_edge_litert")


class Block:
    def find_spec(self, name, path=None, target=None):
        ours = name.startswith("edgeface.") and not name.startswith(ALLOWED)
        if ours or name.split(".")[0] in BLOCKED:
            raise ImportError(f"blocked: {name}")


sys.meta_path.insert(0, Block())
import keras
import numpy as np
from edgeface.quantize import calibrate, coverage, quantize_aware, to_int8

image = keras.Input((8, 8, 1), name="image")
x = keras.layers.Conv2D(2, 3, activation="relu", name="conv")(image)
model = keras.Model(image, keras.layers.Conv2D(1, 1, name="last")(x))
quantized = quantize_aware(model)
calibrate(quantized, [np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype("float32")])
assert coverage(quantized) == []
print(sorted({name.split(".")[0] for name in sys.modules} & set(BLOCKED)))
"""


def test_it_needs_neither_the_rest_of_edgeface_nor_opencv_nor_tensorflow(jax_env):
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=jax_env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"

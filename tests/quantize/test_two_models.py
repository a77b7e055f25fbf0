"""A float model and its quantized copy share no buffer: training either leaves the other as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# JAX gives a variable's buffer away at each training step; a second model that held it would be unusable.
PROGRAM = """
import sys
import keras
import numpy as np
from keras import layers
from edgeface.quantize import calibrate, equalize, quantize_aware, to_float
from edgeface.quantize.annotations import KeepFloat

x = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1)).astype("float32")
y = np.zeros((8, 2), "float32")
image = keras.Input((8, 8, 1), name="image")
h = layers.BatchNormalization(name="bn")(layers.Conv2D(2, 3, use_bias=False, name="conv")(image))
h = layers.ReLU(name="relu")(h)
up = layers.Conv2DTranspose(2, 1, activation="relu", name="up")(h)
h = layers.Maximum(name="most")([layers.Conv2D(2, 1, name="second")(h), up])
h = layers.Average(name="mean")([h, up])
h = layers.Dense(4, activation="gelu", name="kept")(layers.GlobalAveragePooling2D(name="pool")(h))
model = keras.Model(image, layers.Dense(2, name="out")(h))
model.get_layer("kept").quantization = KeepFloat()
quantized = quantize_aware(model)
calibrate(quantized, [x], progress=False)
models = {"float": model, "quantized": quantized, "back": to_float(quantized, model), "equal": equalize(model)[0]}
for name, trained in models.items():
    before = {n: m.predict(x, verbose=0) for n, m in models.items() if n != name}
    trained.compile("sgd", "mse")
    trained.fit(x, y, batch_size=4, verbose=0)
    for other, answers in before.items():
        np.testing.assert_array_equal(models[other].predict(x, verbose=0), answers, err_msg=f"{name} -> {other}")
quantized.save(sys.argv[1])
loaded = keras.saving.load_model(sys.argv[1])
np.testing.assert_array_equal(loaded.predict(x, verbose=0), quantized.predict(x, verbose=0))
low, high = quantized.get_layer("most_common").range()
assert float(quantized.get_layer("most_common").steps) == 3 and low < 0 < high, (low, high)
print("all as they were")
"""


def test_training_either_model_leaves_the_other_alone(jax_env, tmp_path):
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "quantized.keras")],
        cwd=ROOT,
        env=jax_env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip().endswith("all as they were"), done.stderr[-2000:]

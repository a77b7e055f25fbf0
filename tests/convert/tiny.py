"""Models small enough to convert in a second or two, of the real layers."""

from __future__ import annotations

import keras
import numpy as np

from edgeface.models.acdc import AcdcConfig
from edgeface.models.ccr import CcrConfig
from edgeface.models.deploy import deploy
from edgeface.models.presets import build

ACDC = AcdcConfig(
    name="acdc_tiny",
    side=32,
    channels=1,
    stages=2,
    stem=(8,),
    widths=(8, 12),
    markups_2d=("ibug68", "mtfl5"),
    stream_slices=None,
    pose_from="features",
    mask_from="finest",
    mask_form="peak",
)
CCR = CcrConfig(
    name="ccr_tiny",
    side=32,
    channels=3,
    stages=1,
    stem=(8, 8),
    width=16,
    hourglass_depth=1,
    unit="residual",
    pose_widths=(8, 12, 16),
    pose_units=(1, 1, 1),
    upsample="bilinear",
    markups=("aflw21",),
    bins=60,
)


def trained_like(config) -> keras.Model:
    """A training graph whose batch norms have statistics, as a trained network's have."""
    keras.utils.set_random_seed(1)
    model = build(config)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            first = layer.name.startswith("stem1")
            mean = mean + rng.normal(scale=20 if first else 0.2, size=mean.shape)
            variance = (900 if first else 1) * rng.uniform(0.5, 1.5, variance.shape)
            layer.set_weights(
                [rng.uniform(0.8, 1.2, gamma.shape), beta + rng.normal(scale=0.1, size=beta.shape), mean, variance]
            )
        elif layer.name == "gtn_ibug68":
            # Untrained maps are flat and every landmark lies in the middle: nothing to lose. Give them peaks.
            layer.set_weights([100 * layer.get_weights()[0], *layer.get_weights()[1:]])
    return model


def deployable(config, **options) -> keras.Model:
    return deploy(trained_like(config), **options)


def crops(config, count: int = 8, seed: int = 0) -> np.ndarray:
    """(N, S, S, C) uint8 blobs: smooth, like faces, so that ranges are as in use."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, config.side)
    centers = rng.uniform(0.3, 0.7, (count, 2, 1, 1))
    blob = np.exp(-12 * ((x[None, None, :] - centers[:, 0]) ** 2 + (x[None, :, None] - centers[:, 1]) ** 2))
    shade = rng.uniform(0.4, 1.0, (count, 1, 1, config.channels))
    noise = rng.normal(scale=6, size=(count, config.side, config.side, config.channels))
    return np.clip(30 + 220 * blob[..., None] * shade + noise, 0, 255).astype(np.uint8)

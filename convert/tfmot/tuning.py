"""One way of fine-tuning for both: the same stored batches, loss, optimizer and rates for tfmot and for ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgeface.convert.fine_tune import FineTune, calibration_batches, tuning_config
from edgeface.files import atomic_write
from edgeface.models.outputs import StageOutputs
from edgeface.training.losses import AcdcLoss, Loss, acdc_loss, ccr_loss
from edgeface.training.pipeline import Views, batches
from edgeface.training.source_faces import load_sources
from edgeface.training.trainer import Schedule


@dataclass(frozen=True)
class Batches:
    """images: (steps, B, S, S, C) uint8; targets: {markup or "pose": (steps, B, …) float32}; calibration: as images,
    without augmentation. learning_rates: (steps,). clip: largest global norm of a gradient, 0: none."""

    images: np.ndarray
    targets: dict[str, np.ndarray]
    calibration: np.ndarray
    learning_rates: np.ndarray
    clip: float

    def __post_init__(self):
        assert len(self.images) == len(self.learning_rates)


def make_batches(
    model: keras.Model, info: dict[str, Any], steps: int, learning_rate: float, cache: Path, where: str | Path
) -> Batches:
    """What `edgeface.convert.fine_tune` would train this float model's quantized copy on.

    Args:
        model: a float training graph.
        info: what its file records, with the training; InputError where that is missing.
        steps: training steps.
        learning_rate: the first one.
        cache: the folder of packed faces.
        where: the model's file, for messages.
    """
    options = FineTune(steps=steps, learning_rate=learning_rate)
    run = tuning_config(info, options, None, str(where))
    markups = StageOutputs.of(model).markups
    side, _, channels = model.input_shape[1:]
    sources = load_sources(run, markups, cache)
    views = Views(side, channels, markups, run.augment, run.seed, run.batch_size)
    drawn = list(islice(iter(batches(sources, views, mode=run.mode)), steps))
    shown = calibration_batches(model, run, options, cache)
    schedule = Schedule(learning_rate, steps, run.schedule, run.warmup, run.power)
    return Batches(
        images=np.stack([x["image"].astype(np.uint8) for x, _ in drawn]),
        targets={key: np.stack([y[key] for _, y in drawn]) for key in drawn[0][1]},
        calibration=np.stack(shown).astype(np.uint8),
        learning_rates=np.array([float(schedule(step)) for step in range(steps)], np.float32),
        clip=run.clip,
    )


def untrained_batches(crops: np.ndarray) -> Batches:
    """No step at all: calibration on crops (N, S, S, C) uint8 alone, in batches of 32."""
    shape = (0, 1, *crops.shape[1:])
    return Batches(np.zeros(shape, np.uint8), {}, crops[: len(crops) // 32 * 32].reshape(-1, 32, *crops.shape[1:]),
                   np.zeros(0, np.float32), 0.0)  # fmt: skip


def save_batches(path: Path, data: Batches) -> None:
    values = asdict(data)
    targets = {f"target_{key}": value for key, value in values.pop("targets").items()}
    with atomic_write(path) as aside:
        np.savez(aside, **values, **targets)


def load_batches(path: Path) -> Batches:
    with np.load(path) as stored:
        values = {key: stored[key] for key in stored.files}
    targets = {key[7:]: values.pop(key) for key in list(values) if key.startswith("target_")}
    return Batches(**values | {"targets": targets, "clip": float(values["clip"])})


def tune(
    forward: Callable[[Any], dict[str, Any]],
    variables: Sequence[tf.Variable],
    data: Batches,
    loss: Loss,
    report: Callable[[int, float], None] = lambda step, value: None,
) -> list[float]:
    """Adam (beta 0.9 and 0.999, epsilon 1e-7) over the stored batches, one step each; returns the losses.

    forward: float images (B, S, S, C) -> the training graph's outputs, in training mode. The optimizer is written out
    because tf_keras and Keras 3 have each their own.
    """
    variables = list({v.ref(): v for v in variables}.values())  # tfmot's wrappers name some twice
    moments = [tuple(tf.Variable(tf.zeros_like(v), trainable=False) for _ in range(2)) for v in variables]
    cost = acdc_loss if isinstance(loss, AcdcLoss) else ccr_loss

    @tf.function
    def advance(images, targets, rate, step):
        with tf.GradientTape() as tape:
            total = cost(targets, forward(tf.cast(images, tf.float32)), loss)
        gradients = tape.gradient(total, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        if data.clip:
            gradients, _ = tf.clip_by_global_norm(gradients, data.clip)
        rate = rate * tf.sqrt(1 - tf.pow(0.999, step)) / (1 - tf.pow(0.9, step))
        for variable, gradient, (mean, square) in zip(variables, gradients, moments, strict=True):
            mean.assign_add(0.1 * (gradient - mean))
            square.assign_add(0.001 * (gradient * gradient - square))
            variable.assign_sub(rate * mean / (tf.sqrt(square) + 1e-7))
        return total

    losses = []
    for step, rate in enumerate(data.learning_rates):
        targets = {key: tf.constant(value[step]) for key, value in data.targets.items()}
        value = advance(tf.constant(data.images[step]), targets, tf.constant(rate), tf.constant(step + 1.0))
        losses.append(float(value))
        report(step + 1, losses[-1])
    return losses

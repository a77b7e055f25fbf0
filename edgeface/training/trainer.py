"""The Keras model that `fit` drives: a network, its paper's loss, and two figures a human can read."""

from __future__ import annotations

from typing import Literal

import keras
from keras import ops

from edgeface.training.losses import AcdcLoss, Loss, acdc_loss, ccr_loss, last_stage_errors

ScheduleName = Literal["polynomial", "cosine", "constant"]


class AlignmentTrainer(keras.Model):
    """Wraps a network so that ``fit`` minimises ``loss_config``'s loss; the network is trained in place.

    Its progress metrics are of the final stage: ``landmarks``, mean distance in percent of the crop's side, and
    ``pose``, mean absolute error in degrees; faces without the label do not count.
    """

    def __init__(self, network: keras.Model, loss_config: Loss):
        super().__init__(name="trainer")
        self.network = network
        self.loss_config = loss_config
        self._means = {part: keras.metrics.Mean(name=part) for part in ("landmarks", "pose")}
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*super().metrics, *self._means.values()]

    def call(self, inputs, training: bool = False):
        return self.network(inputs["image"] if isinstance(inputs, dict) else inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = acdc_loss if isinstance(self.loss_config, AcdcLoss) else ccr_loss
        total = loss(y, y_pred, self.loss_config)
        for part, (mean, count) in last_stage_errors(y, y_pred).items():
            self._means[part].update_state(mean, sample_weight=count)
        if self.losses:
            total = total + sum(ops.cast(extra, "float32") for extra in self.losses)
        return total


@keras.saving.register_keras_serializable(package="edgeface")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then polynomial decay to 0 (AC-DC: power 0.9), cosine decay to 0, or constant (CCR)."""

    def __init__(
        self, rate: float, steps: int, shape: ScheduleName = "polynomial", warmup: int = 0, power: float = 0.9
    ):
        self.rate, self.steps, self.shape, self.warmup, self.power = rate, steps, shape, warmup, power

    def __call__(self, step):
        step = ops.cast(step, "float32")
        done = ops.clip((step - self.warmup) / max(self.steps - self.warmup, 1), 0.0, 1.0)
        if self.shape == "polynomial":
            left = ops.power(1 - done, self.power)
        elif self.shape == "cosine":
            left = 0.5 * (1 + ops.cos(done * 3.141592653589793))
        else:
            left = ops.ones_like(done)
        warm = ops.minimum((step + 1) / self.warmup, 1.0) if self.warmup else 1.0
        return self.rate * left * warm

    def get_config(self) -> dict:
        return {k: getattr(self, k) for k in ("rate", "steps", "shape", "warmup", "power")}


def make_optimizer(
    rate: float,
    steps: int,
    *,
    schedule: ScheduleName = "polynomial",
    warmup: int = 0,
    power: float = 0.9,
    clip: float = 0.0,
    ema: float = 0.0,
) -> keras.optimizers.Optimizer:
    """Adam (AC-DC's; CCR names none).

    Args:
        rate: the largest learning rate.
        steps: of the whole run.
        schedule: what the rate does after the warm-up, see `Schedule`.
        warmup: steps of linear growth from 0.
        power: of the polynomial schedule.
        clip: largest global norm of a gradient; 0 = no limit.
        ema: decay of averaged weights; 0 = off.
    """
    return keras.optimizers.Adam(
        Schedule(rate, steps, schedule, warmup, power),
        global_clipnorm=clip or None,
        use_ema=ema > 0,
        ema_momentum=ema or 0.99,
    )

"""Learning from the float teacher: its landmarks, pose and maps of every stage, on the faces the twin is tuned on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from edgeface.models.deploy import landmark_markups, stage_count
from edgeface.training.losses import QUARTER_TURN_DEG, AcdcLoss, Loss, heads, stage_weights
from edgeface.training.trainer import AlignmentTrainer

Tensors = dict[str, Any]


def with_maps(network: keras.Model) -> keras.Model:
    """The network with the maps (B, H, W, K) of every stage and markup among its outputs, ``s{i}_{markup}_maps``.

    It shares the network's layers. A twin's maps are those on the int8 grid.
    """
    outputs = dict(network.output)
    for stage in range(1, stage_count(network) + 1):
        for name in landmark_markups(network):
            outputs[f"s{stage}_{name}_maps"] = network.get_layer(f"s{stage}_{name}").input
    return keras.Model(network.input, outputs, name=network.name)


class DistillingTrainer(AlignmentTrainer):
    """The paper's loss on the labels, and the teacher's answers: (1 - share) * labels + share * teacher.

    network, teacher: both `with_maps`. share: in [0, 1]; at 1 the labels have no say.
    """

    def __init__(self, network: keras.Model, loss_config: Loss, teacher: keras.Model, share: float):
        super().__init__(network, loss_config)
        teacher.trainable = False
        for variable in teacher.variables:
            # JAX: a twin begins with its teacher's very arrays, and a training step donates each array once.
            variable.assign(np.array(ops.convert_to_numpy(variable)))
        self.teacher = teacher
        self.share = share
        names = [key[:-5] for key in network.output if key.endswith("_maps")]
        self.sharpness = {name: float(network.get_layer(name).sharpness) for name in names}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        labels = super().compute_loss(x, y, y_pred, sample_weight, training)
        taught = self.teacher(x["image"], training=False)
        return (1 - self.share) * labels + self.share * distillation_loss(
            taught, y_pred, self.loss_config, self.sharpness
        )


def distillation_loss(taught: Tensors, predicted: Tensors, config: Loss, sharpness: dict[str, float]):
    """How far the answers are from the teacher's, over stages weighted as in the paper's loss; one scalar a batch.

    Landmarks and angles by their absolute difference, in the units of the network's own loss (AC-DC: the crop's width
    and quarter turns; CCR: map cells and bins). Maps and bins by the Kullback-Leibler divergence between the attention
    (or the bins' softmax) of the two, in nats, so that where the teacher looks is learned, not the maps' level.
    """
    stages, markups = heads(predicted)
    total = 0.0
    for stage, weight in enumerate(stage_weights(config.stage_weights, stages), start=1):
        prefix = f"s{stage}"
        for name in markups:
            key = f"{prefix}_{name}"
            maps = predicted[f"{key}_maps"]
            far = ops.mean(ops.sum(ops.abs(predicted[key] - ops.stop_gradient(taught[key])), axis=-1))
            if not isinstance(config, AcdcLoss):
                far = config.landmarks * maps.shape[2] * far
            attention = _divergence(_flat(taught[f"{key}_maps"]), _flat(maps), sharpness[key])
            total = total + weight * config.markups.get(name, 1.0) * (far + attention)
        if f"{prefix}_pose" in predicted:
            off = ops.mean(ops.abs(predicted[f"{prefix}_pose"] - ops.stop_gradient(taught[f"{prefix}_pose"])))
            total = total + weight * off / _angle_unit(predicted, prefix, config)
        if f"{prefix}_bins" in predicted:
            total = total + weight * _divergence(taught[f"{prefix}_bins"], predicted[f"{prefix}_bins"])
    return total


def _angle_unit(predicted: Tensors, prefix: str, config: Loss) -> float:
    """Degrees that cost 1."""
    if isinstance(config, AcdcLoss):
        return QUARTER_TURN_DEG / config.pose if config.pose else float("inf")
    return (config.high_deg - config.low_deg) / predicted[f"{prefix}_bins"].shape[-1]


def _flat(maps):
    """(B, H, W, K) -> (B, K, H * W)."""
    return ops.transpose(ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2], maps.shape[3])), (0, 2, 1))


def _divergence(taught, predicted, sharpness: float = 1.0):
    """Mean over faces and points of KL(teacher || student), softmax over the last axis."""
    target = ops.stop_gradient(ops.log_softmax(sharpness * taught, axis=-1))
    logs = ops.log_softmax(sharpness * predicted, axis=-1)
    return ops.mean(ops.sum(ops.exp(target) * (target - logs), axis=-1))

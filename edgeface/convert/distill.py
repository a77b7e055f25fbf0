"""Learning from the float teacher: its landmarks, pose and maps of every stage, on the faces of the tuning run."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from edgeface.models.outputs import StageOutputs
from edgeface.training.losses import QUARTER_TURN_DEG, AcdcLoss, Loss, stage_weights
from edgeface.training.trainer import AlignmentTrainer

Tensors = dict[str, Any]


def with_maps(network: keras.Model) -> keras.Model:
    """The network with the maps (B, H, W, K) of every stage and markup among its outputs.

    It shares the network's layers. A quantized model's maps are those on the int8 grid.
    """
    names, outputs = StageOutputs.of(network), dict(network.output)
    for stage in range(1, names.stages + 1):
        for markup in names.markups:
            outputs[names.maps(stage, markup)] = network.get_layer(names.landmarks(stage, markup)).input
    return keras.Model(network.input, outputs, name=network.name)


class DistillingTrainer(AlignmentTrainer):
    """The paper's loss on the labels, and the teacher's answers: (1 - share) * labels + share * teacher.

    network, teacher: both `with_maps`. share: in [0, 1]; at 1 the labels have no say.
    """

    def __init__(self, network: keras.Model, loss_config: Loss, teacher: keras.Model, share: float):
        super().__init__(network, loss_config)
        teacher.trainable = False
        for variable in teacher.variables:
            # JAX: a quantized model begins with its teacher's very arrays, and a training step donates each array once.
            variable.assign(np.array(ops.convert_to_numpy(variable)))
        self.teacher = teacher
        self.share = share
        names = StageOutputs.of(network)
        decoders = [names.landmarks(*pair) for pair in names.with_maps]
        self.sharpness = {name: float(network.get_layer(name).sharpness) for name in decoders}

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

    Args:
        taught: the teacher's outputs, with maps.
        predicted: the student's, likewise.
        config: the loss of the labels: stage weights and units.
        sharpness: {name of a stage's landmarks: factor of its maps ahead of the softmax}.
    """
    names = StageOutputs.of(predicted)
    total = 0.0
    for stage, weight in enumerate(stage_weights(config.stage_weights, names.stages), start=1):
        for markup in names.markups:
            points, maps_name = names.landmarks(stage, markup), names.maps(stage, markup)
            maps = predicted[maps_name]
            far = ops.mean(ops.sum(ops.abs(predicted[points] - ops.stop_gradient(taught[points])), axis=-1))
            if not isinstance(config, AcdcLoss):
                far = config.landmarks * maps.shape[2] * far
            attention = _divergence(_flat(taught[maps_name]), _flat(maps), sharpness[points])
            total = total + weight * config.markups.get(markup, 1.0) * (far + attention)
        bins = names.bins(stage)
        if names.has_pose:
            pose = names.pose(stage)
            off = ops.mean(ops.abs(predicted[pose] - ops.stop_gradient(taught[pose])))
            unit_deg = _angle_unit(config, predicted[bins].shape[-1] if names.has_bins else None)
            total = total + weight * off / unit_deg
        if names.has_bins:
            total = total + weight * _divergence(taught[bins], predicted[bins])
    return total


def _angle_unit(config: Loss, bins: int | None) -> float:
    """The angle in degrees that costs 1. bins: how many a CCR network has."""
    if isinstance(config, AcdcLoss):
        return QUARTER_TURN_DEG / config.pose if config.pose else float("inf")
    return (config.high_deg - config.low_deg) / bins


def _flat(maps):
    """(B, H, W, K) -> (B, K, H * W)."""
    return ops.transpose(ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2], maps.shape[3])), (0, 2, 1))


def _divergence(taught, predicted, sharpness: float = 1.0):
    """Mean over faces and points of KL(teacher || student), softmax over the last axis."""
    target = ops.stop_gradient(ops.log_softmax(sharpness * taught, axis=-1))
    logs = ops.log_softmax(sharpness * predicted, axis=-1)
    return ops.mean(ops.sum(ops.exp(target) * (target - logs), axis=-1))

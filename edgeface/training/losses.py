"""The two papers' losses, masked where the truth is unknown (NaN), on any Keras backend.

Predictions are a dict named as in `edgeface.models.outputs`; targets are ``{markup: (B, K, 2), "pose": (B, 3)}``.
Every loss returns one scalar a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from keras import ops

from edgeface.errors import InputError
from edgeface.models.outputs import StageOutputs
from edgeface.schema import from_dict

Coordinate = Literal["l1", "l2", "smooth_l1", "wing"]
Tensors = dict[str, Any]

# Wing loss (Feng et al., CVPR 2018) in the crop's units: its 10 and 2 px of a 256 px crop.
WING_WIDTH, WING_CURVATURE = 10 / 256, 2 / 256
# Below this (about one map cell of 32) the smooth L1 is quadratic.
SMOOTH_L1_WIDTH = 0.01
QUARTER_TURN_DEG = 90.0


@dataclass(frozen=True)
class AcdcLoss:
    """AC-DC, eq. 7 and 8: L1 on the landmarks and the pose of every stage."""

    stage_weights: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0)
    """Section III-C. A model of n stages takes the last n: the final stage always weighs 1."""
    pose: float = 1.0
    """Times the pose's L1 in quarter turns (degrees / 90): 3 degrees then cost as much as 3.3 % of the crop.
    The paper adds the two terms with no weight and names no unit."""
    coordinate: Coordinate = "l1"
    """The paper's is l1; the others are for edge models."""
    markups: dict[str, float] = field(default_factory=dict)
    """Weight of a markup's term, 1 where not named (a coarse markup from a small share of faces may deserve less)."""


@dataclass(frozen=True)
class CcrLoss:
    """CCR, eq. 2, 5 and 6: (angles + alpha_1 bins) + lambda (coordinates + alpha_2 heatmaps), on every block.

    The paper leaves all weights open. Angles are measured in bins and coordinates in map cells, the units in
    which the classification targets are drawn: an error of one bin then costs about 1 + 2 and one of one cell
    about 1 + 1.4, so that all weights are 1 and mean the same for every map size and bin width.
    """

    stage_weights: tuple[float, ...] = (1.0,)
    """Equal for all blocks, as in stacked hourglasses: one value serves every block."""
    bins: float = 1.0
    """alpha_1, on the cross-entropy. Hopenet also weighs its two terms 1 : 1, in degrees."""
    angle: Literal["squared", "absolute"] = "squared"
    """Eq. 2 squares an angle's error in bins; ``absolute`` lets a label that is far off pull no harder than others."""
    landmarks: float = 1.0
    """lambda, on the landmark half."""
    maps: float = 1.0
    """alpha_2, on the heatmaps."""
    coordinates: float = 1.0
    """On the expectation's coordinates. The paper's is 1; 0 trains the maps alone, to be read by their arg max."""
    coordinate: Literal["squared", "distance"] = "squared"
    """Eq. 5 writes a norm where the text says "mean square error": ``squared`` follows the text; ``distance`` takes
    the norm at its word, so that a few lost points do not outweigh all others (edge models)."""
    sigma: float = 1.0
    """Standard deviation of the target Gaussian, in cells (section 4.2)."""
    markups: dict[str, float] = field(default_factory=dict)
    """Weight of a markup's landmark half, 1 where not named."""
    low_deg: float = -99.0
    high_deg: float = 99.0
    """The bins' range: taken from the network, not from a config."""


Loss = AcdcLoss | CcrLoss


def loss_for(network, overrides: dict[str, Any] | None = None) -> Loss:
    """The loss of a network's paper, which its outputs tell, with some fields changed.

    Args:
        network: the training graph.
        overrides: fields of `AcdcLoss` or `CcrLoss`.
    """
    overrides = dict(overrides or {})
    names = StageOutputs.of(network)
    loss = from_dict(CcrLoss if names.has_bins else AcdcLoss, overrides, "loss")
    unknown = sorted(set(loss.markups) - set(names.markups))
    if unknown:
        raise InputError(f"loss.markups must be among the network's, {', '.join(names.markups)}. Received: {unknown}")
    if not names.has_bins:
        return loss
    # The layer that decodes the bins knows where they lie.
    decoder = network.get_layer(names.pose(1))
    return replace(loss, low_deg=decoder.low_deg, high_deg=decoder.high_deg)


def stage_weights(weights: tuple[float, ...], stages: int) -> tuple[float, ...]:
    """The last ``stages`` weights; one weight alone serves every stage.

    Args:
        weights: a loss config's.
        stages: of the network.
    """
    if len(weights) == 1:
        return weights * stages
    if len(weights) < stages:
        raise InputError(f"stage_weights must hold at least {stages} numbers. Received: {weights}")
    return weights[-stages:]


def known(target) -> tuple[Any, Any]:
    """(target with 0 for NaN, mask in float32 of the same shape). Arithmetic on NaN, even masked, has NaN gradients."""
    target = ops.cast(target, "float32")
    finite = ops.isfinite(target)
    return ops.where(finite, target, ops.zeros_like(target)), ops.cast(finite, "float32")


def masked_mean(values, mask):
    """Mean of the values where the mask is 1, and 0 where it never is.

    Args:
        values: any shape.
        mask: float32, same shape.
    """
    return ops.sum(values * mask) / ops.maximum(ops.sum(mask), 1.0)


def coordinate_loss(error, kind: Coordinate):
    """Elementwise cost of a coordinate error.

    Args:
        error: in the crop's width, any shape.
        kind: its shape as a function of the error.
    """
    size = ops.abs(error)
    if kind == "l1":
        return size
    if kind == "l2":
        return ops.square(error)
    if kind == "smooth_l1":
        quadratic = 0.5 * ops.square(error) / SMOOTH_L1_WIDTH
        return ops.where(size < SMOOTH_L1_WIDTH, quadratic, size - 0.5 * SMOOTH_L1_WIDTH)
    offset = WING_WIDTH * (1 - math.log1p(WING_WIDTH / WING_CURVATURE))
    logarithm = WING_WIDTH * ops.log1p(ops.minimum(size, WING_WIDTH) / WING_CURVATURE)
    return ops.where(size < WING_WIDTH, logarithm, size - offset)


def acdc_loss(target: Tensors, predicted: Tensors, config: AcdcLoss):
    """AC-DC's sum over stages; each markup is averaged over its known points, the pose over its known angles.

    Args:
        target: {markup: (B, K, 2), "pose": (B, 3)}, NaN unknown.
        predicted: the network's outputs.
        config: weights and forms.
    """
    names = StageOutputs.of(predicted)
    pose, pose_mask = known(target["pose"])
    points = {markup: known(target[markup]) for markup in names.markups}
    total = 0.0
    for stage, weight in enumerate(stage_weights(config.stage_weights, names.stages), start=1):
        for markup, (truth, mask) in points.items():
            error = _float(predicted[names.landmarks(stage, markup)]) - truth
            # |s - s*| is the L1 norm of a 2-vector: x and y are summed, points averaged.
            term = 2 * masked_mean(coordinate_loss(error, config.coordinate), mask)
            total = total + weight * config.markups.get(markup, 1.0) * term
        if config.pose and names.has_pose:
            error = ops.abs(_float(predicted[names.pose(stage)]) - pose) / QUARTER_TURN_DEG
            total = total + weight * config.pose * masked_mean(error, pose_mask)
    return total


def ccr_loss(target: Tensors, predicted: Tensors, config: CcrLoss):
    """CCR's sum over blocks. A face without any known point of the markup adds nothing to the landmark half.

    Args:
        target: {markup: (B, K, 2), "pose": (B, 3)}, NaN unknown.
        predicted: the network's outputs.
        config: weights and forms.
    """
    names = StageOutputs.of(predicted)
    pose, pose_mask = known(target["pose"])
    points = {markup: known(target[markup]) for markup in names.markups}
    total = 0.0
    for stage, weight in enumerate(stage_weights(config.stage_weights, names.stages), start=1):
        logits = _float(predicted[names.bins(stage)])
        width_deg = (config.high_deg - config.low_deg) / logits.shape[-1]
        error = (_float(predicted[names.pose(stage)]) - pose) / width_deg
        entropy = -ops.sum(bin_targets(pose, config, logits.shape[-1]) * ops.log_softmax(logits, axis=-1), axis=-1)
        angles = ops.square(error) if config.angle == "squared" else ops.abs(error)
        total = total + weight * masked_mean(angles + config.bins * entropy, pose_mask)
        for markup, (truth, mask) in points.items():
            maps = _float(predicted[names.maps(stage, markup)])
            landmark_term = _ccr_landmarks(_float(predicted[names.landmarks(stage, markup)]), maps, truth, mask, config)
            total = total + weight * config.landmarks * config.markups.get(markup, 1.0) * landmark_term
    return total


def _ccr_landmarks(predicted, maps, truth, mask, config: CcrLoss):
    """Eq. 5 in map cells: per point, squared distance + alpha_2 * squared difference of the maps, summed over cells."""
    height, width = maps.shape[1:3]
    point_mask = ops.min(mask, axis=-1)
    cells = (predicted - truth) * ops.convert_to_tensor([width, height], "float32")
    squared = ops.sum(ops.square(cells), axis=-1)
    # The floor keeps sqrt's gradient finite where a prediction is exact.
    distance = squared if config.coordinate == "squared" else ops.sqrt(ops.maximum(squared, 1e-6))
    coordinates = config.coordinates * masked_mean(distance, point_mask)
    difference = ops.sum(ops.square(maps - gaussian_maps(truth, point_mask, height, width, config.sigma)), axis=(1, 2))
    # An invisible point's map must be zero, but only on a face that was annotated at all.
    annotated = ops.max(point_mask, axis=-1, keepdims=True) * ops.ones_like(point_mask)
    return coordinates + config.maps * masked_mean(difference, annotated)


def bin_targets(pose_deg, config: CcrLoss, bins: int):
    """(B, 3, N): `BinnedAngles.encode` in keras.ops, linear between the two nearest bin centers.

    Args:
        pose_deg: (B, 3).
        config: the bins' range.
        bins: N.
    """
    step = (config.high_deg - config.low_deg) / bins
    position = ops.clip((pose_deg - config.low_deg) / step - 0.5, 0, bins - 1)
    return ops.maximum(1 - ops.abs(position[..., None] - ops.arange(bins, dtype="float32")), 0)


def gaussian_maps(points, point_mask, height: int, width: int, sigma: float):
    """(B, H, W, K): `IntegralHeatmap.encode` in keras.ops.

    Args:
        points: (B, K, 2) in [0, 1].
        point_mask: (B, K); all-zero maps where it is 0.
        height: H.
        width: W.
        sigma: standard deviation in cells.
    """
    x = ops.arange(width, dtype="float32")[None, :, None] - (points[:, None, :, 0] * width - 0.5)
    y = ops.arange(height, dtype="float32")[None, :, None] - (points[:, None, :, 1] * height - 0.5)
    fall_x, fall_y = (ops.exp(-0.5 * ops.square(d / sigma)) for d in (x, y))
    return fall_y[:, :, None] * fall_x[:, None] * point_mask[:, None, None]


def last_stage_errors(target: Tensors, predicted: Tensors) -> dict[str, tuple[Any, Any]]:
    """{part: (mean, count)}: landmarks in percent of the crop (over all markups) and pose in degrees, final stage.

    For progress, not for training: no gradient flows.

    Args:
        target: {markup: (B, K, 2), "pose": (B, 3)}, NaN unknown.
        predicted: the network's outputs.
    """
    names = StageOutputs.of(predicted)
    last = names.stages
    predicted = {name: ops.stop_gradient(predicted[name]) for name in names.of_stage(last)}
    distance = count = 0.0
    for markup in names.markups:
        truth, mask = known(target[markup])
        error = ops.sqrt(ops.sum(ops.square(_float(predicted[names.landmarks(last, markup)]) - truth), axis=-1))
        point_mask = ops.min(mask, axis=-1)
        distance, count = distance + ops.sum(error * point_mask), count + ops.sum(point_mask)
    errors = {"landmarks": (100 * distance / ops.maximum(count, 1.0), count)}
    if names.has_pose:
        pose, mask = known(target["pose"])
        errors["pose"] = (masked_mean(ops.abs(_float(predicted[names.pose(last)]) - pose), mask), ops.sum(mask))
    return errors


def _float(tensor):
    # Mixed precision: errors of a tenth of a pixel are below bfloat16's step.
    return ops.cast(tensor, "float32")

"""Augmentation: one affine moves the image, the points, the box and the pose together.

The head's rotation (y up) is the transpose of `edgeface.head_pose`'s matrix M, so turning the picture by Q makes it
``M @ Q.T``: **in this convention an in-plane turn changes all three angles**, and roll alone only for a frontal face.
At 80 degrees of yaw a 25 degree turn moves pitch by more than 60: hence `AugmentConfig.damp_profile`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgeface import head_pose as headpose
from edgeface.box import Box
from edgeface.crop import Crop, apply_affine, square_crop, warp
from edgeface.errors import InputError
from edgeface.head_pose import turn_pose
from edgeface.markup import markup
from edgeface.schema import must
from edgeface.training.photometric import between, factor, photometric

if TYPE_CHECKING:
    from edgeface.datasets.cut_faces import CutFace


@dataclass(frozen=True)
class AugmentConfig:
    """What may happen to a face. ``p_*`` are probabilities; lengths are fractions of the crop's side.

    ``AugmentConfig()`` is the default of the training configs, ``AugmentConfig.none()`` the plain crop.
    """

    crop_scale: float = 1.3
    """The ``square`` crop rule's scale; part of the model's card."""
    shift: float = 0.06
    """Uniform, either way, on each axis."""
    scale: float = 0.15
    """Log-uniform: the crop's side times 1 / (1 + scale) to 1 + scale."""
    rotation_deg: float = 25.0
    """Uniform, either way."""
    p_turn: float = 0.0
    """Probability of a larger in-plane rotation instead."""
    turn_deg: float = 90.0
    """Its largest angle, either way; the density falls linearly from 0 to zero there."""
    damp_profile: bool = True
    """Rotation times cos(yaw): near profile a small turn is a wild jump of pitch and roll."""
    mirror: float = 0.5
    """Probability of a mirrored picture."""
    use_hidden: bool = True
    """Keep the hidden points of projected markups (ibug68_3d) as targets; other markups' hidden points never are."""
    pose_limit_deg: float = 99.0
    """A turned pose whose pitch or roll leaves this range is masked: the bins end there."""

    p_tone: float = 0.8
    brightness: float = 0.15
    """Added, as a fraction of white."""
    contrast: float = 0.3
    gamma: float = 0.4
    color: float = 0.15
    """Gain of each channel (RGB models)."""
    saturation: float = 0.4
    p_gray: float = 0.1
    """RGB models: a picture without color."""
    p_blur: float = 0.2
    blur_max: float = 0.014
    """Largest sigma."""
    p_motion: float = 0.1
    motion_max: float = 0.07
    p_low_res: float = 0.15
    low_res_min: float = 0.3
    """Smallest size, as a fraction of the crop's."""
    p_noise: float = 0.25
    noise_max: float = 12.0
    """Largest sigma, in gray levels of 255."""
    p_jpeg: float = 0.1
    jpeg_min: int = 20
    """Lowest quality, to 90."""
    p_occlude: float = 0.3
    occlude_max: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            top = 1 if field.name.startswith("p_") or field.name in ("mirror", "low_res_min") else math.inf
            must(0 <= value <= top and math.isfinite(value), field.name, f"in [0, {top}]", value)
        must(self.crop_scale > 0, "crop_scale", "> 0", self.crop_scale)
        must(self.jpeg_min <= 90, "jpeg_min", "at most 90", self.jpeg_min)

    @classmethod
    def none(cls, crop_scale: float = 1.3) -> AugmentConfig:
        """The plain, deterministic crop of validation."""
        off = {f.name: 0.0 for f in fields(cls) if f.name.startswith("p_")}
        return cls(crop_scale=crop_scale, shift=0.0, scale=0.0, rotation_deg=0.0, mirror=0.0, **off)


def augment(
    face: CutFace, config: AugmentConfig, rng: np.random.Generator, *, side: int, channels: int
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """One training view of one face.

    Args:
        face: the crop with margin and its labels; ``box_xyxy`` is what the crop rule starts from.
        config: what may happen.
        rng: the random numbers; the same ones give the same view.
        side: of the view, in pixels.
        channels: 1 (gray) or 3 (RGB).

    Returns the (side, side, channels) uint8 crop, {markup: (K, 2) float32 in the crop's [0, 1]} and the pose (3,)
    float32. A point that is unknown, hidden (see ``use_hidden``) or outside the crop is NaN.
    Raises ValueError where the box has no size, InputError where the image is not uint8 RGB.
    """
    image = face.image
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"image must be (H, W, 3) uint8. Received: {image.shape} {image.dtype}")
    if channels not in (1, 3):
        raise InputError(f"channels must be 1 or 3. Received: {channels}")
    crop = random_crop(Box(*map(float, face.box_xyxy)), face.pose_deg, config, rng)
    mirrored = rng.random() < config.mirror
    matrix = crop.matrix(side, mirrored)
    points = {
        name: move_points(xy, face.visible.get(name), name, matrix, side, mirrored, config.use_hidden)
        for name, xy in face.landmarks_px.items()
    }
    pose = move_pose(face.pose_deg, crop.angle_deg, mirrored, config.pose_limit_deg)
    if channels == 1:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    image = warp(image, matrix, side)
    image = photometric(image[..., 0] if channels == 1 else image, config, rng)
    return image.reshape(side, side, channels), points, pose


def random_crop(box: Box, pose_deg: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> Crop:
    """The crop rule's square, shifted, scaled and rotated at random.

    Args:
        box: the face's.
        pose_deg: (3,) yaw, pitch, roll; NaN unknown.
        config: how far.
        rng: the random numbers.
    """
    plain = square_crop(box, config.crop_scale)
    size = plain.size * factor(rng, config.scale)
    dx, dy = (between(rng, -config.shift, config.shift) * plain.size for _ in range(2))
    angle = between(rng, -config.rotation_deg, config.rotation_deg)
    if config.p_turn and rng.random() < config.p_turn:
        # The inverse of the distribution function 1 - (1 - x)^2.
        angle = math.copysign(config.turn_deg * (1 - math.sqrt(rng.random())), angle)
    if config.damp_profile and math.isfinite(pose_deg[0]):
        angle *= max(0.0, math.cos(math.radians(pose_deg[0])))
    return Crop((plain.center[0] + dx, plain.center[1] + dy), size, angle)


def move_points(
    landmarks_px: np.ndarray,
    visible: np.ndarray | None,
    name: str,
    matrix: np.ndarray,
    side: int,
    mirrored: bool = False,
    use_hidden: bool = True,
) -> np.ndarray:
    """(K, 2) float32 in the crop's [0, 1]; unknown, hidden and outside points are NaN.

    Args:
        landmarks_px: (K, 2) px of the image.
        visible: (K,) bool, or None.
        name: the markup.
        matrix: (2, 3) image px -> crop px.
        side: of the crop, in pixels.
        mirrored: whether the matrix mirrors.
        use_hidden: keep the hidden points of projected markups.
    """
    scheme = markup(name)
    points = (apply_affine(matrix, landmarks_px) + 0.5) / side
    lost = ~((points >= 0) & (points <= 1)).all(axis=1)  # NaN compares false: unknown points are lost too
    if visible is not None and not (use_hidden and scheme.projected):
        lost |= ~np.asarray(visible, bool)
    points[lost] = np.nan
    if mirrored:
        points = points[list(scheme.mirror)]
    return points.astype(np.float32)


def move_pose(pose_deg: np.ndarray, angle_deg: float, mirrored: bool, limit_deg: float = 99.0) -> np.ndarray:
    """(3,) float32: rotated in the image plane, then mirrored (yaw and roll change sign).

    Args:
        pose_deg: (3,) yaw, pitch, roll.
        angle_deg: the crop's angle.
        mirrored: whether the crop is mirrored.
        limit_deg: NaN where a rotated pose's pitch or roll leave this range.
    """
    pose = turn_pose(pose_deg, angle_deg)
    if angle_deg and (np.abs(pose[1:]) > limit_deg).any():
        return np.full(3, np.nan, np.float32)
    return headpose.mirror(pose) if mirrored else pose

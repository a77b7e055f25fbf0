"""`edgeface.training.augment` for a whole batch on the device: one affine moves image, points and pose together.

Everything here is keras.ops on float32 tensors and a function of its arguments; `edgeface.training.augment` says what
the conventions are, and tests hold the two against each other. Not made here: motion blur, low resolution, JPEG and
changes of color.
"""

from __future__ import annotations

import math

from keras import ops

BLUR_TAPS = 6
"""Either side of the middle: three standard deviations of the widest blur of a 128 px crop."""


def affine(center, size, angle_deg, mirrored, side: int):
    """(B, 2, 3) crop matrices, pack pixels -> crop pixels: `edgeface.crop.Crop.matrix`, batched.

    center: (B, 2) px, size: (B,) px, angle_deg: (B,) clockwise, mirrored: (B,) bool.
    """
    scale = side / size
    angle = angle_deg * (math.pi / 180)
    cos, sin = ops.cos(angle) * scale, ops.sin(angle) * scale
    sign = ops.where(mirrored, -1.0, 1.0)
    linear = ops.stack([ops.stack([sign * cos, sign * sin], -1), ops.stack([-sin, cos], -1)], -2)
    shift = (side - 1) / 2 - ops.sum(linear * center[:, None, :], -1)
    return ops.concatenate([linear, shift[..., None]], -1)


def warp(images, matrix, side: int):
    """(B, P, P, C) float32 -> (B, side, side, C) by (B, 2, 3): bilinear, the border repeated, gray levels rounded.

    Weights and sums are exact; OpenCV's are in 1/32 px. It averages areas where an image shrinks below half: not here.
    """
    batch, height, width, channels = images.shape
    a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
    tx, ty = matrix[:, 0, 2], matrix[:, 1, 2]
    determinant = a * d - b * c
    at = ops.arange(side, dtype="float32")
    x = ops.reshape(at, (1, 1, side)) - ops.reshape(tx, (-1, 1, 1))
    y = ops.reshape(at, (1, side, 1)) - ops.reshape(ty, (-1, 1, 1))
    a, b, c, d = (ops.reshape(v / determinant, (-1, 1, 1)) for v in (a, b, c, d))
    column, row = d * x - b * y, a * y - c * x
    left, top = ops.floor(column), ops.floor(row)
    right_share, low_share = (column - left)[..., None], (row - top)[..., None]
    flat = ops.reshape(images, (batch, height * width, channels))

    def pixel(rows, columns):
        rows = ops.clip(ops.cast(rows, "int32"), 0, height - 1)
        columns = ops.clip(ops.cast(columns, "int32"), 0, width - 1)
        index = ops.reshape(rows * width + columns, (batch, side * side, 1))
        taken = ops.take_along_axis(flat, ops.broadcast_to(index, (batch, side * side, channels)), axis=1)
        return ops.reshape(taken, (batch, side, side, channels))

    upper = pixel(top, left) * (1 - right_share) + pixel(top, left + 1) * right_share
    lower = pixel(top + 1, left) * (1 - right_share) + pixel(top + 1, left + 1) * right_share
    return ops.floor(upper * (1 - low_share) + lower * low_share + 0.5)


def move_points(points, matrix, mirrored, permutation, side: int):
    """(B, K, 2) pack px -> the crop's [0, 1]; NaN where unknown or outside. permutation: (K,), the markup's mirror."""
    moved = ops.sum(matrix[:, None, :, :2] * points[:, :, None, :], -1) + matrix[:, None, :, 2]
    moved = (moved + 0.5) / side
    inside = ops.all(ops.logical_and(moved >= 0, moved <= 1), axis=-1, keepdims=True)  # NaN compares false
    moved = ops.where(inside, moved, math.nan)
    return ops.where(mirrored[:, None, None], ops.take(moved, permutation, axis=1), moved)


def move_pose(pose_deg, angle_deg, mirrored, limit_deg: float):
    """(B, 3) -> turned by (B,) degrees, then mirrored: `edgeface.training.augment.move_pose`, batched.

    Of a partial pose the yaw alone is kept; all is NaN where pitch or roll leave the limit by the turn.
    """
    radians = pose_deg * (math.pi / 180)
    yaw, pitch, roll = radians[:, 0], radians[:, 1], radians[:, 2]
    a = angle_deg * (math.pi / 180)
    cy, sy, cp, sp, cr, sr = (f(v) for v in (yaw, pitch, roll) for f in (ops.cos, ops.sin))
    ca, sa = ops.cos(a), ops.sin(a)
    # M = Rz(roll) Ry(yaw) Rx(pitch); the turned one is M @ Rz(a).T: its columns 0 and 1 mix, column 2 stays.
    m00, m01 = cr * cy, cr * sy * sp - sr * cp
    m10, m11, m12 = sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp
    m20, m21, m22 = -sy, cy * sp, cy * cp
    n00, n10, n20 = ca * m00 - sa * m01, ca * m10 - sa * m11, ca * m20 - sa * m21
    n11, n21 = sa * m10 + ca * m11, sa * m20 + ca * m21
    cos_yaw = ops.sqrt(ops.square(n00) + ops.square(n10))
    locked = cos_yaw < 1e-6
    turned = ops.stack(
        [
            ops.arctan2(-n20, cos_yaw),
            ops.where(locked, ops.arctan2(-m12, n11), ops.arctan2(n21, m22)),
            ops.where(locked, ops.zeros_like(n00), ops.arctan2(n10, n00)),
        ],
        -1,
    ) * (180 / math.pi)
    unknown = ops.full_like(yaw, math.nan)
    partial = ops.stack([ops.arctan2(ca * sy, cy) * (180 / math.pi), unknown, unknown], -1)
    known = ops.all(ops.isfinite(pose_deg), axis=-1, keepdims=True)
    still = (angle_deg == 0)[:, None]
    pose = ops.where(still, pose_deg, ops.where(known, turned, partial))
    beyond = ops.any(ops.abs(pose[:, 1:]) > limit_deg, axis=-1, keepdims=True)
    pose = ops.where(ops.logical_and(beyond, ops.logical_not(still)), math.nan, pose)
    sign = ops.where(mirrored[:, None], ops.convert_to_tensor([[-1.0, 1.0, -1.0]]), 1.0)
    return pose * sign


def tone(images, gamma, contrast, brightness):
    """`edgeface.training.photometric.tone_table` as arithmetic: (B, S, S, C), three times (B,) (1, 1, 0: unchanged)."""
    gamma, contrast, brightness = (ops.reshape(v, (-1, 1, 1, 1)) for v in (gamma, contrast, brightness))
    # The floor keeps 0 ** gamma out of the logarithm.
    curve = (ops.power(ops.maximum(images / 255, 1e-6), gamma) - 0.5) * contrast + 0.5 + brightness
    return ops.floor(ops.clip(curve, 0, 1) * 255 + 0.5)


def blur(images, sigma):
    """Gaussian of (B,) px, 0 = none; the border is repeated."""
    offsets = ops.arange(-BLUR_TAPS, BLUR_TAPS + 1, dtype="float32")
    weights = ops.exp(-0.5 * ops.square(offsets[None] / ops.maximum(sigma, 1e-3)[:, None]))
    weights = weights / ops.sum(weights, -1, keepdims=True)
    side = images.shape[1]
    wide = ops.clip(ops.arange(-BLUR_TAPS, side + BLUR_TAPS), 0, side - 1)
    for axis in (1, 2):
        padded = ops.take(images, wide, axis=axis)
        total = 0.0
        for i in range(2 * BLUR_TAPS + 1):
            part = padded[:, i : i + side] if axis == 1 else padded[:, :, i : i + side]
            total = total + part * ops.reshape(weights[:, i], (-1, 1, 1, 1))
        images = total
    return images


def add_noise(images, normal, sigma):
    """normal: as the images, standard; sigma: (B,) gray levels, 0 = none. Rounded and clipped to 0..255."""
    return ops.clip(ops.floor(images + normal * ops.reshape(sigma, (-1, 1, 1, 1)) + 0.5), 0, 255)


def occlude(images, center, size, angle, elliptic, texture, on):
    """Puts ``texture`` (B, S, S, C) where a turned rectangle or ellipse lies, on the images where ``on`` (B,).

    center, size: (B, 2) px; angle: (B,) radians; elliptic: (B,) bool.
    """
    side = images.shape[1]
    at = ops.arange(side, dtype="float32")
    x = ops.reshape(at, (1, 1, side)) - ops.reshape(center[:, 0], (-1, 1, 1))
    y = ops.reshape(at, (1, side, 1)) - ops.reshape(center[:, 1], (-1, 1, 1))
    cos, sin = (ops.reshape(f(angle), (-1, 1, 1)) for f in (ops.cos, ops.sin))
    u = (cos * x + sin * y) / ops.reshape(size[:, 0] / 2, (-1, 1, 1))
    v = (cos * y - sin * x) / ops.reshape(size[:, 1] / 2, (-1, 1, 1))
    round_ = ops.square(u) + ops.square(v) <= 1
    square = ops.logical_and(ops.abs(u) <= 1, ops.abs(v) <= 1)
    inside = ops.where(ops.reshape(elliptic, (-1, 1, 1)), round_, square)
    inside = ops.logical_and(inside, ops.reshape(on, (-1, 1, 1)))
    return ops.where(inside[..., None], texture, images)

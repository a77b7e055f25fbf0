"""Changes of the picture that leave every label alone: occluders, tone, color, blur, low resolution, JPEG, noise.

Everything works on uint8: tone is one table look-up, noise one saturating weighted sum with a stored bank, so that
a 128 px gray face costs well under half a millisecond.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from edgeface.training.augment import AugmentConfig

_RAMP = np.arange(256, dtype=np.float32) / 255
_BANK_SIDE = 512
_BANK_STEP = 30.0
"""Gray levels per standard deviation of the stored noise: 128 + 30 z holds |z| <= 4.2."""


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in [low, high)."""
    return low + (high - low) * rng.random()


def factor(rng: np.random.Generator, spread: float) -> float:
    """Log-uniform in [1 / (1 + spread), 1 + spread]: as often smaller as larger."""
    return (1 + spread) ** between(rng, -1, 1)


def photometric(image: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """The picture after some of the changes, in nature's order: scene, light, lens, sensor, file.

    Args:
        image: (S, S) or (S, S, 3) uint8; the result has the same shape.
        config: which, how often, how strong.
        rng: the random numbers.
    """
    c = config
    if rng.random() < c.p_occlude:
        image = occlude(image, c.occlude_max, rng)
    if image.ndim == 3 and rng.random() < c.p_gray:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    elif image.ndim == 3 and c.saturation and rng.random() < c.p_tone:
        gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        keep = factor(rng, c.saturation)
        image = cv2.addWeighted(image, keep, gray, 1 - keep, 0)
    if rng.random() < c.p_tone:
        image = cv2.LUT(image, tone_table(c, rng, 1 if image.ndim == 2 else 3))
    side = image.shape[0]
    if rng.random() < c.p_blur:
        image = cv2.GaussianBlur(image, (0, 0), between(rng, 0.3, 1) * c.blur_max * side)
    if rng.random() < c.p_motion:
        image = cv2.filter2D(image, -1, motion_kernel(c.motion_max * side, rng), borderType=cv2.BORDER_REPLICATE)
    if rng.random() < c.p_low_res:
        image = low_resolution(image, between(rng, c.low_res_min, 1))
    if rng.random() < c.p_noise:
        image = add_noise(image, between(rng, 0.2, 1) * c.noise_max, rng)
    if rng.random() < c.p_jpeg:
        image = jpeg(image, int(between(rng, c.jpeg_min, 90)))
    return image


def tone_table(config: AugmentConfig, rng: np.random.Generator, channels: int) -> np.ndarray:
    """Gamma, contrast, brightness and (for RGB) a gain per channel in one table, (256,) or (1, 256, 3) uint8.

    Args:
        config: how strong.
        rng: the random numbers.
        channels: 1 or 3.
    """
    curve = (_RAMP ** factor(rng, config.gamma) - 0.5) * factor(rng, config.contrast) + 0.5
    curve += between(rng, -config.brightness, config.brightness)
    if channels == 3:
        gains = np.array([factor(rng, config.color) for _ in range(3)], np.float32)
        curve = (curve[:, None] * gains)[None]
    return (np.clip(curve, 0, 1) * 255 + 0.5).astype(np.uint8)


def occlude(image: np.ndarray, largest: float, rng: np.random.Generator) -> np.ndarray:
    """One or two rotated rectangles or ellipses over the picture: flat, blotched or cut from the image itself.

    Args:
        image: (S, S) or (S, S, 3) uint8.
        largest: their largest length, in sides.
        rng: the random numbers.
    """
    side = image.shape[0]
    image = image.copy()
    for _ in range(1 + (rng.random() < 0.3)):
        center = tuple(rng.random(2) * side)
        size = tuple((0.2 + 0.8 * rng.random(2)) * largest * side)
        turned = (center, size, 180 * rng.random())
        mask = np.zeros((side, side), np.uint8)
        if rng.random() < 0.5:
            cv2.ellipse(mask, turned, 255, -1)
        else:
            cv2.fillConvexPoly(mask, cv2.boxPoints(turned).round().astype(np.int32), 255)
        cv2.copyTo(_texture(image, rng), mask, image)
    return image


def _texture(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = rng.random()
    if kind < 0.25:  # another piece of the same picture: skin on skin is the hardest to tell
        return np.roll(image, tuple(rng.integers(image.shape[0] // 4, image.shape[0] // 2, 2)), (0, 1))
    cells = 1 if kind < 0.5 else int(rng.integers(3, 12))
    blotches = rng.integers(0, 256, (cells, cells, *image.shape[2:]), np.uint8)
    smooth = cv2.INTER_LINEAR if rng.random() < 0.6 else cv2.INTER_NEAREST
    return cv2.resize(blotches, image.shape[:2], interpolation=smooth)


def motion_kernel(longest: float, rng: np.random.Generator) -> np.ndarray:
    """A line through the center in a random direction, from 2 px long on; sums to 1, so brightness is kept.

    Args:
        longest: in pixels.
        rng: the random numbers.
    """
    length = between(rng, 2, max(2.0, longest))
    angle = np.pi * rng.random()
    half = int(np.ceil(length / 2))
    taps = np.linspace(-length / 2, length / 2, 4 * half + 1)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    rows, cols = (half + taps * np.sin(angle)).round().astype(int), (half + taps * np.cos(angle)).round().astype(int)
    np.add.at(kernel, (rows, cols), 1)
    return kernel / kernel.sum()


def low_resolution(image: np.ndarray, scale: float) -> np.ndarray:
    """Down to a smaller size and back up, as a face that was far away.

    Args:
        image: (S, S) or (S, S, 3) uint8.
        scale: of the smaller size, 0 to 1.
    """
    side = image.shape[0]
    small = max(8, round(side * scale))
    return cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (side, side))


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """The artifacts of one round through a JPEG file.

    Args:
        image: (S, S) or (S, S, 3) uint8.
        quality: 1 to 100.
    """
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


@lru_cache(maxsize=2)
def _noise_bank(channels: int) -> np.ndarray:
    normal = np.random.default_rng(0).standard_normal((_BANK_SIDE, _BANK_SIDE, channels), np.float32)
    bank = np.clip(128 + _BANK_STEP * normal, 0, 255).round().astype(np.uint8)
    return bank[..., 0].copy() if channels == 1 else bank


def add_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise from a random window of a stored bank, which is far faster than drawing it.

    Args:
        image: (S, S) or (S, S, 3) uint8.
        sigma: in gray levels.
        rng: the random numbers.
    """
    side = image.shape[0]
    bank = _noise_bank(1 if image.ndim == 2 else 3)
    if side > _BANK_SIDE:
        bank = np.tile(bank, (-(-side // _BANK_SIDE) + 1,) * 2 + (1,) * (image.ndim - 2))
    y, x = rng.integers(0, bank.shape[0] - side + 1, 2)
    weight = sigma / _BANK_STEP
    return cv2.addWeighted(image, 1, bank[y : y + side, x : x + side], weight, -128 * weight)

"""Crops: the one place where pixels are moved.

Pixel centers are at integers: the image's top-left corner is (-0.5, -0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from edgeface.box import Box


@dataclass(frozen=True)
class Crop:
    """A rotated square of the image: ``center`` px, side ``size`` px, turned by ``angle_deg``.

    A positive angle is a crop frame turned clockwise on the screen (y down), so a head that leans
    the same way stands upright in the crop. Crop coordinates run over [0, 1] from edge to edge.
    """

    center: tuple[float, float]
    size: float
    angle_deg: float = 0.0

    def __post_init__(self) -> None:
        if not (all(map(math.isfinite, (*self.center, self.size, self.angle_deg))) and self.size > 0):
            raise ValueError(f"crop must be finite with size > 0. Received: {self}")

    def matrix(self, side: int, mirror: bool = False) -> np.ndarray:
        """(2, 3) affine: image pixels -> crop pixels, pixel centers at integers in both.

        Args:
            side: The crop's pixels along each side.
            mirror: The crop is mirrored left to right.
        """
        # Plain floats: in a camera loop a dozen small array operations would cost a tenth of a small network.
        scale, angle, middle = side / self.size, math.radians(self.angle_deg), (side - 1) / 2
        cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
        x, y = self.center
        right, down = (cos, sin, middle - (cos * x + sin * y)), (-sin, cos, middle - (cos * y - sin * x))
        if mirror:
            right = -cos, -sin, middle + (cos * x + sin * y)
        return np.array([right, down])

    def to_crop(self, points_px: np.ndarray) -> np.ndarray:
        """(..., 2) image pixels -> [0, 1] crop coordinates."""
        return (apply_affine(self.matrix(1), points_px) + 0.5).astype(np.float32)

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) [0, 1] crop coordinates -> image pixels."""
        if not self.angle_deg:  # the same numbers, sooner
            return ((np.asarray(points, np.float64) - 0.5) * self.size + self.center).astype(np.float32)
        angle = math.radians(self.angle_deg)
        cos, sin = self.size * math.cos(angle), self.size * math.sin(angle)
        inverse = np.array([[cos, -sin, self.center[0]], [sin, cos, self.center[1]]])
        return apply_affine(inverse, np.asarray(points, np.float64) - 0.5).astype(np.float32)

    def extract(self, image: np.ndarray, side: int) -> np.ndarray:
        """The (side, side, C) crop of a uint8 image; ``side`` in pixels. Beyond the image its border is repeated."""
        return warp(image, self.matrix(side), side)

    def extract_rgba(self, image: np.ndarray, side: int) -> np.ndarray:
        """`extract` of three channels as (side, side, 4), for a camera loop (see `warp_rgba`)."""
        return warp_rgba(image, self.matrix(side), side)


def apply_affine(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(2, 3) affine on (..., 2) points; NaN stays NaN."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(image: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """(side, side, C) by an affine: area-averaged where it shrinks below half, bilinear otherwise.

    Args:
        image: (H, W, C) uint8.
        matrix: (2, 3) image pixels -> crop pixels.
        side: The crop's pixels along each side.
    """
    image, matrix = _averaged(image, matrix, side)
    out = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out.reshape(side, side, -1)


def warp_rgba(image: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """`warp` of a uint8 image of three channels, to (side, side, 4), the fourth 255: in half the time.

    OpenCV resamples four channels much faster than three, and what the crop does not see need not get a fourth. Where
    a value lies on the edge between two levels, a pixel in some thousands is one level off `warp`'s.
    """
    image, matrix = _averaged(image, matrix, side)
    x0, y0, x1, y1 = _seen(matrix, side, image.shape[1], image.shape[0])
    part = cv2.cvtColor(image[y0:y1, x0:x1], cv2.COLOR_RGB2RGBA)
    (a, b, right), (c, d, down) = matrix.tolist()
    moved = np.array([[a, b, right + a * x0 + b * y0], [c, d, down + c * x0 + d * y0]])
    return cv2.warpAffine(part, moved, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _averaged(image: np.ndarray, matrix: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The image and its affine as they are, or whole blocks averaged: bilinear sampling aliases below half size."""
    (a, b, _), (c, d, _) = matrix.tolist()
    scale = math.sqrt(abs(a * d - b * c))
    if scale >= 0.5:
        return image, matrix
    factor = int(1 / scale)
    height, width = image.shape[:2]
    shrunk = (max(1, round(width / factor)), max(1, round(height / factor)))
    fx, fy = width / shrunk[0], height / shrunk[1]
    # small pixel u sits at image pixel (u + .5) * f - .5
    up = np.array([[fx, 0, 0.5 * fx - 0.5], [0, fy, 0.5 * fy - 0.5], [0, 0, 1]])
    matrix = (np.vstack([matrix, [0, 0, 1]]) @ up)[:2]
    small = _shrunk(image, shrunk, _seen(matrix, side, *shrunk))
    return small.reshape(*small.shape[:2], -1), matrix


def _seen(matrix: np.ndarray, side: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The part x0 y0 x1 y1 (ends excluded) of an image that a crop reads, by its image -> crop affine.

    Two pixels more than bilinear sampling reaches; outside the image its border counts.
    """
    (a, b, right), (c, d, down) = matrix.tolist()
    area = a * d - b * c
    u, v, half = (side - 1) / 2 - right, (side - 1) / 2 - down, side / 2 / abs(area)
    x, y = (d * u - b * v) / area, (a * v - c * u) / area
    reach_x, reach_y = (abs(d) + abs(b)) * half, (abs(c) + abs(a)) * half
    x0 = min(max(math.floor(x - reach_x) - 2, 0), width - 1)
    y0 = min(max(math.floor(y - reach_y) - 2, 0), height - 1)
    x1 = min(max(math.ceil(x + reach_x) + 3, x0 + 1), width)
    y1 = min(max(math.ceil(y + reach_y) + 3, y0 + 1), height)
    return x0, y0, x1, y1


def _shrunk(image: np.ndarray, shrunk: tuple[int, int], seen: tuple[int, int, int, int]) -> np.ndarray:
    """The image area-averaged to ``shrunk`` (width, height) px, at least in ``seen`` (`_seen` of it); elsewhere unset.

    Of a large frame the crop is a small part, and averaging all of it would take longer than the network. Where
    blocks are whole pixels, a part of the image gives the same bytes as the whole; otherwise all of it is averaged.
    """
    height, width = image.shape[:2]
    fx, fy = width // shrunk[0], height // shrunk[1]
    if (shrunk[0] * fx, shrunk[1] * fy) != (width, height):
        return cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    x0, y0, x1, y1 = seen
    small = np.empty((shrunk[1], shrunk[0], *image.shape[2:]), image.dtype)
    part = image[y0 * fy : y1 * fy, x0 * fx : x1 * fx]
    small[y0:y1, x0:x1] = cv2.resize(part, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA).reshape(
        y1 - y0, x1 - x0, *image.shape[2:]
    )
    return small


def square_crop(box: Box, scale: float = 1.3, angle_deg: float = 0.0) -> Crop:
    """The crop rule of every released model, ``square``: centered on the box, side = scale * its longer side.

    Args:
        box: The tight box of the 68 points; a detector's box is first brought to that (see
            `edgeface.runtime.detector`).
        scale: Crop side / box side.
        angle_deg: How far the crop's frame is turned, clockwise.

    Raises:
        ValueError: a box without a side.
    """
    side = max(box.width, box.height)
    if side <= 0:
        raise ValueError(f"box must have a positive side. Received: {box}")
    return Crop(box.center, scale * side, angle_deg)

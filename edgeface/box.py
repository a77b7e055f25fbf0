"""Boxes in pixels, and the face box: the tight box of the 68 points, or an estimate of it where a dataset has fewer.

Crops and box normalizers start from this box, so faces of every dataset are framed alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeface.errors import InputError


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in pixels, ``x0 <= x1`` and ``y0 <= y1``; pixel centers are at integers.

    >>> edgeface.Box(120, 80, 260, 230).size

    Raises:
        ValueError: a value that is not finite, or ends in the wrong order.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        values = (self.x0, self.y0, self.x1, self.y1)
        if not all(map(math.isfinite, values)) or self.x1 < self.x0 or self.y1 < self.y0:
            raise ValueError(f"box must be finite with x0 <= x1 and y0 <= y1. Received: {values}")

    @classmethod
    def around(cls, points: np.ndarray) -> Box:
        """The tight box of the finite points of (K, 2)."""
        points = np.asarray(points, np.float64).reshape(-1, 2)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) == 0:
            raise ValueError("box needs at least one finite point. Received: none")
        return cls(*points.min(0).tolist(), *points.max(0).tolist())

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def center(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def size(self) -> float:
        """sqrt(w * h), the AFLW2000-3D normalizer."""
        return math.sqrt(self.width * self.height)

    def as_xyxy(self) -> tuple[float, float, float, float]:
        return self.x0, self.y0, self.x1, self.y1


FULL = ("ibug68_3d", "ibug68", "wflw98")
"""Markups whose own tight box is the face box (WFLW's contour and brows bound the same region)."""

MIN_FULL_SHARE = 0.85
"""Below this share of known points the tight box of a full markup is not trusted.

Points that a turned head hides project into its middle: the gaps of AFLW's faces, put on AFLW2000-3D faces of the
same yaw, leave an IoU of 0.99 with the whole box up to 5 points and 0.98 up to 10."""


@dataclass(frozen=True)
class BoxRule:
    """The constants of `estimated_box`.

    Fitted by least squares (soft L1 on the four sides, over the longer side) to the tight boxes of the faces of
    300W train and AFLW train that have both the 68 and five points; the tests fit them again. Against the true box,
    from five points: IoU 0.83 and longer side 0.98 +- 0.07 on AFLW's test faces; on AFLW2000-3D 0.86 / 0.97 below 30
    degrees of yaw and 0.78 / 1.00 beyond 60, which the fit has not seen (0.75 / 0.98 from its visible aflw21 points).
    """

    eye_weight: float = 2.093
    """Weight of the squared eye distance beside the squared eye-to-mouth distance."""
    shift: float = -1.119
    """How far the center moves along the eyes, per nose offset: away from where the nose points."""
    drop: float = 0.080
    """How far the center lies below the middle of eyes and mouth."""
    half_width: tuple[float, float] = (0.630, 1.433)
    """Constant and factor of the squared nose offset."""
    half_height: tuple[float, float] = (0.610, 1.576)


RULE = BoxRule()

FIVE = {
    # markup: points whose mean is eye left, eye right, nose tip, mouth corner left, mouth corner right
    "mtfl5": ((0,), (1,), (2,), (3,), (4,)),
    "lfw10": ((0, 1), (6, 7), (8, 9), (2,), (3,)),
    "aflw21": ((6, 7, 8), (9, 10, 11), (14,), (17,), (19,)),
    "ibug68": ((36, 39), (42, 45), (30,), (48,), (54,)),
    "ibug68_3d": ((36, 39), (42, 45), (30,), (48,), (54,)),
}


def face_box(landmarks_px: Mapping[str, np.ndarray]) -> Box:
    """The face's box from {markup: (K, 2) px, NaN unknown}; InputError where no markup gives one."""
    for name in FULL:
        if name in landmarks_px:
            known = np.isfinite(landmarks_px[name]).all(axis=-1)
            if known.mean() >= MIN_FULL_SHARE:
                return Box.around(landmarks_px[name])
    for name in FIVE:
        if name in landmarks_px:
            box = estimated_box(five_points(landmarks_px[name], name))
            if box is not None:
                return box
    known = {name: int(np.isfinite(p).all(axis=-1).sum()) for name, p in landmarks_px.items()}
    raise InputError(f"a face must have an eye and a mouth corner to be framed. Received known points: {known}")


def five_points(points_px: np.ndarray, markup: str) -> np.ndarray:
    """(5, 2) eye left, eye right, nose tip, mouth corners; NaN where unknown.

    Args:
        points_px: (K, 2) pixels, NaN where unknown.
        markup: The name of their markup.
    """
    points_px = np.asarray(points_px, np.float64)
    five = np.stack([_mean(points_px[list(group)]) for group in FIVE[markup]])
    if markup == "aflw21":
        # AFLW leaves out what is hidden. On a turned head the hidden mouth corner lies right behind the mouth's
        # center; without this the box drifts by 0.15 of its side at profile, 0.06 with it.
        hidden = ~np.isfinite(five).all(axis=1)
        if hidden[3] != hidden[4]:
            five[3 if hidden[3] else 4] = points_px[18]
    return five


def estimated_box(five_px: np.ndarray, rule: BoxRule = RULE) -> Box | None:
    """The box that the 68 points would have, from five (NaN unknown); None without an eye or a mouth corner.

    The face is an ellipse whose size is the root of the squared eye-to-mouth distance and the weighted squared eye
    distance: turning shrinks the second alone, nodding the first, so the sum holds where either would
    fail. How far the nose leaves the axis says how far the head is turned: the ellipse then grows and moves
    towards the back of the head.

    Args:
        five_px: (5, 2) as `five_points` gives them.
        rule: The constants, fitted on faces that have both.
    """
    axes = face_axes(five_px, rule)
    if axes is None:
        return None
    turn = float(np.nan_to_num(axes.turn))
    center = axes.middle + axes.size * (rule.shift * turn * axes.right + rule.drop * axes.below)
    half_width, half_height = (axes.size * (a + b * turn**2) for a, b in (rule.half_width, rule.half_height))
    reach = np.hypot(half_width * axes.right, half_height * axes.below)
    return Box(*(center - reach).tolist(), *(center + reach).tolist())


@dataclass(frozen=True, eq=False)
class FaceAxes:
    """A face's own axes in the image, and how far its nose leaves their origin: the basis of box and coarse pose."""

    middle: np.ndarray
    """(2,) px, half-way between eyes and mouth: the origin."""
    right: np.ndarray
    """(2,) unit vector along the eyes, to the image's right on an upright face."""
    below: np.ndarray
    """(2,) unit vector from the eyes to the mouth."""
    size: float
    """px, about the same for all poses of one face (`estimated_box`)."""
    turn: float
    """The nose's offset along ``right`` in sizes, NaN where it is unknown; grows with yaw."""
    drop: float
    """The nose's offset along ``below`` in sizes, NaN where it is unknown; grows as the face looks down."""


def face_axes(five_px: np.ndarray, rule: BoxRule = RULE) -> FaceAxes | None:
    """Axes and nose offset from five points; None without an eye or a mouth corner.

    Args:
        five_px: (5, 2) eyes, nose, mouth corners, NaN unknown.
        rule: gives the weight of the eye distance in the size.
    """
    eyes, mouth, nose = _mean(five_px[:2]), _mean(five_px[3:]), five_px[2]
    if not np.isfinite([eyes, mouth]).all():
        return None
    down, across = mouth - eyes, np.nan_to_num(five_px[1] - five_px[0])
    right = across + (down[1], -down[0])
    length = np.linalg.norm(right)
    size = np.sqrt(down @ down + rule.eye_weight * across @ across)
    if length == 0 or size == 0:
        return None
    right = right / length
    below = np.array([-right[1], right[0]])
    middle = (eyes + mouth) / 2
    turn, drop = (float((nose - middle) @ axis / size) for axis in (right, below))
    return FaceAxes(middle, right, below, size, turn, drop)


def _mean(points: np.ndarray) -> np.ndarray:
    """(2,) mean of the known points, NaN where there are none."""
    known = points[np.isfinite(points).all(axis=-1)]
    return known.mean(axis=0) if len(known) else np.full(2, np.nan)

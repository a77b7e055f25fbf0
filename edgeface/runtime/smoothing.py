"""The one-euro filter (Casiez, Roussel and Vogel, CHI 2012): steady while a face is still, quick when it moves."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, replace

import numpy as np

from edgeface.errors import InputError
from edgeface.head_pose import HeadPose
from edgeface.runtime.predictor import Face


@dataclass(frozen=True)
class OneEuro:
    """The one-euro filter's two parameters. Points are in units of the face's size, angles in right angles.

    >>> edgeface.TrackerConfig(smoothing=edgeface.OneEuro(min_cutoff_hz=0.5))

    Lower ``min_cutoff_hz`` until a still face is steady, then raise ``beta`` until a moving one does not drag.
    """

    min_cutoff_hz: float = 1.0
    """Cutoff at rest: lower is steadier and slower."""
    beta: float = 40.0
    """Hz of cutoff gained per unit of speed (face sizes, or right angles, a second): higher lags less."""

    def __post_init__(self) -> None:
        ok = math.isfinite(self.min_cutoff_hz) and self.min_cutoff_hz > 0
        if not (ok and math.isfinite(self.beta) and self.beta >= 0):
            raise InputError(f"smoothing must have min_cutoff_hz > 0 and beta >= 0. Received: {self}")


SPEED_CUTOFF_HZ = 1.0
"""Cutoff of the low-pass that the speed itself goes through: the paper's constant."""


class OneEuroFilter:
    """Filters arrays of one shape, point by point: the speed of a point (the last axis) opens its own cutoff."""

    def __init__(self, config: OneEuro) -> None:
        self.config = config
        self._time_s: float | None = None

    def __call__(self, values: np.ndarray, time_s: float, unit: float = 1.0) -> np.ndarray:
        """(..., D) at a time -> filtered, float64. unit: what counts as a length of 1.

        The first values come back as they are, and so do those after a NaN, or after a clock that has stepped back.
        The time of the values before changes nothing.

        Raises:
            InputError: a time that is not a finite number.
        """
        if not (isinstance(time_s, numbers.Real) and math.isfinite(time_s)):
            raise InputError(f"time_s must be a finite number of seconds. Received: {time_s!r}")
        values = np.asarray(values, np.float64)
        if not np.isfinite(values).all():
            self._time_s = None
            return values
        if self._time_s is None or values.shape != self._values.shape or time_s < self._time_s:
            self._time_s, self._values, self._speed = time_s, values, np.zeros_like(values)
            return values
        step_s = time_s - self._time_s
        if step_s == 0:
            return self._values
        speed = (values - self._values) / (step_s * max(unit, 1e-9))
        self._speed = self._speed + _weight(SPEED_CUTOFF_HZ, step_s) * (speed - self._speed)
        norm = np.linalg.norm(self._speed, axis=-1, keepdims=True)
        cutoff = self.config.min_cutoff_hz + self.config.beta * norm
        self._values = self._values + _weight(cutoff, step_s) * (values - self._values)
        self._time_s = time_s
        return self._values


class FaceSmoother:
    """One face's landmarks and pose, filtered. What it is fed must be one face, frame after frame."""

    def __init__(self, config: OneEuro) -> None:
        self._landmarks, self._pose = OneEuroFilter(config), OneEuroFilter(config)
        self._angles: np.ndarray | None = None

    def __call__(self, face: Face, time_s: float) -> Face:
        landmarks, pose = face.landmarks_px, face.pose
        if landmarks is not None:
            landmarks = self._landmarks(landmarks, time_s, face.box.size).astype(np.float32)
        if pose is not None:
            angles = pose.as_array().astype(np.float64)
            if self._angles is not None:  # 179 and -179 degrees are 2 apart
                angles = self._angles + (angles - self._angles + 180) % 360 - 180
            self._angles = angles
            smooth = (self._pose(angles, time_s, 90.0) + 180) % 360 - 180
            pose = HeadPose(*smooth.tolist())
        return replace(face, landmarks_px=landmarks, pose=pose)


def _weight(cutoff_hz: float | np.ndarray, step_s: float) -> float | np.ndarray:
    """The exponential filter's weight of the new value: 1 / (1 + tau / step), tau = 1 / (2 pi cutoff)."""
    turn = 2 * math.pi * step_s * cutoff_hz
    return turn / (turn + 1)

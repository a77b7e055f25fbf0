"""Eyes, brows, nose and mouth as curves in the frontal plane: drawn on the skin and read off as landmarks alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgeface.datasets.synthetic.head import COLUMNS, Head

SIDES = (-1, 1)
"""The image's left (the subject's right) and right side."""


def _pairs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(..., 2); np.stack takes several times as long on arrays this small."""
    out = np.empty((*np.shape(y), 2))
    out[..., 0], out[..., 1] = x, y
    return out


@dataclass(frozen=True)
class Eye:
    """One eye: ``side`` -1 or 1. Curves run from the inner corner (s = 0) to the outer (s = 1)."""

    side: int
    center: tuple[float, float]
    half_width: float
    opening: float
    tilt: float
    smile: float

    def _base(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = np.asarray(s, np.float64)
        across = self.side * (self.center[0] + self.half_width * (2 * s - 1))
        return across, self.center[1] - 0.1 + (0.1 + self.tilt) * s

    def upper(self, s: np.ndarray) -> np.ndarray:
        x, y = self._base(s)
        arch = np.sin(np.pi * np.asarray(s) ** 0.92) ** 0.75
        return _pairs(x, y + arch * (-0.22 + self.opening * 0.86) * self.half_width / 1.5)

    def lower(self, s: np.ndarray) -> np.ndarray:
        x, y = self._base(s)
        arch = np.sin(np.pi * np.asarray(s) ** 1.15) ** 0.8
        depth = 0.22 + 0.2 * min(self.opening, 1.3) * (1 - 0.45 * max(self.smile, 0))
        return _pairs(x, y - arch * depth * self.half_width / 1.5)

    def outline(self, count: int = 14) -> np.ndarray:
        s = np.linspace(0, 1, count)
        return np.concatenate([self.upper(s), self.lower(s[::-1])[1:-1]])


@lru_cache(maxsize=16)
def _profile(*knots: float) -> tuple[np.ndarray, np.ndarray]:
    """A smooth even curve through heights at |u| = 0, .., 1, evenly spaced: a cosine-blended table."""
    values = np.array(knots)
    u = np.linspace(0, 1, 200)
    at = u * (len(values) - 1)
    i = np.clip(at.astype(int), 0, len(values) - 2)
    slope = np.gradient(values)
    slope[0] = 0
    t = at - i
    hermite = (
        (1 + 2 * t) * (1 - t) ** 2 * values[i]
        + t * (1 - t) ** 2 * slope[i]
        + t * t * (3 - 2 * t) * values[i + 1]
        + t * t * (t - 1) * slope[i + 1]
    )
    return u, hermite


class Features:
    """All drawn features of a head."""

    def __init__(self, head: Head):
        self.head = head
        s, e = head.shape, head.expression
        self.eyes = tuple(
            Eye(side, (head.eye_x, 0.0), 1.5 * s.eye_size * s.width, opening, s.eye_tilt_cm, e.smile)
            for side, opening in zip(SIDES, e.eye_open, strict=True)
        )
        self.mouth_half = 2.55 * s.mouth_width * s.width
        self.mouth_half *= (1 + 0.16 * e.smile) * (1 - 0.32 * e.pucker) * (1 - 0.1 * e.mouth_open)
        self.corner_y = head.mouth_y + 0.42 * e.smile - 0.3 * head.jaw_drop
        self.upper_lift = 0.12 * head.jaw_drop + 0.18 * max(e.smile, 0)

    # --- brows -------------------------------------------------------------------------------------------------
    def brow(self, side: int, s: np.ndarray, edge: float) -> np.ndarray:
        """Points at s from the inner (0) to the outer end (1); edge 1 is the upper rim, -1 the lower."""
        shape, raised = self.head.shape, self.head.expression.brow_raise
        s = np.asarray(s, np.float64)
        x = 1.25 + (self.head.eye_x - 3.2) + s * 4.05 * shape.width
        arch = 0.62 * shape.brow_arch * np.sin(0.78 * np.pi * s) - 0.25 * s**2
        y = 1.72 + shape.brow_height_cm + arch + raised * (0.55 + 0.15 * np.sin(np.pi * s))
        half = 0.36 * shape.brow_thickness * np.minimum(np.minimum(s * 5 + 0.55, 1.12 - s), 1)
        return _pairs(side * x, y + edge * half)

    # --- mouth: u runs from the image's left corner (-1) to the right (1) --------------------------------------------
    def _lip(self, u: np.ndarray, table: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        u = np.asarray(u, np.float64)
        y = self.head.mouth_y + (self.corner_y - self.head.mouth_y) * np.abs(u) ** 1.6
        return _pairs(u * self.mouth_half, y + np.interp(np.abs(u), *table))

    def _swell(self, u: np.ndarray) -> np.ndarray:
        return np.clip(1 - np.abs(np.asarray(u)) ** 2.2, 0, 1)

    def upper_lip_top(self, u: np.ndarray) -> np.ndarray:
        full = self.head.shape.lip_fullness
        out = self._lip(u, _profile(0.6, 0.73, 0.62, 0.44, 0.24, 0.0))
        out[:, 1] += (out[:, 1] - self._lip(u, _profile(0.0, 0.0))[:, 1]) * (full - 1) + self.upper_lift * self._swell(
            u
        )
        return out

    def upper_lip_bottom(self, u: np.ndarray) -> np.ndarray:
        out = self._lip(u, _profile(-0.04, 0.03, 0.02, 0.0))
        out[:, 1] += self.upper_lift * self._swell(u)
        return out

    def lower_lip_top(self, u: np.ndarray) -> np.ndarray:
        out = self._lip(u, _profile(-0.05, 0.02, 0.01, 0.0))
        out[:, 1] -= (self.head.jaw_drop + 0.22 * max(self.head.expression.smile - 0.45, 0)) * self._swell(u / 0.9)
        return out

    def lower_lip_bottom(self, u: np.ndarray) -> np.ndarray:
        full = self.head.shape.lip_fullness
        out = self._lip(u, _profile(-1.05, -1.0, -0.86, -0.62, -0.32, 0.0))
        out[:, 1] += (out[:, 1] - self._lip(u, _profile(0.0, 0.0))[:, 1]) * (full - 1)
        out[:, 1] -= self.head.jaw_drop * self._swell(u)
        return out

    # --- nose -------------------------------------------------------------------------------------------------------
    def bridge(self, t: np.ndarray) -> np.ndarray:
        """From the root between the eyes (0) to the tip (1)."""
        t = np.asarray(t, np.float64)
        return _pairs(0 * t, 0.25 + t * (self.head.nose_tip_y - 0.25))

    def nose_base(self, u: np.ndarray) -> np.ndarray:
        """From the image's left nostril wing (-1) over the foot of the septum (0) to the right (1)."""
        u = np.asarray(u, np.float64)
        return _pairs(1.5 * self.head.shape.nose_width * u, self.head.nose_base_y + 0.25 * u**2)


# Azimuth in degrees of the jaw's 17 points on the image's right half (chin .. ear), and how far the upper ones
# stand above the jaw line: up to the level of the eye, before the ear.
_JAW_AZIMUTH = (0.0, 19.0, 35.5, 50.0, 62.5, 73.0, 80.0, 84.5, 87.0)
_JAW_LIFT = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.35, 1.75, 3.6)
"""Height in cm above the jaw line of those points."""
_SLIDE_END = (8.0, 8.0, 8.0, 9.0, 11.0, 15.0, 19.0, 18.0, 15.0)
"""Azimuth in degrees at which a sliding jaw point stops, of the same nine: short of the mouth and nose."""


def jaw_chart(head: Head, count: int, steps: int = 1) -> np.ndarray:
    """(count, steps, 2) column, row of the jaw points, image's left to right.

    With ``steps`` > 1, each point's path over the cheek towards the midline, at its own height.
    """
    place = np.linspace(-8, 8, count)
    azimuth = np.deg2rad(np.interp(np.abs(place), np.arange(9.0), _JAW_AZIMUTH))
    lift = np.interp(np.abs(place), np.arange(9.0), _JAW_LIFT)
    y = head.jaw_y(azimuth) + lift
    end = np.minimum(azimuth, np.deg2rad(np.interp(np.abs(place), np.arange(9.0), _SLIDE_END)))
    path = azimuth[:, None] + (end - azimuth)[:, None] * np.linspace(0, 1, steps)
    charts = head.chart_of_azimuth(path, np.repeat(y[:, None], steps, axis=1))
    middle = (COLUMNS - 1) / 2
    charts[..., 0] = middle + np.sign(place)[:, None] * (charts[..., 0] - middle)
    return charts


def inner_points(features: Features) -> dict[str, np.ndarray]:
    """Frontal (x, y) of the named landmark runs that lie in the face, image's left to right."""
    f = features
    left, right = f.eyes
    thirds, quarters = np.array([1 / 3, 2 / 3]), np.array([0.25, 0.5, 0.75])
    upper, lower = np.array([-0.6, -0.21, 0.0, 0.21, 0.6]), np.array([0.62, 0.3, 0.0, -0.3, -0.62])
    inner = np.array([-0.34, 0.0, 0.34])
    fifths, ends = np.linspace(0, 1, 5), np.array([0.0, 1.0])

    def mid_brow(side: int, s: np.ndarray) -> np.ndarray:
        return f.brow(side, s, 0.3)

    # A WFLW brow: outer end, three on the upper rim, inner end above, inner end below, three on the lower rim.
    rim, edge = np.array([0.72, 0.45, 0.2]), np.array([1.0])
    brow98_left = np.concatenate(
        [mid_brow(-1, edge), f.brow(-1, np.append(rim, 0.0), 1), f.brow(-1, np.append(0.0, rim[::-1]), -1)]
    )
    brow98_right = np.concatenate(
        [f.brow(1, np.append(0.0, rim[::-1]), 1), mid_brow(1, edge), f.brow(1, np.append(rim, 0.0), -1)]
    )
    mouth_outer = np.concatenate(
        [
            f.upper_lip_top(np.array([-1.0])),
            f.upper_lip_top(upper),
            f.upper_lip_top(np.array([1.0])),
            f.lower_lip_bottom(lower),
        ]
    )
    corners = 0.88
    mouth_inner = np.concatenate(
        [
            f.upper_lip_bottom(np.array([-corners])),
            f.upper_lip_bottom(inner),
            f.upper_lip_bottom(np.array([corners])),
            f.lower_lip_top(-inner),
        ]
    )
    return {
        "brows68": np.concatenate([mid_brow(-1, fifths[::-1]), mid_brow(1, fifths)]),
        "brows98": np.concatenate([brow98_left, brow98_right]),
        "brows21": np.concatenate([mid_brow(-1, np.array([1, 0.5, 0])), mid_brow(1, np.array([0, 0.5, 1]))]),
        "bridge": f.bridge(np.linspace(0, 1, 4)),
        "base": f.nose_base(np.array([-1, -0.52, 0, 0.52, 1])),
        "eye68": np.concatenate(
            [
                left.upper(ends[1:]),
                left.upper(thirds[::-1]),
                left.upper(ends[:1]),
                left.lower(thirds),
                right.upper(ends[:1]),
                right.upper(thirds),
                right.upper(ends[1:]),
                right.lower(thirds[::-1]),
            ]
        ),
        "eye98": np.concatenate(
            [
                left.upper(ends[1:]),
                left.upper(quarters[::-1]),
                left.upper(ends[:1]),
                left.lower(quarters),
                right.upper(ends[:1]),
                right.upper(quarters),
                right.upper(ends[1:]),
                right.lower(quarters[::-1]),
            ]
        ),
        "eye_centres": np.array([eye_centre(left), eye_centre(right)]),
        "pupils": np.array([pupil(left, f), pupil(right, f)]),
        "outer": mouth_outer,
        "inner": mouth_inner,
    }


def eye_centre(eye: Eye) -> np.ndarray:
    half = np.array([0.5])
    return (eye.upper(half)[0] + eye.lower(half)[0]) / 2


def pupil(eye: Eye, features: Features) -> np.ndarray:
    """Where the pupil is drawn; behind a closed lid, the middle of the lid's slit."""
    gaze_x, gaze_y = features.head.expression.gaze
    centre = np.array([eye.side * eye.center[0] + 0.5 * gaze_x, 0.08 + 0.22 * gaze_y])
    slit = eye_centre(eye)
    return centre if eye.opening > 0.3 else np.array([centre[0], slit[1]])

"""The head as a formula: a tube of rings, bent so that one ring is the jaw line, with bumps pushed forward.

Centimetres; x to the image's right, y up, z to the camera at pose 0; the origin lies midway between the ears at eye
height. Chart: (column, row) of the vertex grid. Columns are azimuths ``a`` (0 = the face's midline, +-pi = back of the
head), dense in front; rows run crown -> brow -> jaw line -> throat -> neck -> shoulders. The bumps move vertices only
along z, so a feature drawn at frontal (x, y) stays there: `chart_of_xy` places paint and landmarks on the same spot.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edgeface.datasets.synthetic.params import Expression, Shape

COLUMNS = 55
CAP_ROWS, FACE_ROWS, THROAT_ROWS, NECK_ROWS, BODY_ROWS = 7, 31, 4, 2, 4
WIDEST_ROW = CAP_ROWS
JAW_ROW = CAP_ROWS + FACE_ROWS
NECK_ROW = JAW_ROW + THROAT_ROWS
BODY_ROW = NECK_ROW + NECK_ROWS
ROWS = BODY_ROW + BODY_ROWS + 1
WIDEST_Y = 4.0
"""Height at which the skull is widest: above it the rings close to the crown."""
CHIN_Y = -11.4
PIVOT = np.array([0.0, -13.0, -2.5])
"""Where the neck bends: below it, the body follows the head only in part."""

_AZIMUTH_SHARE = 0.42


def azimuth_of_column(column: np.ndarray) -> np.ndarray:
    u = np.asarray(column) * (2 / (COLUMNS - 1)) - 1
    return np.pi * (_AZIMUTH_SHARE * u + (1 - _AZIMUTH_SHARE) * u**3)


@lru_cache(maxsize=1)
def _azimuth_table() -> tuple[np.ndarray, np.ndarray]:
    columns = np.linspace(0, COLUMNS - 1, 4097)
    return azimuth_of_column(columns), columns


def column_of_azimuth(azimuth: np.ndarray) -> np.ndarray:
    return np.interp(azimuth, *_azimuth_table())


def _smooth_table(knots: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """A Catmull-Rom curve through (x, y) knots, sampled densely for np.interp."""
    xs, ys = (np.array(v, np.float64) for v in zip(*knots, strict=True))
    slopes = np.gradient(ys, xs)
    grid = np.linspace(xs[0], xs[-1], 400)
    i = np.clip(np.searchsorted(xs, grid, "right") - 1, 0, len(xs) - 2)
    step = xs[i + 1] - xs[i]
    t = (grid - xs[i]) / step
    values = (
        (1 + 2 * t) * (1 - t) ** 2 * ys[i]
        + t * (1 - t) ** 2 * step * slopes[i]
        + t * t * (3 - 2 * t) * ys[i + 1]
        + t * t * (t - 1) * step * slopes[i + 1]
    )
    return grid, values


# Half width of the head by height (the outline a frontal camera sees, hair and ears apart).
_WIDTH = _smooth_table([(-14, 4.1), (-11.4, 4.9), (-9, 5.75), (-7, 6.2), (-5, 6.55), (-2.5, 6.95), (0, 7.15), (4, 7.5)])
# Depth of the face in front of the ears, without nose, lips and sockets.
_FRONT = _smooth_table([(-14, 8.1), (-11.4, 8.5), (-9, 8.75), (-7, 8.95), (-4, 9.0), (0, 8.95), (2, 9.25), (4, 9.1)])
_BACK = _smooth_table([(-14, 6.0), (-6, 6.9), (-2, 8.6), (1, 9.4), (4, 9.5)])
# The jaw line: share of the way from the ear lobe (0) to the chin (1) by |azimuth| in degrees; behind the ear it rises.
_JAW = _smooth_table(
    [(0, 1.0), (12, 0.994), (22, 0.965), (34, 0.90), (46, 0.79), (57, 0.645), (68, 0.44), (78, 0.2), (88, 0.0)]
    + [(100, -0.02), (135, 0.1), (180, 0.2)]
)
_JAW = np.deg2rad(_JAW[0]), _JAW[1]
_LOBE_Y = -3.9


class Head:
    """The surface of one shape and expression: vertex grid and chart."""

    def __init__(self, shape: Shape, expression: Expression):
        self.shape, self.expression = shape, expression
        self.jaw_drop = 1.9 * expression.mouth_open
        self.eye_x = 3.2 * shape.eye_spacing * shape.width
        self.nose_tip_y = -4.15 * shape.nose_length * shape.height
        self.nose_base_y = self.nose_tip_y - 0.85
        self.mouth_y = (
            -7.15 * shape.height + 0.35 * (self.nose_base_y + 5.0) + shape.mouth_height_cm + 0.15 * expression.smile
        )
        self.chin_y = CHIN_Y * shape.height + shape.chin_cm - 0.75 * self.jaw_drop
        self.crown_y = WIDEST_Y + 7.4 * shape.skull
        self._width = self._width_table()
        self.azimuth = azimuth_of_column(np.arange(COLUMNS))
        """(COLUMNS,) radians of the vertex columns."""
        self.ring_y = self._ring_heights()
        """(JAW_ROW + 1, COLUMNS) height of the vertices down to the jaw line."""

    def width(self, y: np.ndarray) -> np.ndarray:
        """Half width of the rings at height y, closing to nothing at the crown."""
        return np.interp(y, *self._width)

    def _width_table(self) -> tuple[np.ndarray, np.ndarray]:
        y = np.linspace(self.chin_y - 0.5, self.crown_y, 500)
        low = np.clip((-2.0 - self.at_rest(y)) / 5.0, 0, 1)
        jaw = 1 + (self.shape.jaw_width - 1) * low * low * (3 - 2 * low)
        return y, np.interp(self.at_rest(y), *_WIDTH) * self.shape.width * jaw * self._cap(y)

    def at_rest(self, y: np.ndarray) -> np.ndarray:
        """The height that a point at height y has with the mouth closed: a dropped jaw carries its shape down."""
        now = self.mouth_y - self.chin_y
        return y - np.minimum(y - self.mouth_y, 0) * (0.75 * self.jaw_drop / now)

    def jaw_y(self, azimuth: np.ndarray) -> np.ndarray:
        """Height of the jaw line."""
        return _LOBE_Y + (self.chin_y - _LOBE_Y) * np.interp(np.abs(azimuth), *_JAW)

    def chart_of_xy(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) frontal x, y on the face -> (..., 2) column, row."""
        x, y = points[..., 0], points[..., 1]
        return self.chart_of_azimuth(np.arcsin(np.minimum(np.maximum(x / self.width(y), -1), 1)), y)

    def chart_of_azimuth(self, azimuth: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Azimuth (radians) and height above the jaw line -> (..., 2) column, row."""
        out = np.empty((*np.shape(y), 2))
        out[..., 0] = column_of_azimuth(azimuth)
        out[..., 1] = WIDEST_ROW + FACE_ROWS * (WIDEST_Y - y) / (WIDEST_Y - self.jaw_y(azimuth))
        if np.max(y) > WIDEST_Y:
            lift = np.clip((y - WIDEST_Y) / (self.crown_y - WIDEST_Y), 0, 1)
            above = WIDEST_ROW - CAP_ROWS * np.arcsin(lift) / (np.pi / 2)
            out[..., 1] = np.where(y > WIDEST_Y, above, out[..., 1])
        return out

    def _cap(self, y: np.ndarray) -> np.ndarray:
        lift = np.clip((y - WIDEST_Y) / (self.crown_y - WIDEST_Y), 0, 1)
        return (1 - lift**2.1) ** (1 / 2.1)

    def _ring_heights(self) -> np.ndarray:
        cap = np.sin(np.linspace(np.pi / 2, 0, CAP_ROWS + 1))[:-1] * (self.crown_y - WIDEST_Y) + WIDEST_Y
        share = np.linspace(0, 1, FACE_ROWS + 1)[:, None]
        face = WIDEST_Y + share * (self.jaw_y(self.azimuth) - WIDEST_Y)
        return np.vstack([np.repeat(cap[:, None], COLUMNS, axis=1), face])

    def vertices(self) -> np.ndarray:
        """(ROWS, COLUMNS, 3) cm."""
        y, sin, cos = self.ring_y, np.sin(self.azimuth), np.cos(self.azimuth)
        x = self.width(y) * sin
        front = np.interp(self.at_rest(y), *_FRONT) * np.abs(cos) ** 0.88
        # A dropped jaw swings back about its hinge.
        front -= 0.3 * np.maximum(self.mouth_y - y, 0) * self.expression.mouth_open * np.maximum(cos, 0)
        back = -np.interp(y, *_BACK) * np.abs(cos) ** 0.9 * self.shape.skull
        z = np.where(cos > 0, front, back) * self._cap(y)
        z += np.clip(cos * 3, 0, 1) * self._bumps(x, y)
        upper = np.stack([x, y, z], axis=-1)
        return np.concatenate([upper, self._below(upper[-1], self.azimuth)])

    def _below(self, jaw: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
        """Throat, neck and shoulders under the jaw line (COLUMNS, 3)."""
        sin, cos = np.sin(azimuth), np.cos(azimuth)
        rest_jaw_y = np.maximum(jaw[:, 1], CHIN_Y - 1.0)
        thick = 0.85 * self.shape.width
        neck = np.stack([6.0 * thick * sin, rest_jaw_y - 1.6 + 0.9 * np.clip(-cos, 0, 1), 5.0 * cos - 2.1], axis=-1)
        neck[:, 1] = np.minimum(neck[:, 1], jaw[:, 1] - 0.8)
        quarter = np.linspace(0, np.pi / 2, THROAT_ROWS + 1)[1:, None, None]
        # The jaw has an edge: its underside leaves the face inwards more than downwards.
        inward = 0.65 * np.sin(quarter) + 0.35 * (1 - np.cos(quarter))
        down = 0.35 * np.sin(quarter) + 0.65 * (1 - np.cos(quarter))
        weight = np.concatenate([inward, down, inward], axis=-1)
        throat = jaw + (neck - jaw) * weight
        base = np.stack([6.3 * thick * sin, np.full_like(sin, -17.0) + 1.2 * np.clip(-cos, -1, 1), 5.6 * cos - 2.6], -1)
        share = np.linspace(0, 1, NECK_ROWS + 1)[1:, None, None]
        neck_rows = neck + (base - neck) * share
        spread = np.linspace(0, np.pi / 2, BODY_ROWS + 1)[1:, None]
        body = np.stack(
            [
                (6.3 * thick + 15.5 * np.sin(spread)) * sin,
                -17.0 + 1.2 * np.clip(-cos, -1, 1) - 3.5 * np.sin(spread) ** 2 - 13 * (1 - np.cos(spread)) + 0 * sin,
                (5.6 + 4.5 * np.sin(spread)) * cos - 2.6,
            ],
            axis=-1,
        )
        return np.concatenate([throat, neck_rows, body])

    def _bumps(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Forward displacement in cm at frontal (x, y)."""
        s, e = self.shape, self.expression
        ax = np.abs(x)

        def blob(cx: float, cy: float, wx: float, wy: float) -> np.ndarray:
            return np.exp(-(((ax - cx) / wx) ** 2) - ((y - cy) / wy) ** 2)

        mouth, smile = self.mouth_y, e.smile
        lip = 0.28 * s.lip_fullness
        drop = self.jaw_drop
        z = -0.85 * s.eye_depth * blob(self.eye_x - 0.25, 0.1, 2.0, 1.25)
        z += 0.62 * s.eye_depth * blob(self.eye_x, 0.0, 1.25, 0.85)
        z += 0.3 * blob(2.9, 2.1 + 0.3 * e.brow_raise, 2.6, 0.7)
        z += (0.5 * s.cheek + 0.35 * smile) * blob(4.3, -2.9 + 0.4 * smile, 1.9, 1.7)
        z += 0.95 * blob(0.0, mouth - 0.2, 3.0, 2.4 + 0.3 * drop)
        z += lip * (1 + 0.8 * e.pucker) * blob(0.0, mouth + 0.42, 1.9, 0.45)
        z += 1.1 * lip * (1 + 0.8 * e.pucker) * blob(0.0, mouth - 0.6 - drop, 1.6, 0.5)
        z -= 0.5 * blob(0.0, mouth - 1.75 - drop, 1.8, 0.6)
        z += 0.75 * blob(0.0, self.chin_y + 1.3, 1.7, 1.1)
        z -= 1.3 * np.clip(drop, 0, 1) * blob(0.0, mouth - 0.5 * drop, 1.5, 0.3 + 0.42 * drop)
        return z + self._nose(ax, y)

    def _nose(self, ax: np.ndarray, y: np.ndarray) -> np.ndarray:
        s = self.shape
        top, tip, base = 0.5, self.nose_tip_y, self.nose_base_y
        along = (top - y) / (top - tip)
        n = np.clip(along, 0, 1)
        ridge = 0.1 + 0.25 * n + 1.95 * n**1.5 + s.nose_bump * np.sin(np.pi * n) ** 2
        under = np.clip((tip - y) / (tip - base + 0.15), 0, 1)
        ridge = ridge * (1 - under**2.3) * np.clip(along * 3 + 1, 0, 1)
        half = s.nose_width * (0.62 + 0.5 * n**2.5)
        z = s.nose_height * ridge * np.exp(-((ax / half) ** 2) * 1.05)
        wing_y = base + 0.55
        below = np.where(y < wing_y, 0.42, 0.8)
        z += 1.05 * s.nose_height * np.exp(-(((ax - 1.2 * s.nose_width) / 0.55) ** 2) - ((y - wing_y) / below) ** 2)
        return z

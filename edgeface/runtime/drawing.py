"""Landmarks, head-pose axes and boxes, drawn in place on RGB uint8 images (H, W, 3)."""

from __future__ import annotations

import cv2
import numpy as np

from edgeface.box import Box
from edgeface.errors import InputError
from edgeface.head_pose import HeadPose, to_matrix
from edgeface.markup import Markup
from edgeface.markup import markup as markup_named

Color = tuple[int, int, int]

AXIS_COLORS: tuple[Color, Color, Color] = ((230, 60, 50), (70, 200, 80), (70, 120, 255))
"""x red, y green, z blue."""
BOX_COLOR: Color = (255, 200, 60)
HIDDEN_COLOR: Color = (150, 150, 150)
GROUP_COLORS: dict[str, Color] = {
    "jaw": (90, 200, 250),
    "brow": (250, 180, 80),
    "nose": (120, 230, 120),
    "eye": (255, 235, 90),
    "lip": (250, 110, 130),
    "mouth": (250, 110, 130),
    "pupil": (255, 255, 255),
}
"""By the first word of the group's name, in the singular (see `edgeface.markup`)."""
OTHER_COLOR: Color = (90, 200, 250)
APART = ("ears", "eyes", "pupils")
"""Groups of one point a side: a line between them would cross the face."""

_SHIFT = 4
"""OpenCV's fixed-point bits: points are drawn to 1/16 px."""
_FAR = 20_000.0
"""Coordinates beyond this are not drawn: OpenCV's fixed point would wrap around."""


def draw_landmarks(
    image: np.ndarray,
    landmarks_px: np.ndarray,
    markup: Markup | str,
    visible: np.ndarray | None = None,
    spread_px: np.ndarray | None = None,
) -> None:
    """Points and the lines of their groups; a hidden point is a gray ring, a NaN point is left out.

    Args:
        image: (H, W, 3) uint8, drawn on in place.
        landmarks_px: (K, 2) pixels.
        markup: The markup of the K points, or its name.
        visible: (K,) bool. None: all are visible.
        spread_px: (K,) pixels, drawn as a thin circle of that radius. None: no circles.

    Raises:
        InputError: an image or an array of another shape or type.
    """
    _check_image(image)
    scheme = markup_named(markup) if isinstance(markup, str) else markup
    points = _checked(landmarks_px, (scheme.size, 2), "landmarks")
    visible = np.ones(scheme.size, bool) if visible is None else _checked(visible, (scheme.size,), "visible") > 0
    spread = np.full(scheme.size, np.nan) if spread_px is None else _checked(spread_px, (scheme.size,), "spread")
    drawn = np.isfinite(points).all(axis=1) & (np.abs(points) < _FAR).all(axis=1)
    if not drawn.any():
        return
    extent = float(np.ptp(points[drawn], axis=0).max())
    thick, radius = max(1, round(extent / 200)), max(1.0, extent / 110)
    colors = _point_colors(scheme)
    for name, group in scheme.groups.items():
        for start, end in () if name in APART else zip(group, group[1:], strict=False):
            if drawn[start] and drawn[end]:
                color = colors[start] if visible[start] and visible[end] else HIDDEN_COLOR
                cv2.line(image, _fixed(points[start]), _fixed(points[end]), color, thick, cv2.LINE_AA, _SHIFT)
    for index in np.flatnonzero(drawn):
        at, color = _fixed(points[index]), colors[index]
        if np.isfinite(spread[index]) and 0 < spread[index] < _FAR:
            cv2.circle(image, at, round(float(spread[index]) * (1 << _SHIFT)), color, 1, cv2.LINE_AA, _SHIFT)
        if visible[index]:
            cv2.circle(image, at, round(radius * (1 << _SHIFT)), color, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        else:
            cv2.circle(image, at, round(1.5 * radius * (1 << _SHIFT)), HIDDEN_COLOR, 1, cv2.LINE_AA, _SHIFT)


def axes_on_screen(pose_deg: np.ndarray | HeadPose) -> np.ndarray:
    """(3, 3): rows are the face's own x (image right at rest), y (down) and z (out of the face), in screen axes.

    Screen axes are x right, y down, z toward the viewer. The 300W-LP matrix, `to_matrix` transposed, turns a
    model with y up, so both ends of y change sign. Yaw > 0 sends z to the image's left, pitch > 0 sends it up,
    roll > 0 turns x clockwise.
    """
    pose = pose_deg.as_array() if isinstance(pose_deg, HeadPose) else _checked(pose_deg, (3,), "pose")
    flip = np.diag([1.0, -1.0, 1.0])
    return flip @ to_matrix(pose) @ flip


def draw_axes(image: np.ndarray, pose_deg: np.ndarray | HeadPose, center: tuple[float, float], size: float) -> None:
    """The face's axes: x red, y green, z blue. A NaN pose draws nothing.

    Args:
        image: (H, W, 3) uint8, drawn on in place.
        pose_deg: (3,) yaw, pitch, roll in degrees, or a HeadPose.
        center: Where the axes start, pixels.
        size: Length of an axis, pixels.
    """
    _check_image(image)
    axes = axes_on_screen(pose_deg)
    if not (np.isfinite(axes).all() and np.isfinite(center).all() and np.isfinite(size)):
        return
    origin = np.asarray(center, np.float64)
    thick = max(1, round(size / 25))
    for index in np.argsort(axes[:, 2]):  # the farthest first, so that the nearest lies on top
        tip = origin + size * axes[index, :2]
        if (np.abs(tip) < _FAR).all() and (np.abs(origin) < _FAR).all():
            cv2.line(image, _fixed(origin), _fixed(tip), AXIS_COLORS[index], thick, cv2.LINE_AA, _SHIFT)


def draw_box(image: np.ndarray, box: Box, color: Color = BOX_COLOR, *, angle_deg: float = 0.0) -> None:
    """The outline of a box.

    Args:
        image: (H, W, 3) uint8, drawn on in place.
        box: Pixels.
        color: In the image's own channel order.
        angle_deg: How far it is turned about its center, clockwise.
    """
    _check_image(image)
    corners = np.clip(np.array(box.as_xyxy()).reshape(2, 2), -_FAR, _FAR)
    thick = max(1, round(min(image.shape[:2]) / 400))
    if angle_deg:
        outline = cv2.boxPoints((corners.mean(axis=0).tolist(), np.ptp(corners, axis=0).tolist(), angle_deg))
        for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            cv2.line(image, _fixed(start), _fixed(end), color, thick, cv2.LINE_AA, _SHIFT)
        return
    cv2.rectangle(image, _fixed(corners[0]), _fixed(corners[1]), color, thick, cv2.LINE_AA, _SHIFT)


def group_color(name: str) -> Color:
    """The color of a markup's group, by the first word of its name."""
    return GROUP_COLORS.get(name.split("_")[0].removesuffix("s"), OTHER_COLOR)


def _point_colors(scheme: Markup) -> list[Color]:
    colors = [OTHER_COLOR] * scheme.size
    for name, group in scheme.groups.items():
        for index in group:
            colors[index] = group_color(name)
    return colors


def _fixed(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(np.asarray(point, np.float64) * (1 << _SHIFT)).astype(int)
    return int(x), int(y)


def _checked(values: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.shape != shape:
        raise InputError(f"{what} must have shape {shape}. Received: {values.shape}")
    return values


def _check_image(image: np.ndarray) -> None:
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"image must be a uint8 array (H, W, 3). Received: {got}")
    if not image.flags.writeable:
        raise InputError("image must be writable to be drawn on. Received: a read-only array")

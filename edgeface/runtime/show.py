"""A predicted face as a picture, as a line of text, as JSON, as a row of CSV."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeface.markup import Markup
from edgeface.markup import markup as markup_named
from edgeface.runtime.drawing import draw_axes, draw_box, draw_landmarks
from edgeface.runtime.predictor import Face


def draw_face(image: np.ndarray, face: Face, markup: Markup | str, spread: bool = False) -> None:
    """Draws box, landmarks and pose axes into the image.

    >>> image = edgeface.read_image("face.jpg")
    >>> predictor = edgeface.Predictor.load("acdc_s")
    >>> edgeface.draw_face(image, predictor.predict(image), predictor.markup)

    Args:
        image: (H, W, 3) uint8 RGB, changed in place.
        face: What was predicted on it.
        markup: Which landmarks they are: `Predictor.markup`.
        spread: Circles as wide as the attention maps.
    """
    draw_box(image, face.box, angle_deg=face.crop.angle_deg)
    center = face.box.center
    if face.landmarks_px is not None:
        draw_landmarks(image, face.landmarks_px, markup, spread_px=face.spread_px if spread else None)
        center = tuple(face.landmarks_px.mean(axis=0).tolist())
    if face.pose is not None:
        draw_axes(image, face.pose, center, face.box.size / 2)


def face_text(face: Face) -> str:
    """One line."""
    parts = ["box {:.0f} {:.0f} {:.0f} {:.0f}".format(*face.box.as_xyxy())]
    if face.pose is not None:
        pose = face.pose
        parts.append(f"yaw {pose.yaw_deg:.1f} pitch {pose.pitch_deg:.1f} roll {pose.roll_deg:.1f}")
    if face.landmarks_px is not None:
        parts.append(f"{len(face.landmarks_px)} landmarks")
    if face.spread is not None:
        parts.append(f"mean spread {face.spread_px.mean():.1f} px")
    return ", ".join(parts)


def face_json(face: Face) -> dict[str, Any]:
    """Numbers and lists; null where the model does not compute it."""
    return {
        "box_xyxy": _numbers(face.box.as_xyxy()),
        "pose_deg": None if face.pose is None else _numbers(face.pose.as_array()),
        "landmarks_px": None if face.landmarks_px is None else _numbers(face.landmarks_px),
        "spread_px": None if face.spread is None else _numbers(face.spread_px),
    }


def csv_header(markup: Markup | str) -> list[str]:
    """The columns of `csv_row`."""
    size = (markup_named(markup) if isinstance(markup, str) else markup).size
    points = [f"{axis}{index}" for index in range(size) for axis in "xy"]
    return ["x0_box", "y0_box", "x1_box", "y1_box", "yaw_deg", "pitch_deg", "roll_deg", "mean_spread_px", *points]


def csv_row(face: Face, markup: Markup | str) -> list[str]:
    """One face as text, column by column as in `csv_header`.

    Args:
        face: A value that the model does not compute or that is not finite is an empty string.
        markup: The markup of its landmarks, or its name.
    """
    size = (markup_named(markup) if isinstance(markup, str) else markup).size
    pose = np.full(3, np.nan) if face.pose is None else face.pose.as_array()
    spread = np.nan if face.spread is None else face.spread_px.mean()
    points = np.full(2 * size, np.nan) if face.landmarks_px is None else face.landmarks_px.reshape(-1)
    values = np.concatenate([face.box.as_xyxy(), pose, [spread], points])
    return [f"{value:.3f}" if np.isfinite(value) else "" for value in values.tolist()]


def _numbers(values: Any) -> Any:
    """Nested lists, rounded to 1/1000; what is not finite is None, as JSON has no word for it."""
    array = np.asarray(values, np.float64)
    return np.where(np.isfinite(array), np.round(array, 3), None).tolist()

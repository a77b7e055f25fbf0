"""Pictures of the faces that a converted file does worst on. They show persons: they stay in the folder they go to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgeface.files import atomic_write

if TYPE_CHECKING:
    from edgeface.convert.parity import WorstFace
    from edgeface.evaluation.evaluate import PreparedFaces

SIDE = 480
TRUTH, FLOAT, OWN = (255, 255, 255), (80, 200, 80), (240, 60, 60)
"""RGB of the annotation, the float model's landmarks and the file's."""


def save_worst(
    stem: Path,
    worst: Sequence[WorstFace],
    faces: PreparedFaces,
    base: dict[str, np.ndarray],
    own: dict[str, np.ndarray],
) -> list[Path]:
    """``STEM_1_ID.jpg`` and so on: each crop with the annotation, float's landmarks and the file's.

    base, own: landmarks (N, K, 2) in the crops' [0, 1]. InputError where the folder cannot be written.
    """
    paths = []
    for rank, face in enumerate(worst, 1):
        truth = faces.frames[face.index].to_crop(faces.landmarks_px[face.index])
        truth[~faces.visible[face.index]] = np.nan
        caption = f"{face.id}: NME {face.nme:.2f} %, float {face.float_nme:.2f} %"
        picture = draw(
            faces.crops[face.index], truth, base["landmarks"][face.index], own["landmarks"][face.index], caption
        )
        path = stem.with_name(picture_name(stem.name, rank, face.id))
        with atomic_write(path) as aside:
            aside.write_bytes(cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
        paths.append(path)
    return paths


def picture_name(stem: str, rank: int, face_id: str) -> str:
    """``STEM_1_ID.jpg``, whatever characters the id has."""
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in face_id)
    return f"{stem}_{rank}_{name}.jpg"


def draw(crop: np.ndarray, truth: np.ndarray, base: np.ndarray, own: np.ndarray, caption: str = "") -> np.ndarray:
    """(SIDE + a caption's strip, SIDE, 3) uint8 RGB.

    crop: (S, S, 1 or 3) uint8; truth, base, own: (K, 2) in [0, 1], NaN unknown.
    """
    picture = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).reshape(SIDE, SIDE, -1)
    picture = np.array(np.broadcast_to(picture, (SIDE, SIDE, 3)))
    for points, color, radius in ((truth, TRUTH, 4), (base, FLOAT, 3), (own, OWN, 2)):
        for x, y in points[np.isfinite(points).all(axis=1)] * SIDE - 0.5:
            cv2.circle(picture, (round(float(x)), round(float(y))), radius, color, -1, cv2.LINE_AA)
    strip = np.zeros((44, SIDE, 3), np.uint8)
    cv2.putText(strip, caption, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    x = 6
    for text, color in (("annotation", TRUTH), ("float", FLOAT), ("this file", OWN)):
        cv2.putText(strip, text, (x, 36), cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)
        x += 110
    return np.vstack([picture, strip])

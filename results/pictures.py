"""The README's pictures, on rendered faces: ``python -m results.pictures [MODEL.tflite]``."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from edgeface.datasets.synthetic import face_seed, render_face, write_contact_sheet
from edgeface.errors import InputError
from edgeface.images import write_image
from edgeface.runtime.drawing import draw_axes, draw_landmarks
from edgeface.runtime.predictor import Predictor

DOCS = Path(__file__).resolve().parent.parent / "docs"
SIDE, COLUMNS, ROWS = 192, 6, 2
FIRST = 40
"""Index of the first face of the test split that is shown; the next ones follow, unchosen."""


def predictions(model: str) -> np.ndarray:
    """A grid of rendered test faces with what the model predicts on them, in order of yaw."""
    predictor = Predictor.load(model)
    faces = [render_face(face_seed(FIRST + i, split="test"), SIDE) for i in range(COLUMNS * ROWS)]
    faces.sort(key=lambda face: float(face.pose_deg[0]))
    tiles = []
    for face in faces:
        found = predictor.predict(face.image, face.box)
        # Twice the size, so that lines and points are thin.
        tile = cv2.resize(face.image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        points = (found.landmarks_px + 0.5) * 2 - 0.5
        draw_landmarks(tile, points, predictor.markup)
        draw_axes(tile, found.pose, tuple(points[30].tolist()), SIDE * 0.7)
        tiles.append(cv2.resize(tile, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    return np.vstack([np.hstack(tiles[row * COLUMNS : (row + 1) * COLUMNS]) for row in range(ROWS)])


def main() -> int:
    model = sys.argv[1] if len(sys.argv) > 1 else "acdc_s_int8_qat"
    write_contact_sheet(DOCS / "synthetic.jpg", rows=4, cols=9, seed=1)
    write_image(DOCS / "predictions.jpg", predictions(model))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")

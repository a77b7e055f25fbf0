"""The pictures of README, docs and model cards, all of rendered faces: ``python -m convert.release.pictures``."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from convert.release import contract
from convert.release.cards import SEARCHED, WORST
from convert.release.command import run
from convert.release.tables import MODELS
from edgeface.datasets.synthetic import face_seed, render_face, write_contact_sheet
from edgeface.evaluation.metrics import nme
from edgeface.files import write_bytes
from edgeface.images import write_image
from edgeface.markup import MARKUPS
from edgeface.runtime.drawing import draw_axes, draw_landmarks
from edgeface.runtime.predictor import Predictor

DOCS = Path(__file__).resolve().parents[2] / "docs"
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


def failures(model: str) -> np.ndarray:
    """The `WORST` of `SEARCHED` rendered test faces by NME of the box: ground truth white, prediction in color.

    Hidden points count and are shown where the markup has them: those of a projected head."""
    predictor = Predictor.load(model)
    found = []
    for i in range(SEARCHED):
        face = render_face(face_seed(i, split="test"), SIDE)
        truth = face.landmarks_px[predictor.markup]
        answer = predictor.predict(face.image, face.box)
        counts = face.visible[predictor.markup] | MARKUPS[predictor.markup].projected
        error = nme(answer.landmarks_px[None], truth[None], np.array([face.box.size]), counts[None])[0]
        found.append((float(error), i, answer))
    tiles = []
    for error, i, answer in sorted(found, key=lambda one: -one[0])[:WORST]:
        face = render_face(face_seed(i, split="test"), SIDE)
        tile = cv2.resize(face.image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        counts = face.visible[predictor.markup] | MARKUPS[predictor.markup].projected
        for x, y in (face.landmarks_px[predictor.markup][counts] + 0.5) * 2 - 0.5:
            cv2.circle(tile, (round(float(x)), round(float(y))), 3, (255, 255, 255), 1, cv2.LINE_AA)
        draw_landmarks(tile, (answer.landmarks_px + 0.5) * 2 - 0.5, predictor.markup)
        tile = cv2.resize(tile, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        cv2.putText(tile, f"{100 * error:.1f} %", (6, SIDE - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
        tiles.append(tile)
    return np.hstack(tiles)


def main() -> int:
    write_contact_sheet(DOCS / "synthetic.jpg", rows=4, cols=9, seed=1)
    write_image(DOCS / "predictions.jpg", predictions("acdc_s_int8_qat"))
    write_bytes(contract.PATH, contract.png("acdc_s_int8_qat"))
    for model in MODELS:
        write_image(DOCS / "models" / f"{model}_failures.jpg", failures(f"{model}_int8_qat"))
    return 0


if __name__ == "__main__":
    run(main)

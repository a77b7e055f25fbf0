"""Faces turned in the picture, from the detector alone: ``python -m convert.release.turns`` writes results/turns.json.

300W's common test faces, each turned about its picture's center: how many are found, and the NME of those found, by one
upright pass in the detector's box and by `edgeface.find_faces`. Needs EDGEFACE_FACES and the detector's file.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from convert.release.record import record
from edgeface.box import Box
from edgeface.files import write_json
from edgeface.runtime.predictor import Face, Predictor

OUT = Path(__file__).resolve().parents[2] / "results" / "turns.json"
TURNS_DEG = (0, 30, 45, 60, 90, 135, 180)
FOUND_IOU = 0.3
"""IoU with the true box from which a face counts as found."""


def main() -> int:
    from edgeface.datasets.packs import read_pack
    from edgeface.runtime.detector import FaceDetector
    from edgeface.runtime.find import FaceFinder

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="acdc_s")
    parser.add_argument("--detector", help="the detector's file (default: downloaded once)")
    parser.add_argument("--split", default="test")
    args = parser.parse_args()
    predictor, detector = Predictor.load(args.model), FaceDetector(args.detector)
    finder = FaceFinder(predictor, detector)
    ways = {
        "one upright pass": lambda image: predictor.predict_many(image, [d.box for d in detector.detect(image)]),
        "find_faces": finder.find,
    }
    samples = read_pack("300w", args.split)
    rows = []
    for angle in TURNS_DEG:
        errors: dict[str, list[float]] = {name: [] for name in ways}
        for sample in samples:
            image, truth = _turned(sample.load(), sample.landmarks_px["ibug68"].astype(float), angle)
            for name, way in ways.items():
                errors[name].append(_error(way(image), truth))
        for name, values in errors.items():
            found = np.array([e for e in values if math.isfinite(e)])
            row: dict[str, Any] = {"turn_deg": angle, "way": name, "n": len(values), "found": len(found)}
            row["nme"] = 100 * float(found.mean()) if len(found) else None
            row["failures"] = float((found > 0.1).mean()) if len(found) else None
            rows.append(row)
            print(row, flush=True)
    about = {"model": args.model, "set": f"300w {args.split}"}
    write_json(OUT, record("python -m convert.release.turns", "numpy", "opencv-python") | about | {"rows": rows})
    return 0


def _turned(image: np.ndarray, points: np.ndarray, angle_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture turned clockwise on a gray canvas that holds all of it, and its points."""
    height, width = image.shape[:2]
    side = int(math.hypot(height, width)) + 2
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle_deg, 1.0)
    matrix[:, 2] += ((side - width) / 2, (side - height) / 2)
    turned = cv2.warpAffine(image, matrix, (side, side), borderValue=(128, 128, 128))
    return turned, points @ matrix[:, :2].T + matrix[:, 2]


def _error(faces: list[Face], truth: np.ndarray) -> float:
    """NME of the face at the true place; NaN where none is there."""
    from edgeface.runtime.tracker import iou

    box = Box.around(truth)
    there = [face for face in faces if iou(Box.around(face.landmarks_px), box) >= FOUND_IOU]
    if not there:
        return math.nan
    best = max(there, key=lambda face: iou(Box.around(face.landmarks_px), box))
    eyes = np.linalg.norm(truth[36] - truth[45])
    return float(np.linalg.norm(best.landmarks_px - truth, axis=1).mean() / eyes)


if __name__ == "__main__":
    raise SystemExit(main())

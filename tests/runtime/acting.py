"""Actors for tracking tests: bright rectangles are the faces, and everyone's right answer is known."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np

from edgeface.box import Box
from edgeface.crop import Crop
from edgeface.head_pose import HeadPose
from edgeface.runtime.predictor import Face

WIDTH, HEIGHT = 320, 240
SURE, BLURRED = 0.1, 0.3


def stage(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """(240, 320, 3) uint8: black, with a white rectangle for each x0 y0 x1 y1, ends included."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1] = 255
    return image


def components(image: np.ndarray) -> list[Box]:
    _, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 127).astype(np.uint8))
    return [Box(x, y, x + w - 1, y + h - 1) for x, y, w, h, _ in stats[1:].tolist()]


class Detector:
    """Finds every rectangle; ``blind`` makes it miss them all."""

    def __init__(self) -> None:
        self.blind, self.asked = False, 0

    def detect(self, image: np.ndarray) -> list[SimpleNamespace]:
        self.asked += 1
        return [] if self.blind else [SimpleNamespace(box=box) for box in components(image)]


class Predictor:
    """68 points spread over the rectangle nearest to the crop's middle; blurred where there is none in the crop."""

    markup = "ibug68"

    def __init__(self, outputs: tuple[str, ...] = ("landmarks", "pose", "spread")) -> None:
        self.outputs = outputs
        card = SimpleNamespace(outputs=dict.fromkeys(outputs), crop=SimpleNamespace(scale=1.5))
        self.model = SimpleNamespace(card=card)

    def predict_crop(self, image: np.ndarray, crop: Crop, box: Box) -> Face:
        x, y = crop.center
        half = crop.size / 2
        inside = [b for b in components(image) if abs(b.center[0] - x) < half and abs(b.center[1] - y) < half]
        inside.sort(key=lambda b: np.hypot(b.center[0] - x, b.center[1] - y))
        seen = inside[0] if inside else Box(x - half / 2, y - half / 2, x + half / 2, y + half / 2)
        columns, rows = np.meshgrid(np.linspace(seen.x0, seen.x1, 17), np.linspace(seen.y0, seen.y1, 4))
        points = np.column_stack([columns.ravel(), rows.ravel()]).astype(np.float32)
        spread = np.full(68, SURE if inside else BLURRED, np.float32)
        return Face(
            landmarks_px=points if "landmarks" in self.outputs else None,
            pose=HeadPose(0.0, 0.0, 0.0),
            spread=spread if "spread" in self.outputs else None,
            box=box,
            crop=crop,
        )

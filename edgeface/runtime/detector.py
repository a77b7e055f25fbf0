"""Faces found by OpenCV's YuNet, and the tight 68-point box that the crop rule starts from."""

from __future__ import annotations

import math
import operator
import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgeface.box import Box
from edgeface.errors import InputError
from edgeface.images import stored_order
from edgeface.runtime.download import yunet_file
from edgeface.runtime.predictor import check_image
from edgeface.runtime.quiet import quiet_opencv

# Least squares on 1404 faces of 300W train and AFLW: a side's distance from the center of YuNet's box, in units of
# sqrt(w * h). On 472 held-out faces (300W test, AFLW2000-3D) the result overlaps the tight box of the 68 points with
# a mean IoU of 0.87; YuNet's own box, which has the forehead in it, with 0.70.
_SIDE = (0.119, 0.367, 0.200, 0.052, 0.092)
"""Left and right: 1, w, turn toward the other side, |turn|, the points' offset toward the other side."""
_TOP = (0.333, 0.024, 0.065, 0.113, -0.960)
_BOTTOM = (0.070, 0.451, 0.247, 0.033, -0.219)
"""Top and bottom: 1, h, nod, |turn|, the points' offset downwards."""


@dataclass(frozen=True, eq=False)
class Detection:
    """A face as YuNet sees it, in pixels of the image."""

    yunet_box: Box
    """Forehead included: not what the crop rule takes, see `box`."""
    points_px: np.ndarray
    """(5, 2) float32 in the order of the markup mtfl5: eyes, nose tip, mouth corners, the image's left first."""
    score: float

    @property
    def box(self) -> Box:
        """An estimate of the tight box of the 68 points."""
        return tight_box(self.yunet_box, self.points_px)

    @property
    def angle_deg(self) -> float:
        """How far the line of the eyes leans, clockwise; 0 nearly in profile, where it says nothing."""
        x, y = (self.points_px[1] - self.points_px[0]).tolist()
        return math.degrees(math.atan2(y, x)) if math.hypot(x, y) > 0.2 * self.yunet_box.size else 0.0


class FaceDetector:
    """OpenCV's YuNet; the image is shrunk to at most ``longest`` px before it is searched.

    >>> detector = edgeface.FaceDetector()
    >>> boxes = [found.box for found in detector.detect(edgeface.read_image("face.jpg"))]

    It finds faces from about 10 px wide in the shrunk image. Safe to share between threads, which take turns.
    """

    def __init__(self, path: str | Path | None = None, threshold: float = 0.6, longest: int = 640) -> None:
        """Loads the detector.

        Args:
            path: A YuNet .onnx file; None: the user's cached copy, downloaded once (`edgeface.runtime.download`).
            threshold: Score, 0 to 1, below which nothing is reported.
            longest: Longest side in pixels of the image that is searched.

        Raises:
            InputError: no such file, not a detector that OpenCV loads, or nothing to download it with.
        """
        if not 0 < threshold < 1:
            raise InputError(f"detection threshold must be between 0 and 1. Received: {threshold}")
        if longest < 32:
            raise InputError(f"longest must be at least 32 px. Received: {longest}")
        path = yunet_file() if path is None else Path(path)
        if not path.is_file():
            got = "a folder" if path.is_dir() else "no such file"
            raise InputError(f"detector must be a YuNet .onnx file. Received: {path}, {got}")
        try:
            with quiet_opencv():  # OpenCV 5 warns about its own default target
                self._detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320), threshold, 0.3, 100)
                # A network of another kind loads as well, and fails only when it is run.
                self._detector.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            reason = str(error.err or error).strip().split("\n")[0]
            raise InputError(f"detector must be a YuNet .onnx file. Received: {path}, {reason}") from None
        self.longest = longest
        self._lock = threading.Lock()

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Faces in an RGB uint8 image (H, W, 3), the largest first."""
        check_image(image)
        height, width = image.shape[:2]
        scale = min(1.0, self.longest / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        stored, is_bgr = stored_order(image)
        small = stored if scale == 1 else cv2.resize(stored, size, interpolation=cv2.INTER_AREA)
        bgr = small if is_bgr else cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        with self._lock:
            self._detector.setInputSize(size)
            _, found = self._detector.detect(bgr)
        # YuNet counts from the corner of the first pixel, we from its center.
        fx, fy = width / size[0], height / size[1]
        faces = []
        for row in [] if found is None else found.tolist():
            left, top, wide, high, *points, score = row
            x0, y0, x1, y1 = left * fx - 0.5, top * fy - 0.5, (left + wide) * fx - 0.5, (top + high) * fy - 0.5
            if all(map(math.isfinite, row)) and x1 > x0 and y1 > y0:
                points_px = np.array(points).reshape(5, 2) * (fx, fy) - 0.5
                faces.append(Detection(Box(x0, y0, x1, y1), points_px.astype(np.float32), score))
        return sorted(faces, key=lambda face: -face.yunet_box.size)


def tight_box(yunet_box: Box, points_px: np.ndarray) -> Box:
    """An estimate of the tight box of the 68 points from what YuNet gives.

    Args:
        yunet_box: YuNet's own box, pixels.
        points_px: (5, 2) its eyes, nose and mouth corners, pixels.

    Raises:
        InputError: a box without a size.
    """
    size = yunet_box.size
    if size <= 0:
        raise InputError(f"a detected box must have a width and a height. Received: {yunet_box.as_xyxy()}")
    x, y = yunet_box.center
    xs, ys = ((np.asarray(points_px, np.float64) - (x, y)) / size).T.tolist()
    across, down = ((sum(values[:2]) + sum(values[3:])) / 4 for values in (xs, ys))
    turn, nod = xs[2] - across, ys[2] - down
    width, height = yunet_box.width / size, yunet_box.height / size

    def far(rule: tuple[float, ...], extent: float, offset: float, shift: float) -> float:
        side = sum(map(operator.mul, rule, (1, extent, offset, abs(turn), shift)))
        # Points far off the box (a broken detection) must not turn it inside out.
        return size * min(max(side, 0.1), 1.0)

    left, right = far(_SIDE, width, turn, across), far(_SIDE, width, -turn, -across)
    top, bottom = far(_TOP, height, nod, down), far(_BOTTOM, height, nod, down)
    return Box(x - left, y - top, x + right, y + bottom)

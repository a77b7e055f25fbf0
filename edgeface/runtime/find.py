"""Every face of a photograph: found at any turn of the head in the picture, predicted in an upright crop, twice.

A detector knows faces that stand nearly upright, so the picture is searched at its four quarter turns. Each detection
is predicted in a crop turned with its eyes; from those landmarks comes the crop of the next pass, which gives back most
of what a detector's box loses. Where several turns found one face, the answer with the narrowest attention maps stays:
a face that stands on its head in its crop gets wide ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from edgeface.box import Box
from edgeface.crop import square_crop
from edgeface.errors import InputError
from edgeface.images import rgb_copy
from edgeface.runtime.detector import FaceDetector
from edgeface.runtime.predictor import Face, Predictor, rgb_image
from edgeface.runtime.tracker import SAME_FACE, Detector, iou, next_frame

QUARTERS = (0, 1, 2, 3)
"""Quarter turns, clockwise, at which a picture is searched."""


class FaceFinder:
    """Finds and predicts every face of an image. Safe to share between threads, as its predictor and detector are.

    >>> finder = edgeface.FaceFinder(edgeface.Predictor.load("acdc_s"), edgeface.FaceDetector())
    >>> faces = finder.find("face.jpg")

    Args:
        predictor: Gives landmarks; without them there is one pass and no turn.
        detector: `FaceDetector`, or anything with its ``detect``.
        passes: Predictions per face, each from the crop that the one before leads to.
        any_turn: Search the picture's four quarter turns, for faces that lie or stand on their head; four times the
            detector's time.

    Raises:
        InputError: fewer than one pass.
    """

    def __init__(self, predictor: Predictor, detector: Detector, *, passes: int = 2, any_turn: bool = True) -> None:
        if passes < 1:
            raise InputError(f"passes must be at least 1. Received: {passes}")
        self.predictor, self.detector, self.passes = predictor, detector, passes
        self._quarters = QUARTERS if any_turn else QUARTERS[:1]

    def find(self, image: np.ndarray | str | Path, *, bgr: bool = False) -> list[Face]:
        """The faces, the largest first.

        Args:
            image: (H, W, 3) uint8, RGB; or the path of an image file.
            bgr: The array's channels are blue, green, red, as OpenCV gives them.

        Raises:
            InputError: what is given is not an image.
        """
        image = rgb_image(image, bgr)
        found = [face for box, angle in self._places(image) if (face := self._predict(image, box, angle)) is not None]
        # The surest first, so that of several answers for one face the first that is kept is the best.
        found.sort(key=_mean_spread)
        kept: list[tuple[Face, Box]] = []
        for face in found:
            box = _outline(face)
            if all(iou(box, other) < SAME_FACE for _, other in kept):
                kept.append((face, box))
        return [face for face, box in sorted(kept, key=lambda pair: -pair[1].size)]

    def _places(self, image: np.ndarray) -> Iterator[tuple[Box, float]]:
        """Boxes, and the crop's angle for each, at every quarter turn of the image."""
        pixels = rgb_copy(image) if len(self._quarters) > 1 else image
        for quarter in self._quarters:
            turned = image if quarter == 0 else np.ascontiguousarray(np.rot90(pixels, -quarter))
            for found in self.detector.detect(turned):
                angle = getattr(found, "angle_deg", 0.0)
                yield _turned_back(found.box, quarter, turned.shape), angle - 90.0 * quarter

    def _predict(self, image: np.ndarray, box: Box, angle_deg: float) -> Face | None:
        """The face after its passes; None where its landmarks are no face's."""
        scale = self.predictor.model.card.crop.scale
        face = self.predictor.predict_crop(image, square_crop(box, scale, angle_deg), box)
        if face.landmarks_px is None:
            return face
        for _ in range(self.passes - 1):
            frame = next_frame(face, self.predictor.markup, True, _quarter_deg(face.crop.angle_deg))
            if frame is None:
                return None
            box, angle_deg = frame
            face = self.predictor.predict_crop(image, square_crop(box, scale, angle_deg), box)
        return face


def find_faces(
    image: np.ndarray | str | Path,
    model: str | Path = "acdc_s",
    *,
    bgr: bool = False,
    detector: str | Path | None = None,
    passes: int = 2,
    any_turn: bool = True,
) -> list[Face]:
    """Every face of an image, the largest first; model and detector are loaded at the first call and kept.

    >>> for face in edgeface.find_faces("face.jpg"):
    ...     print(face.landmarks_px, face.pose)

    Args:
        image: (H, W, 3) uint8, RGB; or the path of an image file.
        model: A packaged model's name or a file's path.
        bgr: The array's channels are blue, green, red, as OpenCV gives them.
        detector: A YuNet .onnx file; None: the user's cached copy, downloaded once.
        passes: Predictions per face, each from the crop that the one before leads to.
        any_turn: Also find faces that lie or stand on their head.

    Raises:
        InputError: the image, model or detector is not one, or the detector cannot be downloaded.
    """
    image = rgb_image(image, bgr)
    predictor, found_by = _loaded(str(model)), _detector(None if detector is None else str(detector))
    return FaceFinder(predictor, found_by, passes=passes, any_turn=any_turn).find(image)


@lru_cache(maxsize=4)
def _loaded(model: str) -> Predictor:
    return Predictor.load(model)


@lru_cache(maxsize=2)
def _detector(path: str | None) -> FaceDetector:
    return FaceDetector(path)


def _turned_back(box: Box, quarter: int, shape: Sequence[int]) -> Box:
    """A box of the image turned by quarters, clockwise, as one of equal size in the image itself, about its center.

    Width and height stay the crop's own: a crop turned with the face has the detector's box upright in it.
    """
    (x, y), (height, width) = box.center, shape[:2]
    x, y = ((x, y), (y, width - 1 - x), (width - 1 - x, height - 1 - y), (height - 1 - y, x))[quarter]
    return Box(x - box.width / 2, y - box.height / 2, x + box.width / 2, y + box.height / 2)


def _quarter_deg(angle_deg: float) -> float:
    """The nearest quarter turn: what the line of the eyes cannot refine in profile."""
    return 90.0 * round(angle_deg / 90.0)


def _mean_spread(face: Face) -> float:
    return float("inf") if face.spread is None else float(face.spread.mean())


def _outline(face: Face) -> Box:
    return face.box if face.landmarks_px is None else Box.around(face.landmarks_px)

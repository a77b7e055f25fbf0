"""Image and box in, face out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgeface import zoo
from edgeface.box import Box
from edgeface.crop import Crop, square_crop
from edgeface.errors import InputError
from edgeface.head_pose import HeadPose, turn_pose
from edgeface.images import read_image, rgb_view, stored_order
from edgeface.runtime.interpreter import TFLiteModel

FARTHEST_PX = 1e9
"""How far a box's sides may be from the image's corner: beyond, a crop's arithmetic leaves the range of numbers."""


@dataclass(frozen=True, eq=False)
class Face:
    """One predicted face; what the model does not compute is None.

    >>> face = edgeface.Predictor.load("acdc_s").predict("face.jpg")
    >>> face.landmarks_px.shape, round(face.pose.yaw_deg)
    """

    landmarks_px: np.ndarray | None
    """(K, 2) float32, pixels of the image."""
    pose: HeadPose | None
    spread: np.ndarray | None
    """(K,) how wide each attention map is, in units of the crop's side: small is sure."""
    box: Box
    """The box that the crop was made from."""
    crop: Crop
    """The square of the image that the network saw."""

    @property
    def spread_px(self) -> np.ndarray | None:
        """(K,) spread in pixels of the image."""
        return None if self.spread is None else self.spread * self.crop.size


@dataclass(frozen=True)
class Predictor:
    """A model and the rule that cuts its crop.

    >>> predictor = edgeface.Predictor.load("acdc_s")
    >>> face = predictor.predict("face.jpg")

    Threads may share one: they cut their crops at once and take turns at the interpreter. For threads that are to
    predict at once, load one each.
    """

    model: TFLiteModel

    @classmethod
    def load(cls, name_or_path: str | Path, threads: int = 1, delegate: str | Path | None = None) -> Predictor:
        """A predictor of a packaged or any other `.tflite`.

        Args:
            name_or_path: A name that `edgeface.list_models` gives, with or without its variant, or a file's path.
            threads: How many threads the interpreter uses.
            delegate: The path of a delegate's shared library, such as libedgetpu.so.1.

        Raises:
            InputError: no such model, a file that is not one, or a delegate that does not load.
        """
        return cls(TFLiteModel(zoo.resolve(name_or_path), threads, delegate))

    def __repr__(self) -> str:
        card = self.model.card
        return f"Predictor({card.name!r}, {card.markup}, input {card.input.shape} {card.input.dtype})"

    @property
    def markup(self) -> str:
        return self.model.card.markup

    def predict(
        self, image: np.ndarray | str | Path, box: Box | Sequence[float] | None = None, *, bgr: bool = False
    ) -> Face:
        """The face in a box, or in an image that is itself the crop of a face.

        Args:
            image: (H, W, 3) uint8, RGB; or the path of an image file.
            box: x0, y0, x1, y1 of the tight box of the 68 points, pixels (`Detection.box` is one). None: the image is
                the crop, its longer side is the crop's side.
            bgr: The array's channels are blue, green, red, as OpenCV gives them.

        Raises:
            InputError: not an image, not a box, or a box that does not overlap the image.
        """
        image = rgb_image(image, bgr)
        scale = self.model.card.crop.scale
        box = frame_box(image, scale) if box is None else checked_box(box, image)
        return self.predict_crop(image, square_crop(box, scale), box)

    def predict_many(
        self, image: np.ndarray | str | Path, boxes: Sequence[Box | Sequence[float]], *, bgr: bool = False
    ) -> list[Face]:
        """The faces of several boxes of one image, in their order; arguments and errors as in `predict`.

        All boxes are checked before any face is predicted.
        """
        image = rgb_image(image, bgr)
        scale = self.model.card.crop.scale
        checked = [checked_box(box, image) for box in boxes]
        return [self.predict_crop(image, square_crop(box, scale), box) for box in checked]

    def predict_crop(self, image: np.ndarray, crop: Crop, box: Box) -> Face:
        """The face in a given crop of a checked image: for crops that are turned (see `edgeface.runtime.tracker`).

        The pose is turned back, so it is the head's in the image whatever the crop's angle.

        Args:
            image: (H, W, 3) uint8 RGB, not checked here.
            crop: The square that the network sees.
            box: Recorded in the face: what the crop was made from.
        """
        answer = self.model.infer(cut(image, crop, self.model.card.input.side, self.model.card.input.channels))
        landmarks, pose = answer.get("landmarks"), answer.get("pose")
        if pose is not None and crop.angle_deg:
            pose = turn_pose(pose, -crop.angle_deg)
        return Face(
            landmarks_px=None if landmarks is None else crop.to_image(landmarks),
            pose=None if pose is None else HeadPose(*pose.tolist()),
            spread=answer.get("spread"),
            box=box,
            crop=crop,
        )


def cut(image: np.ndarray, crop: Crop, side: int, channels: int) -> np.ndarray:
    """The model's input pixels: uint8 (side, side, channels); one channel is OpenCV's gray.

    Args:
        image: (H, W, 3) uint8 RGB.
        crop: Where in it.
        side: Pixels of the model's input.
        channels: 1 or 3.
    """
    stored, bgr = stored_order(image)  # a video's frame: only the crop's pixels are reordered
    pixels = crop.extract_rgba(stored, side)
    if channels == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2GRAY if bgr else cv2.COLOR_RGBA2GRAY)[..., None]
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB if bgr else cv2.COLOR_RGBA2RGB)


def frame_box(image: np.ndarray, scale: float, *, inside: bool = False) -> Box:
    """The box in the middle of an image whose square crop fills it.

    Args:
        image: (H, W, ...).
        scale: The model's crop scale: crop side / box side.
        inside: The crop's side is the image's shorter one; otherwise the longer one, with the border repeated beyond.
    """
    height, width = image.shape[:2]
    half = (min if inside else max)(height, width) / scale / 2
    x, y = (width - 1) / 2, (height - 1) / 2
    return Box(x - half, y - half, x + half, y + half)


def rgb_image(image: np.ndarray | str | Path, bgr: bool) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an array or of an image file."""
    if isinstance(image, str | Path):
        if bgr:
            raise InputError(f"bgr must be left out for an image file, which is read as RGB. Received: {image}")
        return read_image(image)
    check_image(image)
    return rgb_view(image) if bgr else image


def check_image(image: np.ndarray) -> None:
    """InputError unless the image is a non-empty uint8 array (H, W, 3)."""
    if not isinstance(image, np.ndarray):
        raise InputError(f"image must be a uint8 array (H, W, 3), RGB. Received: {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"image must be a uint8 array (H, W, 3), RGB. Received: {image.dtype} {image.shape}")


def checked_box(box: Box | Sequence[float], image: np.ndarray) -> Box:
    """The box, once it is known to be finite, to have a size and to overlap the image.

    Args:
        box: x0, y0, x1, y1, pixels.
        image: (H, W, 3).

    Raises:
        InputError: it is not.
    """
    if not isinstance(box, Box):
        try:
            values = np.asarray(box, np.float64)
        except (TypeError, ValueError):
            values = np.empty(0)
        if values.shape != (4,):
            raise InputError(f"box must be four numbers, x0 y0 x1 y1. Received: {box!r}")
        try:
            box = Box(*values.tolist())
        except ValueError as error:
            raise InputError(str(error)) from None
    height, width = image.shape[:2]
    if max(map(abs, box.as_xyxy())) > FARTHEST_PX:
        raise InputError(f"box must lie within {FARTHEST_PX:.0e} px. Received: {box.as_xyxy()}")
    if not (box.x1 > box.x0 and box.y1 > box.y0):
        raise InputError(f"box must have a width and a height. Received: {box.as_xyxy()}")
    if box.x1 < 0 or box.y1 < 0 or box.x0 > width - 1 or box.y0 > height - 1:
        raise InputError(f"box must overlap the image of {width} x {height} px. Received: {box.as_xyxy()}")
    return box

"""Image files in and out: RGB uint8 arrays inside, OpenCV's BGR only at this door."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgeface.errors import InputError
from edgeface.files import write_bytes


def read_image(path: str | Path, oriented: bool = True) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image file; InputError where it is missing, empty or not an image.

    oriented: turned upright as its EXIF data say; False: as it is stored, which is how datasets count their pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} must be an image file. Received: {'a folder' if path.is_dir() else 'no such file'}")
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path} must be readable. Received: {error.strerror or error}") from None
    if data.size == 0:
        raise InputError(f"{path} must be an image file. Received: an empty file")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | (0 if oriented else cv2.IMREAD_IGNORE_ORIENTATION))
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{path} must be an image that OpenCV reads. Received: {data.size} bytes of something else")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def rgb_view(bgr: np.ndarray) -> np.ndarray:
    """OpenCV's BGR (H, W, 3) seen as RGB, read-only: of a frame whose crop alone is wanted, no pixel is moved."""
    view = bgr[..., ::-1]
    view.flags.writeable = False
    return view


def is_bgr_memory(image: np.ndarray) -> bool:
    """Whether an RGB image (H, W, 3) is a view of BGR memory, which is then ``image[..., ::-1]``."""
    return image.strides[2] < 0


def rgb_copy(image: np.ndarray) -> np.ndarray:
    """The RGB image (H, W, 3) in memory of its own, to be drawn on."""
    return cv2.cvtColor(image[..., ::-1], cv2.COLOR_BGR2RGB) if is_bgr_memory(image) else image.copy()


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write an RGB uint8 image (H, W, 3), aside and then renamed; the suffix chooses the format."""
    path = Path(path)
    try:
        done, data = cv2.imencode(path.suffix.lower(), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        got = path.suffix or "no suffix"
        raise InputError(f"{path} must end in an image suffix such as .png or .jpg. Received: {got}")
    write_bytes(path, data.tobytes())

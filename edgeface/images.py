"""Image files in and out: RGB uint8 arrays inside, OpenCV's BGR only at this door."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np

from edgeface.errors import InputError
from edgeface.files import write_bytes
from edgeface.image_header import announced_size

MAX_PIXELS = 200_000_000
"""Width times height of the largest image that is decoded: a file of a few bytes can announce any size."""
log = logging.getLogger(__name__)


def read_image(path: str | Path, oriented: bool = True) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image file.

    >>> edgeface.read_image("face.jpg").shape

    Of 16 bits a channel, the number that are used is taken from the largest value: 10, 12 or 14 where it fits into so
    many, else 16. Those are brought to 8, and fewer than 16 are logged: many cameras store 10 or 12 bits in 16.

    Args:
        path: A file of any format that OpenCV reads.
        oriented: Turned upright as its EXIF data say; False: as it is stored, which is how datasets count their pixels.

    Raises:
        InputError: a file that is missing, empty or not an image, or one of more than `MAX_PIXELS`.
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
    size = announced_size(memoryview(data))
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        got = f"{size[0]} x {size[1]}"
        raise InputError(f"{path} must be an image of at most {MAX_PIXELS // 10**6} million pixels. Received: {got}")
    flags = cv2.IMREAD_COLOR | (0 if oriented else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(data, flags | cv2.IMREAD_ANYDEPTH)
        if image is not None and image.dtype != np.uint8:
            bits = _bits(image)
            if bits < 16:
                log.info("%s: %d bits are stored in 16; they are brought to 8", path, bits)
                image = cv2.convertScaleAbs(image, alpha=255 / (2**bits - 1))
            else:
                image = cv2.imdecode(data, flags)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{path} must be an image that OpenCV reads. Received: {data.size} bytes of something else")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _bits(image: np.ndarray) -> int:
    """How many bits the values of a uint16 image use: 10, 12, 14 or 16; 16 of another type."""
    if image.dtype != np.uint16:
        return 16
    return next((bits for bits in (10, 12, 14) if image.max() < 2**bits), 16)


def rgb_view(bgr: np.ndarray) -> np.ndarray:
    """OpenCV's BGR (H, W, 3) seen as RGB, read-only: of a frame whose crop alone is wanted, no pixel is moved."""
    view = bgr[..., ::-1]
    view.flags.writeable = False
    return view


def stored_order(image: np.ndarray) -> tuple[np.ndarray, bool]:
    """An RGB image (H, W, 3) as its pixels lie in memory, and whether that is BGR (see `rgb_view`)."""
    is_bgr = image.strides[2] < 0
    return (image[..., ::-1] if is_bgr else image), is_bgr


def rgb_copy(image: np.ndarray) -> np.ndarray:
    """The RGB image (H, W, 3) in memory of its own, to be drawn on."""
    stored, is_bgr = stored_order(image)
    return cv2.cvtColor(stored, cv2.COLOR_BGR2RGB) if is_bgr else image.copy()


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Writes an image; a file of that name is replaced once the new one is whole.

    Args:
        path: Its suffix chooses the format.
        image: (H, W, 3) uint8 RGB.

    Raises:
        InputError: a suffix that OpenCV does not write, or a folder that cannot be written to.
    """
    path = Path(path)
    try:
        done, data = cv2.imencode(path.suffix.lower(), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        got = path.suffix or "no suffix"
        raise InputError(f"{path} must end in an image suffix such as .png or .jpg. Received: {got}")
    write_bytes(path, data.tobytes())

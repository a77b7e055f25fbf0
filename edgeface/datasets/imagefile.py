"""An image file judged by its first and last bytes: its size, and whether it was cut off.

OpenCV fills the missing half of a cut JPEG with grey and says nothing, so a decoder alone does not find it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edgeface.errors import InputError
from edgeface.images import read_image

_TAIL = 4096
"""Bytes at the end in which the closing mark is looked for first; some cameras append a few."""


def read_whole(path: Path, oriented: bool = True) -> np.ndarray:
    """`edgeface.images.read_image`, but InputError too where the file was cut off: no label is true of gray.

    Args:
        path: the file.
        oriented: turn the picture as its EXIF orientation says.
    """
    image_size(path)
    return read_image(path, oriented)


def image_size(path: Path) -> tuple[int, int] | None:
    """(width, height) as stored, EXIF's orientation aside; None for a format other than JPEG, PNG and BMP. Nothing is
    decoded.

    InputError: missing, empty, not an image, or cut off.
    """
    try:
        with path.open("rb") as file:
            length = file.seek(0, 2)
            file.seek(0)
            head = file.read(26)
            if not head:
                raise InputError(f"{path} must be an image file. Received: an empty file")
            if head.startswith(b"\xff\xd8"):
                return _jpeg(file, length, path)
            if head.startswith(b"\x89PNG\r\n\x1a\n"):
                _closed(file, length, b"IEND", 8, path)
                return struct.unpack(">II", head[16:24])
            if head.startswith(b"BM"):
                width, height = struct.unpack("<ii", head[18:26])
                return width, abs(height)
            return None
    except FileNotFoundError:
        raise InputError(f"{path} must be an image file. Received: no such file") from None
    except (OSError, struct.error) as error:
        raise InputError(f"{path} must be a readable image file. Received: {error}") from None


def _jpeg(file: BinaryIO, length: int, path: Path) -> tuple[int, int]:
    """The size in the first frame header. Segments are FF, kind, length of two bytes, content."""
    at, size = 2, None
    while size is None:
        file.seek(at)
        mark = file.read(4)
        if len(mark) < 4 or mark[0] != 0xFF:
            raise InputError(f"{path} must be a whole JPEG file. Received: {length} bytes without a frame")
        kind = mark[1]
        if kind == 0xFF:  # a fill byte
            at += 1
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", file.read(5)[1:])
            size = width, height
        at += 2 + struct.unpack(">H", mark[2:])[0]
    _closed(file, length, b"\xff\xd9", at, path)
    return size


def _closed(file: BinaryIO, length: int, mark: bytes, start: int, path: Path) -> None:
    """InputError where the closing mark does not come after ``start``."""
    for place in (max(start, length - _TAIL), start):
        file.seek(place)
        if mark in file.read():
            return
    raise InputError(f"{path} must be a whole image file. Received: {length} bytes, cut off")

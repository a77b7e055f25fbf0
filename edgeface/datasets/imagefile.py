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

TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
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


def image_size(path: Path, oriented: bool = False) -> tuple[int, int] | None:
    """(width, height); None for a format other than JPEG, PNG and BMP. Nothing is decoded.

    Args:
        path: the file.
        oriented: of the picture turned as its EXIF orientation says; False: as it is stored.

    InputError: missing, empty, not an image, or cut off.
    """
    found = _stored(path)
    if found is None:
        return None
    (width, height), orientation = found
    return (height, width) if oriented and orientation in TRANSPOSED else (width, height)


def _stored(path: Path) -> tuple[tuple[int, int], int] | None:
    """(width, height) as stored, and the EXIF orientation, 1 where there is none."""
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
                return struct.unpack(">II", head[16:24]), _png_orientation(file)
            if head.startswith(b"BM"):
                width, height = struct.unpack("<ii", head[18:26])
                return (width, abs(height)), 1
            return None
    except FileNotFoundError:
        raise InputError(f"{path} must be an image file. Received: no such file") from None
    except (OSError, struct.error) as error:
        raise InputError(f"{path} must be a readable image file. Received: {error}") from None


def _jpeg(file: BinaryIO, length: int, path: Path) -> tuple[tuple[int, int], int]:
    """The size in the first frame header, and EXIF's orientation from a segment ahead of it. Segments are FF, kind,
    length of two bytes, content."""
    at, size, orientation = 2, None, 1
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
        elif kind == 0xE1 and file.read(6) == b"Exif\0\0":
            orientation = exif_orientation(file.read(max(0, struct.unpack(">H", mark[2:])[0] - 8)))
        at += 2 + struct.unpack(">H", mark[2:])[0]
    _closed(file, length, b"\xff\xd9", at, path)
    return size, orientation


def _png_orientation(file: BinaryIO) -> int:
    """Chunks are a length of four bytes, kind, content, four bytes of a checksum; eXIf comes ahead of the pixels."""
    at = 8
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] in (b"IDAT", b"IEND"):
            return 1
        size = int.from_bytes(head[:4], "big")
        if head[4:] == b"eXIf":
            return exif_orientation(file.read(size))
        at += 12 + size


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, of an EXIF block (a small TIFF file); 1 where it has none or is damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, at)
            if (tag, kind) == (0x0112, 3):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _closed(file: BinaryIO, length: int, mark: bytes, start: int, path: Path) -> None:
    """InputError where the closing mark does not come after ``start``."""
    for place in (max(start, length - _TAIL), start):
        file.seek(place)
        if mark in file.read():
            return
    raise InputError(f"{path} must be a whole image file. Received: {length} bytes, cut off")

"""What an image file's first bytes say: its size and its turn."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from edgeface.datasets.imagefile import exif_orientation, image_size
from edgeface.errors import InputError
from edgeface.images import read_image


def test_image_size(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (30, 47, 3), np.uint8)
    for suffix in (".jpg", ".png", ".bmp"):
        path = tmp_path / f"a{suffix}"
        cv2.imwrite(str(path), image)
        assert image_size(path) == (47, 30)
        path.write_bytes(path.read_bytes() + bytes(9000))  # what some cameras append
        assert image_size(path) == (47, 30)
    webp = tmp_path / "a.webp"
    cv2.imwrite(str(webp), image)
    assert image_size(webp) is None
    data = (tmp_path / "a.jpg").read_bytes()
    for length in range(0, len(data) - 9003, 37):
        path.write_bytes(data[:length])
        if length > 1:
            with pytest.raises(InputError, match="must be a whole|an empty file"):
                image_size(path)


@pytest.mark.parametrize("damaged", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"JUNK" * 9])
def test_a_damaged_exif_block_turns_nothing(damaged):
    assert exif_orientation(damaged) == 1


def test_a_png_s_turn_is_read_as_opencv_reads_it(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    plain = cv2.imencode(".png", np.zeros((30, 90, 3), np.uint8))[1].tobytes()
    exif = b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0) + bytes(4)
    path = tmp_path / "a.png"
    path.write_bytes(plain[:33] + chunk(b"eXIf", exif) + plain[33:])
    height, width = read_image(path).shape[:2]
    assert image_size(path, oriented=True) == (width, height)

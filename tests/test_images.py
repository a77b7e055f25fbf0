"""Image files of every kind: a right picture or a clear error."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.errors import InputError
from edgeface.image_header import announced_size
from edgeface.images import read_image


def written(path: Path, image: np.ndarray, *parameters: int) -> Path:
    """Through OpenCV, channels in its own order."""
    assert cv2.imwrite(str(path), image, list(parameters))
    return path


PICTURE = np.zeros((40, 60, 3), np.uint8)
PICTURE[:20, :30] = 200, 40, 20
PICTURE[:20, 30:] = 20, 200, 40
PICTURE[20:, :30] = 40, 20, 200
BGR = PICTURE[..., ::-1]


def test_sixteen_bits_are_brought_to_eight(tmp_path):
    path = written(tmp_path / "deep.png", BGR.astype(np.uint16) * 257)
    np.testing.assert_allclose(read_image(path).astype(int), PICTURE, atol=1)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_in_sixteen_are_scaled_by_their_own_range(tmp_path, caplog, bits):
    deep = np.round(BGR / 255 * (2**bits - 1)).astype(np.uint16)
    deep[0, 0] = 2**bits - 1
    caplog.set_level("INFO")
    image = read_image(written(tmp_path / "deep.png", deep))
    np.testing.assert_allclose(image[1:].astype(int), PICTURE[1:], atol=1)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'deep.png'}: {bits} bits are stored in 16; they are brought to 8"
    ]
    gray = read_image(written(tmp_path / "gray.png", deep[..., 0]))
    np.testing.assert_allclose(gray[1:].astype(int), np.repeat(BGR[1:, :, :1], 3, 2), atol=1)


def test_gray_becomes_three_equal_channels(tmp_path):
    image = read_image(written(tmp_path / "gray.png", PICTURE[..., 0]))
    assert image.shape == (40, 60, 3) and (image == PICTURE[..., :1]).all()


def test_alpha_is_left_out(tmp_path):
    alpha = np.dstack([BGR, np.full((40, 60), 100, np.uint8)])
    np.testing.assert_array_equal(read_image(written(tmp_path / "alpha.png", alpha)), PICTURE)
    deep = np.dstack([BGR.astype(np.uint16) * 257, np.full((40, 60), 9, np.uint16)])
    np.testing.assert_allclose(read_image(written(tmp_path / "deep.png", deep)).astype(int), PICTURE, atol=1)


def test_cmyk_photographs_keep_their_colours(tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes the CMYK photograph")
    path = tmp_path / "cmyk.jpg"
    pillow.fromarray(PICTURE).convert("CMYK").save(path, quality=95)
    image = read_image(path)
    for corner in (np.s_[5:15, 5:25], np.s_[5:15, 35:55], np.s_[25:35, 5:25]):
        # No profile is applied on either side; JPEG moves a flat patch by a few levels.
        np.testing.assert_allclose(image[corner].mean((0, 1)), PICTURE[corner].mean((0, 1)), atol=8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photographs_come_out_upright(tmp_path, orientation):
    stored = {
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.transpose(1, 0, 2),
        6: np.rot90(PICTURE),
        7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PICTURE, -1),
    }[orientation]
    path = written(tmp_path / "turned.jpg", np.ascontiguousarray(stored[..., ::-1]), cv2.IMWRITE_JPEG_QUALITY, 100)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation]) + bytes(7)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    image = read_image(path)
    assert image.shape == PICTURE.shape
    # Away from the patches' edges, which JPEG blurs.
    np.testing.assert_allclose(image[8, 12].astype(int), PICTURE[8, 12], atol=12)
    np.testing.assert_allclose(image[8, 48].astype(int), PICTURE[8, 48], atol=12)
    np.testing.assert_allclose(image[32, 12].astype(int), PICTURE[32, 12], atol=12)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_a_file_cut_anywhere_is_an_error_or_a_picture(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    data = written(tmp_path / f"whole{suffix}", noise).read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in np.linspace(0, len(data) - 1, 40).astype(int):
        path.write_bytes(data[:length])
        try:
            assert read_image(path).shape == (40, 60, 3)
        except InputError as error:
            assert str(path) in str(error)


def test_a_picture_that_claims_to_be_vast_is_refused(tmp_path):
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    path = tmp_path / "vast.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))))
    with pytest.raises(InputError, match="must be an image"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".bmp", ".ppm", ".gif"])
def test_the_size_is_known_before_anything_is_decoded(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), np.zeros((30, 47, 3), np.uint8))
    data = path.read_bytes()
    assert announced_size(data) == announced_size(memoryview(data)) == (47, 30)
    for length in range(0, len(data), 7):
        assert announced_size(data[:length]) in (None, (47, 30))
    monkeypatch.setattr("edgeface.images.MAX_PIXELS", 47 * 30 - 1)
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(InputError, match=r"must be an image of at most 0 million pixels\. Received: 47 x 30"):
        read_image(path)

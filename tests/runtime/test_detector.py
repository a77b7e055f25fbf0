"""From YuNet's box and five points to the tight 68-point box."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.box import Box
from edgeface.datasets.packs import faces_root, read_pack
from edgeface.errors import InputError
from edgeface.runtime.detector import FaceDetector, tight_box

FRONTAL = Box(100, 100, 180, 210)
POINTS = np.array([[122, 146], [158, 146], [140, 166], [126, 186], [154, 186]], np.float64)


def yunet_file() -> Path | None:
    root = faces_root()
    files = sorted((root.parent / "models").glob("face_detection_yunet*.onnx")) if root else []
    return files[0] if files else None


def test_a_frontal_face_is_framed_evenly_and_without_forehead():
    box = tight_box(FRONTAL, POINTS)
    assert box.center[0] == pytest.approx(140)
    assert FRONTAL.y0 + 10 < box.y0 < POINTS[0, 1] - 5, "between forehead and eyes"
    assert POINTS[4, 1] < box.y1 < FRONTAL.y1 + 15


def test_mirrored_moved_and_scaled_alike():
    turned = POINTS + np.array([[0, 0], [0, 0], [9, 0], [3, 0], [3, 0]])
    box = np.array(tight_box(FRONTAL, turned).as_xyxy())
    order = [1, 0, 2, 4, 3]
    mirrored = tight_box(FRONTAL, np.array([280, 0]) + turned[order] * [-1, 1]).as_xyxy()
    np.testing.assert_allclose(mirrored, [280 - box[2], box[1], 280 - box[0], box[3]])
    moved = tight_box(Box(*(2 * np.array(FRONTAL.as_xyxy()) + 7)), 2 * turned + 7).as_xyxy()
    np.testing.assert_allclose(moved, 2 * box + 7)


def test_points_far_off_do_not_turn_the_box_inside_out():
    box = tight_box(FRONTAL, POINTS + np.array([[5000, 0], [0, 0], [-9000, 0], [0, 0], [0, 9000]]))
    assert box.width > 0 and box.height > 0
    with pytest.raises(InputError, match="a width and a height"):
        tight_box(Box(1, 1, 1, 5), POINTS)


@pytest.mark.parametrize("content", [None, b"", b"not a network"])
def test_files_that_are_no_detector(tmp_path, content):
    path = tmp_path / "yunet.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="detector must be a YuNet .onnx file. Received: .*yunet.onnx, "):
        FaceDetector(path)
    with pytest.raises(InputError, match="a folder"):
        FaceDetector(tmp_path)


@pytest.mark.skipif(yunet_file() is None, reason="no folder of real faces (EDGEFACE_FACES) with a YuNet file beside it")
def test_boxes_on_real_faces_overlap_the_annotated_ones():
    detector = FaceDetector(yunet_file())
    overlaps = []
    for sample in read_pack("300w", "test")[::28]:
        image = sample.load()
        pad = max(image.shape[:2]) // 2
        wide = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(110, 110, 110))
        found = detector.detect(wide)
        truth = np.array(sample.box.as_xyxy()) + pad
        overlaps.append(max((iou(np.array(face.box.as_xyxy()), truth) for face in found), default=0.0))
    # 0.87 on average over 472 such faces; 20 of them stray from that by 0.02.
    assert np.mean(overlaps) > 0.81
    assert detector.detect(np.zeros((50, 3000, 3), np.uint8)) == []


def iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))

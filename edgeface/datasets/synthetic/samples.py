"""Rendered faces as a dataset."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from edgeface.datasets.sample import FaceSample
from edgeface.datasets.synthetic.params import PoseRanges, sample_params
from edgeface.datasets.synthetic.render import RenderedFace, render_face, sample_labels
from edgeface.errors import InputError, must_be_one_of
from edgeface.files import write_bytes
from edgeface.markup import IBUG68

SPLIT_SEEDS: dict[str, int] = {"train": 0, "val": 1_000_000_000, "test": 2_000_000_000}
"""First face seed of each split; each holds `SPLIT_SIZE` of them, and no face is in two."""
SPLIT_SIZE = 1_000_000_000


def face_seed(index: int, seed: int = 0, split: str = "train") -> int:
    """The seed of face ``index`` of a set: inside the split's range, spread by the set's own ``seed``."""
    if split not in SPLIT_SEEDS:
        raise InputError(must_be_one_of("split", SPLIT_SEEDS, split))
    return SPLIT_SEEDS[split] + (seed * 1_000_003 + index) % SPLIT_SIZE


def _image(seed: int, size: int, ranges: PoseRanges | None) -> np.ndarray:
    return render_face(seed, size, ranges).image


def synthetic_sample(
    index: int, seed: int = 0, size: int = 128, split: str = "train", ranges: PoseRanges | None = None
) -> FaceSample:
    """Face ``index`` of a set; its picture is rendered when loaded."""
    own = face_seed(index, seed, split)
    labels = sample_labels(own, size, ranges)
    return FaceSample(
        id=f"synthetic-{own:010d}",
        dataset="synthetic",
        split=split,
        load=partial(_image, own, size, ranges),
        box=labels.box,
        landmarks_px=labels.landmarks_px,
        visible=labels.visible,
        pose_deg=labels.pose_deg,
    )


def synthetic_samples(
    count: int, seed: int = 0, size: int = 128, split: str = "train", ranges: PoseRanges | None = None
) -> list[FaceSample]:
    """``count`` faces of a split, the same ones at every call. Their pictures are rendered when loaded."""
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 0:
        raise InputError(f"count must be a non-negative integer. Received: {count!r}")
    return [synthetic_sample(i, seed, size, split, ranges) for i in range(count)]


def draw_landmarks(face: RenderedFace, zoom: int = 2) -> np.ndarray:
    """The picture enlarged with its ibug68 points: green where seen, red where behind the face."""
    image = cv2.resize(face.image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    points = (face.landmarks_px["ibug68"] + 0.5) * zoom - 0.5
    fixed = np.round(points * 16).astype(int)
    for group in IBUG68.groups.values():
        cv2.polylines(image, [fixed[list(group)].astype(np.int32)], False, (255, 255, 255), 1, cv2.LINE_AA, 4)
    for point, seen in zip(fixed, face.visible["ibug68"], strict=True):
        cv2.circle(image, point.tolist(), 24 * zoom // 2, (60, 230, 90) if seen else (230, 60, 60), -1, cv2.LINE_AA, 4)
    return image


def write_contact_sheet(
    path: str | Path,
    rows: int = 4,
    cols: int = 8,
    seed: int = 0,
    landmarks: bool = False,
    size: int = 128,
    ranges: PoseRanges | None = None,
) -> None:
    """A grid of test faces, sorted by yaw from left to right, as an image file (suffix as OpenCV knows it)."""
    if rows < 1 or cols < 1:
        raise InputError(f"rows and cols must be at least 1. Received: {rows}, {cols}")
    seeds = [face_seed(i, seed, "test") for i in range(rows * cols)]
    seeds.sort(key=lambda s: -sample_params(s, ranges).pose_deg[0])
    faces = [render_face(s, size, ranges) for s in seeds]
    tiles = [draw_landmarks(face) if landmarks else face.image for face in faces]
    gap = 2
    tiles = [np.pad(t, [(gap, gap), (gap, gap), (0, 0)], constant_values=255) for t in tiles]
    # Column by column: each column holds one stretch of yaw.
    sheet = np.hstack([np.vstack(tiles[c * rows : (c + 1) * rows]) for c in range(cols)])
    suffix = Path(path).suffix or ".png"
    done, data = cv2.imencode(suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise InputError(f"{path} must end in an image suffix that OpenCV writes. Received: {suffix}")
    write_bytes(path, data.tobytes())

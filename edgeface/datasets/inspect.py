"""A look at a set of faces: one picture with every label drawn on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgeface.box import Box
from edgeface.crop import Crop, apply_affine, square_crop
from edgeface.datasets.load import load_set
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError
from edgeface.images import write_image
from edgeface.markup import MARKUPS
from edgeface.runtime.drawing import draw_axes, draw_box, draw_landmarks

TILE = 224
CAPTION = 34
TILE_SCALE = 1.8
"""Side of a tile over the longer side of the face box: wider than the crop rule, so that its square shows."""
CROP_COLOR = (255, 255, 255)


def contact_sheet(samples: Sequence[FaceSample], columns: int = 6, markup: str | None = None) -> np.ndarray:
    """One picture (H, W, 3) uint8 RGB with a tile per face: landmarks (hidden ones hollow), face box, the square that a
    network is given (white), pose axes where the pose is known in full, and a caption.

    Args:
        samples: at least one.
        columns: tiles per row.
        markup: the one to draw; by default the face's finest.
    """
    if not samples:
        raise InputError("a contact sheet needs at least one face. Received: none")
    if columns < 1:
        raise InputError(f"columns must be >= 1. Received: {columns}")
    columns = min(columns, len(samples))
    rows = -(-len(samples) // columns)
    sheet = np.zeros((rows * (TILE + CAPTION), columns * TILE, 3), np.uint8)
    for index, sample in enumerate(samples):
        row, column = divmod(index, columns)
        y, x = row * (TILE + CAPTION), column * TILE
        sheet[y : y + TILE + CAPTION, x : x + TILE] = tile(sample, markup)
    return sheet


def tile(sample: FaceSample, markup: str | None = None) -> np.ndarray:
    """(TILE + CAPTION, TILE, 3): one face of `contact_sheet`.

    Args:
        sample: the face.
        markup: the one to draw; by default the face's finest.
    """
    crop = square_crop(sample.box, TILE_SCALE)
    picture = np.ascontiguousarray(crop.extract(sample.load(), TILE))
    box = _moved(sample.box, crop)
    fed = square_crop(box)
    half = fed.size / 2
    draw_box(
        picture, Box(fed.center[0] - half, fed.center[1] - half, fed.center[0] + half, fed.center[1] + half), CROP_COLOR
    )
    draw_box(picture, box)
    name = markup or max(sample.landmarks_px, key=lambda m: MARKUPS[m].size, default=None)
    if name in sample.landmarks_px:
        points = apply_affine(crop.matrix(TILE), sample.landmarks_px[name])
        draw_landmarks(picture, points, MARKUPS[name], sample.visible[name])
    if np.isfinite(sample.pose_deg).all():
        draw_axes(picture, sample.pose_deg, box.center, TILE / 4)
    caption = np.zeros((CAPTION, TILE, 3), np.uint8)
    for line, text in enumerate((f"{sample.dataset}: {sample.id}", f"{name or 'no landmarks'}: {_pose_text(sample)}")):
        place = (3, 13 + 16 * line)
        cv2.putText(caption, text[:42], place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, (220, 220, 220), 1, cv2.LINE_AA)
    return np.concatenate([picture, caption])


def inspect(
    name: str,
    split: str | None,
    out: str | Path,
    *,
    limit: int = 24,
    seed: int = 0,
    columns: int = 6,
    root: str | Path | None = None,
) -> Path:
    """Writes a contact sheet of random faces of a set (of rendered ones the first); returns its path.

    Args:
        name: of the set, as `load_set` takes it.
        split: None for all.
        out: the picture; its suffix chooses the format.
        limit: how many faces.
        seed: of the draw.
        columns: tiles per row.
        root: the folder that holds the set.
    """
    if limit < 1:
        raise InputError(f"limit must be >= 1. Received: {limit}")
    # Even the labels of a rendered face cost milliseconds, and the first ones are as random as any.
    samples = load_set(name, split, limit if name == "synthetic" else None, root)
    picked = np.random.default_rng(seed).permutation(len(samples))[:limit]
    sheet = contact_sheet([samples[i] for i in sorted(picked)], columns)
    write_image(out, sheet)
    return Path(out)


def _moved(box: Box, crop: Crop) -> Box:
    """A box in pixels of the tile."""
    return Box.around(apply_affine(crop.matrix(TILE), np.reshape(box.as_xyxy(), (2, 2))))


def _pose_text(sample: FaceSample) -> str:
    known = [f"{a} {v:+.0f}" for a, v in zip(("yaw", "pitch", "roll"), sample.pose_deg, strict=True) if np.isfinite(v)]
    return " ".join(known) or "no pose"

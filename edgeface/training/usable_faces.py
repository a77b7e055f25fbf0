"""Packing that outlives a bad face: what cannot be used is left out, counted and named; what is unknown is counted.

A night's training must not die of one broken file, and must not hide it either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from edgeface.crop import square_crop
from edgeface.datasets.cut_faces import CutFaces, cut_faces
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError

MAX_SKIPPED = 0.1
"""Share of a set's faces that may be unusable: beyond it something else is wrong (the folder, the format)."""
_NO_IMAGE = np.zeros((1, 1, 3), np.uint8)


def cut_usable_faces(samples: Sequence[FaceSample], size: int, scale: float) -> tuple[CutFaces, tuple[str, ...]]:
    """`cut_faces` of the faces that can be used, and "id: reason" of those that cannot.

    Unusable: an image that cannot be read, a box without a size, a pose that is infinite, no label at all.

    Args:
        samples: the faces.
        size: side of the crops in pixels.
        scale: side of the crops over the longer side of the face box.

    InputError where more than `MAX_SKIPPED` of them are unusable.
    """
    skipped: dict[int, str] = {}
    framed = []
    for i, sample in enumerate(samples):
        reason = _unusable(sample)
        if reason:
            skipped[i] = f"{sample.id}: {reason}"
        else:
            framed.append(i)
    _check_share(skipped, samples)
    loads = {i: _Load(samples[i]) for i in framed}
    faces = cut_faces([replace(samples[i], load=loads[i]) for i in framed], size, scale)
    unread = {i: f"{samples[i].id}: {loads[i].problem}" for i in framed if loads[i].problem}
    if unread:
        skipped |= unread
        _check_share(skipped, samples)
        faces = faces.take([row for row, i in enumerate(framed) if i not in unread])
    return faces, tuple(skipped[i] for i in sorted(skipped))


class _Load:
    """A sample's ``load`` that notes what is wrong where it would raise."""

    def __init__(self, sample: FaceSample):
        self.sample, self.problem = sample, ""

    def __call__(self) -> np.ndarray:
        try:
            image = self.sample.load()
        except (InputError, OSError, cv2.error) as error:
            self.problem = str(error)
            return _NO_IMAGE
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            self.problem = f"image must be (H, W, 3) uint8. Received: {image.shape} {image.dtype}"
            return _NO_IMAGE
        return image


def _unusable(sample: FaceSample) -> str:
    try:
        square_crop(sample.box)
    except ValueError as error:
        return str(error)
    if np.isinf(sample.pose_deg).any():
        return f"pose must be finite or NaN. Received: {sample.pose_deg.tolist()}"
    if not np.isfinite(sample.pose_deg).any() and not any(_known(p).any() for p in sample.landmarks_px.values()):
        return "a landmark or an angle must be known. Received: none"
    return ""


def _check_share(skipped: dict[int, str], samples: Sequence[FaceSample]) -> None:
    if len(skipped) <= math.ceil(MAX_SKIPPED * len(samples)) and len(skipped) < max(len(samples), 1):
        return
    got = f"{len(skipped)} of {len(samples)}: {'; '.join(list(skipped.values())[:3])}"
    raise InputError(f"at most {MAX_SKIPPED:.0%} of a set's faces may be unusable. Received: {got}")


def _known(points: np.ndarray) -> np.ndarray:
    """(..., K, 2) -> (..., K): where both coordinates are finite."""
    return np.isfinite(points).all(axis=-1)


def unknown_labels(faces: CutFaces, markups: Sequence[str], pose: bool = True) -> dict[str, dict[str, Any]]:
    """What no loss will see: {markup or "pose": {"unknown", "on faces", "faces without any"}}, all-known ones left out.

    Args:
        faces: the faces.
        markups: those that are used.
        pose: whether poses are.

    ``unknown`` counts points or angles that are NaN.
    """
    masks = {name: _known(faces.landmarks[name]) for name in markups if name in faces.landmarks}
    if pose:
        masks["pose"] = np.isfinite(faces.pose_deg)
    counts = {}
    for name, known in masks.items():
        if not known.all():
            counts[name] = {
                "unknown": int((~known).sum()),
                "on faces": int((~known.all(axis=1)).sum()),
                "faces without any": int((~known.any(axis=1)).sum()),
            }
    return counts


def faces_without_label(faces: CutFaces, markups: Sequence[str], pose: bool = True) -> int:
    """How many faces have no usable label: none of the markups' points is known, nor an angle of the pose.

    Args:
        faces: the faces.
        markups: those that are used.
        pose: whether poses are.
    """
    taught = np.isfinite(faces.pose_deg).any(axis=1) if pose else np.zeros(len(faces), bool)
    for name in markups:
        if name in faces.landmarks:
            taught |= _known(faces.landmarks[name]).any(axis=1)
    return int((~taught).sum())

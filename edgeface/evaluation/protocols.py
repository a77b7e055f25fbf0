"""Protocols: how a dataset's publications score its faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgeface.errors import InputError
from edgeface.markup import AFLW21, IBUG68, IBUG68_3D, MTFL5, WFLW98, Markup

Normalizer = Literal["inter_ocular", "box"]


@dataclass(frozen=True)
class Protocol:
    """How a dataset's publications score it: NME normalizer, failure threshold, yaw bins, pose limits."""

    name: str
    markup: Markup
    normalizer: Normalizer
    threshold: float = 0.1
    """NME (a fraction) above which a face counts as a failure; also AUC's upper end."""
    visible_only: bool = False
    yaw_bins_deg: tuple[float, ...] = (0.0, 30.0, 60.0, 90.0)
    """Edges of |yaw| bins; the last bin also takes what is above it."""
    pose_limit_deg: float | None = None
    """Pose is scored only where every |angle| is at most this (6DRepNet, Hopenet: 99)."""
    faces: str | None = None
    """The set of faces that it scores; None: the one of its own name."""


PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol("300w", IBUG68, "inter_ocular"),
        Protocol("wflw", WFLW98, "inter_ocular"),
        Protocol("aflw", AFLW21, "box", visible_only=True),
        Protocol("aflw_68", IBUG68, "box", visible_only=True, faces="aflw"),
        # Its paper scores all 19 points, hidden ones too; the ears are unknown and never count.
        Protocol("aflw_full", AFLW21, "box"),
        Protocol("aflw2000_3d", IBUG68_3D, "box", pose_limit_deg=99.0),
        Protocol("aflw2000_3d_21", AFLW21, "box", visible_only=True, pose_limit_deg=99.0, faces="aflw2000_3d"),
        Protocol("300w_lp", IBUG68_3D, "box", pose_limit_deg=99.0),
        Protocol("mtfl", MTFL5, "box"),
        Protocol("celeba", MTFL5, "box"),
        Protocol("celeba_aligned", MTFL5, "box"),
        Protocol("youtube_faces", IBUG68, "inter_ocular"),
        Protocol("facesynthetics", IBUG68, "inter_ocular"),
        # Every yaw to 90 degrees: in profile the eye corners' distance goes to 0.
        Protocol("synthetic", IBUG68, "box"),
    )
}
"""A set's own protocol bears its name; the others score the same faces by another of their markups."""


def normalization(protocol: Protocol, landmarks_px: np.ndarray, box_size_px: np.ndarray) -> np.ndarray:
    """The NME denominator per face, (N,) px.

    landmarks_px: (N, K, 2) ground truth. box_size_px: (N,) sqrt(w * h) of the ground-truth box.
    """
    if protocol.normalizer == "box":
        return np.asarray(box_size_px, np.float64)
    if protocol.markup.eye_corners is None:
        raise InputError(
            f"inter_ocular must be taken on a markup with outer eye corners. Received: {protocol.markup.name}"
        )
    left, right = protocol.markup.eye_corners
    return np.linalg.norm(landmarks_px[:, left] - landmarks_px[:, right], axis=-1)

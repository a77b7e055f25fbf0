"""One annotated face, whatever dataset it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from edgeface.box import Box
from edgeface.errors import InputError
from edgeface.markup import markup


@dataclass(frozen=True)
class FaceSample:
    """A face: its image (read on demand) and everything that is known of it.

    ``landmarks_px``: {markup: (K, 2) float32}, NaN where not annotated. ``visible``: {markup: (K,) bool}, same keys.
    ``pose_deg``: (3,) float32 yaw, pitch, roll, NaN where unknown. ``box``: the face's box, what the crop
    rule and the box normaliser start from.
    """

    id: str
    dataset: str
    split: str
    load: Callable[[], np.ndarray]
    """() -> (H, W, 3) uint8 RGB."""
    box: Box
    landmarks_px: dict[str, np.ndarray] = field(default_factory=dict)
    visible: dict[str, np.ndarray] = field(default_factory=dict)
    pose_deg: np.ndarray = field(default_factory=lambda: np.full(3, np.nan, np.float32))

    def __post_init__(self) -> None:
        for name, points in self.landmarks_px.items():
            size = markup(name).size
            if points.shape != (size, 2):
                raise InputError(f"{self.id}: {name} must have shape ({size}, 2). Received: {points.shape}")
            if name not in self.visible or self.visible[name].shape != (size,):
                got = self.visible[name].shape if name in self.visible else "none"
                raise InputError(f"{self.id}: visible of {name} must have shape ({size},). Received: {got}")
        if self.pose_deg.shape != (3,):
            raise InputError(f"{self.id}: pose must have shape (3,). Received: {self.pose_deg.shape}")

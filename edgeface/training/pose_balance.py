"""Faces of rare head poses, more often.

Photographs of faces look at the camera: a network that learns from them answers with less pitch than it sees, and its
error is largest where it matters. Drawing rare poses more often moves what it has learned to expect.
"""

from __future__ import annotations

import numpy as np

from edgeface.datasets.cut_faces import CutFaces

CELL_DEG = np.float32([15.0, 10.0])
"""Size of a cell in |yaw| and pitch; poses of one cell count as one. Augmentation spreads the roll."""
MOST = 8
"""Copies of one face: more would teach the face by heart."""


def copies(pose_deg: np.ndarray, strength: float) -> np.ndarray:
    """How often each face is to be drawn against those of the commonest pose: (N,) from 1 to `MOST`.

    Args:
        pose_deg: (N, 3) yaw, pitch, roll; a face without yaw or pitch counts as common.
        strength: 0 leaves all at 1, 1 draws every cell of poses as often as any other (where `MOST` allows it), 0.5 by
            the square root of that.
    """
    known = np.isfinite(pose_deg[:, :2]).all(1)
    out = np.ones(len(pose_deg), int)
    if not known.any():
        return out
    cells = np.floor(np.stack([np.abs(pose_deg[known, 0]), pose_deg[known, 1]], axis=1) / CELL_DEG).astype(int)
    _, cell, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    rarity = (counts.max() / counts[cell.ravel()]) ** strength
    out[known] = np.clip(np.round(rarity), 1, MOST).astype(int)
    return out


def balance_poses(faces: CutFaces, strength: float) -> CutFaces:
    """The faces, each as many times as `copies` says, in their order.

    Args:
        faces: the faces.
        strength: 0 to 1, see `copies`.
    """
    return faces.take(np.repeat(np.arange(len(faces)), copies(faces.pose_deg, strength)))

"""A pose-balanced choice of faces: near-frontal sets hide what int8 costs off the front (pitch first, then jitter)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeface.box import face_axes, five_points
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError

YAW_PER_TURN_DEG = -148.3
PITCH_PER_DROP_DEG = -135.6
PITCH_LEVEL_DEG = -3.4
"""Least-squares lines over `edgeface.box.face_axes` on the 199 labeled AFLW2000-3D validation faces: mean error 3.7
degrees of yaw, 8.4 of pitch (median 3.8). Good enough to sort faces into bins of 20 degrees and more; not a label."""


@dataclass(frozen=True)
class PoseBins:
    """Edges in degrees, half-open [low, high); faces beyond the outermost edges count into the outermost bins."""

    yaw_deg: tuple[float, ...] = (-90, -60, -30, -10, 10, 30, 60, 90)
    pitch_deg: tuple[float, ...] = (-60, -15, 15, 60)

    def __post_init__(self) -> None:
        for name, edges in (("yaw", self.yaw_deg), ("pitch", self.pitch_deg)):
            if len(edges) < 2 or any(a >= b for a, b in zip(edges, edges[1:], strict=False)):
                raise InputError(f"{name} bins must have at least two rising edges. Received: {edges}")

    @property
    def count(self) -> int:
        return (len(self.yaw_deg) - 1) * (len(self.pitch_deg) - 1)

    def index(self, pose_deg: np.ndarray) -> np.ndarray:
        """(N, 3) yaw, pitch, roll -> (N,) bin, pitch running fastest; -1 where either angle is unknown."""
        yaw, pitch = pose_deg[:, 0], pose_deg[:, 1]
        known = np.isfinite(yaw) & np.isfinite(pitch)
        column = np.digitize(np.where(known, yaw, 0), self.yaw_deg[1:-1])
        row = np.digitize(np.where(known, pitch, 0), self.pitch_deg[1:-1])
        return np.where(known, column * (len(self.pitch_deg) - 1) + row, -1)

    def ranges(self, index: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """The yaw and the pitch range of a bin."""
        column, row = divmod(index, len(self.pitch_deg) - 1)
        return self.yaw_deg[column : column + 2], self.pitch_deg[row : row + 2]


@dataclass(frozen=True)
class Selection:
    """What was chosen, in the order of the set, and how it covers the bins."""

    indices: tuple[int, ...]
    available: tuple[int, ...]
    """Faces of the set a bin; the last entry counts those of unknown pose."""
    chosen: tuple[int, ...]
    estimated: int
    """How many of the chosen had no full pose label and were sorted by their landmarks."""


def select(samples: Sequence[FaceSample], count: int, bins: PoseBins | None = None, seed: int = 0) -> Selection:
    """``count`` faces, spread over the pose bins as evenly as the set allows.

    Every bin gives the same number until it is empty; the rest comes from the fuller ones. Within a bin the choice is
    random by ``seed``. Faces of unknown pose are one more bin. InputError: fewer faces than ``count``, or count < 1.

    Args:
        samples: the faces to choose from.
        count: how many to choose.
        bins: of yaw and pitch; None: the usual ones.
        seed: of the choice within a bin.
    """
    poses, estimated = coarse_poses(samples)
    return select_poses(poses, estimated, count, bins, seed)


def select_poses(
    poses: np.ndarray, estimated: np.ndarray, count: int, bins: PoseBins | None = None, seed: int = 0
) -> Selection:
    """`select` by what `coarse_poses` gives."""
    if count < 1 or count > len(poses):
        raise InputError(f"count must be 1 to {len(poses)}, the faces of the set. Received: {count}")
    bins = bins or PoseBins()
    index = bins.index(poses)
    index = np.where(index < 0, bins.count, index)
    available = np.bincount(index, minlength=bins.count + 1)
    quota = fair_quota(available, count)
    rng = np.random.default_rng(seed)
    picked = np.concatenate(
        [rng.permutation(np.flatnonzero(index == b))[:n] for b, n in enumerate(quota)] + [np.array([], int)]
    )
    picked = np.sort(picked)
    return Selection(
        tuple(int(i) for i in picked),
        tuple(int(n) for n in available),
        tuple(int(n) for n in quota),
        int(estimated[picked].sum()),
    )


def fair_quota(available: np.ndarray, count: int) -> np.ndarray:
    """How many to take of each bin: equal, as far as the bins reach; sums to ``count``.

    Args:
        available: faces per bin.
        count: how many to take in all.
    """
    quota = np.zeros(len(available), int)
    while (left := count - quota.sum()) > 0:
        open_bins = np.flatnonzero(quota < available)
        share = max(1, left // len(open_bins))
        for b in open_bins[:left]:
            quota[b] += min(share, available[b] - quota[b])
    return quota


def coarse_poses(samples: Sequence[FaceSample]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) degrees with roll NaN where estimated, and (N,) bool: estimated.

    Labelled yaw and pitch are kept; what is missing is estimated from the landmarks, NaN where they do not suffice.
    """
    poses = np.array([s.pose_deg for s in samples], np.float64).reshape(-1, 3)
    estimated = ~np.isfinite(poses[:, :2]).all(axis=1)
    for i in np.flatnonzero(estimated):
        guess = _from_landmarks(samples[i])
        poses[i, :2] = np.where(np.isfinite(poses[i, :2]), poses[i, :2], guess)
    return poses, estimated


def _from_landmarks(sample: FaceSample) -> np.ndarray:
    """(2,) yaw and pitch in degrees from the position of the nose tip between eyes and mouth."""
    for name in ("ibug68_3d", "ibug68", "aflw21", "mtfl5", "lfw10"):
        if name not in sample.landmarks_px:
            continue
        five = five_points(sample.landmarks_px[name], name)
        if not np.isfinite(five).all():
            continue
        axes = face_axes(five)
        if axes is None:
            continue
        return np.array([YAW_PER_TURN_DEG * axes.turn, PITCH_PER_DROP_DEG * axes.drop + PITCH_LEVEL_DEG])
    return np.full(2, np.nan)

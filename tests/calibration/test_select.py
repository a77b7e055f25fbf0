"""Choosing faces evenly over the poses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeface.box import Box, face_axes, five_points
from edgeface.convert.pose_balance import (
    PITCH_LEVEL_DEG,
    PITCH_PER_DROP_DEG,
    YAW_PER_TURN_DEG,
    PoseBins,
    coarse_poses,
    fair_quota,
    select,
)
from edgeface.datasets.packs import read_pack
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError
from edgeface.markup import MARKUPS


def face(index: int, pose=(np.nan, np.nan, np.nan), points=None, markup="mtfl5") -> FaceSample:
    points = np.full((MARKUPS[markup].size, 2), np.nan, np.float32) if points is None else points
    visible = np.isfinite(points).all(axis=1)
    image = np.full((40, 40, 3), index % 256, np.uint8)
    return FaceSample(
        f"face{index}", "synthetic", "train", lambda: image, Box(5, 5, 35, 35), {markup: points}, {markup: visible},
        np.array(pose, np.float32),
    )  # fmt: skip


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(0, 60))
def test_quota_is_as_even_as_the_bins_allow(available, count):
    available = np.array(available)
    count = min(count, int(available.sum()))
    quota = fair_quota(available, count)
    assert quota.sum() == count and (quota <= available).all() and (quota >= 0).all()
    # No bin that could give more has less than another by two.
    could = quota < available
    if could.any() and quota.max() > 0:
        assert quota.max() - quota[could].min() <= 1


def test_bins_by_hand():
    bins = PoseBins((-90, -30, 30, 90), (-60, 0, 60))
    poses = np.array([[-45, -10, 0], [-30, 10, 0], [29.9, -1, 0], [30, 0, 0], [120, 5, 0], [np.nan, 0, 0]])
    assert bins.index(poses).tolist() == [0, 3, 2, 5, 5, -1]
    assert bins.count == 6 and bins.ranges(3) == ((-30, 30), (0, 60))
    with pytest.raises(InputError, match="yaw bins must have at least two rising edges"):
        PoseBins((0, 0))


def test_rare_poses_are_all_taken_and_the_rest_is_even():
    samples = [face(i, (0, 0, 0)) for i in range(100)] + [face(100 + i, (70, 0, 0)) for i in range(3)]
    chosen = select(samples, 20)
    assert {100, 101, 102} < set(chosen.indices)
    assert sum(chosen.chosen) == 20 and sorted(set(chosen.chosen)) == [0, 3, 17]
    assert list(chosen.indices) == sorted(set(chosen.indices))


def test_the_seed_decides():
    samples = [face(i, (0, 0, 0)) for i in range(100)]
    assert select(samples, 10, seed=1).indices == select(samples, 10, seed=1).indices
    assert select(samples, 10, seed=1).indices != select(samples, 10, seed=2).indices


def test_unknown_poses_are_a_bin_of_their_own():
    samples = [face(i, (0, 0, 0)) for i in range(10)] + [face(10 + i) for i in range(10)]
    chosen = select(samples, 10)
    assert chosen.available[-1] == 10 and chosen.chosen[-1] == 5 and chosen.estimated == 5


def test_too_many_or_none():
    for count in (0, 3):
        with pytest.raises(InputError, match=f"count must be 1 to 2.*Received: {count}"):
            select([face(0), face(1)], count)


def test_estimates_have_the_convention_s_signs():
    """The nose goes to the image's left where yaw > 0 (300W-LP), and up where pitch > 0."""
    frontal = np.array([[10, 10], [30, 10], [20, 20], [13, 30], [27, 30]], np.float32)

    def estimate(dx, dy):
        points = frontal.copy()
        points[2] += (dx, dy)
        return coarse_poses([face(0, points=points)])[0][0, :2]

    yaw, pitch = estimate(0, 0)
    assert abs(yaw) < 1
    assert estimate(-4, 0)[0] > 10 and estimate(4, 0)[0] < -10
    assert estimate(0, -3)[1] > pitch > estimate(0, 3)[1]
    # A label is never replaced.
    known, estimated = coarse_poses([face(0, (33, np.nan, np.nan), frontal)])
    assert known[0, 0] == 33 and np.isfinite(known[0, 1]) and estimated[0]


def test_estimates_on_real_labelled_faces(faces_root):
    from dataclasses import replace

    samples = read_pack("aflw2000_3d", "val", faces_root)
    truth = np.stack([s.pose_deg[:2] for s in samples])
    blind = [replace(s, pose_deg=np.full(3, np.nan, np.float32)) for s in samples]
    poses = coarse_poses(blind)[0][:, :2]
    error = np.abs(poses - truth)
    assert error[:, 0].mean() < 4 and np.median(error[:, 1]) < 4
    # The constants are least-squares fits on these faces; a changed `face_axes` needs them fitted again.
    axes = [face_axes(five_points(s.landmarks_px["ibug68_3d"], "ibug68_3d")) for s in samples]
    turn, drop = (np.array([getattr(a, name) for a in axes]) for name in ("turn", "drop"))
    assert (turn @ truth[:, 0]) / (turn @ turn) == pytest.approx(YAW_PER_TURN_DEG, abs=0.06)
    slope, level = np.polyfit(drop, truth[:, 1], 1)
    assert slope == pytest.approx(PITCH_PER_DROP_DEG, abs=0.06) and level == pytest.approx(PITCH_LEVEL_DEG, abs=0.06)

from __future__ import annotations

import numpy as np
import pytest

from edgeface.files import read_json
from edgeface.training.pose_balance import MOST, copies
from edgeface.training.train import train
from tests.training import tiny

NAN = np.nan
# 64 faces that look at the camera, 4 raised ones, 1 in profile, 1 bowed one; one without a pose, one with yaw alone.
POSES = np.float32([[3, -5, 1]] * 64 + [[-3, 15, 0]] * 4 + [[80, -5, 40], [0, -35, 0], [NAN, NAN, NAN], [80, NAN, NAN]])


def test_rare_poses_are_drawn_more_often():
    np.testing.assert_array_equal(copies(POSES, 0.5), [1] * 64 + [4] * 4 + [8, 8] + [1, 1])
    # Even: 16 times 4 faces are 64, but no face more than `MOST` times.
    np.testing.assert_array_equal(copies(POSES, 1.0), [1] * 64 + [MOST] * 6 + [1, 1])
    np.testing.assert_array_equal(copies(POSES, 0.0), 1)


def test_both_sides_are_one_pose():
    both = np.float32([[20, 0, 0], [-20, 0, 0], [20, 0, 50], [50, 0, 0]])
    np.testing.assert_array_equal(copies(both, 1.0), [1, 1, 1, 3])


@pytest.mark.parametrize("poses", [np.full((3, 3), NAN, np.float32), np.empty((0, 3), np.float32)])
def test_faces_without_poses_stay(poses):
    np.testing.assert_array_equal(copies(poses, 1.0), np.ones(len(poses), int))


@pytest.mark.slow
def test_a_record_counts_faces_and_how_often_they_are_drawn(tmp_path, said):
    faces = {"set": "synthetic", "split": "train", "limit": 16, "pose_balance": 1.0}
    config = tiny.config(steps=2, epoch_steps=2, validation=None, sources=[faces])
    out = tmp_path / "runs" / "even"
    for _ in range(2):
        train(config, out)
        (facts,) = read_json(out / "config.json")["sources"]
        assert facts["faces"] == 16 < facts["drawn"] <= 16 * MOST
        assert any(f"16 faces, {facts['drawn']} with copies of rare poses" in line for line in said)
    assert not any("not the faces that this run began with" in line for line in said)

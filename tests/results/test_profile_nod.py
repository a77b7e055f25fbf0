"""A nod that was taken away is found again, on the head's own axis; none is found where there is none."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from edgeface.datasets.profile_views.fit import as_labelled
from edgeface.head_pose import from_matrix, to_matrix
from studies.profile_pitch import study as profile_nod


@pytest.fixture(scope="module")
def true_deg():
    return np.random.default_rng(0).uniform((-78, -25, -20), (78, 25, 20), (120, 3))


def _turned(pose_deg, about_the_head_deg):
    """What turns the head is the transpose of a pose's matrix (edgeface.head_pose): what comes first stands right."""
    head = np.swapaxes(to_matrix(pose_deg), 1, 2) @ Rotation.from_rotvec(about_the_head_deg, degrees=True).as_matrix()
    return from_matrix(np.swapaxes(head, 1, 2))


def _noisy(pose_deg):
    return _turned(pose_deg, np.random.default_rng(1).normal(size=pose_deg.shape) * 2)


def test_the_nod_that_answers_lack_is_found_and_helps_faces_that_did_not_choose_it(true_deg):
    answered = as_labelled(_noisy(true_deg), -3.0)
    assert profile_nod.best(answered, true_deg) == pytest.approx(3.0, abs=0.75)
    before, after = profile_nod.errors(answered, true_deg, 0.0).mean(0), profile_nod.by_halves(answered, true_deg)
    assert after[:3].mean() < 0.8 * before[:3].mean() and after[3] < before[3]


def test_without_one_nothing_is_gained_on_the_other_half(true_deg):
    answered = _noisy(true_deg)
    assert abs(profile_nod.best(answered, true_deg)) <= 1
    plain = profile_nod.errors(answered, true_deg, 0.0)
    assert profile_nod.by_halves(answered, true_deg)[:3].mean() > 0.98 * plain[:, :3].mean()


def test_what_is_left_is_about_the_axis_from_ear_to_ear(true_deg):
    nod = np.linspace(-20, 20, len(true_deg))
    along, across = np.zeros_like(true_deg), np.zeros_like(true_deg)
    along[:, 0], across[:, 2] = nod, 12
    np.testing.assert_allclose(np.abs(profile_nod.nod_left(_turned(true_deg, along), true_deg)), np.abs(nod), atol=1e-2)
    np.testing.assert_allclose(profile_nod.nod_left(_turned(true_deg, across), true_deg), 0, atol=1e-2)

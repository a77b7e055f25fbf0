"""A lean that was taken away is found again, in the picture's own axes; none is found where there is none."""

import numpy as np
import pytest

from edgeface.datasets.turned.fit import leaned
from edgeface.headpose import from_matrix, to_matrix
from results import lean


@pytest.fixture(scope="module")
def true_deg():
    return np.random.default_rng(0).uniform((-78, -25, -20), (78, 25, 20), (120, 3))


def _noisy(pose_deg):
    turn = np.random.default_rng(1).normal(size=pose_deg.shape) * (2, 2, 2)
    return from_matrix(to_matrix(turn) @ to_matrix(pose_deg))


def test_the_lean_that_answers_lack_is_found_and_helps_faces_that_did_not_choose_it(true_deg):
    answered = leaned(_noisy(true_deg), -3.0)
    assert lean.best(answered, true_deg) == pytest.approx(3.0, abs=0.75)
    before, after = lean.errors(answered, true_deg, 0.0).mean(), lean.by_halves(answered, true_deg).mean()
    assert after < 0.8 * before


def test_without_a_lean_nothing_is_gained_on_the_other_half(true_deg):
    answered = _noisy(true_deg)
    assert abs(lean.best(answered, true_deg)) <= 1
    assert lean.by_halves(answered, true_deg).mean() > 0.98 * lean.errors(answered, true_deg, 0.0).mean()


def test_what_is_left_is_a_turn_about_the_pictures_horizontal_axis(true_deg):
    tilt = np.zeros_like(true_deg)
    tilt[:, 1] = np.linspace(-20, 20, len(tilt))
    answered = from_matrix(to_matrix(tilt) @ to_matrix(true_deg))
    np.testing.assert_allclose(lean.lean_left(answered, true_deg), tilt[:, 1], atol=1e-2)
    # A turn in the picture's plane has no part of it.
    spin = np.zeros_like(true_deg)
    spin[:, 2] = 12
    np.testing.assert_allclose(
        lean.lean_left(from_matrix(to_matrix(spin) @ to_matrix(true_deg)), true_deg), 0, atol=1e-2
    )

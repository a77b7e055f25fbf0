"""Shifts on the head are found again from faces that were moved by them, and nothing is found in noise."""

import numpy as np
import pytest

from edgeface.datasets.profile_views.model import label_shifts
from edgeface.head_pose import to_matrix
from studies.labels import study as labels


@pytest.fixture(scope="module")
def rotation():
    rng = np.random.default_rng(0)
    return np.swapaxes(to_matrix(rng.uniform((-80, -20, -20), (80, 20, 20), (60, 3))), 1, 2)


def test_shifts_of_the_labels_groups_are_found_again(rotation):
    shifts = 10 * label_shifts()
    away = -labels.shifted(np.zeros((len(rotation), 68, 2)), rotation, shifts)
    found = labels.group_shifts(away, rotation)
    # The middle's points take their group's depth and height alone.
    np.testing.assert_allclose(found, shifts, atol=0.25)
    in_bins = np.arange(3)[:, None] == np.arange(60) % 3
    assert labels.by_bin(labels.shifted(away, rotation, found), in_bins)["mean_of_bins"] < 0.2


def test_noise_gains_nothing_on_faces_that_did_not_choose(rotation):
    away = np.random.default_rng(1).normal(size=(60, 68, 2))
    found = labels.group_shifts(away[:30], rotation[:30])
    before, after = (np.linalg.norm(a, axis=2).mean() for a in (away[30:], labels.shifted(away, rotation, found)[30:]))
    assert after > before

from __future__ import annotations

import numpy as np

from edgeface.datasets.profile_views import model
from edgeface.markup import MARKUPS


def test_labels_are_shifted_alike_on_both_sides_of_the_head():
    shifts = model.label_shifts()
    assert (shifts == shifts[list(MARKUPS["ibug68_3d"].mirror)] * (-1, 1, 1)).all()
    named = [point for points, _ in model.LABEL_SHIFTS_CM for point in points]
    assert len(named) == len(set(named))
    mirrored = {MARKUPS["ibug68_3d"].mirror[point] for point in named}
    assert set(named) | mirrored == set(range(68)) and np.abs(shifts).max() <= 1.0
    head = model.head_model()
    np.testing.assert_allclose(head.mean[head.labels] - head.mean[head.points], shifts, atol=1e-12)

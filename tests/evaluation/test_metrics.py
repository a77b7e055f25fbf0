import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeface.evaluation import metrics

TRUE = np.array([[[0.0, 0.0], [10.0, 0.0]], [[0.0, 0.0], [0.0, 20.0]]])
errors = st.lists(st.floats(0, 0.3), min_size=1, max_size=50).map(np.array)


def test_nme_by_hand():
    pred = TRUE + np.array([[[3, 4], [0, 1]], [[0, 0], [6, 8]]])  # distances 5, 1 | 0, 10
    assert metrics.nme(pred, TRUE, np.array([10.0, 50.0])) == pytest.approx([0.3, 0.1])
    visible = np.array([[True, False], [True, True]])
    assert metrics.nme(pred, TRUE, np.array([10.0, 50.0]), visible) == pytest.approx([0.5, 0.1])


def test_nme_leaves_unknown_points_out():
    true = TRUE.copy()
    true[0, 1] = np.nan
    pred = TRUE + 3.0
    pred[0, 1] = np.nan  # nobody asks for this point
    assert metrics.nme(pred, true, np.array([1.0, 1.0])) == pytest.approx([np.sqrt(18)] * 2)


def test_nme_does_not_read_a_hidden_point():
    pred = TRUE.copy()
    pred[0, 1] = 1e9
    visible = np.array([[True, False], [True, True]])
    assert metrics.nme(pred, TRUE, np.ones(2), visible) == pytest.approx([0, 0])


@pytest.mark.parametrize(
    ("pred", "true", "norm", "visible", "message"),
    [
        (TRUE, TRUE[:1], np.ones(2), None, "must both be"),
        (TRUE[0], TRUE[0], np.ones(2), None, "must both be"),
        (TRUE[:0], TRUE[:0], np.ones(0), None, "visible point.*no face"),
        (TRUE, TRUE, np.array([1.0, 0.0]), None, "normalizer must be"),
        (TRUE, TRUE, np.array([1.0, -2.0]), None, "normalizer must be"),
        (TRUE, TRUE, np.array([1.0, np.nan]), None, "normalizer must be"),
        (TRUE, TRUE, np.ones(3), None, "normalizer must be"),
        (TRUE, np.full_like(TRUE, np.nan), np.ones(2), None, r"visible point.*\[0, 1\]"),
        (TRUE, TRUE, np.ones(2), np.array([[True, True], [False, False]]), r"visible point.*\[1\]"),
        (TRUE, TRUE, np.ones(2), np.ones((2, 3), bool), "visible must be"),
        (TRUE * np.nan, TRUE, np.ones(2), None, "visible points and their predictions must be"),
        (TRUE, TRUE * np.nan, np.ones(2), np.ones((2, 2), bool), "visible points and their predictions must be"),
    ],
)
def test_nme_refuses_what_it_cannot_score(pred, true, norm, visible, message):
    with pytest.raises(ValueError, match=message):
        metrics.nme(pred, true, norm, visible)


def test_failure_rate_and_auc_by_hand():
    values = np.array([0.0, 0.05, 0.1, 0.2])
    assert metrics.failure_rate(values) == 0.25  # 0.1 itself is no failure
    assert metrics.auc(values) == pytest.approx((1 + 0.5 + 0 + 0) / 4)


@given(errors)
def test_auc_is_the_area_under_the_ced(values):
    x, share = metrics.ced(values, 0.1, points=20_001)
    # A step curve on a grid of 5e-6: each of the steps is misplaced by at most one cell.
    assert metrics.auc(values, 0.1) == pytest.approx(np.trapezoid(share, x) / 0.1, abs=1e-4)
    assert (np.diff(share) >= 0).all() and share[-1] == pytest.approx(1 - metrics.failure_rate(values, 0.1))


def test_ced_by_hand():
    x, share = metrics.ced(np.array([0.05, 0.02, 0.3]), 0.1, points=3)
    assert x == pytest.approx([0, 0.05, 0.1]) and share == pytest.approx([0, 2 / 3, 2 / 3])


@pytest.mark.parametrize("score", [metrics.failure_rate, metrics.auc, metrics.ced])
@pytest.mark.parametrize("values", [[], [np.nan, 0.1], [np.inf]])
def test_curves_refuse_nothing_and_nan(score, values):
    with pytest.raises(ValueError, match="NME must be non-empty and finite"):
        score(np.array(values))


def test_pose_mae_by_hand():
    pred = np.array([[10.0, 0, 0], [0, 0, 0]])
    true = np.array([[7.0, 2, np.nan], [-5, np.nan, np.nan]])
    mae = metrics.pose_mae(pred, true)
    assert mae[:2] == pytest.approx([4, 2]) and np.isnan(mae[2])


@pytest.mark.parametrize(
    ("pred", "true", "message"),
    [
        (np.zeros((2, 3)), np.full((2, 3), np.nan), "at least one angle"),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), "predicted pose must be"),
        (np.zeros((2, 2)), np.zeros((2, 2)), r"must both be \(N, 3\)"),
        (np.zeros((2, 3)), np.zeros((1, 3)), r"must both be \(N, 3\)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "non-empty"),
    ],
)
def test_pose_mae_refuses_what_it_cannot_score(pred, true, message):
    with pytest.raises(ValueError, match=message):
        metrics.pose_mae(pred, true)


def test_geodesic_by_hand():
    pred, true = np.array([[10.0, 0, 0], [0, 0, 20]]), np.zeros((2, 3))
    assert metrics.geodesic(pred, true) == pytest.approx(15)


@pytest.mark.parametrize("true", [np.zeros((0, 3)), np.full((1, 3), np.nan)])
def test_geodesic_refuses_nothing_and_nan(true):
    with pytest.raises(ValueError, match="pose distance must be"):
        metrics.geodesic(np.zeros_like(true), true)


def test_jitter_by_hand():
    landmarks = np.zeros((1, 2, 2, 2))
    landmarks[0, :, 0] = [[-3, -4], [3, 4]]  # variances 9 and 16: 5; the other point is still: 0
    assert metrics.jitter(landmarks, np.array([10.0])) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("landmarks", "size", "message"),
    [
        (np.zeros((1, 1, 5, 2)), np.ones(1), "R >= 2"),
        (np.zeros((1, 3, 5, 2)), np.zeros(1), "box sizes must be > 0"),
        (np.full((1, 3, 5, 2), np.nan), np.ones(1), "landmarks must be"),
        (np.zeros((1, 3, 5, 2)), np.array([np.nan]), "box sizes must be"),
        (np.zeros((0, 3, 5, 2)), np.zeros(0), "must be non-empty"),
    ],
)
def test_jitter_refuses_what_it_cannot_score(landmarks, size, message):
    with pytest.raises(ValueError, match=message):
        metrics.jitter(landmarks, size)

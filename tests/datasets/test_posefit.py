"""Poses fitted to landmarks, against heads turned by known angles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeface.datasets.posefit import filled_pose, fit_pose, reference_shape, solve_shape
from edgeface.head_pose import geodesic_deg, to_matrix

RNG = np.random.default_rng(0)
SHAPE = RNG.normal(0, 1, (30, 3)) * [1.0, 1.2, 0.6]


def _projected(shape: np.ndarray, pose_deg: np.ndarray, scale: float = 50.0) -> np.ndarray:
    """(N, K, 2) image points, y down, of the shape turned as 300W-LP turns it: by the transposed matrix."""
    turned = np.einsum("nij,kj->nki", np.swapaxes(to_matrix(pose_deg), 1, 2), shape)
    return scale * turned[..., :2] * [1, -1] + [60, 70]


def _poses(count: int) -> np.ndarray:
    return np.column_stack([RNG.uniform(-80, 80, count), RNG.uniform(-40, 40, count), RNG.uniform(-40, 40, count)])


def test_exact_points_give_the_exact_pose():
    poses = _poses(50)
    fitted, residual = fit_pose(SHAPE, _projected(SHAPE, poses))
    assert geodesic_deg(fitted, poses).max() < 0.1
    assert residual.max() < 1e-3


def test_unknown_and_unweighted_points_do_not_matter():
    poses = _poses(10)
    points = _projected(SHAPE, poses)
    points[:, :5] = np.nan
    points[:, 5:8] += 500
    weights = np.ones(len(SHAPE))
    weights[5:8] = 0
    fitted, _ = fit_pose(SHAPE, points, weights)
    assert geodesic_deg(fitted, poses).max() < 0.1


def test_a_shape_that_does_not_fit_has_a_residual():
    other = SHAPE + RNG.normal(0, 0.5, SHAPE.shape)
    _, residual = fit_pose(other, _projected(SHAPE, _poses(20)))
    assert residual.min() > 0.1


def test_too_few_points_are_refused():
    points = _projected(SHAPE, _poses(2))
    points[1, 5:] = np.nan
    with pytest.raises(ValueError, match="six usable points"):
        fit_pose(SHAPE, points)
    with pytest.raises(ValueError, match=r"must be \(N, 30, 2\)"):
        fit_pose(SHAPE, points[:, :10])


def test_shape_and_pose_are_inverse():
    poses = _poses(100)
    shape = solve_shape(_projected(SHAPE, poses), poses)
    expected = SHAPE - SHAPE.mean(0)
    expected /= np.sqrt((expected**2).sum() / len(expected))
    np.testing.assert_allclose(shape, expected, atol=1e-6)


def test_only_unknown_angles_are_filled():
    from edgeface.datasets.cut_faces import cut_faces
    from edgeface.datasets.synthetic import synthetic_samples

    whole = cut_faces(synthetic_samples(6, seed=3), 96)
    given = whole.pose_deg.copy()
    given[0] = np.nan
    given[1, 1:] = np.nan  # a yaw alone, as AFLW's
    given[1, 0] = 12.5
    filled = filled_pose(replace(whole, pose_deg=given)).pose_deg
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[2:], whole.pose_deg[2:])
    assert filled[1, 0] == np.float32(12.5)
    # A mean head on another head's points: a few degrees, no sign off.
    assert geodesic_deg(filled[0], whole.pose_deg[0]) < 15
    shuffled = {name: points[:, ::-1] for name, points in whole.landmarks.items()}
    hopeless = filled_pose(replace(whole, pose_deg=given, landmarks=shuffled)).pose_deg
    assert np.isnan(hopeless[0]).all(), "points that fit no head give no pose"


def test_labels_of_real_faces(faces_root):
    """The reference head on faces with known pose: the mean error is what a mean head can give, and no sign is off."""
    from edgeface.datasets.packs import read_pack

    samples = [s for s in read_pack("aflw2000_3d", root=faces_root) if np.abs(s.pose_deg).max() <= 99]
    truth = np.stack([s.pose_deg for s in samples])
    fitted, _ = fit_pose(reference_shape(), np.stack([s.landmarks_px["ibug68_3d"] for s in samples]))
    error = np.abs(fitted - truth).mean(0)
    # A shape of these faces has a floor of 0.7, 1.5 and 0.4 degrees; ours is another head, with another zero of pitch.
    assert error[0] < 2 and error[1] < 6 and error[2] < 2, error

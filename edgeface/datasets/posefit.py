"""Pose labels for faces that have only landmarks: the rotation that fits a 3D shape to them.

Scaled orthographic projection, solved by alternating the missing depth with an orthogonal Procrustes step (POSIT's idea
without perspective: DeMenthon and Davis, IJCV 1995; Procrustes: Umeyama, PAMI 1991).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from edgeface.datasets.cut_faces import CutFaces
from edgeface.head_pose import from_matrix, to_matrix


def fit_pose(
    shape_3d: np.ndarray, landmarks_px: np.ndarray, weights: np.ndarray | None = None, rounds: int = 60
) -> tuple[np.ndarray, np.ndarray]:
    """Poses (N, 3) degrees and residuals (N,), the RMS distance as a fraction of the shape's own RMS radius.

    Args:
        shape_3d: (K, 3), x right, y **up**, z towards the viewer, any scale.
        landmarks_px: (N, K, 2), y down; NaN points are left out.
        weights: (K,), 0 leaves a point out.
        rounds: of the alternation.

    ValueError: fewer than six usable points on a face.
    """
    shape_3d = np.asarray(shape_3d, np.float64)
    points = np.asarray(landmarks_px, np.float64) * [1.0, -1.0]
    if points.ndim != 3 or points.shape[1:] != (len(shape_3d), 2):
        raise ValueError(f"landmarks must be (N, {len(shape_3d)}, 2). Received: {np.shape(landmarks_px)}")
    known = np.isfinite(points).all(-1)
    weight = known * (1.0 if weights is None else np.asarray(weights, np.float64))
    if ((weight > 0).sum(1) < 6).any():
        raise ValueError(f"every face must have six usable points. Received: {int((weight > 0).sum(1).min())}")
    points = np.where(known[..., None], points, 0.0)
    weight = (weight / weight.sum(1, keepdims=True))[..., None]
    model = shape_3d[None] - (weight * shape_3d[None]).sum(1, keepdims=True)
    flat = points - (weight * points).sum(1, keepdims=True)
    radius = np.sqrt((weight * model**2).sum((1, 2)))[:, None, None]

    rotation, scale = _start(model, flat, weight)
    for _ in range(rounds):
        depth = (model @ np.swapaxes(rotation, 1, 2))[..., 2:]
        target = np.concatenate([flat / scale, depth], axis=-1)
        rotation = _closest_rotation(np.swapaxes(weight * target, 1, 2) @ model)
        turned = (model @ np.swapaxes(rotation, 1, 2))[..., :2]
        scale = (weight * flat * turned).sum((1, 2)) / (weight * turned**2).sum((1, 2))
        scale = np.maximum(scale, 1e-9)[:, None, None]
    error = flat / scale - (model @ np.swapaxes(rotation, 1, 2))[..., :2]
    residual = np.sqrt((weight * error**2).sum((1, 2))) / radius[:, 0, 0]
    # `rotation` is the one applied to the face; the convention's matrix is its transpose.
    return from_matrix(np.swapaxes(rotation, 1, 2)).astype(np.float32), residual.astype(np.float32)


def _start(model: np.ndarray, flat: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best affine camera, brought to the nearest scaled rotation: (N, 3, 3) and (N, 1, 1)."""
    moment = np.swapaxes(weight * model, 1, 2) @ model
    affine = np.swapaxes(np.linalg.solve(moment, np.swapaxes(weight * model, 1, 2) @ flat), 1, 2)
    u, s, vt = np.linalg.svd(affine, full_matrices=False)
    rows = u @ vt
    third = np.cross(rows[:, 0], rows[:, 1])[:, None]
    return np.concatenate([rows, third], axis=1), np.maximum(s.mean(1), 1e-9)[:, None, None]


def _closest_rotation(matrix: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(matrix)
    sign = np.linalg.det(u @ vt)
    u[..., 2] *= sign[:, None]
    return u @ vt


def solve_shape(landmarks_px: np.ndarray, pose_deg: np.ndarray, rounds: int = 10) -> np.ndarray:
    """The one 3D shape (K, 3) that best explains faces of known pose: the inverse of `fit_pose`.

    Args:
        landmarks_px: (N, K, 2), finite.
        pose_deg: (N, 3).
        rounds: of the alternation.

    y up, centered, RMS radius 1.
    """
    points = np.asarray(landmarks_px, np.float64) * [1.0, -1.0]
    points -= points.mean(1, keepdims=True)
    points /= np.sqrt((points**2).sum((1, 2), keepdims=True) / points.shape[1])
    camera = np.swapaxes(to_matrix(pose_deg), 1, 2)[:, :2]
    scale = np.ones(len(points))
    for _ in range(rounds):
        weighted = scale[:, None, None] * camera
        shape = np.linalg.solve(
            np.einsum("nai,naj->ij", weighted, weighted), np.einsum("nai,nka->ik", weighted, points)
        ).T
        shape /= np.sqrt((shape**2).sum() / len(shape))
        seen = np.einsum("nai,ki->nka", camera, shape)
        scale = (points * seen).sum((1, 2)) / (seen**2).sum((1, 2))
    return shape


@lru_cache(maxsize=1)
def reference_shape() -> np.ndarray:
    """The mean 68 points in 3D (68, 3) of the rendered heads, as `fit_pose` takes them."""
    from edgeface.datasets.synthetic import PoseRanges, sample_labels

    labels = [sample_labels(seed, 128, PoseRanges()) for seed in range(400)]
    return solve_shape(np.stack([f.landmarks_px["ibug68_3d"] for f in labels]), np.stack([f.pose_deg for f in labels]))


MAX_RESIDUAL = 0.2
"""Largest residual, in radii of the shape: beyond it the points fit no head like the reference, and the pose stays
unknown."""


def filled_pose(faces: CutFaces) -> CutFaces:
    """The same faces; angles that are unknown on faces with 68 points are the fitted pose's. Known ones are kept."""
    name = next((m for m in ("ibug68_3d", "ibug68") if m in faces.landmarks), None)
    if name is None:
        return faces
    points = faces.landmarks[name]
    lacking = ~np.isfinite(faces.pose_deg).all(1) & (np.isfinite(points).all(-1).sum(1) >= 34)
    if not lacking.any():
        return faces
    fitted, residual = fit_pose(reference_shape(), points[lacking])
    pose = faces.pose_deg.copy()
    unknown = ~np.isfinite(pose[lacking]) & (residual < MAX_RESIDUAL)[:, None]
    pose[lacking] = np.where(unknown, fitted, pose[lacking])
    return replace(faces, pose_deg=pose)

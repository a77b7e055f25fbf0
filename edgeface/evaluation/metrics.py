"""Scores: every one of them refuses input it cannot score, and none drops a face quietly.

NME values are fractions here; commands and reports print them as percent.
"""

from __future__ import annotations

import numpy as np

from edgeface.head_pose import geodesic_deg


def _checked(values: np.ndarray, what: str) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"{what} must be non-empty and finite. Received: {_describe(values)}")
    return values


def _describe(values: np.ndarray) -> str:
    bad = np.size(values) - int(np.isfinite(values).sum())
    return f"shape {np.shape(values)}, {bad} of {np.size(values)} not finite"


def nme(
    pred_px: np.ndarray, true_px: np.ndarray, normalizer_px: np.ndarray, visible: np.ndarray | None = None
) -> np.ndarray:
    """Normalized mean error per face, (N,), a fraction.

    pred_px, true_px: (N, K, 2) px; normalizer_px: (N,) px > 0; visible: (N, K) bool, default: where
    true_px is finite. ValueError: shapes differ, a face has no visible point, a normalizer is not positive,
    a visible point or its prediction is not finite.
    """
    pred_px, true_px = np.asarray(pred_px, np.float64), np.asarray(true_px, np.float64)
    normalizer_px = np.asarray(normalizer_px, np.float64)
    if true_px.ndim != 3 or true_px.shape[-1] != 2 or pred_px.shape != true_px.shape:
        raise ValueError(f"predictions and truth must both be (N, K, 2). Received: {pred_px.shape} and {true_px.shape}")
    positive = np.isfinite(normalizer_px) & (normalizer_px > 0)
    if normalizer_px.shape != true_px.shape[:1] or not positive.all():
        raise ValueError(f"normalizer must be {true_px.shape[:1]}, finite and > 0. Received: {normalizer_px}")
    visible = np.isfinite(true_px).all(-1) if visible is None else np.asarray(visible, bool)
    if visible.shape != true_px.shape[:2]:
        raise ValueError(f"visible must be {true_px.shape[:2]}. Received: {visible.shape}")
    if len(true_px) == 0 or not visible.any(axis=1).all():
        blind = np.flatnonzero(~visible.any(axis=1)).tolist() if len(true_px) else "no face"
        raise ValueError(f"every face must have a visible point. Received: none on {blind}")
    distance = np.linalg.norm(pred_px - true_px, axis=-1)
    _checked(distance[visible], "visible points and their predictions")
    total = np.where(visible, distance, 0.0).sum(axis=1) / visible.sum(axis=1)
    return total / normalizer_px


def failure_rate(nme_values: np.ndarray, threshold: float = 0.1) -> float:
    """The share of faces with NME above the threshold.

    Args:
        nme_values: (N,) fractions.
        threshold: a fraction.
    """
    return float((_checked(nme_values, "NME") > threshold).mean())


def auc(nme_values: np.ndarray, threshold: float = 0.1) -> float:
    """Area under the cumulative error curve up to the threshold, over the threshold: exact, no histogram.

    Args:
        nme_values: (N,) fractions.
        threshold: a fraction.
    """
    return float(np.clip(1 - _checked(nme_values, "NME") / threshold, 0, None).mean())


def ced(nme_values: np.ndarray, threshold: float = 0.1, points: int = 201) -> tuple[np.ndarray, np.ndarray]:
    """The cumulative error distribution: errors (points,) and the share of faces at or below each.

    Args:
        nme_values: (N,) fractions.
        threshold: the largest error of the curve.
        points: of the curve.
    """
    values = np.sort(_checked(nme_values, "NME"))
    errors = np.linspace(0, threshold, points)
    return errors, np.searchsorted(values, errors, side="right") / len(values)


def pose_mae(pred_deg: np.ndarray, true_deg: np.ndarray) -> np.ndarray:
    """(3,) mean absolute error of yaw, pitch and roll in degrees; NaN truth is left out angle by angle.

    An angle with no truth at all is NaN in the answer; ValueError where no angle has any, or a prediction is not
    finite.
    """
    pred_deg, true_deg = np.asarray(pred_deg, np.float64), np.asarray(true_deg, np.float64)
    if pred_deg.shape != true_deg.shape or pred_deg.ndim != 2 or pred_deg.shape[1] != 3:
        raise ValueError(f"poses must both be (N, 3). Received: {pred_deg.shape} and {true_deg.shape}")
    _checked(pred_deg, "predicted pose")
    known = np.isfinite(true_deg)
    if not known.any():
        raise ValueError("pose truth must hold at least one angle. Received: none")
    count = known.sum(axis=0)
    total = np.where(known, np.abs(pred_deg - np.where(known, true_deg, 0)), 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def geodesic(pred_deg: np.ndarray, true_deg: np.ndarray) -> float:
    """Mean geodesic distance in degrees over (N, 3) poses.

    Args:
        pred_deg: (N, 3) yaw, pitch, roll.
        true_deg: likewise.
    """
    return float(_checked(geodesic_deg(pred_deg, true_deg), "pose distance").mean())


def jitter(landmarks_px: np.ndarray, box_size_px: np.ndarray) -> float:
    """Landmark unsteadiness, a fraction of the box: landmarks_px (N, R, K, 2) from R shaken crops of N faces.

    Per point the root of the summed x and y variance over R, averaged over points and faces, over sqrt(w * h).
    """
    landmarks_px = np.asarray(landmarks_px, np.float64)
    if landmarks_px.ndim != 4 or landmarks_px.shape[1] < 2:
        raise ValueError(f"landmarks must be (N, R >= 2, K, 2). Received: {landmarks_px.shape}")
    box_size_px = _checked(box_size_px, "box sizes")
    if not (box_size_px > 0).all():
        raise ValueError(f"box sizes must be > 0. Received: {box_size_px}")
    spread = np.sqrt(_checked(landmarks_px, "landmarks").var(axis=1).sum(axis=-1))
    return float((spread.mean(axis=1) / box_size_px).mean())

"""Integral (expectation) codecs: targets in, predictions out, both directions in one object.

numpy alone: the device decodes `int8_logits` files with these, and training makes its targets with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def softmax(logits: np.ndarray, axis: int | tuple[int, ...] = -1) -> np.ndarray:
    """Max-subtracted softmax in float32."""
    logits = np.asarray(logits, np.float32)
    weights = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


@dataclass(frozen=True)
class IntegralHeatmap:
    """Landmarks <-> maps by expectation (Sun et al., ECCV 2018; AC-DC eq. 2 and 3; CCR eq. 3).

    Cell (row i, column j) of an (H, W) map stands for the crop point ((j + .5) / W, (i + .5) / H).
    """

    height: int
    width: int
    sigma: float = 1.0
    """Standard deviation of the target Gaussian, in cells (CCR: 1)."""

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Cell centers in [0, 1]: x (W,) and y (H,)."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5) / self.width
        y = (np.arange(self.height, dtype=np.float32) + 0.5) / self.height
        return x, y

    def encode(self, points: np.ndarray, visible: np.ndarray | None = None) -> np.ndarray:
        """(..., K, 2) in [0, 1] -> Gaussian maps (..., H, W, K) with peak value near 1.

        A NaN or invisible point has an all-zero map (CCR section 4.2).

        Args:
            points: (..., K, 2) x, y.
            visible: (..., K) bool. None: all that are not NaN.
        """
        points = np.asarray(points, np.float32)
        x, y = self.grid()
        dx = (x - points[..., 0:1]) * (self.width / self.sigma)
        dy = (y - points[..., 1:2]) * (self.height / self.sigma)
        maps = np.exp(-0.5 * dy**2)[..., :, None] * np.exp(-0.5 * dx**2)[..., None, :]
        keep = np.isfinite(points).all(axis=-1)
        if visible is not None:
            keep &= np.asarray(visible, bool)
        maps = np.where(keep[..., None, None], maps, 0.0)
        return np.moveaxis(maps, -3, -1).astype(np.float32)

    def encode_logits(self, points: np.ndarray) -> np.ndarray:
        """(..., K, 2) -> logits (..., H, W, K) whose `decode` gives the points back (away from the border)."""
        points = np.asarray(points, np.float32)
        x, y = self.grid()
        dx = (x - points[..., 0:1]) * (self.width / self.sigma)
        dy = (y - points[..., 1:2]) * (self.height / self.sigma)
        return np.moveaxis(-0.5 * (dy[..., :, None] ** 2 + dx[..., None, :] ** 2), -3, -1)

    def decode(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (..., H, W, K) -> landmarks (..., K, 2) in [0, 1] and spread (..., K).

        Spread is the root of the map's variance, sqrt(Var x + Var y), in the crop's width.
        """
        logits = np.asarray(logits, np.float32)
        if logits.shape[-3:-1] != (self.height, self.width):
            raise ValueError(f"maps must be (..., {self.height}, {self.width}, K). Received: {logits.shape}")
        phi = softmax(logits, axis=(-3, -2))
        x, y = self.grid()
        columns, rows = phi.sum(axis=-3), phi.sum(axis=-2)
        mean = np.stack([np.einsum("...wk,w->...k", columns, x), np.einsum("...hk,h->...k", rows, y)], axis=-1)
        second = np.einsum("...wk,w->...k", columns, x**2) + np.einsum("...hk,h->...k", rows, y**2)
        variance = np.maximum(second - (mean**2).sum(-1), 0.0)
        return mean, np.sqrt(variance)


@dataclass(frozen=True)
class BinnedAngles:
    """An angle <-> a distribution over bins; decoding is the mean of the bin centers (Hopenet; CCR section 3.1)."""

    low_deg: float = -99.0
    high_deg: float = 99.0
    bins: int = 66

    @property
    def step_deg(self) -> float:
        return (self.high_deg - self.low_deg) / self.bins

    def centers_deg(self) -> np.ndarray:
        """(N,) bin centers. Decoding at the edges instead is a constant half-bin error."""
        return (self.low_deg + self.step_deg * (np.arange(self.bins) + 0.5)).astype(np.float32)

    def encode(self, angle_deg: np.ndarray) -> np.ndarray:
        """(...) degrees -> (..., N) target distribution, linear between the two nearest centers.

        So `decode` of its logarithm is exact, where a hard bin would be off by up to half a bin.
        Beyond the outermost centers the nearest bin takes all. NaN gives NaN.
        """
        angle_deg = np.asarray(angle_deg, np.float32)
        position = np.clip((angle_deg - self.low_deg) / self.step_deg - 0.5, 0, self.bins - 1)
        return (
            np.maximum(1 - np.abs(position[..., None] - np.arange(self.bins)), 0).astype(np.float32)
            + 0 * angle_deg[..., None]
        )

    def decode(self, logits: np.ndarray) -> np.ndarray:
        """(..., N) logits -> (...) degrees."""
        if np.shape(logits)[-1] != self.bins:
            raise ValueError(f"logits must end in {self.bins} bins. Received: {np.shape(logits)}")
        return softmax(logits) @ self.centers_deg()


@dataclass(frozen=True)
class LinearPose:
    """Pose as one dense layer on the mean of a feature map: what is left of it for the host of an `int8_logits` file.

    kernel: C rows of 3, bias: 3, both in degrees.
    """

    kernel: tuple[tuple[float, float, float], ...]
    bias: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not self.kernel or any(len(row) != 3 for row in (*self.kernel, self.bias)):
            raise ValueError(f"kernel and bias must have rows of 3 angles. Received: {self.kernel[:1]}, {self.bias}")

    def decode(self, features: np.ndarray) -> np.ndarray:
        """(..., H, W, C) features -> (..., 3) degrees."""
        if np.shape(features)[-1] != len(self.kernel):
            raise ValueError(f"features must have {len(self.kernel)} channels. Received: {np.shape(features)}")
        mean = np.asarray(features, np.float32).mean(axis=(-3, -2))
        return mean @ np.asarray(self.kernel, np.float32) + np.asarray(self.bias, np.float32)

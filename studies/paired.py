"""Differences between two arms of a study, pair by pair: the same faces, the same seeds.

Two arms' means each carry the spread of 199 or 554 faces, most of which both arms share; the difference face by face
does not. Nor does one seed tell much: a claim is called resolved where the difference stands out of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import t as student

from edgeface.errors import InputError
from edgeface.evaluation.protocols import PROTOCOLS

RESAMPLES = 4000
What = Literal["nme", "nme of bins", "pose", "yaw"]


@dataclass(frozen=True)
class Measure:
    """One column of a study's tables. Lower is better."""

    name: str
    key: str
    """Set/split head."""
    what: What
    """``nme of bins``: the mean of the yaw bins' means; ``pose``: mean of the three angles' absolute errors."""


@dataclass(frozen=True)
class Difference:
    """An arm less another, in the measure's unit."""

    mean: float
    low: float
    high: float
    """95 % over faces: the mean over the seeds, faces drawn again (within their bins)."""
    by_seed: tuple[float, ...]
    faces: int

    @property
    def verdict(self) -> str:
        """helps or hurts where the interval over faces and Student's over the seeds both leave 0 out."""
        seeds = len(self.by_seed)
        if seeds < 2 or self.low <= 0 <= self.high:
            return "not resolved"
        margin = student.ppf(0.975, seeds - 1) * np.std(self.by_seed, ddof=1) / np.sqrt(seeds)
        if abs(np.mean(self.by_seed)) <= margin:
            return "not resolved"
        return "helps" if self.mean < 0 else "hurts"


def difference(arm: Sequence[np.ndarray], base: Sequence[np.ndarray], bins: np.ndarray | None = None) -> Difference:
    """arm, base: a (N,) a seed, in the same order of seeds and faces; NaN where a face has no value. bins: (N,) int,
    whose means are averaged (None: all faces alike)."""
    apart = np.stack(arm) - np.stack(base)
    if apart.ndim != 2 or np.shape(arm) != np.shape(base):
        raise InputError(f"both arms must have the same seeds and faces. Received: {np.shape(arm)}, {np.shape(base)}")
    known = np.isfinite(apart).all(axis=0)
    bins = np.zeros(apart.shape[1], int) if bins is None else bins
    parts = [np.flatnonzero(known & (bins == b)) for b in np.unique(bins[known])]
    if not parts:
        raise InputError("both arms must have values of the same faces. Received: none")
    by_seed = np.mean([apart[:, part].mean(axis=1) for part in parts], axis=0)
    rng, means = np.random.default_rng(0), np.zeros(RESAMPLES)
    over_seeds = apart.mean(axis=0)
    for part in parts:
        drawn = rng.integers(0, len(part), (RESAMPLES, len(part)))
        means += over_seeds[part][drawn].mean(axis=1) / len(parts)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(by_seed.mean()), float(low), float(high), tuple(by_seed.tolist()), int(known.sum()))


def compare(
    faces: dict[str, np.ndarray], arm: Sequence[str], base: Sequence[str], measure: Measure
) -> Difference | None:
    """Two arms by one measure; None where one of them has no such values (AC has no pose).

    faces: as `studies.rows.stored_faces` gives them; arm, base: the prefixes of their rows, a seed each, in order.
    """
    values = [[_values(faces, prefix, measure) for prefix in prefixes] for prefixes in (arm, base)]
    if not arm or any(v is None for side in values for v in side):
        return None
    bins = None
    if measure.what == "nme of bins":
        edges = PROTOCOLS[measure.key.split("/")[0]].yaw_bins_deg
        bins = np.searchsorted(edges[1:-1], np.abs(faces[f"{arm[0]}|{measure.key}|yaw"]), side="left")
    return difference(*values, bins)


def _values(faces: dict[str, np.ndarray], prefix: str, measure: Measure) -> np.ndarray | None:
    what: Any = "nme" if measure.what.startswith("nme") else "pose"
    values = faces.get(f"{prefix}|{measure.key}|{what}")
    if values is None or what == "nme":
        return values
    return np.abs(values[:, 0]) if measure.what == "yaw" else np.abs(values).mean(axis=1)

"""How much worse than float32 a file may be, and the verdict in words. The bounds are here and nowhere else."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgeface.head_pose import ANGLES


@dataclass(frozen=True)
class Bound:
    """Worse than float32 by at most this; a bound on worsening, so that better is no failure.

    The last two are on *answers*: a file whose scores are float's but whose answers are not (yaw and pitch swapped on
    faces without pose labels, say) is another network.
    """

    nme_points: float
    """Percent points, on a whole set."""
    bin_nme_points: float
    """NME points within a yaw bin: fewer faces, so a mean that moves more."""
    pose_deg: float
    """MAE, mean of the angles that are labelled; on a set and in a yaw bin."""
    jitter: float
    """Allowed growth of the jitter, as a fraction of float32's."""
    shift: float
    """Mean distance of its landmarks from float32's, percent of the crop's width."""
    pose_shift_deg: float
    """Mean distance of each of its angles from float32's, degrees."""


_INT8 = Bound(0.05, 0.15, 0.1, 0.05, 1.0, 1.5)
BOUNDS: dict[str, Bound] = {
    # The same arithmetic in another program: whatever is left is rounding.
    "float32": Bound(0.001, 0.003, 0.002, 0.001, 0.01, 0.01),
    "float16": Bound(0.01, 0.03, 0.02, 0.01, 0.1, 0.1),
    "dynamic": _INT8,
    "int8_ptq": _INT8,
    "int8_qat": _INT8,
    "int8_logits": _INT8,
}
"""A file that misses its bound is mended, not its bound: a looser one is never the fix."""
MIN_BIN_FACES = 20
"""Yaw bins with fewer faces are reported and not judged: there one face moves the mean by more than the bound."""
MIN_BIN_FACES_POSE = 50
"""The same for pose, whose bound is as tight in a bin as on the set."""


@dataclass(frozen=True)
class Check:
    """One figure and the tolerance that it was held to."""

    what: str
    value: float
    allowed: float
    unit: str

    @property
    def passed(self) -> bool:
        return self.value <= self.allowed

    def __str__(self) -> str:
        return f"{self.what} by {self.value:.3f} {self.unit}, allowed {self.allowed:g}"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True)
class BinDelta:
    """A yaw bin; deltas are the file's score less float's: positive is worse."""

    low_deg: float
    high_deg: float
    """The last bin also takes what is above it."""
    n: int
    nme: float | None
    nme_delta: float | None
    pose_delta: float | None
    """Mean of the labelled angles."""
    geodesic_delta: float | None
    angle_delta: dict[str, float | None] | None = None
    """yaw, pitch, roll."""


def checks(
    bound: Bound,
    nme_delta: float,
    pose_delta: dict[str, float | None],
    by_yaw: Sequence[BinDelta],
    jitter_change: float,
    landmark_shift: float = 0.0,
    pose_shift: dict[str, float] | None = None,
) -> tuple[Check, ...]:
    """Every figure that is judged, with its tolerance."""
    found = [
        ("NME worse", nme_delta, bound.nme_points, "points"),
        ("pose MAE worse", pose_delta["mean"], bound.pose_deg, "degrees"),
    ]
    for b in by_yaw:
        where = f"at |yaw| {b.low_deg:g} to {b.high_deg:g} worse"
        if b.n >= MIN_BIN_FACES:
            found.append((f"NME {where}", b.nme_delta, bound.bin_nme_points, "points"))
        if b.n >= MIN_BIN_FACES_POSE:
            found.append((f"pose MAE {where}", b.pose_delta, bound.pose_deg, "degrees"))
    found.append(("jitter worse", 100 * jitter_change, 100 * bound.jitter, "% of float's"))
    found.append(("landmarks off float's", landmark_shift, bound.shift, "% of the crop"))
    for angle, shift in (pose_shift or {}).items():
        found.append((f"{angle} off float's", shift, bound.pose_shift_deg, "degrees"))
    return tuple(Check(*one) for one in found if one[1] is not None)


def failures(judged: Sequence[Check], mistaken: str | None = None) -> tuple[str, ...]:
    """What does not hold, in words; () where all does. mistaken: what the answers look like, see `mistaken_angles`.

    Args:
        judged: from `checks`.
        mistaken: from `mistaken_angles`.
    """
    failed = [check for check in judged if not check.passed]
    # Swapped angles are one mistake, not three figures out of bounds.
    words = [mistaken] if mistaken and any(c.what.endswith("off float's") for c in failed) else []
    return tuple(words + [str(check) for check in failed])


def mistaken_angles(own: np.ndarray, base: np.ndarray, limit_deg: float) -> str | None:
    """Names the exchange or turned sign of angles that makes a file's poses (N, 3) float's; None where there is none.

    An angle must be beyond ``limit_deg`` of float's as the file gives them, and the change must bring every one within
    it, or within a tenth of what it was: a wrong pose inside a cascade moves all that comes after it.
    """
    off = np.abs(own - base).mean(axis=0).max()
    if off <= limit_deg:
        return None
    changes = [(o, s) for o in itertools.permutations(range(3)) for s in itertools.product((1, -1), repeat=3)]
    # The smallest change that explains it: an angle that is near 0 on every face has no sign to speak of.
    changes.sort(key=lambda c: sum(i != j for i, j in enumerate(c[0])) + sum(sign < 0 for sign in c[1]))
    good = (c for c in changes if np.abs(own[:, c[0]] * c[1] - base).mean(axis=0).max() <= max(limit_deg, 0.1 * off))
    fix = next(good, None)
    if fix is None:
        return None
    moved = [ANGLES[i] for i, j in enumerate(fix[0]) if i != j]
    turned = [ANGLES[i] for i, sign in enumerate(fix[1]) if sign < 0]
    parts = [f"{' and '.join(moved)} are swapped"] if moved else []
    parts += [f"the sign of {' and '.join(turned)} is turned"] if turned else []
    return "pose: " + ", ".join(parts)

"""Markups: which points, in which order."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeface.errors import must_be_one_of


@dataclass(frozen=True)
class Markup:
    """A landmark annotation scheme.

    ``mirror[i]`` is the index that point ``i`` takes in the mirrored image.
    ``eye_corners`` are the two *outer* eye corners (for the inter-ocular distance), or None
    where the scheme has none. ``groups`` name runs of points, in drawing order.
    """

    name: str
    size: int
    mirror: tuple[int, ...]
    eye_corners: tuple[int, int] | None = None
    groups: dict[str, tuple[int, ...]] = field(default_factory=dict)
    projected: bool = False
    """True where the points are projections of 3D points, hidden ones included."""

    def __post_init__(self) -> None:
        if sorted(self.mirror) != list(range(self.size)):
            raise ValueError(f"mirror of {self.name} must permute 0..{self.size - 1}. Received: {self.mirror}")


def _mirror(size: int, *pairs: tuple[int, int]) -> tuple[int, ...]:
    """The permutation that swaps the given pairs and leaves the rest."""
    order = list(range(size))
    for left, right in pairs:
        order[left], order[right] = right, left
    return tuple(order)


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


def _between(first: int, last: int) -> list[tuple[int, int]]:
    """Pairs (first, last), (first + 1, last - 1), … up to the middle."""
    return [(first + i, last - i) for i in range((last - first + 1) // 2)]


_IBUG68_MIRROR = _mirror(
    68,
    *_between(0, 16),
    *_between(17, 26),
    *_between(31, 35),
    *[(36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)],
    *_between(48, 54),
    *_between(55, 59),
    *_between(60, 64),
    *_between(65, 67),
)
_IBUG68_GROUPS = {
    "jaw": _span(0, 16),
    "brow_left": _span(17, 21),
    "brow_right": _span(22, 26),
    "nose_bridge": _span(27, 30),
    "nose_base": _span(31, 35),
    "eye_left": (*_span(36, 41), 36),
    "eye_right": (*_span(42, 47), 42),
    "lips_outer": (*_span(48, 59), 48),
    "lips_inner": (*_span(60, 67), 60),
}

IBUG68 = Markup("ibug68", 68, _IBUG68_MIRROR, (36, 45), _IBUG68_GROUPS)
"""300W, 68 points (Sagonas et al., ICCVW 2013). "Left" is the image's left throughout."""

IBUG68_3D = Markup("ibug68_3d", 68, _IBUG68_MIRROR, (36, 45), _IBUG68_GROUPS, projected=True)
"""The same points on the 3D face, projected (300W-LP, Zhu et al., CVPR 2016)."""

WFLW98 = Markup(
    "wflw98",
    98,
    _mirror(
        98,
        *_between(0, 32),
        *[(33, 46), (34, 45), (35, 44), (36, 43), (37, 42), (38, 50), (39, 49), (40, 48), (41, 47)],
        *_between(55, 59),
        *[(60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75), (66, 74), (67, 73)],
        *_between(76, 82),
        *_between(83, 87),
        *_between(88, 92),
        *_between(93, 95),
        (96, 97),
    ),
    (60, 72),
    {
        "jaw": _span(0, 32),
        "brow_left": (*_span(33, 41), 33),
        "brow_right": (*_span(42, 50), 42),
        "nose_bridge": _span(51, 54),
        "nose_base": _span(55, 59),
        "eye_left": (*_span(60, 67), 60),
        "eye_right": (*_span(68, 75), 68),
        "lips_outer": (*_span(76, 87), 76),
        "lips_inner": (*_span(88, 95), 88),
        "pupils": (96, 97),
    },
)
"""WFLW, 98 points (Wu et al., CVPR 2018)."""

AFLW21 = Markup(
    "aflw21",
    21,
    _mirror(21, (0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 16), (13, 15), (17, 19)),
    (6, 11),
    {
        "brow_left": _span(0, 2),
        "brow_right": _span(3, 5),
        "eye_left": _span(6, 8),
        "eye_right": _span(9, 11),
        "ears": (12, 16),
        "nose": _span(13, 15),
        "mouth": _span(17, 19),
        "chin": (20,),
    },
)
"""AFLW, 21 points, only the visible ones annotated (Köstinger et al., ICCVW 2011)."""

MTFL5 = Markup("mtfl5", 5, (1, 0, 2, 4, 3), None, {"eyes": (0, 1), "nose": (2,), "mouth": (3, 4)})
"""Eye centers, nose tip, mouth corners (MTFL, Zhang et al., ECCV 2014; CelebA alike)."""

LFW10 = Markup(
    "lfw10",
    10,
    _mirror(10, (0, 7), (1, 6), (2, 3), (8, 9)),
    (0, 7),
    {"eye_left": (0, 1), "eye_right": (6, 7), "mouth": (2, 4, 3, 5, 2), "nose": (8, 9)},
)
"""Ten points on LFW (Dantone et al., CVPR 2012)."""

MARKUPS: dict[str, Markup] = {m.name: m for m in (IBUG68, IBUG68_3D, WFLW98, AFLW21, MTFL5, LFW10)}


def markup(name: str) -> Markup:
    """The markup of that name; ValueError names the known ones."""
    if name not in MARKUPS:
        raise ValueError(must_be_one_of("markup", MARKUPS, name))
    return MARKUPS[name]

"""300W: a .pts file beside every image (Sagonas et al., ICCVW 2013; Image and Vision Computing 2016).

``afw/``, ``helen/{trainset,testset}/``, ``lfpw/{trainset,testset}/``, ``ibug/``, and perhaps the 600 test images of the
challenge itself, ``300W/{01_Indoor,02_Outdoor}/``. The official protocol: train = AFW + HELEN and LFPW trainsets
(3148 faces), common = their testsets (554), challenging = iBUG (135), full = common + challenging (689).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from edgeface.datasets.official import layout
from edgeface.datasets.official.layout import Entry, Layout, is_image, names_in, read_text
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError

NAME = "300w"
POINTS = 68
FIRST_PIXEL = 1
"""Subtracted from every coordinate: the annotations are "saved in the matlab convention of 1 being the first index,
i.e. the coordinates of the top left pixel in an image are x=1, y=1" (iBUG's page of the dataset)."""

TRAIN, COMMON, CHALLENGING, PRIVATE = ("train",), ("common", "full", "test"), ("challenging", "full"), ("private",)
_PARTS = (
    (("afw",), TRAIN),
    (("helen", "trainset"), TRAIN),
    (("lfpw", "trainset"), TRAIN),
    (("helen", "testset"), COMMON),
    (("lfpw", "testset"), COMMON),
    (("ibug",), CHALLENGING),
    (("01_indoor",), PRIVATE),
    (("02_outdoor",), PRIVATE),
    (("300w", "01_indoor"), PRIVATE),
    (("300w", "02_outdoor"), PRIVATE),
)


def read_pts(path: Path, points: int = POINTS) -> np.ndarray:
    """(points, 2) of a .pts file, pixel centres at integers.

    ``version: 1``, ``n_points: 68``, ``{``, a line ``x y`` a point, ``}``.
    """
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if "{" not in lines or lines[-1] != "}":
        raise InputError(f"{path} must end its points with a brace. Received: {lines[-1]!r} as its last line")
    opening = lines.index("{")
    head = dict(line.replace(" ", "").partition(":")[::2] for line in lines[:opening])
    body = lines[opening + 1 : -1]
    if head.get("n_points") != str(points) or len(body) != points:
        raise InputError(
            f"{path} must have {points} points. Received: n_points {head.get('n_points', 'missing')}, {len(body)} lines"
        )
    pairs = [line.split() for line in body]
    odd = next((i for i, pair in enumerate(pairs) if len(pair) != 2), None)
    if odd is not None:
        raise InputError(f"{path}: a point must be x and y. Received: {body[odd]!r} at point {odd}")
    values = layout.numbers([word for pair in pairs for word in pair], f"{path}: points")
    return layout.finite(values.reshape(points, 2), f"{path}: points") - FIRST_PIXEL


def _parts(folder: Path) -> list[tuple[Path, tuple[str, ...], str]]:
    """(folder, splits, its place in words) of every part that is there, upper and lower case alike."""
    found = []
    for path, splits in _PARTS:
        place = folder
        for step in path:
            name = next((n for n in sorted(names_in(place)) if n.lower() == step and (place / n).is_dir()), None)
            if name is None:
                break
            place = place / name
        else:
            found.append((place, splits, "/".join(path)))
    return found


def _holds(folder: Path, names: set[str]) -> bool:
    if not {name.lower() for name in names} & {"afw", "helen", "lfpw", "ibug", "01_indoor", "02_outdoor"}:
        return False
    return any(name.endswith(".pts") for place, _, _ in _parts(folder) for name in names_in(place))


def _entries(folder: Path) -> Iterator[Entry]:
    for place, splits, part in _parts(folder):
        names = names_in(place)
        images = {Path(name).stem: name for name in sorted(names, reverse=True) if is_image(name)}
        for name in sorted(n for n in names if n.endswith(".pts") and not n.startswith(".")):
            stem = name[: -len(".pts")]
            path, image = place / name, place / images.get(stem, f"{stem}.jpg")
            entry_id = f"{part}/{stem}"
            yield Entry(entry_id, splits, str(path), image, partial(_sample, entry_id, splits[0], path, image))


def _sample(entry_id: str, split: str, path: Path, image: Path) -> FaceSample:
    return layout.sample(entry_id, NAME, split, image, {"ibug68": read_pts(path)})


LAYOUT = Layout(
    NAME,
    "300W (.pts beside images)",
    ("train", "common", "challenging", "full", "test", "private"),
    _holds,
    _entries,
    lambda folder: [place for place, _, _ in _parts(folder)],
)
"""``test`` = common: the folders named testset, as in the pack of that name."""

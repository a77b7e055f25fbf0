"""300W-LP: 300W's faces turned to profile, with their 3D pose (Zhu et al., CVPR 2016).

``AFW/ HELEN/ IBUG/ LFPW/`` hold ``NAME.jpg`` and ``NAME.mat`` (``Pose_Para``, and the face model's parameters), 61225
faces; ``landmarks/SET/NAME_pts.mat`` holds ``pts_2d`` (68 points as in 300W, snapped to the contour that is seen) and
``pts_3d`` (the 68 points of the 3D face, projected).

The mirrored ``*_Flip/`` are read where ``landmarks/`` has such a folder, and the authors' archive has none. They add
nothing to a training that mirrors, and the other faces' points, mirrored, would be a guess: the poses that they bear
are not the mirrored ones, but degrees away.

``pt2d`` of ``NAME.mat`` is not read: on turned faces it holds the points from before the turn.
300W's test faces (iBUG, the testsets of HELEN and LFPW) are among them: training on ``train`` sees them, turned.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from edgeface.datasets.official import layout
from edgeface.datasets.official.layout import Entry, Layout, is_image, names_in
from edgeface.datasets.official.mat import read_mat
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError

NAME = "300w_lp"
SETS = ("afw", "helen", "ibug", "lfpw")
FIRST_PIXEL = 1
"""Subtracted from every coordinate: the authors' code draws the points on the image in MATLAB, which counts from 1."""


def _parts(folder: Path) -> list[tuple[Path, str]]:
    """(folder, set) of AFW, …; of AFW_Flip, … where it has landmarks."""
    marked = names_in(folder / "landmarks")
    return [
        (folder / name, name.lower().removesuffix("_flip"))
        for name in sorted(names_in(folder))
        if name.lower() in SETS or (name.lower().removesuffix("_flip") in SETS and name in marked)
    ]


def _holds(folder: Path, names: set[str]) -> bool:
    parts = _parts(folder) if {name.lower() for name in names} & set(SETS) else []
    # landmarks/ has the same folders, with other files.
    return any(_is_face(name) for place, _ in parts for name in names_in(place))


def _is_face(name: str) -> bool:
    return name.endswith(".mat") and not name.endswith("_pts.mat") and not name.startswith(".")


def _entries(folder: Path) -> Iterator[Entry]:
    for place, part in _parts(folder):
        names = names_in(place)
        images = {Path(name).stem: name for name in sorted(names, reverse=True) if is_image(name)}
        for name in sorted(n for n in names if _is_face(n)):
            stem = name[: -len(".mat")]
            image = place / images.get(stem, f"{stem}.jpg")
            points = folder / "landmarks" / place.name / f"{stem}_pts.mat"
            entry_id = f"{place.name}/{stem}"
            read = partial(_sample, entry_id, place / name, points, image)
            yield Entry(entry_id, ("train", part), str(place / name), image, read)


def _sample(entry_id: str, path: Path, points_path: Path, image: Path) -> FaceSample:
    pose = layout.pose_of_pose_para(read_mat(path, "Pose_Para")["Pose_Para"])
    points = read_mat(points_path, "pts_2d", "pts_3d")
    landmarks = {
        "ibug68": _points(points["pts_2d"], f"{points_path}: pts_2d"),
        "ibug68_3d": _points(points["pts_3d"], f"{points_path}: pts_3d"),
    }
    return layout.sample(entry_id, NAME, "train", image, landmarks, pose_deg=pose)


def _points(values: np.ndarray, what: str) -> np.ndarray:
    """(68, 2), from (68, 2) or, with depth, (68, 3)."""
    if values.ndim != 2 or values.shape[0] != 68 or values.shape[1] not in (2, 3) or values.dtype.kind not in "fiu":
        raise InputError(f"{what} must be numbers of shape (68, 2). Received: {values.dtype} {values.shape}")
    return layout.finite(values[:, :2].astype(np.float64), what) - FIRST_PIXEL


LAYOUT = Layout(
    NAME,
    "300W-LP (.mat beside images)",
    ("train", *SETS),
    _holds,
    _entries,
    lambda folder: [place for place, _ in _parts(folder)],
)

"""AFLW2000-3D: ``imageNNNNN.jpg`` with ``imageNNNNN.mat`` (Zhu et al., CVPR 2016). 2000 faces, all for evaluation.

``Pose_Para``; ``pt3d_68`` (3, 68): the 3D face's points projected, y down, with depth; ``pt2d`` (2, 21): AFLW's visible
points, -1 where hidden. Some files hold another number of points there ("not consistent to 21 points", TensorFlow
Datasets' page of aflw2k3d): such a face has no aflw21.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from edgeface.datasets.official import layout
from edgeface.datasets.official.layout import Entry, Layout, names_in
from edgeface.datasets.official.mat import matrix, read_mat
from edgeface.datasets.sample import FaceSample

NAME = "aflw2000_3d"
FIRST_PIXEL = 1
"""Subtracted from every coordinate: the authors' code draws ``pt3d_68`` on the image in MATLAB, which counts from 1."""
_FILE = re.compile(r"image\d{5}\.mat")


def _holds(folder: Path, names: set[str]) -> bool:
    return any(_FILE.fullmatch(name) for name in names)


def _entries(folder: Path) -> Iterator[Entry]:
    names = names_in(folder)
    for name in sorted(n for n in names if _FILE.fullmatch(n)):
        stem = name[: -len(".mat")]
        image = folder / (f"{stem}.png" if f"{stem}.jpg" not in names and f"{stem}.png" in names else f"{stem}.jpg")
        yield Entry(stem, ("test", "val"), str(folder / name), image, partial(_sample, stem, folder / name, image))


def _sample(entry_id: str, path: Path, image: Path) -> FaceSample:
    found = read_mat(path, "Pose_Para", "pt3d_68", optional=("pt2d",))
    points = layout.finite(matrix(found["pt3d_68"], (3, 68), "pt3d_68")[:2].T, "pt3d_68") - FIRST_PIXEL
    landmarks = {"ibug68_3d": points}
    if "pt2d" in found and found["pt2d"].shape == (2, 21):
        points = matrix(found["pt2d"], (2, 21), "pt2d").T
        hidden = (points < 0).all(axis=1) | ~np.isfinite(points).all(axis=1)
        if not hidden.all():
            landmarks["aflw21"] = np.where(hidden[:, None], np.nan, points - FIRST_PIXEL)
    pose = layout.pose_of_pose_para(found["Pose_Para"])
    return layout.sample(entry_id, NAME, "test", image, landmarks, pose_deg=pose)


LAYOUT = Layout(NAME, "AFLW2000-3D (.mat beside images)", ("test", "val"), _holds, _entries, lambda folder: [folder])
"""``val`` = test: the pack of that name has a part of these faces under ``val``."""

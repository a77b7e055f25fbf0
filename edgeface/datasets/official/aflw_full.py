"""AFLW-Full and AFLW-Frontal: 19 points, hidden ones too, and the split that papers use (Zhu et al., CVPR 2016).

``AFLWinfo_release.mat`` over AFLW's images: ``nameList`` (N, 1) paths as in ``aflw.sqlite``, ``data`` (N, 38) the 19 x
and then the 19 y, ``mask_new`` (N, 19) 1 = visible, ``ra`` the faces' order, counted from 1: the first 20000 train, the
other 4386 test. Frontal = test faces with all 19 visible. The 19 are AFLW's 21 without the ears: they are read as
aflw21, the ears unknown.

Pose comes from ``aflw.sqlite`` where that lies in the same folder or in ``data/``; a face without a match has none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from edgeface.datasets.official import aflw, layout
from edgeface.datasets.official.layout import Entry, Layout
from edgeface.datasets.official.mat import matrix, read_mat
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError

NAME = "aflw_full"
FILE = "AFLWinfo_release.mat"
TRAIN_FACES = 20000
NO_EARS = tuple(i for i in range(21) if i not in (12, 16))
FIRST_PIXEL = 0
"""The visible points are AFLW's own numbers: nothing is subtracted here either."""
SAME_FACE = 0.1
"""Two annotations are of one face where their common points are closer than this share of the face, on average."""


def _entries(folder: Path) -> Iterator[Entry]:
    path = folder / FILE
    found = read_mat(path, "nameList", "data", "mask_new", "ra")
    names = [str(np.ravel(cell)[0]) if np.size(cell) else "" for cell in np.ravel(found["nameList"])]
    count = len(names)
    xy = matrix(found["data"], (count, 38), f"{path}: data").reshape(count, 2, 19).swapaxes(1, 2) - FIRST_PIXEL
    mask = matrix(found["mask_new"], (count, 19), f"{path}: mask_new") > 0
    order = np.ravel(found["ra"]).astype(np.int64) - 1
    if not np.array_equal(np.sort(order), np.arange(count)):
        raise InputError(f"{path}: ra must order the {count} faces of nameList. Received: {len(order)} other numbers")
    tested = np.ones(count, bool)
    tested[order[:TRAIN_FACES]] = False
    base, poses = aflw.image_base(folder), _Poses(folder)
    for i, name in enumerate(names):
        splits = ("test", "frontal") if tested[i] and mask[i].all() else ("test",) if tested[i] else ("train",)
        where = f"{path}, face {i + 1}"
        if not name:
            yield layout.broken(where, splits, "nameList must name an image. Received: nothing")
            continue
        image = base / name
        read = partial(_sample, str(i + 1), splits[0], image, xy[i], mask[i], partial(poses.of, name, xy[i]))
        yield Entry(str(i + 1), splits, where, image, read)


def _sample(
    entry_id: str, split: str, image: Path, xy: np.ndarray, mask: np.ndarray, pose: Callable[[], np.ndarray]
) -> FaceSample:
    points, visible = np.full((21, 2), np.nan), np.zeros(21, bool)
    points[list(NO_EARS)] = layout.finite(xy, "data")
    visible[list(NO_EARS)] = mask
    return layout.sample(
        entry_id, NAME, split, image, {"aflw21": points}, {"aflw21": visible}, pose_deg=pose().astype(np.float32)
    )


class _Poses:
    """Poses of aflw.sqlite by image and points: AFLWinfo names no face, and an image may have several."""

    def __init__(self, folder: Path) -> None:
        paths = [folder / aflw.FILE, folder / "data" / aflw.FILE]
        self._path = next((path for path in paths if path.is_file()), None)
        self._rows: dict[str, list[aflw.Row]] | None = None
        self._lock = threading.Lock()

    def of(self, name: str, xy: np.ndarray) -> np.ndarray:
        """(3,) degrees, NaN where no face of that image has these points (19, 2)."""
        best, pose = SAME_FACE * float(np.ptp(xy, axis=0).max()), np.full(3, np.nan)
        for row in self._by_image().get(_key(name), []):
            apart = np.linalg.norm(row.points[list(NO_EARS)] - xy, axis=1)
            if np.isfinite(apart).any() and np.nanmean(apart) < best:
                best, pose = float(np.nanmean(apart)), row.pose_deg
        return pose

    def _by_image(self) -> dict[str, list[aflw.Row]]:
        with self._lock:  # faces may be read by several threads
            if self._rows is None:
                rows: dict[str, list[aflw.Row]] = {}
                for row in aflw.read_rows(self._path) if self._path else []:
                    rows.setdefault(_key(row.filepath or ""), []).append(row)
                self._rows = rows
            return self._rows


def _key(name: str) -> str:
    """An image's path without its suffix: the two files do not always agree on it."""
    return str(PurePosixPath(name).with_suffix("")) if name else ""


LAYOUT = Layout(
    NAME,
    "AFLW-Full (AFLWinfo_release.mat)",
    ("train", "test", "frontal"),
    lambda folder, names: FILE in names,
    _entries,
    lambda folder: [],
)
"""No image folder: AFLW has images that this annotation leaves out."""

"""Readers of the packs: folders of small face images with one ``annotations.json`` each.

A record holds ``file``, ``split``, ``exclude`` (a near-duplicate of an evaluation face), ``landmarks``
{markup: [[x, y] or null, …]} in pixels of that file, ``visible`` {markup: [code, …]} and ``pose`` in degrees or null.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.box import face_box
from edgeface.datasets.imagefile import read_whole
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError, must_be_one_of
from edgeface.files import read_json
from edgeface.head_pose import ANGLES
from edgeface.markup import MARKUPS

PACKS = ("300w", "aflw", "mtfl", "youtube_faces", "facesynthetics", "aflw2000_3d")

SKIPPED_MARKUPS = {
    "ibug68_reannotated": "a later 2D annotation of AFLW2000-3D: scores on it and on the original do not compare",
}
"""Markups that occur in packs and are not read, with the reason. Any other unknown markup is an error."""

HELD_OUT = ("train_fit", "train_held_out")
"""Splits of every pack that has train faces: about four fifths of them to train on, and the rest to validate on."""


def held_out_split(file: str) -> str:
    """Which of `HELD_OUT` a train face is in, by a hash of its file's name: the same on every machine."""
    return HELD_OUT[hashlib.sha256(file.encode()).digest()[0] % 5 == 0]


def faces_root() -> Path | None:
    """The folder of packs that EDGEFACE_FACES names; None where it is not set or no such folder exists."""
    named = os.environ.get("EDGEFACE_FACES")
    return Path(named) if named and Path(named).is_dir() else None


def read_pack(
    name: str, split: str | None = None, root: str | Path | None = None, *, include_excluded: bool = False
) -> list[FaceSample]:
    """The faces of one pack, in file order of its ``annotations.json``; images are read on demand.

    Args:
        name: one of `PACKS`.
        split: one of the pack's splits or of `HELD_OUT`; None for all.
        root: the folder that holds the packs; by default EDGEFACE_FACES.
        include_excluded: near-duplicates of evaluation faces too.

    InputError: unknown pack or split, folder missing, annotations that cannot be read (the message names file and
    record).
    """
    if name not in PACKS:
        raise InputError(must_be_one_of("pack", PACKS, name))
    folder = pack_folder(name, root)
    found = records(folder, split, include_excluded=include_excluded)
    return [sample_of(record, name, folder, where) for where, record in found]


def records(
    folder: Path, split: str | None = None, *, include_excluded: bool = False
) -> list[tuple[str, dict[str, Any]]]:
    """(where it stands, record) of a folder's ``annotations.json``; nothing but their splits is looked at.

    Args:
        folder: the set's.
        split: one of its splits or of `HELD_OUT`; None for all.
        include_excluded: near-duplicates of evaluation faces too.
    """
    path = folder / "annotations.json"
    listed = read_json(path)
    if not isinstance(listed, list):
        raise InputError(f"{path} must hold a list of records. Received: {type(listed).__name__}")
    splits = [str(_field(record, "split", path, index)) for index, record in enumerate(listed)]
    if split in HELD_OUT:
        pairs = zip(listed, splits, strict=True)
        splits = [held_out_split(str(record.get("file"))) if of == "train" else of for record, of in pairs]
    if split is not None and split not in splits:
        raise InputError(must_be_one_of(f"split of {folder.name}", sorted(set(splits)), split))
    return [
        (f"{path}, record {index}", record)
        for index, (record, of) in enumerate(zip(listed, splits, strict=True))
        if split in (None, of) and (include_excluded or not record.get("exclude"))
    ]


def pack_folder(name: str, root: str | Path | None = None) -> Path:
    """The folder of a pack; InputError where it does not exist.

    Args:
        name: of the pack.
        root: the folder that holds the packs; by default `faces_root`.
    """
    base = Path(root) if root is not None else faces_root()
    if base is None:
        got = os.environ.get("EDGEFACE_FACES", "not set")
        raise InputError(f"EDGEFACE_FACES must name the folder of the face packs. Received: {got}")
    folder = base / name
    if not folder.is_dir():
        raise InputError(f"{folder} must be the folder of pack {name}. Received: no such folder")
    return folder


def _field(record: Any, key: str, path: Path, index: int) -> Any:
    if not isinstance(record, dict) or key not in record:
        got = sorted(record) if isinstance(record, dict) else type(record).__name__
        raise InputError(f"{path}, record {index} must be an object with {key!r}. Received: {got}")
    return record[key]


def sample_of(record: dict[str, Any], dataset: str, folder: Path, where: str) -> FaceSample:
    """A record's face; the image is not opened.

    Args:
        record: of ``annotations.json``.
        dataset: the set's name.
        folder: the set's.
        where: the record, the first words of an InputError.
    """
    file = record.get("file")
    if not isinstance(file, str) or not file:
        raise InputError(f"{where}: file must be an image's name. Received: {file!r}")
    where = f"{where} ({file})"
    marked = record.get("landmarks")
    if not isinstance(marked, dict) or not marked:
        raise InputError(f"{where}: landmarks must be {{markup: points}}. Received: {marked!r}")
    codes = record.get("visible") or {}
    if not isinstance(codes, dict):
        raise InputError(f"{where}: visible must be {{markup: codes}} or null. Received: {codes!r}")
    landmarks, visible = {}, {}
    for markup, points in marked.items():
        if markup in SKIPPED_MARKUPS:
            continue
        landmarks[markup] = _points(points, markup, where)
        visible[markup] = np.isfinite(landmarks[markup]).all(axis=1)
        if markup in codes:
            visible[markup] &= _codes(codes[markup], markup, where) > 0
    try:
        return FaceSample(
            id=Path(file).stem,
            dataset=dataset,
            split=str(record["split"]),
            load=partial(read_whole, folder / "images" / file),
            box=face_box(landmarks),
            landmarks_px=landmarks,
            visible=visible,
            pose_deg=_pose(record.get("pose"), where),
        )
    except InputError as error:
        raise InputError(f"{where}: {error}" if where not in str(error) else str(error)) from None


def _points(points: Any, markup: str, where: str) -> np.ndarray:
    """(K, 2) float32, NaN for null."""
    if markup not in MARKUPS:
        raise InputError(must_be_one_of(f"{where}: markup", (*MARKUPS, *SKIPPED_MARKUPS), markup))
    size = MARKUPS[markup].size
    if not isinstance(points, list) or len(points) != size:
        got = f"{len(points)} points" if isinstance(points, list) else type(points).__name__
        raise InputError(f"{where}: {markup} must have {size} points. Received: {got}")
    try:
        array = np.array([(np.nan, np.nan) if p is None else p for p in points], np.float32)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (size, 2):
        raise InputError(f"{where}: every point of {markup} must be [x, y] or null. Received: {_odd(points)}")
    return array


def _odd(points: list[Any]) -> str:
    """The first point that is not a pair of numbers."""
    number = (int, float)
    for index, point in enumerate(points):
        pair = isinstance(point, list) and len(point) == 2 and all(isinstance(v, number) for v in point)
        if point is not None and not pair:
            return f"{point!r} at point {index}"
    return "something else"


def _codes(codes: Any, markup: str, where: str) -> np.ndarray:
    """(K,) visibility codes: 0 = not in sight; 1 and up = there (on AFLW's 68 points 1 = occluded by another thing)."""
    size = MARKUPS[markup].size
    if not isinstance(codes, list) or len(codes) != size or not all(isinstance(c, int) for c in codes):
        got = f"{len(codes)} entries" if isinstance(codes, list) else type(codes).__name__
        raise InputError(f"{where}: visible of {markup} must be {size} whole numbers. Received: {got}")
    return np.array(codes)


def _pose(pose: Any, where: str) -> np.ndarray:
    """(3,) yaw, pitch, roll in degrees, NaN where unknown.

    No sign is turned: both packs with poses have yaw > 0 for a face turned to the image's left, as the package has.
    A test checks it on the landmarks: the nose tip's offset from the middle of eyes and mouth correlates with yaw
    by -0.89 on AFLW and by -0.93 on AFLW2000-3D.
    """
    if pose is None:
        return np.full(3, np.nan, np.float32)
    if not isinstance(pose, dict) or set(pose) - set(ANGLES):
        raise InputError(f"{where}: pose must be {{yaw[, pitch, roll]}} or null. Received: {pose!r}")
    try:
        return np.array([pose.get(angle, np.nan) for angle in ANGLES], np.float32)
    except (TypeError, ValueError):
        raise InputError(f"{where}: pose must be numbers in degrees. Received: {pose!r}") from None

"""AFLW from ``aflw.sqlite``: 21 points where visible, and pose (Köstinger et al., ICCVW 2011). No official split.

Tables: ``Faces`` (face_id, file_id), ``FaceImages`` (file_id, filepath, width, height), ``FacePose`` (face_id, roll,
pitch, yaw in radians), ``FaceRect`` (face_id, x, y, w, h), ``FeatureCoords`` (face_id, feature_id 1..21, x, y). Images
lie in ``flickr/{0,2,3}/`` beside it (or in ``data/flickr``, ``images``), as ``filepath`` says.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from edgeface.box import Box
from edgeface.datasets.official import layout
from edgeface.datasets.official.layout import Entry, Layout
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError

NAME = "aflw"
FILE = "aflw.sqlite"
POINTS = 21
TABLES = {
    "Faces": ("face_id", "file_id"),
    "FaceImages": ("file_id", "filepath", "width", "height"),
    "FacePose": ("face_id", "roll", "pitch", "yaw"),
    "FaceRect": ("face_id", "x", "y", "w", "h"),
    "FeatureCoords": ("face_id", "feature_id", "x", "y"),
}
FIRST_PIXEL = 0
"""AFLW's own tools are C++ on OpenCV, which counts pixels from 0: nothing is subtracted."""
_QUERY = """
    SELECT f.face_id, i.filepath, i.width, i.height, p.yaw, p.pitch, p.roll, r.x, r.y, r.w, r.h
    FROM Faces f LEFT JOIN FaceImages i ON i.file_id = f.file_id
    LEFT JOIN FacePose p ON p.face_id = f.face_id LEFT JOIN FaceRect r ON r.face_id = f.face_id
    GROUP BY f.face_id ORDER BY f.face_id
"""
_NUMBERS = (
    *("FaceImages.width", "FaceImages.height", "FacePose.yaw", "FacePose.pitch", "FacePose.roll"),
    *("FaceRect.x", "FaceRect.y", "FaceRect.w", "FaceRect.h"),
)
"""The query's columns after the first two."""


@dataclass(frozen=True)
class Row:
    """One face of the database."""

    face_id: int
    filepath: str | None
    size: tuple[int, int] | None
    pose_deg: np.ndarray
    """(3,) yaw, pitch, roll, NaN where the face has no row in FacePose."""
    rect: tuple[float, float, float, float] | None
    """x, y, w, h."""
    points: np.ndarray
    """(21, 2), NaN where not visible."""
    problem: str = ""
    """What is wrong with the row; all but its id is empty then."""


def read_rows(path: Path) -> list[Row]:
    """Every face of an aflw.sqlite; InputError: not a database, damaged, or a table or column is missing."""
    if not path.is_file() or path.stat().st_size == 0:
        got = "an empty file" if path.is_file() else "no such file"
        raise InputError(f"{path} must be an SQLite database. Received: {got}")
    try:
        database = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)
        try:
            _check_tables(database, path)
            faces = database.execute(_QUERY).fetchall()
            coords = database.execute("SELECT face_id, feature_id, x, y FROM FeatureCoords").fetchall()
        finally:
            database.close()
    except sqlite3.Error as error:
        raise InputError(f"{path} must be a whole SQLite database. Received: {error}") from None
    points: dict[Any, np.ndarray] = {}
    problems: dict[Any, str] = {}
    for face_id, feature_id, x, y in coords:
        if isinstance(feature_id, int) and 1 <= feature_id <= POINTS and x is not None and y is not None:
            try:
                found = _number(x, "FeatureCoords.x"), _number(y, "FeatureCoords.y")
            except InputError as error:
                problems.setdefault(face_id, str(error))
                continue
            points.setdefault(face_id, np.full((POINTS, 2), np.nan))[feature_id - 1] = np.subtract(found, FIRST_PIXEL)
    return [_row(row, points.get(row[0]), problems.get(row[0], "")) for row in faces]


def _check_tables(database: sqlite3.Connection, path: Path) -> None:
    has = {name.lower(): name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, columns in TABLES.items():
        if table.lower() not in has:
            got = ", ".join(sorted(has.values())) or "no table"
            raise InputError(f"{path} must have a table {table}. Received: {got}")
        there = {row[1].lower() for row in database.execute(f"PRAGMA table_info({table})")}
        missing = [column for column in columns if column not in there]
        if missing:
            raise InputError(f"{path}: {table} must have a column {missing[0]}. Received: {', '.join(sorted(there))}")


def _row(row: tuple, points: np.ndarray | None, problem: str = "") -> Row:
    """SQLite columns hold values of any type: one of another type than the column's makes its face a broken one."""
    face_id, filepath, *rest = row
    unknown = np.full((POINTS, 2), np.nan)
    try:
        if problem:
            raise InputError(problem)
        if not isinstance(filepath, str | None):
            raise InputError(f"FaceImages.filepath must be text. Received: {filepath!r:.60}")
        values = [None if value is None else _number(value, name) for value, name in zip(rest, _NUMBERS, strict=True)]
    except InputError as error:
        return Row(face_id, None, None, np.full(3, np.nan), None, unknown, str(error))
    width, height, yaw, pitch, roll, x, y, w, h = values
    angles = np.array([np.nan if angle is None else angle for angle in (yaw, pitch, roll)], np.float64)
    return Row(
        face_id=face_id,
        filepath=filepath,
        size=(int(width), int(height)) if width and height else None,
        # Yaw and pitch turn as in 300W-LP; roll turns the other way, and every loader negates it.
        pose_deg=np.rad2deg(angles) * (1, 1, -1),
        rect=None if None in (x, y, w, h) else (x, y, w, h),
        points=unknown if points is None else points,
    )


def _number(value: Any, name: str) -> float:
    """A finite number, as one or as text."""
    try:
        found = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"{name} must be a number. Received: {value!r:.60}")
    return found


def image_base(folder: Path) -> Path:
    """The folder that ``filepath`` starts from: the one that has AFLW's folders 0, 2 or 3."""
    places = [folder / name for name in ("flickr", "data/flickr", "images", "data/images", ".")]
    return next((p for p in places if any((p / n).is_dir() for n in ("0", "2", "3"))), places[0])


def _entries(folder: Path) -> Iterator[Entry]:
    path, base = folder / FILE, image_base(folder)
    for row in read_rows(path):
        where = f"{path}, face {row.face_id}"
        if row.problem:
            yield layout.broken(where, ("all",), row.problem)
            continue
        if not row.filepath:
            yield layout.broken(where, ("all",), "a face must have an image in FaceImages. Received: none")
            continue
        image = base / row.filepath
        yield Entry(str(row.face_id), ("all",), where, image, partial(_sample, row, image), row.size)


def _sample(row: Row, image: Path) -> FaceSample:
    if not np.isfinite(row.points).any():
        raise InputError("a face must have a row in FeatureCoords. Received: none")
    fallback = None
    if row.rect is not None and row.rect[2] > 0 and row.rect[3] > 0:
        x, y, w, h = row.rect
        fallback = Box(x, y, x + w, y + h)
    landmarks = {"aflw21": row.points}
    return layout.sample(
        str(row.face_id), NAME, "all", image, landmarks, pose_deg=row.pose_deg.astype(np.float32), fallback=fallback
    )


LAYOUT = Layout(
    NAME,
    "AFLW (aflw.sqlite)",
    ("all",),
    lambda folder, names: FILE in names,
    _entries,
    lambda folder: [image_base(folder)],
    recursive=True,
)

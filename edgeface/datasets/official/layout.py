"""What every official layout has in common: a folder is found, its faces are listed, a face is read when asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgeface.box import Box, face_box
from edgeface.datasets.imagefile import read_whole
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError, must_be_one_of

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
SEARCH_DEPTH = 3
"""Folders below the named one that are looked into: archives unpack one or two folders deep."""


@dataclass(frozen=True)
class Entry:
    """One annotated face of a folder, listed but not read."""

    id: str
    splits: tuple[str, ...]
    """Every split it belongs to; the first is the one its sample bears."""
    where: str
    """Its annotation, for messages: a file, or a file and a line."""
    image: Path | None
    """None where a broken line does not even name it."""
    read: Callable[[], FaceSample]
    """InputError: what is wrong with the annotation. The image is not opened."""
    size: tuple[int, int] | None = None
    """(width, height) that the annotation says the image has."""
    oriented: bool = False
    """The points count the pixels of the picture turned as its EXIF orientation says, not as it is stored."""


@dataclass(frozen=True)
class Layout:
    """A dataset as its authors ship it."""

    name: str
    title: str
    splits: tuple[str, ...]
    holds: Callable[[Path, set[str]], bool]
    """(folder, names in it) -> is this the dataset's folder?"""
    entries: Callable[[Path], Iterator[Entry]]
    """Every annotated face of a folder. InputError: a table that all of them need is missing or broken."""
    image_folders: Callable[[Path], list[Path]]
    """Where its images lie: one that no entry names is not annotated."""
    recursive: bool = False
    """Its image folders have folders of images in them."""


def sample(
    entry_id: str,
    dataset: str,
    split: str,
    image: Path,
    landmarks_px: dict[str, np.ndarray],
    visible: dict[str, np.ndarray] | None = None,
    pose_deg: np.ndarray | None = None,
    fallback: Box | None = None,
) -> FaceSample:
    """A face from what a reader found, framed like every other face of the package.

    visible: the known points where not given. fallback: its box where the points give none (AFLW's profiles).
    """
    landmarks_px = {name: np.asarray(points, np.float32) for name, points in landmarks_px.items()}
    visible = visible or {name: np.isfinite(points).all(axis=1) for name, points in landmarks_px.items()}
    try:
        box = face_box(landmarks_px)
    except InputError:
        if fallback is None:
            raise
        box = fallback
    if box.size < 1:
        raise InputError(f"the face must be larger than a pixel. Received: a box of {box.width:g} x {box.height:g} px")
    return FaceSample(
        id=entry_id,
        dataset=dataset,
        split=split,
        # MATLAB and the annotators' tools ignore EXIF's orientation: so must a reader of their coordinates.
        load=partial(read_whole, image, oriented=False),
        box=box,
        landmarks_px=landmarks_px,
        visible=visible,
        pose_deg=np.full(3, np.nan, np.float32) if pose_deg is None else np.asarray(pose_deg, np.float32),
    )


def broken(where: str | Path, splits: tuple[str, ...], message: str, image: Path | None = None) -> Entry:
    """An entry that cannot be read: a read of its split raises why, other splits are untouched."""

    def read() -> FaceSample:
        raise InputError(message)

    return Entry(str(where), splits, str(where), image, read)


def finite(points: np.ndarray, what: str) -> np.ndarray:
    """The points, InputError where one is not a finite number."""
    bad = np.flatnonzero(~np.isfinite(points).all(axis=-1))
    if len(bad):
        raise InputError(f"{what} must be finite. Received: {points[bad[0]].tolist()} at point {bad[0]}")
    return points


def numbers(words: list[str], what: str) -> np.ndarray:
    """(N,) float64 of words, InputError names the first that is none."""
    try:
        return np.array(words, np.float64)
    except ValueError:
        odd = next(word for word in words if not _is_number(word))
        raise InputError(f"{what} must be numbers. Received: {odd!r}") from None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def pose_of_pose_para(values: np.ndarray) -> np.ndarray:
    """(3,) yaw, pitch, roll in degrees from ``Pose_Para`` = pitch, yaw, roll (radians), tx, ty, tz, scale.

    300W-LP's and AFLW2000-3D's own convention is the package's: no sign is turned.
    """
    values = np.asarray(values, np.float64).ravel()
    if len(values) < 3 or not np.isfinite(values[:3]).all():
        raise InputError(f"Pose_Para must start with three finite angles. Received: {values[:3].tolist()}")
    pitch, yaw, roll = values[:3]
    return np.array([math.degrees(yaw), math.degrees(pitch), math.degrees(roll)], np.float32)


def read_text(path: Path) -> str:
    """A table's text, without a byte-order mark; InputError where it is missing or empty."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        raise InputError(f"{path} must be a text file. Received: no such file") from None
    except OSError as error:
        raise InputError(f"{path} must be readable. Received: {error.strerror or error}") from None
    if not text.strip():
        raise InputError(f"{path} must be a text file. Received: an empty file")
    return text


def names_in(folder: Path) -> set[str]:
    """Names of what lies in a folder; none where there is no such folder."""
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def images_under(layout: Layout, folder: Path) -> Iterator[Path]:
    """Every image in a dataset's image folders."""
    for place in layout.image_folders(folder):
        if layout.recursive:
            for base, _, files in os.walk(place):
                yield from (Path(base) / name for name in files if is_image(name))
        else:
            yield from (place / name for name in names_in(place) if is_image(name))


def find(root: str | Path, layouts: tuple[Layout, ...]) -> list[tuple[Layout, Path]]:
    """(layout, folder) of every dataset in a folder or a few folders below it, the upper ones first."""
    found = []
    level = [Path(root)]
    for _ in range(SEARCH_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            try:
                with os.scandir(folder) as listed:
                    items = list(listed)
            except OSError:
                continue
            names = {item.name for item in items}
            # A part of a dataset may look like one: the whole has been found before.
            inside = {layout.name for layout, above in found if above in folder.parents}
            found += [
                (layout, folder) for layout in layouts if layout.name not in inside and layout.holds(folder, names)
            ]
            below += sorted(Path(i.path) for i in items if not i.name.startswith(".") and i.is_dir())
        level = below
    return found


def read(layout: Layout, folder: Path, split: str | None, limit: int | None = None) -> list[FaceSample]:
    """The first ``limit`` faces of a split (None: of all of them); images are opened on demand.

    InputError: unknown split, or an annotation of it that cannot be read (the message names it).
    """
    if split is not None and split not in layout.splits:
        raise InputError(must_be_one_of(f"split of {layout.name}", layout.splits, split))
    samples: list[FaceSample] = []
    for entry in layout.entries(folder):
        if split is None or split in entry.splits:
            if limit is not None and len(samples) == limit:
                break
            samples.append(read_entry(entry))
    if not samples:
        asked = f"split {split}" if split else "any split"
        raise InputError(f"{folder} must hold faces of {layout.name}. Received: none in {asked}")
    return samples


def read_entry(entry: Entry) -> FaceSample:
    """The entry's sample; InputError starts with where its annotation stands."""
    try:
        return entry.read()
    except (InputError, ValueError) as error:  # ValueError: a Box or a Markup that cannot be
        text = str(error)
        raise InputError(text if text.startswith(entry.where) else f"{entry.where}: {text}") from None

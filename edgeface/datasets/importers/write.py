"""From an annotation tool's file to a folder of the project's own form: images copied, ``annotations.json`` written."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.datasets.importers import formats
from edgeface.datasets.importers.marked import Marked
from edgeface.errors import InputError, must_be_one_of
from edgeface.files import write_json
from edgeface.markup import Markup, markup

FORMATS: dict[str, Callable[[Path, int], Iterator[Marked]]] = {
    "coco": formats.read_coco,
    "cvat": formats.read_cvat,
    "labelme": formats.read_labelme,
    "labelstudio": formats.read_labelstudio,
    "dlib": formats.read_dlib,
    "pts": formats.read_pts,
}


@dataclass(frozen=True)
class Imported:
    """What came of it."""

    folder: Path
    faces: int
    images: int
    skipped: tuple[str, ...]
    """"record: reason" of every record that was left out."""


def import_faces(
    format: str,
    source: str | Path,
    out: str | Path,
    *,
    markup_name: str,
    images: str | Path | None = None,
    split: str = "train",
    test_share: float = 0.0,
) -> Imported:
    """Writes ``out``/images and ``out``/annotations.json, which every command of the package then reads as a set.

    Args:
        format: one of `FORMATS`.
        source: the tool's file, or a folder of its files.
        out: a new folder; its name is the set's name.
        markup_name: the markup whose points are marked, in its order.
        images: the folder that the records' image names are relative to; default: the source's own.
        split: the split of every face that does not go to ``test``.
        test_share: share of the images, 0 to 1, that go to the split ``test``, chosen by a hash of the image's name.

    Raises:
        InputError: an unknown format or markup, a folder that exists, a source that cannot be read, no usable face.
    """
    if format not in FORMATS:
        raise InputError(must_be_one_of("format", FORMATS, format))
    if not 0 <= test_share < 1:
        raise InputError(f"the share of test images must be at least 0 and below 1. Received: {test_share}")
    scheme, source, out = _markup(markup_name), Path(source), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} must be a new or an empty folder. Received: one that holds something")
    roots = [Path(images)] if images is not None else [source if source.is_dir() else source.parent]
    roots += [root / "images" for root in roots]
    records, skipped, copies = [], [], _Copies(out / "images")
    for face in FORMATS[format](source, scheme.size):
        problem = face.problem
        image = None if problem else _found(face.file, roots)
        if not problem and image is None:
            problem = f"its image must be below {roots[0]}. Received: {face.file or 'no name'}"
        if problem:
            skipped.append(f"{face.where}: {problem}")
            continue
        name = copies.add(image)
        of = "test" if _share(name) < test_share else split
        records.append(_record(face, name, of, scheme))
    if not records:
        reason = f"{len(skipped)} records, such as {skipped[0]}" if skipped else "none"
        raise InputError(f"{source} must hold faces marked with {scheme.size} points. Received: {reason}")
    # Last: a folder without it is not a set, so a kill leaves none that is half.
    write_json(out / "annotations.json", records)
    return Imported(out, len(records), copies.count, tuple(skipped))


def _markup(name: str) -> Markup:
    try:
        return markup(name)
    except ValueError as error:
        raise InputError(str(error)) from None


def _found(file: str, roots: list[Path]) -> Path | None:
    """The image, by its path below a root; else by its name alone, as exports often keep the folders of elsewhere."""
    if not file:
        return None
    given = Path(file)
    for path in (*((root / file) for root in roots), given, *((root / given.name) for root in roots)):
        if path.is_file():
            return path
    return None


def _share(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:4], "big") / 2**32


def _record(face: Marked, name: str, split: str, scheme: Markup) -> dict[str, Any]:
    points = [[round(x, 3), round(y, 3)] if np.isfinite([x, y]).all() else None for x, y in face.points_px.tolist()]
    record: dict[str, Any] = {"file": name, "split": split, "landmarks": {scheme.name: points}}
    if face.visible is not None and not face.visible.all():
        record["visible"] = {scheme.name: [int(v) for v in face.visible]}
    return record


class _Copies:
    """Each image once, under a name of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[Path, str] = {}

    @property
    def count(self) -> int:
        return len(self._names)

    def add(self, image: Path) -> str:
        image = image.resolve()
        if image not in self._names:
            name = image.name
            if name in self._names.values():
                name = f"{image.stem}_{hashlib.sha256(os.fsencode(image)).hexdigest()[:8]}{image.suffix}"
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(image, self.folder / name)
            except OSError as error:
                raise InputError(f"{self.folder} must be writable. Received: {error.strerror or error}") from None
            self._names[image] = name
        return self._names[image]

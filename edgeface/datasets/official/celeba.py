"""CelebA: five points on 202599 faces, in the wild or aligned (Liu et al., ICCV 2015).

``list_landmarks_celeba.txt`` belongs to ``img_celeba/``, ``list_landmarks_align_celeba.txt`` to ``img_align_celeba/``:
two sets, ``celeba`` and ``celeba_aligned``. ``list_eval_partition.txt``: 0 train, 1 val, 2 test. The files lie in one
folder or in ``Anno/``, ``Eval/`` and ``Img/`` as they are downloaded. ``list_bbox_celeba.txt``, where it is there, must
name every face and is not used further: the face's box comes from the points, as for every set.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from edgeface.datasets.official import layout
from edgeface.datasets.official.layout import Entry, Layout, read_text
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError

PARTITION = "list_eval_partition.txt"
BOXES = "list_bbox_celeba.txt"
SPLITS = {"0": "train", "1": "val", "2": "test"}
FIRST_PIXEL = 0
"""Whole pixels, and no word on the first one: nothing is subtracted."""
_PLACES = ("", "Anno", "anno", "Eval", "eval", "Img", "img")
POINTS = "list_landmarks_celeba.txt"
POINTS_ALIGNED = "list_landmarks_align_celeba.txt"


def _holds(folder: Path, names: set[str], points: str, images: str) -> bool:
    """Whether the table or the images are there: an error can then name which of the two is missing."""
    inner = names & set(_PLACES)
    if not inner and not names & {points, images} or folder.name in _PLACES:
        return False
    return _file(folder, points).is_file() or _file(folder, images).is_dir()


def _file(folder: Path, name: str) -> Path:
    """The file in the folder or in one of the archive's own; where it should be when it is nowhere."""
    places = [folder / place / name for place in _PLACES]
    return next((place for place in places if place.exists()), places[0])


def _table(path: Path, columns: int) -> Iterator[tuple[int, str, list[str]]]:
    """(line, file, the other fields): a count, a header, a line a face. InputError: the count is another."""
    lines = read_text(path).splitlines()
    rows = [(number, line.split()) for number, line in enumerate(lines[2:], 3) if line.strip()]
    if lines[0].strip() != str(len(rows)):
        raise InputError(f"{path} must have as many lines as it says, {lines[0].strip()}. Received: {len(rows)}")
    for number, fields in rows:
        yield number, fields[0], fields[1:]


def _entries(folder: Path, dataset: str, points: str, images: str) -> Iterator[Entry]:
    path, place = _file(folder, points), _file(folder, images)
    partition = _file(folder, PARTITION)
    pairs = (line.split() for line in read_text(partition).splitlines() if line.strip())
    split_of = {pair[0]: SPLITS.get(pair[1]) for pair in pairs if len(pair) == 2}
    boxed = _boxed(folder)
    for number, file, fields in _table(path, 10):
        where, image, split = f"{path}, line {number}", place / file, split_of.get(file)
        if split is None:
            message = f"{partition} must put {file} into 0, 1 or 2. Received: nothing of the kind"
            # Of any split: a short partition must not make each of them smaller in silence.
            yield layout.broken(where, tuple(SPLITS.values()), message, image)
        elif boxed is not None and file not in boxed:
            yield layout.broken(where, (split,), f"{BOXES} must have a line for {file}. Received: none", image)
        elif len(fields) != 10:
            got = f"{len(fields)}"
            yield layout.broken(where, (split,), f"a line must have 10 coordinates. Received: {got}", image)
        else:
            stem = Path(file).stem
            yield Entry(stem, (split,), where, image, partial(_sample, stem, dataset, split, image, fields))


def _boxed(folder: Path) -> set[str] | None:
    """The files with a box; None without that table, which nothing else needs."""
    path = _file(folder, BOXES)
    return {file for _, file, _ in _table(path, 4)} if path.is_file() else None


def _sample(entry_id: str, dataset: str, split: str, image: Path, words: list[str]) -> FaceSample:
    points = layout.finite(layout.numbers(words, "coordinates").reshape(5, 2), "coordinates") - FIRST_PIXEL
    return layout.sample(entry_id, dataset, split, image, {"mtfl5": points})


def _layout(dataset: str, title: str, points: str, images: str) -> Layout:
    return Layout(
        dataset,
        title,
        ("train", "val", "test"),
        partial(_holds, points=points, images=images),
        partial(_entries, dataset=dataset, points=points, images=images),
        lambda folder: [_file(folder, images)],
    )


WILD = _layout("celeba", "CelebA in the wild", POINTS, "img_celeba")
ALIGNED = _layout("celeba_aligned", "CelebA, aligned and cropped", POINTS_ALIGNED, "img_align_celeba")

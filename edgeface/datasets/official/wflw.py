"""WFLW: 98 points and six attributes in two lists (Wu et al., CVPR 2018).

``WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt`` and ``WFLW_images/``. A line a
face: 98 pairs x y, the detection rectangle x_min y_min x_max y_max, the attributes pose expression illumination make-up
occlusion blur (1 = that kind of hard), the image's path. The protocol's six subsets: the test faces with one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from edgeface.datasets.official import layout
from edgeface.datasets.official.layout import Entry, Layout, read_text
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError

NAME = "wflw"
SUBSETS = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
"""Subsets in the order of the attributes in a line."""
FIRST_PIXEL = 0
"""The authors name no first pixel, and public loaders read the numbers as they are: nothing is subtracted."""
LISTS = "WFLW_annotations/list_98pt_rect_attr_train_test"
FIELDS = 98 * 2 + 4 + len(SUBSETS) + 1
_SPLITS = {"train": ("train",), "test": ("test", *SUBSETS)}
"""What a line may belong to whose attributes cannot be read: no subset may do without it in silence."""


def _entries(folder: Path) -> Iterator[Entry]:
    for split in ("train", "test"):
        path = folder / LISTS / f"list_98pt_rect_attr_{split}.txt"
        try:
            lines = read_text(path).splitlines()
        except InputError as error:
            yield layout.broken(path, _SPLITS[split], str(error))
            continue
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _entry(folder, split, f"{path}, line {number}", f"{split}/{number}", line)


def _entry(folder: Path, split: str, where: str, entry_id: str, line: str) -> Entry:
    fields = line.split(maxsplit=FIELDS - 1)
    if len(fields) != FIELDS:
        return layout.broken(where, _SPLITS[split], f"a line must have {FIELDS} fields. Received: {len(fields)}")
    image = folder / "WFLW_images" / fields[-1].strip()
    attributes = fields[200:206]
    if not set(attributes) <= {"0", "1"}:
        got = " ".join(attributes)
        return layout.broken(where, _SPLITS[split], f"the six attributes must be 0 or 1. Received: {got}", image)
    hard = tuple(name for name, flag in zip(SUBSETS, attributes, strict=True) if flag == "1")
    read = partial(_sample, entry_id, split, image, fields[:196])
    return Entry(entry_id, (split, *(hard if split == "test" else ())), where, image, read)


def _sample(entry_id: str, split: str, image: Path, words: list[str]) -> FaceSample:
    points = layout.finite(layout.numbers(words, "points").reshape(98, 2), "points") - FIRST_PIXEL
    return layout.sample(entry_id, NAME, split, image, {"wflw98": points.astype(np.float32)})


LAYOUT = Layout(
    NAME,
    "WFLW (list_98pt_rect_attr_*.txt)",
    ("train", "test", *SUBSETS),
    lambda folder, names: bool(names & {"WFLW_annotations", "WFLW_images"}),
    _entries,
    lambda folder: [folder / "WFLW_images"],
    recursive=True,
)

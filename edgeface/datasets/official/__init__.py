"""Readers of datasets in the layouts that their authors ship: what users have on disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edgeface.datasets.official import aflw, aflw2000_3d, aflw_full, celeba, w300, w300_lp, wflw
from edgeface.datasets.official.layout import Entry, Layout, find, read, read_entry
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError

__all__ = [
    "LAYOUTS",
    "OFFICIAL",
    "Entry",
    "Layout",
    "data_root",
    "find",
    "find_one",
    "fingerprint",
    "read_entry",
    "read_official",
]

LAYOUTS = (
    w300.LAYOUT,
    w300_lp.LAYOUT,
    aflw2000_3d.LAYOUT,
    aflw.LAYOUT,
    aflw_full.LAYOUT,
    wflw.LAYOUT,
    celeba.WILD,
    celeba.ALIGNED,
)
OFFICIAL = tuple(layout.name for layout in LAYOUTS)
ANNOTATIONS = (".pts", ".mat", ".txt", ".sqlite")
"""Suffixes of the files that say where the points are."""


def data_root() -> Path | None:
    """The folder that holds datasets in their official layouts, EDGEFACE_DATA; None where it is not there."""
    named = os.environ.get("EDGEFACE_DATA")
    root = Path(named).expanduser() if named else None
    return root if root is not None and root.is_dir() else None


def find_one(name: str, root: str | Path | None = None) -> tuple[Layout, Path]:
    """The layout of that name and its folder: ``root`` or a few folders below it (default: EDGEFACE_DATA).

    InputError: there is none, or two of them, so that it is ambiguous.
    """
    layout = next(found for found in LAYOUTS if found.name == name)
    base = Path(root).expanduser() if root is not None else data_root()
    if base is None:
        got = os.environ.get("EDGEFACE_DATA", "not set")
        raise InputError(f"EDGEFACE_DATA must name the folder that holds {name} ({layout.title}). Received: {got}")
    if not base.is_dir():
        raise InputError(f"{base} must be the folder that holds {name}. Received: no such folder")
    folders = [folder for _, folder in find(base, (layout,))]
    if len(folders) != 1:
        got = " and ".join(map(str, folders[:2])) or "nothing of that layout"
        raise InputError(f"{base} must hold {name} ({layout.title}) once. Received: {got}")
    return layout, folders[0]


def read_official(
    name: str, split: str | None = None, limit: int | None = None, root: str | Path | None = None
) -> list[FaceSample]:
    """The first ``limit`` faces of a dataset in its official layout; see `find_one` and `layout.read`."""
    layout, folder = find_one(name, root)
    return read(layout, folder, split, limit)


def fingerprint(name: str, root: str | Path | None = None) -> str:
    """Changes with any annotation file of the dataset: hash of their names, sizes and times. None of them is read."""
    _, folder = find_one(name, root)
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for base, below, files in os.walk(folder):
        below.sort()
        for file in sorted(files):
            if file.endswith(ANNOTATIONS):
                stat = os.stat(os.path.join(base, file))
                digest.update(f"{base}/{file} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()

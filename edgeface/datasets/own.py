"""Faces of your own: ``NAME/images/`` and ``NAME/annotations.json``, the packs' form under any name."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from edgeface.datasets.packs import faces_root, records, sample_of
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError


def own_folder(name: str, root: str | Path | None = None) -> Path | None:
    """The folder of that name with annotations; None where there is none.

    Args:
        name: of the set; no path, which could mean a folder elsewhere.
        root: the folder that holds it; by default EDGEFACE_FACES.
    """
    base = Path(root) if root is not None else faces_root()
    # A plain name: a path could mean a folder elsewhere.
    if base is None or not name or Path(name).name != name:
        return None
    return base / name if (base / name / "annotations.json").is_file() else None


def read_own(name: str, split: str | None = None, root: str | Path | None = None) -> list[FaceSample]:
    """The faces of a split, in file order; images are read on demand. Records and their errors are those of
    `edgeface.datasets.packs`.

    Args:
        name: of the set.
        split: any word, by custom train, val and test; None for all.
        root: the folder that holds the set; by default EDGEFACE_FACES.

    InputError: no such folder, no such split, annotations that cannot be read.
    """
    folder = own_folder(name, root)
    if folder is None:
        raise InputError(f"{name} must be a folder with annotations.json. Received: none in {root or 'EDGEFACE_FACES'}")
    chosen = [(where, sample_of(record, name, folder, where)) for where, record in records(folder, split)]
    ids = _ids(folder)
    return [replace(sample, id=ids[where]) for where, sample in chosen]


def _ids(folder: Path) -> dict[str, str]:
    """{where a record stands: the face's id}. Different for every face, whatever the split: folders below images/ may
    hold files of one name, and one image several faces."""
    seen: Counter[str] = Counter()
    ids = {}
    for where, record in records(folder, include_excluded=True):
        base = Path(str(record.get("file"))).with_suffix("").as_posix().replace("/", "_")
        seen[base] += 1
        ids[where] = base if seen[base] == 1 else f"{base}#{seen[base]}"
    return ids

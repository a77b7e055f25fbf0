"""Any set of faces by name: packs, your own, datasets as their authors ship them, and rendered ones without files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edgeface.datasets.official import OFFICIAL, data_root, find_one, read_official
from edgeface.datasets.own import own_folder, read_own
from edgeface.datasets.packs import PACKS, faces_root, pack_folder, read_pack
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError, must_be_one_of

SETS = (*PACKS, *(name for name in OFFICIAL if name not in PACKS), "synthetic")

SYNTHETIC_DEFAULT = 500
"""Rendered faces by default; each split has a thousand million."""


def load_set(
    name: str, split: str | None, limit: int | None = None, root: str | Path | None = None
) -> list[FaceSample]:
    """The faces of a set, images read on demand.

    Args:
        name: one of `SETS`, or a folder of faces of your own (`edgeface.datasets.own`). A name that is both a pack
            and an official dataset (300w, aflw, aflw2000_3d) is the pack where the pack exists.
        split: None for all; of rendered faces "train".
        limit: the first so many.
        root: the folder of packs, or one that holds the dataset in its official layout; by default EDGEFACE_FACES
            (`packs.faces_root`) and then EDGEFACE_DATA (`official.data_root`).
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be >= 1. Received: {limit}")
    if name == "synthetic":
        from edgeface.datasets.synthetic import synthetic_samples

        return synthetic_samples(limit or SYNTHETIC_DEFAULT, split=split or "train")
    if is_own(name, root):
        return read_own(name, split, root)[:limit]
    if name not in SETS:
        raise InputError(must_be_one_of("set", set_names(root), name))
    if is_pack(name, root):
        return read_pack(name, split, root)[:limit]
    return read_official(name, split, limit, root)


def set_folders(name: str, root: str | Path | None = None) -> list[Path]:
    """The folder that `load_set` reads, in a list; none where there is no such set, or where its faces are rendered.

    Args:
        name: of the set.
        root: as in `load_set`.
    """
    with suppress(InputError):
        if is_own(name, root) or (name in PACKS and is_pack(name, root)):
            return [pack_folder(name, root)]
        if name in OFFICIAL:
            return [find_one(name, root)[1]]
    return []


def set_names(root: str | Path | None = None) -> tuple[str, ...]:
    """Every name that `load_set` takes: `SETS`, and own folders of faces in ``root`` (default: EDGEFACE_FACES)."""
    base = Path(root) if root is not None else faces_root()
    folders = sorted(base.glob("*/annotations.json")) if base is not None else []
    return (*SETS, *(f.parent.name for f in folders if f.parent.name not in SETS))


def is_own(name: str, root: str | Path | None = None) -> bool:
    """Whether that name is a folder of faces of your own.

    Args:
        name: of the set.
        root: the folder that holds it; by default EDGEFACE_FACES.
    """
    return name not in SETS and own_folder(name, root) is not None


def is_pack(name: str, root: str | Path | None = None) -> bool:
    """Whether `load_set` reads that name as a pack: by its name alone, or because there is such a folder.

    Args:
        name: of the set.
        root: the folder of packs; by default EDGEFACE_FACES.
    """
    if name not in PACKS or name not in OFFICIAL:
        return name in PACKS
    base = Path(root) if root is not None else faces_root()
    if base is not None and (base / name / "annotations.json").is_file():
        return True
    # Nothing anywhere: the pack is what is missing, unless a folder of official datasets was named.
    return root is None and data_root() is None


def evaluation_split(name: str) -> str:
    """The split that scores are taken on: test, val where a set has only that, all of a set without either."""
    return {
        "aflw2000_3d": "val",
        "mtfl": "all",
        "youtube_faces": "train_b",
        "facesynthetics": "all",
        "300w_lp": "all",
    }.get(name, "test")

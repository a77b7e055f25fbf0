"""Any set of faces by name: the packs, and the rendered faces that need no files."""

from __future__ import annotations

from pathlib import Path

from edgeface.datasets.packs import PACKS, read_pack
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError

SETS = (*PACKS, "synthetic")

SYNTHETIC_DEFAULT = 500
"""How many rendered faces there are where nobody says how many; each split has a thousand million."""


def load_set(
    name: str, split: str | None, limit: int | None = None, root: str | Path | None = None
) -> list[FaceSample]:
    """The first ``limit`` faces of a split (of all splits where None; rendered faces: "train" then).

    name: one of `SETS`. root: the folder of packs, see `edgeface.datasets.packs.faces_root`.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be >= 1. Received: {limit}")
    if name == "synthetic":
        from edgeface.datasets.synthetic import synthetic_samples

        return synthetic_samples(limit or SYNTHETIC_DEFAULT, split=split or "train")
    if name not in PACKS:
        raise InputError(f"set must be one of {', '.join(SETS)}. Received: {name!r}")
    return read_pack(name, split, root)[:limit]


def evaluation_split(name: str) -> str:
    """The split that scores are taken on: test, val where a set has only that, all of a set without either."""
    return {"aflw2000_3d": "val", "mtfl": "all", "youtube_faces": "train_b", "facesynthetics": "all"}.get(name, "test")

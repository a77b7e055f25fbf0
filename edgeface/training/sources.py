"""From the config's sets to packed faces, rendered or cut out once and kept by what they were made from."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from edgeface.datasets.load import load_set
from edgeface.datasets.packed import PackedFaces, concat, pack_faces
from edgeface.datasets.packs import PACKS, faces_root
from edgeface.datasets.posefit import filled_pose
from edgeface.errors import InputError
from edgeface.training.config import SourceConfig, TrainConfig
from edgeface.training.pipeline import Source

SLICE = 500
"""Faces packed by one job; below two jobs no other process is started."""


def load_sources(
    config: TrainConfig, markups: tuple[str, ...], cache: Path, say: Callable[[str], None]
) -> list[Source]:
    """Every source of the config, packed; a message a source. markups: the network's heads.

    InputError: a source labels none of the heads, or a set cannot be read.
    """
    sources = []
    for i, s in enumerate(config.sources):
        packed = packed_source(s, config.pack_size, config.pack_scale, cache)
        if s.fit_pose:
            packed = filled_pose(packed)
        label = f"{s.set}/{s.split or 'all'}"
        used = s.markups or tuple(m for m in markups if m in packed.landmarks)
        if not set(used) & set(markups) and not s.pose:
            raise InputError(
                f"sources.{i} ({label}) must label one of {', '.join(markups)}. Received: {used or 'none'}"
            )
        say(f"source {label}: {len(packed)} faces, weight {s.weight:g}, {', '.join(used) or 'pose alone'}")
        sources.append(Source(packed, s.weight, label, s.markups or None, s.pose))
    return sources


def packed_source(source: SourceConfig, size: int, scale: float, cache: Path) -> PackedFaces:
    """One set, from the cache where the same faces were packed by the same code before."""
    path = cache / f"{source.set}-{source.split or 'all'}-{_key(source, size, scale)}.npz"
    if path.exists():
        try:
            return PackedFaces.load(path)
        except InputError:
            path.unlink()  # damaged: make it again
    packed = _pack(source, size, scale)
    packed.save(path)
    return packed


def _pack(source: SourceConfig, size: int, scale: float) -> PackedFaces:
    args = (source.set, source.split, source.limit, size, scale)
    if source.set != "synthetic" or (source.limit or 0) < 2 * SLICE:
        return pack_faces(load_set(*args[:3]), size, scale)
    from rich.progress import track

    # Rendering is most of the work, and each face depends on its seed alone. spawn: a backend may hold threads.
    starts = range(0, source.limit, SLICE)
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_pack_slice, *args, start) for start in starts]
        for _ in track(as_completed(jobs), f"rendering {source.limit} faces", len(jobs)):
            pass
        return concat([job.result() for job in jobs])


def _pack_slice(name: str, split: str | None, limit: int | None, size: int, scale: float, start: int) -> PackedFaces:
    return pack_faces(load_set(name, split, limit)[start : start + SLICE], size, scale)


def _key(source: SourceConfig, size: int, scale: float) -> str:
    """A hash of what decides the packed faces: the request, the annotations and the code that reads or renders."""
    digest = hashlib.sha256(json.dumps([source.set, source.split, source.limit, size, scale]).encode())
    package = Path(__file__).resolve().parents[1]
    code = [package / "geometry.py", package / "markup.py", *sorted((package / "datasets").rglob("*.py"))]
    if source.set in PACKS and (root := faces_root()) is not None:
        code.append(root / source.set / "annotations.json")
    for path in code:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

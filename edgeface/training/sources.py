"""From the config's sets to packed faces, rendered or cut out once and kept by what they were made from."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import numpy as np

from edgeface.datasets.load import SYNTHETIC_DEFAULT, load_set
from edgeface.datasets.packed import PackedFaces, concat, pack_faces
from edgeface.datasets.packs import PACKS, faces_root
from edgeface.datasets.posefit import filled_pose
from edgeface.datasets.sample import FaceSample
from edgeface.datasets.synthetic import face_seed, render_face
from edgeface.errors import InputError
from edgeface.training.config import SourceConfig, TrainConfig
from edgeface.training.pipeline import Source

SLICE = 250
"""Faces rendered by one job; a single job is done in this process."""
RENDER_SIDE = 128
"""Side of the rendered pictures, as `edgeface.datasets.load` gives them."""


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
    if source.set != "synthetic":
        return pack_faces(load_set(source.set, source.split, source.limit), size, scale)
    count, split = source.limit or SYNTHETIC_DEFAULT, source.split or "train"
    from rich.progress import track

    # Rendering is most of the work, and each face depends on its seed alone. spawn: a backend may hold threads.
    starts = range(0, count, SLICE)
    if len(starts) == 1:
        return _render(split, 0, count, size, scale)
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_render, split, start, min(start + SLICE, count), size, scale) for start in starts]
        for _ in track(as_completed(jobs), f"rendering {count} faces", len(jobs)):
            pass
        return concat([job.result() for job in jobs])


def _render(split: str, start: int, stop: int, size: int, scale: float) -> PackedFaces:
    """Faces [start, stop) of a split, labels and picture from one rendering each."""
    samples = []
    for index in range(start, stop):
        seed = face_seed(index, split=split)
        face = render_face(seed, RENDER_SIDE)
        samples.append(
            FaceSample(
                id=f"synthetic-{seed:010d}",
                dataset="synthetic",
                split=split,
                load=partial(np.asarray, face.image),
                box=face.box,
                landmarks_px=face.landmarks_px,
                visible=face.visible,
                pose_deg=face.pose_deg,
            )
        )
    return pack_faces(samples, size, scale)


def _key(source: SourceConfig, size: int, scale: float) -> str:
    """A hash of what decides the packed faces: the request, the annotations and the code that reads or renders."""
    digest = hashlib.sha256(json.dumps([source.set, source.split, source.limit, size, scale]).encode())
    package = Path(__file__).resolve().parents[1]
    datasets = package / "datasets"
    code = [package / "geometry.py", package / "markup.py", datasets / "packed.py"]
    if source.set == "synthetic":
        code += [package / "headpose.py", *sorted((datasets / "synthetic").glob("*.py"))]
    else:
        code += [datasets / "packs.py", datasets / "boxes.py"]
    if source.set in PACKS and (root := faces_root()) is not None:
        code.append(root / source.set / "annotations.json")
    for path in code:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

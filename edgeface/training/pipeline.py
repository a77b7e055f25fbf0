"""From cut-out faces to batches: weighted sources, random access by step, threads, one grain dataset that `fit` takes.

Batch ``step`` is a function of (sources, configuration, seed, step) alone: which faces and what happens to them. So a
run that resumes at step k sees exactly what an uninterrupted one sees, whatever the number of threads.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Literal

import cv2
import grain
import numpy as np

from edgeface.errors import InputError
from edgeface.markup import markup
from edgeface.schema import must
from edgeface.training.augment import AugmentConfig, augment

if TYPE_CHECKING:
    from edgeface.datasets.cut_faces import CutFaces

Batch = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
Mode = Literal["mixed", "alternate"]

STEPS = 1 << 40
"""Length of the dataset: fit takes what it needs (``steps_per_epoch``)."""
_SHUFFLE = 1 << 63
"""Set in the addresses of shuffles, so that no face ever shares a stream with one."""


@dataclass(frozen=True)
class LoadedSource:
    """The faces of a config's source, to draw from."""

    faces: CutFaces
    weight: float
    """Its share of the faces ("mixed") or of the batches ("alternate"), relative to the others'."""
    name: str
    markups: tuple[str, ...] | None = None
    """Only these are used; None: all it has."""
    pose: bool = True
    """False masks its poses."""
    skipped: tuple[str, ...] = ()
    """``id: reason`` of the faces that could not be used and are not in ``faces``."""
    copies: int = 0
    """How many in ``faces`` are copies of others."""

    @property
    def distinct(self) -> int:
        """How many faces there are without the copies."""
        return len(self.faces) - self.copies

    def __post_init__(self) -> None:
        if len(self.faces.images) == 0:
            raise InputError(f"source {self.name} must hold at least one face. Received: none")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise InputError(f"weight of source {self.name} must be above 0. Received: {self.weight}")
        missing = sorted(set(self.markups or ()) - set(self.faces.landmarks))
        if missing:
            has = sorted(self.faces.landmarks)
            raise InputError(f"markups of source {self.name} must be among {has}. Received: {missing}")
        # Found here and not in the middle of fit, where TensorFlow wraps an error in its own.
        box, pose = self.faces.box_xyxy, self.faces.pose_deg
        extent = box[:, 2:] - box[:, :2]
        usable = np.isfinite(box).all(1) & (extent.min(1) >= 0) & (extent.max(1) > 0) & ~np.isinf(pose).any(1)
        if not usable.all():
            odd = int(np.argmin(usable))
            raise InputError(
                f"face {self.faces.ids[odd]} of source {self.name} must have a box with a side above 0 and a "
                f"pose that is finite or NaN. Received: {box[odd].tolist()}, {pose[odd].tolist()}"
            )


@dataclass(frozen=True)
class Views:
    """What a network sees of a face, and how many faces a batch holds."""

    side: int
    """Side of the images in pixels."""
    channels: int
    """1 (gray) or 3 (RGB)."""
    markups: tuple[str, ...]
    """The network's heads."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("side", "batch_size"):
            must(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        must(self.channels in (1, 3), "channels", "1 or 3", self.channels)
        must(0 <= self.seed < _SHUFFLE, "seed", "at least 0", self.seed)
        for name in self.markups:
            markup(name)


def batches(
    sources: Sequence[LoadedSource],
    views: Views,
    *,
    start_step: int = 0,
    mode: Mode = "mixed",
    threads: int | None = None,
    prefetch: int = 8,
    rows: tuple[int, int] | None = None,
) -> grain.IterDataset:
    """A grain dataset of (x, y), in effect without end. ``model.fit(batches(...), steps_per_epoch=n)`` works on every
    backend.

    x = {"image": (B, side, side, channels) float32, raw 0..255}; y = {markup: (B, K, 2) float32 in the crop's [0, 1]}
    for every one of the views' markups and "pose": (B, 3) degrees; NaN where a label is unknown, hidden or outside.

    Args:
        sources: what to draw from, each without replacement and reshuffled when it is through.
        views: what becomes of a face.
        start_step: the first batch's number.
        mode: "mixed" draws every batch over all sources by weight; "alternate" takes one source per batch, in turn, so
            that only the heads whose markup it carries are trained by it (AC-DC, sec. 3).
        threads: how many fill the buffer; None: one per core, 2 to ``prefetch``; 0 makes each batch when asked for.
        prefetch: batches in the buffer.
        rows: [start, stop) of every batch, for one of several processes that make a batch together; None: all.

    InputError names source and id of a face that cannot be used.
    """
    faces = FaceBatches(tuple(sources), views, start_step=start_step, mode=mode, rows=rows)
    if threads is None:
        threads = min(max(2, cores()), prefetch)
    # Without these options grain reads with 16 threads, 500 batches ahead.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch if threads else 0)
    return grain.MapDataset.source(faces).to_iter_dataset(options)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class FaceBatches:
    """Random access to batches: item i is batch ``start_step + i``. A grain RandomAccessDataSource."""

    sources: tuple[LoadedSource, ...]
    views: Views
    _: KW_ONLY
    start_step: int = 0
    mode: Mode = "mixed"
    rows: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        size = self.views.batch_size
        must(len(self.sources) > 0, "sources", "at least one", self.sources)
        must(self.mode in ("mixed", "alternate"), "mode", "mixed or alternate", self.mode)
        must(0 <= self.start_step < STEPS, "start_step", "at least 0", self.start_step)
        inside = self.rows is None or 0 <= self.rows[0] < self.rows[1] <= size
        must(inside, "rows", f"in a batch of {size}", self.rows)

    def __len__(self) -> int:
        return STEPS - self.start_step

    def __getitem__(self, item: int) -> Batch:
        step, views = self.start_step + item, self.views
        start, stop = self.rows or (0, views.batch_size)
        image = np.empty((stop - start, views.side, views.side, views.channels), np.float32)
        y = empty_targets(stop - start, views.markups)
        for i, row in enumerate(range(start, stop)):
            source, face = self.drawn(step, row)
            rng = _stream(views.seed, step * views.batch_size + row)
            image[i], known = view_of(self.sources[source], face, views, rng)
            for name, target in known.items():
                y[name][i] = target
        return {"image": image}, y

    def drawn(self, step: int, row: int) -> tuple[int, int]:
        """(source, face) of a row of a batch.

        Args:
            step: the batch.
            row: of it.
        """
        turn, before, per_cycle = _cycle(tuple(s.weight for s in self.sources))
        draw = step if self.mode == "alternate" else step * self.views.batch_size + row
        cycles, place_in_cycle = divmod(draw, len(turn))
        source = int(turn[place_in_cycle])
        earlier = cycles * int(per_cycle[source]) + int(before[place_in_cycle])
        if self.mode == "alternate":
            earlier = earlier * self.views.batch_size + row
        count = len(self.sources[source].faces.images)
        epoch, position = divmod(earlier, count)
        return source, int(_shuffled(self.views.seed, source, epoch, count)[position])


def _stream(seed: int, address: int) -> np.random.Generator:
    """Independent random numbers for each address: a counter-based generator's key needs no state and no seeding.

    The key is made uint64 here: numpy turns a list that holds 2**63 into floats, and neighbours into one.
    """
    return np.random.Generator(np.random.Philox(key=np.array([seed, address], np.uint64)))


def empty_targets(count: int, markups: Sequence[str]) -> dict[str, np.ndarray]:
    """All-NaN targets.

    Args:
        count: of faces.
        markups: the network's heads.
    """
    y = {name: np.full((count, markup(name).size, 2), np.nan, np.float32) for name in markups}
    y["pose"] = np.full((count, 3), np.nan, np.float32)
    return y


def view_of(
    source: LoadedSource, face: int, views: Views, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One view of one face: its (S, S, C) uint8 image, and the targets that the source knows.

    Args:
        source: where the face is from.
        face: its index there.
        views: what becomes of it.
        rng: the random numbers; the same ones give the same view.
    """
    has = source.faces.landmarks
    allowed = has if source.markups is None else source.markups
    names = [name for name in views.markups if name in has and name in allowed]
    try:
        image, targets, pose = augment(
            source.faces.face(face, names), views.augment, rng, side=views.side, channels=views.channels
        )
    except (ValueError, TypeError, cv2.error) as error:
        raise InputError(f"face {source.faces.ids[face]} of source {source.name} cannot be used: {error}") from error
    return image, targets | ({"pose": pose} if source.pose else {})


@lru_cache(maxsize=8)
def _cycle(weights: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whose turn it is, evenly interleaved: (L,) source of each turn, (L,) its turns so far, (S,) its turns a cycle.

    Weights become whole turns of one cycle, within 0.1 % of their shares; a rare source keeps at least one turn.
    """
    shares = [Fraction(w).limit_denominator(1000) for w in weights]
    common = math.lcm(*(s.denominator for s in shares))
    per_cycle = np.array([int(s * common) for s in shares])
    if common > 1000 or per_cycle.min() == 0 or per_cycle.sum() > 10_000:
        per_cycle = np.maximum(1, np.round(np.array(weights) / sum(weights) * 1000)).astype(int)
    per_cycle = per_cycle // np.gcd.reduce(per_cycle)
    # Turn j of a source that has n of them sits at (j + .5) / n of the cycle.
    at = np.concatenate([(np.arange(n) + 0.5) / n for n in per_cycle])
    owner = np.repeat(np.arange(len(per_cycle)), per_cycle)
    nth = np.concatenate([np.arange(n) for n in per_cycle])
    order = np.argsort(at, kind="stable")
    return owner[order], nth[order], per_cycle


@lru_cache(maxsize=64)
def _shuffled(seed: int, source: int, epoch: int, count: int) -> np.ndarray:
    """The order of one pass through one source."""
    order = _stream(seed, _SHUFFLE + (source << 40) + epoch).permutation(count)
    order.flags.writeable = False
    return order


def measure_throughput(dataset: Iterable[Batch], steps: int = 20, warmup: int = 2) -> float:
    """Faces per second that the dataset delivers when nothing else runs.

    Args:
        dataset: of batches.
        steps: batches to time.
        warmup: batches before them.
    """
    iterator = iter(dataset)
    for _ in islice(iterator, warmup):
        pass
    start, faces = time.perf_counter(), 0
    for x, _ in islice(iterator, steps):
        faces += len(x["image"])
    return faces / (time.perf_counter() - start)

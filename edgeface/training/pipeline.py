"""From cut-out faces to batches: weighted sources, random access by step, threads, one grain dataset that `fit` takes.

Batch ``step`` is a function of (sources, configuration, seed, step) alone: which faces and what happens to them. So a
run that resumes at step k sees exactly what an uninterrupted one sees, whatever the number of threads.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Literal

import cv2
import grain
import numpy as np

from edgeface.errors import InputError
from edgeface.markup import markup
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
class Source:
    """Faces to draw from.

    ``weight``: its share of the faces ("mixed") or of the batches ("alternate"), against the others'.
    ``markups``: only these are used (None: all it has). ``pose``: False masks its poses. ``skipped``: "id: reason" of
    the faces that could not be used and are not in ``faces``. ``copies``: how many in ``faces`` are copies of others.
    """

    faces: CutFaces
    weight: float
    name: str
    markups: tuple[str, ...] | None = None
    pose: bool = True
    skipped: tuple[str, ...] = ()
    copies: int = 0

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


def batches(
    sources: Sequence[Source],
    config: AugmentConfig,
    markups: Sequence[str],
    side: int,
    channels: int,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    mode: Mode = "mixed",
    threads: int | None = None,
    prefetch: int = 8,
    rows: tuple[int, int] | None = None,
) -> grain.IterDataset:
    """A grain dataset of (x, y), in effect without end, from ``start_step`` on.

    x = {"image": (B, side, side, channels) float32, raw 0..255}; y = {markup: (B, K, 2) float32 in the crop's [0, 1]}
    for every one of ``markups`` and "pose": (B, 3) degrees; NaN where a label is unknown, hidden or outside.

    "mixed" draws every batch over all sources by weight; "alternate" takes one source a batch, in turn, so that only
    the heads whose markup it carries are trained by it (AC-DC, sec. 3). Each source is drawn without replacement,
    reshuffled when it is through. ``threads`` (None: one a core, 2 to ``prefetch``) fill a buffer of ``prefetch``
    batches; 0 makes each batch when asked for.

    rows: [start, stop) of every batch, for one of several processes that make a batch together; None: all.

    ``model.fit(batches(...), steps_per_epoch=n)`` works on every backend. A face that cannot be used raises
    InputError with its source and id.
    """
    faces = FaceBatches(
        tuple(sources), config, tuple(markups), side, channels, batch_size, seed, start_step, mode, rows
    )
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

    sources: tuple[Source, ...]
    config: AugmentConfig
    markups: tuple[str, ...]
    side: int
    channels: int
    batch_size: int
    seed: int
    start_step: int = 0
    mode: Mode = "mixed"
    rows: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("sources must name at least one source. Received: none")
        for name in ("side", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1. Received: {getattr(self, name)}")
        if self.channels not in (1, 3):
            raise InputError(f"channels must be 1 or 3. Received: {self.channels}")
        if self.mode not in ("mixed", "alternate"):
            raise InputError(f"mode must be mixed or alternate. Received: {self.mode!r}")
        if not (0 <= self.seed < _SHUFFLE and 0 <= self.start_step < STEPS):
            raise InputError(f"seed and start_step must not be negative. Received: {self.seed}, {self.start_step}")
        if self.rows is not None and not 0 <= self.rows[0] < self.rows[1] <= self.batch_size:
            raise InputError(f"rows must lie in a batch of {self.batch_size}. Received: {self.rows}")
        for name in self.markups:
            markup(name)

    def __len__(self) -> int:
        return STEPS - self.start_step

    def __getitem__(self, item: int) -> Batch:
        step = self.start_step + item
        start, stop = self.rows or (0, self.batch_size)
        image = np.empty((stop - start, self.side, self.side, self.channels), np.float32)
        y = empty_targets(stop - start, self.markups)
        for i, row in enumerate(range(start, stop)):
            source, face = self.drawn(step, row)
            rng = _stream(self.seed, step * self.batch_size + row)
            image[i] = place(self.sources[source], face, self.config, self.markups, y, i, rng, image.shape[1:])
        return {"image": image}, y

    def drawn(self, step: int, row: int) -> tuple[int, int]:
        """(source, face) of a row of a batch."""
        turn, before, per_cycle = _cycle(tuple(s.weight for s in self.sources))
        draw = step if self.mode == "alternate" else step * self.batch_size + row
        cycles, place_in_cycle = divmod(draw, len(turn))
        source = int(turn[place_in_cycle])
        earlier = cycles * int(per_cycle[source]) + int(before[place_in_cycle])
        if self.mode == "alternate":
            earlier = earlier * self.batch_size + row
        count = len(self.sources[source].faces.images)
        epoch, position = divmod(earlier, count)
        return source, int(_shuffled(self.seed, source, epoch, count)[position])


def _stream(seed: int, address: int) -> np.random.Generator:
    """Independent random numbers for each address: a counter-based generator's key needs no state and no seeding.

    The key is made uint64 here: numpy turns a list that holds 2**63 into floats, and neighbours into one.
    """
    return np.random.Generator(np.random.Philox(key=np.array([seed, address], np.uint64)))


def empty_targets(count: int, markups: Sequence[str]) -> dict[str, np.ndarray]:
    """All-NaN targets of ``count`` faces."""
    y = {name: np.full((count, markup(name).size, 2), np.nan, np.float32) for name in markups}
    y["pose"] = np.full((count, 3), np.nan, np.float32)
    return y


def place(
    source: Source,
    face: int,
    config: AugmentConfig,
    markups: Sequence[str],
    y: dict[str, np.ndarray],
    row: int,
    rng: np.random.Generator,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """One view of one face: its labels go into row ``row`` of ``y``, its (S, S, C) uint8 image is returned."""
    packed = source.faces
    allowed = packed.landmarks if source.markups is None else source.markups
    names = [name for name in markups if name in packed.landmarks and name in allowed]
    try:
        image, points, pose = augment(
            packed.images[face],
            {name: packed.landmarks[name][face] for name in names},
            {name: packed.visible[name][face] for name in names},
            packed.pose_deg[face],
            packed.box_xyxy[face],
            config,
            rng,
            shape[0],
            shape[2],
        )
    except (ValueError, TypeError, cv2.error) as error:
        raise InputError(f"face {packed.ids[face]} of source {source.name} cannot be used: {error}") from error
    for name in names:
        y[name][row] = points[name]
    if source.pose:
        y["pose"][row] = pose
    return image


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
    """Faces a second that the dataset delivers when nothing else runs, over ``steps`` batches after ``warmup``."""
    iterator = iter(dataset)
    for _ in islice(iterator, warmup):
        pass
    start, faces = time.perf_counter(), 0
    for x, _ in islice(iterator, steps):
        faces += len(x["image"])
    return faces / (time.perf_counter() - start)

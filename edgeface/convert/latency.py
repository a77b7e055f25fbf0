"""Milliseconds of several files on this machine, measured in bursts that take turns.

Turns, so that a busy moment of the machine falls on all files alike. Bursts, because a camera loop runs one model over
and over with its weights and buffers in the cache: single runs in turns would charge each file for bringing its own
data back after its neighbour's has pushed it out, small files most of all. Every run of a burst is timed, the first,
colder one too.

On a machine that does other work, the wall clock is not only long but unfair: a slow file outlasts its time slice and
waits, a fast one slips through. So the processor's time is kept too; where one thread's is far below the wall clock's,
the figures are to be taken again on a quiet machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeface.errors import InputError
from edgeface.progress import track
from edgeface.runtime.interpreter import TFLiteModel

__all__ = ["Latency", "measure", "speedup"]

BURST = 5


@dataclass(frozen=True)
class Latency:
    """One face, from crop to landmarks and pose (host decoding included), in milliseconds."""

    p50_ms: float
    p90_ms: float
    runs: int
    threads: int
    round_ms: tuple[float, ...] = ()
    """The median of each round's burst, for comparing files round by round."""
    cpu_ms: float = 0.0
    """Median processor time of a run, all threads together."""
    round_cpu_ms: tuple[float, ...] = ()


def measure(
    files: Sequence[str | Path],
    rounds: int = 40,
    *,
    threads: int = 1,
    warmup: int = 5,
    burst: int = BURST,
    description: str = "",
) -> list[Latency]:
    """Each round runs every file ``burst`` times in a row, starting one file further on each time.

    Args:
        files: `.tflite` files.
        rounds: how many.
        threads: of the interpreter.
        warmup: runs of each file that do not count.
        burst: runs of a file in a row.
        description: what a progress bar shows; "": no bar.
    """
    if rounds < 1:
        raise InputError(f"rounds must be at least 1. Received: {rounds}")
    if burst < 1:
        raise InputError(f"burst must be at least 1. Received: {burst}")
    models = [TFLiteModel(file, threads=threads) for file in files]
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, model.card.input.shape[1:], dtype=np.uint8) for model in models]
    for model, crop in zip(models, crops, strict=True):
        for _ in range(warmup):
            model.infer(crop)
    spent_ms = np.empty((2, len(models), rounds, burst))
    for turn in track(range(rounds), description, at_least=1) if description else range(rounds):
        for step in range(len(models)):
            i = (turn + step) % len(models)
            for run in range(burst):
                start, start_cpu = time.perf_counter(), time.process_time()
                models[i].infer(crops[i])
                spent_ms[:, i, turn, run] = time.perf_counter() - start, time.process_time() - start_cpu
    return [_latency(wall, cpu, threads) for wall, cpu in zip(*(1000 * spent_ms), strict=True)]


def speedup(file: Latency, base: Latency, cpu: bool = False) -> float:
    """How many times faster ``file`` is than ``base``, both from one `measure`: the median of the rounds' ratios.

    Ratios are taken within a round, so that a machine that slows down half-way does not enter them. cpu: by processor
    time.

    Args:
        file: the file's times.
        base: the times it is compared with.
        cpu: by processor time instead of the wall clock.
    """
    times = [(one.round_cpu_ms if cpu else one.round_ms) for one in (file, base)]
    if len(times[0]) != len(times[1]) or not times[0]:
        received = f"{len(times[0])} and {len(times[1])} rounds"
        raise InputError(f"two files must be timed in the same rounds to be compared. Received: {received}")
    return float(np.median(np.divide(times[1], times[0])))


def _latency(wall_ms: np.ndarray, cpu_ms: np.ndarray, threads: int) -> Latency:
    """Both (rounds, burst)."""
    p50, p90 = np.percentile(wall_ms, [50, 90])
    rounds = [tuple(np.median(spent, axis=1).tolist()) for spent in (wall_ms, cpu_ms)]
    return Latency(float(p50), float(p90), wall_ms.size, threads, rounds[0], float(np.median(cpu_ms)), rounds[1])

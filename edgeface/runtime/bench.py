"""How fast one model is here: from loading to the last percentile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeface import zoo
from edgeface.box import Box
from edgeface.errors import InputError
from edgeface.runtime.interpreter import interpreter_module
from edgeface.runtime.machine import machine, peak_memory_mb, versions
from edgeface.runtime.predictor import Predictor

FRAME = (480, 640)
BOX = Box(220, 140, 420, 340)


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds of a run."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float

    @classmethod
    def of(cls, spent_s: np.ndarray) -> Percentiles:
        return cls(*(1000 * float(value) for value in (*np.percentile(spent_s, [50, 90, 99]), spent_s.mean())))


@dataclass(frozen=True)
class Bench:
    """The figures of one model."""

    model: str
    file_bytes: int
    runs: int
    threads: int
    delegate: str | None
    import_interpreter_ms: float
    load_ms: float
    """Reading the file, checking its hash, allocating its tensors."""
    first_ms: float
    """The first face: buffers are touched for the first time."""
    infer: Percentiles
    """Crop in, landmarks and pose out."""
    predict: Percentiles
    """The same with the crop cut from a 640x480 frame."""
    peak_memory_mb: float | None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "machine": machine(), "versions": versions()}

    def text(self) -> str:
        where, made = machine(), versions()
        rows = {
            "model": f"{self.model}, {self.file_bytes:,} bytes",
            "machine": f"{where['cpu']}, {where['cores']} cores, {where['system']}; {self.threads} thread(s)"
            + (f", delegate {self.delegate}" if self.delegate else ""),
            "versions": ", ".join(f"{name} {version}" for name, version in made.items()),
            "load": f"{self.load_ms:.1f} ms (and {self.import_interpreter_ms:.0f} ms to import the interpreter)",
            "first": f"{self.first_ms:.1f} ms",
            "infer": _percentiles(self.infer, self.runs),
            "predict": _percentiles(self.predict, self.runs) + f"; {1000 / self.predict.mean_ms:.0f} faces a second",
            "memory": "unknown" if self.peak_memory_mb is None else f"{self.peak_memory_mb:.0f} MB at its peak",
        }
        return "\n".join(f"{key:9}{value}" for key, value in rows.items())


def bench(
    model: str | Path,
    runs: int = 200,
    threads: int = 1,
    delegate: str | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Bench:
    """Times inferences and predictions on noise: what is in a picture does not change the work.

    Args:
        model: A packaged model's name or a file's path.
        runs: How many inferences, and as many predictions.
        threads: How many threads the interpreter uses.
        delegate: The path of a delegate's shared library.
        clock: Seconds, rising.

    Raises:
        InputError: a model or delegate that does not load, or no runs.
    """
    if runs < 1:
        raise InputError(f"runs must be at least 1. Received: {runs}")
    path = zoo.resolve(model)
    began = clock()
    interpreter_module()
    imported = clock()
    predictor = Predictor.load(path, threads, delegate)
    loaded = clock()
    frame = np.random.default_rng(0).integers(0, 256, (*FRAME, 3), dtype=np.uint8)
    crop = np.random.default_rng(1).integers(0, 256, predictor.model.card.input.shape[1:], dtype=np.uint8)
    start = clock()
    predictor.model.infer(crop)
    first = clock()
    works = (lambda: predictor.model.infer(crop), lambda: predictor.predict(frame, BOX))
    spent = np.array([[_timed(work, clock) for _ in range(runs)] for work in works])
    return Bench(
        model=path.name,
        file_bytes=path.stat().st_size,
        runs=runs,
        threads=threads,
        delegate=delegate,
        import_interpreter_ms=1000 * (imported - began),
        load_ms=1000 * (loaded - imported),
        first_ms=1000 * (first - start),
        infer=Percentiles.of(spent[0]),
        predict=Percentiles.of(spent[1]),
        peak_memory_mb=peak_memory_mb(),
    )


def _timed(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


def _percentiles(spent: Percentiles, runs: int) -> str:
    return f"p50 {spent.p50_ms:.2f} ms, p90 {spent.p90_ms:.2f} ms, p99 {spent.p99_ms:.2f} ms of {runs} runs"

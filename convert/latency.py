"""Milliseconds of several files on this machine, measured in turns, so that a busy moment falls on all of them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeface.errors import InputError
from edgeface.runtime.interpreter import TFLiteModel


@dataclass(frozen=True)
class Latency:
    """One face, from crop to landmarks and pose (host decoding included), in milliseconds."""

    p50_ms: float
    p90_ms: float
    runs: int
    threads: int


def measure(
    files: Sequence[str | Path],
    rounds: int = 100,
    threads: int = 1,
    warmup: int = 5,
    progress: Callable[[range], Sequence] = lambda rounds: rounds,
) -> list[Latency]:
    """Each round runs every file once, starting one further on each time."""
    if rounds < 1:
        raise InputError(f"rounds must be at least 1. Received: {rounds}")
    models = [TFLiteModel(file, threads=threads) for file in files]
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, model.card.input.shape[1:], dtype=np.uint8) for model in models]
    for model, crop in zip(models, crops, strict=True):
        for _ in range(warmup):
            model.infer(crop)
    spent = np.empty((rounds, len(models)))
    for turn in progress(range(rounds)):
        for step in range(len(models)):
            i = (turn + step) % len(models)
            start = time.perf_counter()
            models[i].infer(crops[i])
            spent[turn, i] = time.perf_counter() - start
    p50, p90 = np.percentile(1000 * spent, [50, 90], axis=0)
    return [Latency(float(a), float(b), rounds, threads) for a, b in zip(p50, p90, strict=True)]


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    return {"cpu": _cpu(), "cores": os.cpu_count() or 1, "system": f"{platform.system()} {platform.machine()}"}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())

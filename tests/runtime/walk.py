"""A short video of one face that walks across the picture, and what follows it."""

from __future__ import annotations

import numpy as np

from edgeface.runtime.tracker import Tracker
from tests.runtime import acting

FRAMES = 12


def frame(index: int) -> np.ndarray:
    return acting.stage((20 + 4 * index, 60, 80 + 4 * index, 140))


def acted() -> Tracker:
    return Tracker(acting.Predictor(), acting.Detector())


def command(*argv) -> list[str]:
    return ["live", *map(str, argv), "--model", "acdc_n", "--full-frame", "--no-window"]

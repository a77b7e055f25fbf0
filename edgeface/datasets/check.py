"""Every annotation and every image of a set, read once and counted."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np

from edgeface.datasets.load import load_set
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError


def check(name: str, split: str | None = None) -> int:
    """Prints what a set holds and what is wrong with it; the exit code, 1 where a face cannot be used.

    Wrong: an image that cannot be read, or no known landmark inside its image.
    """
    from rich.console import Console
    from rich.progress import track

    samples = load_set(name, split)
    if not samples:
        raise InputError(f"set must hold a face. Received: {name}, split {split or 'any'}: none")
    counts: Counter[str] = Counter()
    problems = []
    console = Console(stderr=True)
    for sample in track(samples, description=f"reading {name}", console=console, transient=True):
        counts[f"split {sample.split}"] += 1
        counts.update(f"landmarks {markup}" for markup in sample.landmarks_px)
        known = np.isfinite(sample.pose_deg)
        counts[f"pose: {'all angles' if known.all() else 'some angles' if known.any() else 'none'}"] += 1
        problem = _problem(sample)
        if problem:
            problems.append(f"{sample.id}: {problem}")
    print(f"{name}: {len(samples)} faces")
    for what in sorted(counts):
        print(f"  {what:24} {counts[what]:6}")
    for problem in problems:
        print(f"edgeface: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _problem(sample: FaceSample) -> str | None:
    try:
        image = sample.load()
    except InputError as error:
        return str(error)
    height, width = image.shape[:2]
    for points in sample.landmarks_px.values():
        if ((points >= -0.5) & (points < (width, height))).all(axis=1).any():
            return None
    return f"a landmark must lie in the image of {width} x {height} px. Received: none"

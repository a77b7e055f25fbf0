"""A run's folder: the names in it, one training at a time, and no leavings of a killed one."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeface.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no flock: two trainings in one folder are then the user's to avoid
    fcntl = None

MODEL, CHECKPOINT, METRICS, CONFIG = "model.keras", "checkpoint.npz", "metrics.csv", "config.json"
DAY_S = 86400.0
_LEFT = re.compile(r"\..+\.[a-z0-9_]{8}\.(npz|csv|json|keras)")


@contextmanager
def run_lock(out: str | Path) -> Iterator[None]:
    """Makes the folder and keeps other trainings out of it until the end, also when that is a SIGKILL.

    InputError: it cannot be made, or another process trains in it.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        # The folder itself is locked: a lock file would be one more thing left behind.
        handle = os.open(out, os.O_RDONLY) if fcntl else None
    except OSError as error:
        raise InputError(f"{out} must be a folder that can be written. Received: {error.strerror or error}") from error
    try:
        if handle is not None:
            _lock(handle, out)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def remove_partial_files(folder: Path, older_than_s: float = 0.0) -> None:
    """Removes what a kill in the middle of a write has left: hidden files of `edgeface.files.atomic_write`.

    Args:
        folder: where to look.
        older_than_s: leave younger ones, which another process may be writing.
    """
    for path in folder.glob(".*"):
        with suppress(OSError):
            if _LEFT.fullmatch(path.name) and time.time() - path.stat().st_mtime >= older_than_s:
                path.unlink()


def clear_run(out: Path, model: str) -> None:
    """Removes a run's own files, its finished model first; other files stay.

    Args:
        out: the run's folder.
        model: the finished model's name.
    """
    for name in (model, CHECKPOINT, METRICS, CONFIG):
        (out / name).unlink(missing_ok=True)


def _lock(handle: int, out: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{out} must not be in use. Received: a folder that another process trains in") from None
    except OSError:
        pass  # some network file systems have no locks

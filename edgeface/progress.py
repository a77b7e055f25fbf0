"""What a program shows of long work: the library's log, and a progress bar where there is much to do."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def show_progress() -> None:
    """Prints what the library logs, as plain lines on stdout: for programs that are not `edgeface` commands."""
    log, handler = logging.getLogger("edgeface"), logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("  %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # TensorFlow's export gives the root logger a handler, which would print each line again


def track(items: Sequence[Item], description: str, *, at_least: int = 300) -> Iterable[Item]:
    """The items, with a progress bar that goes away at the end; without one where there are few.

    Args:
        items: what is worked through.
        description: what is being done.
        at_least: the number of items from which a bar is shown.
    """
    if len(items) < at_least:
        return items
    from rich.progress import track as shown

    return shown(items, description=description, transient=True)

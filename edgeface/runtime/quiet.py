"""Silences OpenCV's own messages on stderr where the package reports the error itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2

SILENT = 0


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV 5 keeps its log level in `cv2.utils.logging`, 4 in `cv2` itself, some builds nowhere."""
    home: Any = getattr(cv2.utils, "logging", cv2)
    if not hasattr(home, "setLogLevel"):
        yield
        return
    level = home.getLogLevel()
    home.setLogLevel(SILENT)
    try:
        yield
    finally:
        home.setLogLevel(level)

"""Holds back what native code writes to stderr, and shows it where something fails."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

SHOWN_BYTES = 4000


@contextmanager
def held_stderr(drop: re.Pattern[bytes] | None = None) -> Iterator[None]:
    """Holds back file descriptor 2, which C and C++ libraries write to whatever Python's `sys.stderr` is.

    Args:
        drop: Lines that match it are dropped and the others written out afterwards. None: nothing is written, unless
            the block raises, and then the last `SHOWN_BYTES`.
    """
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            log.seek(0)
            text = log.read()
            if drop is not None:
                text = b"".join(line for line in text.splitlines(keepends=True) if not drop.match(line))
            elif not failed:
                text = b""
            else:
                text = text[-SHOWN_BYTES:]
            if text:
                os.write(real, text)
            os.close(real)

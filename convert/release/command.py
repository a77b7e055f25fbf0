"""How the commands of this folder end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from edgeface.errors import InputError


def run(main: Callable[[], int]) -> NoReturn:
    """Exits with what ``main`` returns; an InputError ends in its one line, and 1."""
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")

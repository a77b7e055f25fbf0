"""What the training tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.training import tiny


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What edgeface logs in the test."""
    with tiny.logged() as lines:
        yield lines

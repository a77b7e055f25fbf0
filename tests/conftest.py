"""What every test shares."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pathlib import Path

import pytest
from hypothesis import settings

from edgeface.datasets.packs import faces_root as find_faces

_FACES = Path(__file__).resolve().parents[2] / "shared" / "faces"
"""Beside a checkout: real annotated faces, where there are any."""
if _FACES.is_dir():
    os.environ.setdefault("EDGEFACE_FACES", str(_FACES))

# A busy machine must not fail a test by being slow, and two runs of the suite must try the same examples.
settings.register_profile("edgeface", deadline=None, max_examples=40, derandomize=True, database=None)
settings.load_profile("edgeface")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first, so that no process waits at the end for another's."""
    items.sort(key=lambda item: "parity/test_variants" not in item.nodeid)


@pytest.fixture(scope="session")
def faces_root() -> Path:
    """The folder of real annotated faces; skips where there is none."""
    root = find_faces()
    if root is None:
        pytest.skip("no real faces here: EDGEFACE_FACES names no folder")
    return root

"""Fixtures of the device half's tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from tests.runtime import acting
from tests.runtime.walk import FRAMES, frame


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (acting.WIDTH, acting.HEIGHT))
    for index in range(FRAMES):
        writer.write(frame(index))
    writer.release()
    return path

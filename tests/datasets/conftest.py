"""A pack of two tiny faces, written by the tests themselves."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

FIVE = [[12, 14], [26, 14], [19, 21], [13, 27], [25, 27]]
SIXTY_EIGHT = np.column_stack([8 + np.arange(68) % 25, 6 + np.arange(68) % 29]).tolist()


def record(**changes):
    """One whole record; changes replace its fields."""
    base = {
        "file": "a.png",
        "split": "train",
        "exclude": False,
        "landmarks": {"mtfl5": FIVE, "ibug68": [None, *SIXTY_EIGHT[1:]]},
        "visible": {"ibug68": [0, 1, *[2] * 66]},
        "pose": {"yaw": -20.5},
    }
    return base | changes


@pytest.fixture
def make_pack(tmp_path):
    """make_pack(records or text, name="aflw") -> the root folder that holds the pack."""

    def make(records, name="aflw"):
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        y, x = np.mgrid[:40, :40]
        image = np.stack([6 * x, 6 * y, 0 * x], axis=-1).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / "a.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        text = records if isinstance(records, str) else json.dumps(records)
        (folder / "annotations.json").write_text(text)
        return tmp_path

    return make

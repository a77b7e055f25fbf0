"""``Tuned.kt``: the numbers of tracking, smoothing and the face box, as Python fitted or measured them."""

from __future__ import annotations

from pathlib import Path

from convert.android.kotlin import CORE
from edgeface.boxes import RULE
from edgeface.files import write_text
from edgeface.runtime import smoothing, tracker

FILE = CORE / "main" / "kotlin" / "edgeface" / "core" / "Tuned.kt"


def constants() -> str:
    """The file's text."""
    usual = smoothing.OneEuro()
    groups = {
        "edgeface.runtime.tracker": {name: getattr(tracker, name) for name in _TRACKER},
        "edgeface.runtime.smoothing": {
            "MIN_CUTOFF_HZ": usual.min_cutoff_hz,
            "BETA": usual.beta,
            "SPEED_CUTOFF_HZ": smoothing.SPEED_CUTOFF_HZ,
        },
        "edgeface.boxes.BoxRule": {
            "EYE_WEIGHT": RULE.eye_weight,
            "SHIFT": RULE.shift,
            "DROP": RULE.drop,
            "HALF_WIDTH": RULE.half_width[0],
            "HALF_WIDTH_TURN": RULE.half_width[1],
            "HALF_HEIGHT": RULE.half_height[0],
            "HALF_HEIGHT_TURN": RULE.half_height[1],
        },
    }
    blocks = [
        "\n".join([f"    // {source}", *(f"    const val {name} = {float(value)!r}" for name, value in values.items())])
        for source, values in groups.items()
    ]
    head = "/** What Python fitted or measured: `python -m convert.android constants` writes this file. */"
    return f"package edgeface.core\n\n{head}\ninternal object Tuned {{\n" + "\n\n".join(blocks) + "\n}\n"


_TRACKER = ("DOUBT", "SAME_FACE", "MOVED", "HIDDEN", "FOLLOW")


def write_constants(path: Path = FILE) -> Path:
    write_text(path, constants())
    return path

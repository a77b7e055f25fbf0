"""``Tuned.kt`` and ``Markups.kt``: the numbers that Python fitted or measured, and the tables of its markups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convert.android.kotlin import CORE
from edgeface.box import FIVE, FULL, RULE
from edgeface.files import write_text
from edgeface.markup import MARKUPS, Markup
from edgeface.runtime import smoothing, tracker
from edgeface.runtime.drawing import APART

FOLDER = CORE / "main" / "kotlin" / "edgeface" / "core"
_WIDTH = 120
_TRACKER = ("LOST_RATIO", "SAME_FACE", "MOVED", "HIDDEN", "FOLLOW")


def files() -> dict[Path, str]:
    """Every generated file and its text."""
    return {FOLDER / "Tuned.kt": _tuned(), FOLDER / "Markups.kt": _markups()}


def write_constants() -> list[Path]:
    for path, text in files().items():
        write_text(path, text)
    return list(files())


def _tuned() -> str:
    usual = smoothing.OneEuro()
    groups = {
        "edgeface.runtime.tracker": {name: getattr(tracker, name) for name in _TRACKER},
        "edgeface.runtime.smoothing": {
            "MIN_CUTOFF_HZ": usual.min_cutoff_hz,
            "BETA": usual.beta,
            "SPEED_CUTOFF_HZ": smoothing.SPEED_CUTOFF_HZ,
        },
        "edgeface.box.BoxRule": {
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


def _markups() -> str:
    head = (
        "/** Groups of one point a side (`edgeface.runtime.drawing`): a line between them would cross the face. */",
        f"internal val APART = setOf({_texts(APART)})",
        "",
        "/** `edgeface.markup` and `edgeface.box`: `python -m convert.android constants` writes this file. */",
        "internal val MARKUPS = listOf(",
    )
    body = [line for markup in MARKUPS.values() for line in _markup(markup)]
    return "\n".join(["package edgeface.core", "", *head, *body, ")", ""])


def _markup(markup: Markup) -> list[str]:
    five = FIVE.get(markup.name)
    return [
        "    Markup(",
        f"        name = {_texts([markup.name])},",
        f"        size = {markup.size},",
        "        groups = mapOf(",
        *(line for name, group in markup.groups.items() for line in _group(name, group)),
        "        ),",
        f"        eyeCorners = {_ints(markup.eye_corners) if markup.eye_corners else 'null'},",
        f"        full = {str(markup.name in FULL).lower()},",
        f"        five = {'null' if five is None else 'listOf(' + ', '.join(map(_ints, five)) + ')'},",
        "    ),",
    ]


def _group(name: str, points: Sequence[int]) -> list[str]:
    """One line, or one for every sixteen points where it would be too long."""
    whole = f"            {_texts([name])} to {_ints(points)},"
    if len(whole) <= _WIDTH:
        return [whole]
    rows = [", ".join(map(str, points[at : at + 16])) for at in range(0, len(points), 16)]
    head, end = f"            {_texts([name])} to intArrayOf(", "            ),"
    return [head, *(f"                {row}," for row in rows), end]


def _ints(values: Sequence[int]) -> str:
    return f"intArrayOf({', '.join(map(str, values))})"


def _texts(values: Sequence[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)

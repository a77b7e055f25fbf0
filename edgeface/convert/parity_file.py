"""parity.json: what `edgeface parity` found, set by set, with what it takes to repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edgeface.errors import InputError
from edgeface.files import read_json, write_json
from edgeface.runtime.machine import environment

if TYPE_CHECKING:
    from edgeface.convert.parity import Parity

FORMAT = 2

Row = TypeVar("Row")


@dataclass(frozen=True)
class ScoredSet(Generic[Row]):
    """One set and its rows, the float model's first; where it was left out, why."""

    set: str
    split: str
    rows: tuple[Row, ...] = ()
    """`Parity` as it was scored, `Parity.as_dict` as it is read from a file."""
    skipped: str | None = None
    """Why the set was not scored; None where it was."""


def save_parity(path: str | Path, sets: Sequence[ScoredSet[Parity]], command: str = "") -> Path:
    """Writes the file. InputError where it cannot be written or there is nothing to write.

    Args:
        path: a `.json` file.
        sets: what was scored.
        command: what to run to get these scores again.
    """
    if not any(s.rows for s in sets):
        raise InputError("at least one set must have been scored. Received: none")
    data = {
        "format": FORMAT,
        "command": command,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **environment("keras", "tensorflow", "ai-edge-litert", "numpy"),
        "sets": [{"set": s.set, "split": s.split, "rows": [row.as_dict() for row in s.rows]} for s in sets if s.rows],
        "skipped": {s.set: s.skipped for s in sets if s.skipped},
    }
    write_json(path, data)
    return Path(path)


def load_parity(path: str | Path) -> list[ScoredSet[dict[str, Any]]]:
    """The sets of a parity.json, of this format or the one before it (one set). InputError: not such a file."""
    data = read_json(path)
    try:
        sets = data["sets"] if data["format"] == FORMAT else [data] if data["format"] == 1 else None
        if sets is None:
            raise InputError(f"{path} must be of format {FORMAT}. Received: {data['format']!r}")
        found = [ScoredSet(s["set"], s["split"], tuple(s["rows"])) for s in sets]
        _ = [(row["file"], row["variant"], row["scores"]["nme"]) for s in found for row in s.rows]
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path} must be what `edgeface parity` writes. Received: no {error}") from None
    return found

"""parity.json: what `python -m convert parity` found, set by set, with what it takes to repeat it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeface.convert.latency import machine
from edgeface.convert.make_card import commit, versions
from edgeface.errors import InputError
from edgeface.files import read_json, write_json

if TYPE_CHECKING:
    from edgeface.convert.parity import Parity

FORMAT = 2


@dataclass(frozen=True)
class SetRows:
    """One set's rows, JSON-ready (`Parity.as_dict`), the float model's first; what was left out says why."""

    set: str
    split: str
    rows: tuple[dict[str, Any], ...] = ()
    skipped: str | None = None
    """Why the set was not scored; None where it was."""

    @classmethod
    def of(cls, name: str, split: str, rows: Sequence[Parity], skipped: str | None = None) -> SetRows:
        return cls(name, split, tuple(json.loads(json.dumps(row.as_dict())) for row in rows), skipped)


def save_parity(path: str | Path, sets: Sequence[SetRows], command: str = "") -> Path:
    """Writes the file. InputError where it cannot be written or there is nothing to write."""
    if not any(s.rows for s in sets):
        raise InputError("at least one set must have been scored. Received: none")
    data = {
        "format": FORMAT,
        "command": command,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions("keras", "tensorflow", "ai-edge-litert", "numpy"),
        "sets": [{"set": s.set, "split": s.split, "rows": list(s.rows)} for s in sets if s.rows],
        "skipped": {s.set: s.skipped for s in sets if s.skipped},
    }
    write_json(path, data)
    return Path(path)


def load_parity(path: str | Path) -> list[SetRows]:
    """The sets of a parity.json, of this format or the one before it (one set). InputError: not such a file."""
    data = read_json(path)
    try:
        sets = data["sets"] if data["format"] == FORMAT else [data] if data["format"] == 1 else None
        if sets is None:
            raise InputError(f"{path} must be of format {FORMAT}. Received: {data['format']!r}")
        found = [SetRows(s["set"], s["split"], tuple(s["rows"])) for s in sets]
        _ = [(row["file"], row["variant"], row["scores"]["nme"]) for s in found for row in s.rows]
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path} must be what `python -m convert parity` writes. Received: no {error}") from None
    return found

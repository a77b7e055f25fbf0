"""What a report is made from: the files of a folder, and what `edgeface parity` found of them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeface.card import Card, read_card
from edgeface.convert.gate import GateReport, gate
from edgeface.convert.parity_file import load_parity
from edgeface.convert.tolerances import BOUNDS
from edgeface.convert.variants import VARIANTS
from edgeface.convert.worst_faces import picture_name
from edgeface.errors import InputError
from edgeface.files import files_of


@dataclass(frozen=True)
class SetScore:
    """One file on one test set."""

    test_set: str
    """The set and its split: ``300w test``."""
    row: dict[str, Any]
    """Its row of parity.json."""
    reference: dict[str, Any] | None = None
    """The float model's row."""


@dataclass(frozen=True)
class Entry:
    """One file and what is known of it."""

    path: Path
    card: Card
    gate: GateReport
    scores: tuple[SetScore, ...] = ()


def read_entries(folders: Sequence[Path]) -> list[Entry]:
    """The files of the folders, variants in order. InputError: an empty folder, a parity.json of something else."""
    if not folders:
        raise InputError("at least one folder must be given. Received: none")
    entries = []
    order = list(VARIANTS)
    for folder in folders:
        cards = {path: read_card(path) for path in files_of(folder, ".tflite")}
        if not cards:
            raise InputError(f"{folder} must be a folder with .tflite files. Received: none there")
        scored = _scored(folder / "parity.json")
        for path, rows in ((p, scored.get(p.name, ())) for p in cards):
            if any(s.row.get("flatbuffer_sha256") not in (None, cards[path].flatbuffer_sha256) for s in rows):
                raise InputError(f"{path} must be the file that {folder}/parity.json scored. Received: a newer one")
        for path in sorted(cards, key=lambda p: order.index(cards[p].variant) if cards[p].variant in order else 99):
            entries.append(Entry(path, cards[path], gate(path), tuple(scored.get(path.name, ()))))
    return entries


def embed_faces(entries: Sequence[Entry]) -> list[Entry]:
    """The pictures that `parity` saved of the worst faces, put into the rows as data. InputError: there are none."""
    found = []
    for entry in entries:
        scores = []
        for scored in entry.scores:
            protocol = scored.row["scores"].get("protocol")
            worst = []
            for rank, face in enumerate(scored.row.get("worst", []), 1):
                files = sorted(entry.path.parent.rglob(picture_name(f"{protocol}_{entry.path.stem}", rank, face["id"])))
                data = base64.b64encode(files[0].read_bytes()).decode() if files else None
                worst.append({**face, "picture": data and f"data:image/jpeg;base64,{data}"})
            scores.append(replace(scored, row={**scored.row, "worst": worst}))
        found.append(replace(entry, scores=tuple(scores)))
    if not any(face["picture"] for e in found for s in e.scores for face in s.row["worst"]):
        folders = sorted({str(e.path.parent) for e in entries})
        raise InputError(f"{', '.join(folders)} must hold pictures that `edgeface parity` saved. Received: none")
    return found


def _scored(path: Path) -> dict[str, list[SetScore]]:
    """{file name: its scores}, in the order of parity.json; {} where nothing was scored yet."""
    if not path.is_file():
        return {}
    found: dict[str, list[SetScore]] = {}
    for scored in load_parity(path):
        reference = next((row for row in scored.rows if row["variant"] not in BOUNDS), None)
        for row in scored.rows:
            found.setdefault(row["file"], []).append(SetScore(f"{scored.set} {scored.split}", row, reference))
    return found

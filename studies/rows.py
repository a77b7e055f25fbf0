"""Rows of measurements in a JSON file, with what was measured face by face in an .npz of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from convert.release.record import record
from edgeface.files import atomic_write, read_json, write_json

Row = dict[str, Any]


def keep(path: Path, row: Row, same: tuple[str, ...], command: str) -> None:
    """Puts a row into the file, in place of the one that agrees in ``same``; its ``faces`` into the .npz beside it."""
    from edgeface.training.records import lowered_precision

    faces = row.pop("faces", None)
    if faces is not None:
        prefix = "|".join(str(row[k]) for k in same)
        values = {k: v for k, v in stored_faces(path).items() if not k.startswith(f"{prefix}|")}
        values |= {f"{prefix}|{k}": v for k, v in faces.items()}
        # First: a row without its faces would lack in the comparisons, faces without their row do no harm.
        with atomic_write(path.with_suffix(".npz")) as aside:
            np.savez_compressed(aside, **values)
    rows = [r for r in stored(path) if [r.get(k) for k in same] != [row[k] for k in same]]
    about = record(command, "keras", "tensorflow")
    about["machine"] |= lowered_precision()
    write_json(path, {"rows": [*rows, row | about]})


def plain(value: Any, digits: int = 6) -> Any:
    """The same with floats of so many significant digits, as JSON keeps them."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {k: plain(v, digits) for k, v in value.items()}
    return [plain(v, digits) for v in value] if isinstance(value, list | tuple) else value


def stored(path: Path) -> list[Row]:
    return read_json(path)["rows"] if path.exists() else []


def stored_faces(path: Path) -> dict[str, np.ndarray]:
    """{"the row's key, joined by |, set/split head, nme, pose or yaw": one value per face} beside a file of rows."""
    path = path.with_suffix(".npz")
    if not path.exists():
        return {}
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def comparable(rows: list[Row], name: str) -> list[Row]:
    """The rows of one number of steps: the largest that all arms have, or, failing one, that the most have.

    name: the field that distinguishes the arms.
    """
    having: dict[int, set[str]] = {}
    for row in rows:
        having.setdefault(row["steps"], set()).add(row[name])
    if not having:
        return []
    steps = max(having, key=lambda s: (len(having[s]), s))
    return [r for r in rows if r["steps"] == steps]

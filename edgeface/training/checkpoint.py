"""One file from which a killed run goes on as if nothing had happened."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgeface.errors import InputError
from edgeface.files import atomic_write, write_text

FORMAT = 1


def save_checkpoint(
    path: str | Path, network: keras.Model, optimizer: keras.optimizers.Optimizer, step: int, fingerprint: str = ""
) -> None:
    """Weights, optimizer state and step in one .npz; the old file is there until the new one is whole.

    Args:
        path: the file.
        network: whose weights.
        optimizer: whose state.
        step: steps done.
        fingerprint: what must be equal for the state to make sense (the config).

    InputError where it cannot be written, and where a weight is not finite: such a state would replace the last good
    one, and no run could go on from it.
    """
    arrays = {"format": np.array(FORMAT), "step": np.array(step), "fingerprint": np.array(fingerprint)}
    for part, variables in (("network", network.variables), ("optimizer", optimizer.variables)):
        arrays |= {f"{part}/{i:04d}/{v.path}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise InputError(f"weights must be finite to be saved. Received: NaN or infinity in {name} at step {step}")
    with atomic_write(path) as aside, open(aside, "wb") as file:
        np.savez(file, **arrays)


def load_checkpoint(
    path: str | Path, network: keras.Model, optimizer: keras.optimizers.Optimizer, fingerprint: str = ""
) -> int:
    """Puts the state back and returns its step.

    Args:
        path: the file.
        network: whose weights are set.
        optimizer: whose state is set; it must have been built.
        fingerprint: what the file must carry.

    InputError: not a checkpoint, of another config, or of another network or optimizer; nothing is changed then.
    """
    path = Path(path)
    arrays = _read(path)
    if str(arrays["fingerprint"]) != fingerprint:
        raise InputError(f"{path} must be of this run's config. Received: a checkpoint of another one")
    pairs = []
    for part, variables in (("network", network.variables), ("optimizer", optimizer.variables)):
        # By place: names that Keras makes up ("dense_3") differ between processes.
        stored = [v for k, v in sorted(arrays.items()) if k.startswith(f"{part}/")]
        wanted, found = [tuple(v.shape) for v in variables], [v.shape for v in stored]
        if wanted != found:
            odd = next((i for i, (w, f) in enumerate(zip(wanted, found, strict=False)) if w != f), len(found))
            got = f"{len(found)} variables, the first that differs is number {odd}"
            raise InputError(f"{path} must fit this {part} of {len(wanted)} variables. Received: {got}")
        pairs += zip(variables, stored, strict=True)
    for variable, value in pairs:
        variable.assign(value)
    return int(arrays["step"])


def checkpoint_step(path: str | Path) -> int:
    """The step of a checkpoint, 0 where there is none; InputError where it is damaged."""
    return int(_read(Path(path))["step"]) if Path(path).exists() else 0


def append_row(path: str | Path, row: dict[str, Any]) -> None:
    """One line of a CSV, with a header where the file is new; flushed before returning.

    Args:
        path: the file.
        row: {column: value}.
    """
    path = Path(path)
    new = not path.exists() or path.stat().st_size == 0
    try:
        with open(path, "a", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise InputError(f"{path} must be writable. Received: {error.strerror or error}") from error


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """The rows of a CSV made by `append_row`; [] where it is missing. A last line cut by a kill is left out."""
    path = Path(path)
    if not path.exists():
        return []
    text = path.read_text()
    return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))


def truncate_rows(path: str | Path, step: int) -> None:
    """Drops the rows that a resumed run will write again.

    Args:
        path: the CSV.
        step: the last one to keep.
    """
    rows = read_rows(path)
    kept = [row for row in rows if row.get("step", "").isdigit() and int(row["step"]) <= step]
    if not kept:
        Path(path).unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(kept[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(kept)
    write_text(path, text.getvalue())


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here: numpy leaves a file open whose archive is damaged.
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"{path} must be a checkpoint. Received: no such file") from None
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} must be a checkpoint. Received: {error}") from None
    if not {"format", "step", "fingerprint"} <= set(arrays) or int(arrays["format"]) != FORMAT:
        raise InputError(f"{path} must be a checkpoint of format {FORMAT}. Received: something else")
    return arrays

"""Writing files so that a kill or a full disk never leaves half of one under its final name; their hashes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgeface.errors import InputError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder (same suffix), renamed to ``path`` on success and removed otherwise.

    A link stays, and what it leads to is replaced. A device, a pipe or a socket is refused: a rename would put a file
    in its place. An OSError (folder missing or read-only, disk full) becomes an InputError that names the final path.
    """
    path = Path(path)
    final = Path(os.path.realpath(path)) if path.is_symlink() else path
    aside: Path | None = None
    try:
        if final.exists() and not (final.is_file() or final.is_dir()):
            raise InputError(f"{path} must be a file. Received: a device, a pipe or a socket")
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=final.parent)
        os.close(handle)
        aside = Path(name)
        # mkstemp makes files private; give the final file the usual rights.
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o666 & ~umask)
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, final)
        aside = None
    except OSError as error:
        raise InputError(f"{path} must be writable. Received: {error.strerror or error}") from error
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


def remove_partial(path: str | Path) -> None:
    """Removes what a kill in the middle of `atomic_write` has left of a file: hidden files beside it.

    Args:
        path: The final file, which stays; no other process may be writing it.
    """
    path = Path(path)
    left = re.compile(rf"\.{re.escape(path.stem)}\.[a-z0-9_]{{8}}{re.escape(path.suffix)}")
    for one in path.parent.glob(".*"):
        if left.fullmatch(one.name):
            with suppress(OSError):
                one.unlink()


def files_of(folder: str | Path, suffix: str) -> list[Path]:
    """A folder's files of that suffix by name, without the hidden ones: those are being written, or were.

    Args:
        folder: The folder; there are none in one that is missing.
        suffix: With its dot: ".tflite".
    """
    return sorted(path for path in Path(folder).glob(f"*{suffix}") if not path.name.startswith("."))


def check_writable(folder: str | Path) -> None:
    """InputError where the folder cannot be made or written to: asked ahead of minutes of work."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder} must be a folder that can be written to. Received: {error.strerror}") from None


def check_outputs(
    outputs: Mapping[str, str | Path | Iterable[str | Path] | None], inputs: Iterable[str | Path]
) -> None:
    """InputError where an output would replace a file that is read, or another output: asked before either happens.

    Links and other spellings of a path count as the file that they lead to.

    Args:
        outputs: {what asks for it, such as --csv: a path, several, or None}.
        inputs: Files that are read. Of a folder, no file that is there may be replaced.
    """
    read: set[Any] = set()
    folders: set[Path] = set()
    for path in map(Path, inputs):
        folders |= {_real(path)} if path.is_dir() else set()
        read |= _identities(path)
    written: dict[Any, str] = {}
    for option, value in outputs.items():
        several = [] if value is None else [value] if isinstance(value, str | Path) else value
        for path in map(Path, several):
            same = _identities(path)
            inside = path.is_file() and not folders.isdisjoint(_real(path).parents)
            if inside or not read.isdisjoint(same):
                raise InputError(f"{option} must not replace a file that is read. Received: {path}")
            other = next((written[one] for one in same if one in written), None)
            if other is not None:
                raise InputError(f"{option} must be another file than {other}. Received: {path} for both")
            written |= dict.fromkeys(same, option)


def _real(path: Path) -> Path:
    """`Path.resolve` raises where links lead in a circle; this does not."""
    return Path(os.path.realpath(path))


def _identities(path: Path) -> set[Any]:
    """What two names of one file have in common: where they lead to, and the file itself where it is there."""
    found: set[Any] = {_real(path)}
    with suppress(OSError):
        stat = path.stat()
        found |= {(stat.st_dev, stat.st_ino)}
    return found


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes a file whole or not at all (`atomic_write`)."""
    with atomic_write(path) as aside:
        aside.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 whole or not at all (`atomic_write`)."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Writes indented JSON whole or not at all; ValueError on a number that is not finite."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """The parsed file, UTF-8 with or without a byte-order mark; InputError where it is missing or not JSON."""
    path = Path(path)
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path} must be a JSON file. Received: no such file") from None
    except RecursionError:
        raise InputError(f"{path} must be a JSON file. Received: one nested too deeply") from None
    # ValueError: not UTF-8, not JSON, or a number of more digits than Python converts.
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be a JSON file. Received: {error}") from None

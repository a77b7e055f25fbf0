"""Converted files as a command names them: files, and folders of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeface.card import read_card
from edgeface.convert.variants import VARIANTS
from edgeface.errors import InputError
from edgeface.files import files_of


def tflite_files(folder: Path) -> list[Path]:
    """The folder's .tflite files, in the order of the variants. InputError where there are none."""
    files = files_of(folder, ".tflite")
    if not files:
        got = "no such folder" if not folder.is_dir() else "none"
        raise InputError(f"{folder} must be a folder with .tflite files. Received: {got}")
    order = list(VARIANTS)
    cards = {file: read_card(file) for file in files}
    return sorted(files, key=lambda f: order.index(cards[f].variant) if cards[f].variant in order else len(order))


def converted_files(given: Sequence[Path]) -> list[Path]:
    """The files that are named, with each folder's files in its place; one that is named twice is there once."""
    files = [file for path in given for file in ([path] if path.suffix == ".tflite" else tflite_files(path))]
    return list(dict.fromkeys(files))

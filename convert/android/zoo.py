"""``android_demo/zoo.sha256``: which packaged models the app carries, and their hashes."""

from __future__ import annotations

from pathlib import Path

from convert.android.kotlin import DEMO
from edgeface import zoo
from edgeface.files import files_of, sha256, write_text

MANIFEST = DEMO / "zoo.sha256"


def manifest(folder: Path = zoo.FOLDER) -> str:
    """A line a model, as ``sha256sum`` writes it: hash, two spaces, name."""
    return "".join(f"{sha256(file)}  {file.name}\n" for file in files_of(folder, ".tflite"))


def write_manifest(path: Path = MANIFEST) -> Path:
    write_text(path, manifest())
    return path

"""Copies released files from runs/MODEL into `edgeface/zoo/`: ``python -m convert.release.release [MODEL ...]``.

Run after `convert.release.measure`, which converts the files and compares them with their float model. A file is
released only as it was scored (by its hash), and only where it kept every bound on every set.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

from convert.release.command import run
from convert.release.measure import RUNS, SUBJECTS
from edgeface import zoo
from edgeface.card import read_card
from edgeface.convert.parity_file import load_parity
from edgeface.convert.variants import VARIANTS
from edgeface.errors import InputError
from edgeface.files import sha256, write_bytes


def release(name: str) -> list[Path]:
    """The paths written; the model's other files leave the package.

    InputError, and nothing changed: a file that was not scored as it is, or missed a bound.
    """
    chosen = {}
    for folder, variant in [(RUNS / f.name, variant) for f in SUBJECTS[name].files for variant in f.released]:
        file = folder / f"{folder.name}_{variant}.tflite"
        if not file.is_file():
            raise InputError(f"{file} must be there (python -m convert.release.measure {name}). Received: no such file")
        for scored in load_parity(folder / "parity.json"):
            row = next((row for row in scored.rows if row["variant"] == variant), {})
            if row.get("flatbuffer_sha256") != read_card(file).flatbuffer_sha256:
                raise InputError(f"{file} must be the file that was scored on {scored.set}. Received: another one")
            if not row["passed"]:
                raise InputError(f"{file} must keep every bound. Received: a miss on {scored.set}")
        chosen[zoo.FOLDER / file.name] = file
    for target, file in chosen.items():
        write_bytes(target, file.read_bytes())
    # What an earlier release had of this model and this one has not.
    for files, variant in product(SUBJECTS[name].files, VARIANTS):
        target = zoo.FOLDER / f"{files.name}_{variant}.tflite"
        if target not in chosen:
            target.unlink(missing_ok=True)
    return list(chosen)


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"among {', '.join(SUBJECTS)} (default: all)")
    options = parser.parse_args(args)
    unknown = sorted(set(options.models) - set(SUBJECTS))
    if unknown:
        raise InputError(f"models must be among {', '.join(SUBJECTS)}. Received: {', '.join(unknown)}")
    for name in options.models or SUBJECTS:
        for path in release(name):
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB, sha256 {sha256(path)[:16]}…")
    return 0


if __name__ == "__main__":
    run(main)

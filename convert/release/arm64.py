"""What a Raspberry Pi would run, under emulation: ``python -m convert.release.arm64`` writes results/arm64.json.

``live``: `edgeface live`, the script of the built wheel, on a rendered video as cortex-a72 (Pi 4) and cortex-a76
(Pi 5), against the same wheel on this machine. ``instructions``: of one inference of every packaged file.
``--check`` measures anew, writes nothing, and ends with 1 where a file fails or costs other than what is stored.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convert.release import clips, command
from convert.release.record import record
from convert.runtimes import arm64, instructions, wheel
from edgeface import zoo
from edgeface.card import read_card
from edgeface.files import read_json, sha256, write_json

FILE = Path(__file__).resolve().parents[2] / "results" / "arm64.json"
PARTS = ("live", "instructions")
FRAMES = 6
TOLERANCE = 0.01
"""Relative change in instructions below which nothing is reported: an interpreter's own bookkeeping."""


def live(files: Sequence[Path]) -> list[dict[str, Any]]:
    """A row for each file and core."""
    built = wheel.build()
    wheels = wheel.install_arm64(built)
    rows = []
    with tempfile.TemporaryDirectory(prefix="edgeface-") as folder:
        video = Path(folder) / "moving.avi"
        made = clips.moving(2, FRAMES, cycles=0.05)
        wheel.write_lossless(video, made.frames, clips.FPS)
        box = [f"{side:.2f}" for side in made.box(0).as_xyxy()]
        for file in files:
            argv = [video, "--model", file.stem, "--box", *box]
            reference = wheel.live_here(built, argv)
            for core in arm64.CORES:
                integer = read_card(file).variant.startswith("int8")
                row = wheel.compared(file.name, core, integer, wheel.live_arm64(wheels, core, argv), reference)
                rows.append(dataclasses.asdict(row))
                _tell(f"{core} {file.name}: {row.lines_equal} of {row.frames} lines the same, {row.verdict}")
    return rows


def count_instructions(files: Sequence[Path]) -> dict[str, dict[str, int]]:
    """{file: {core: instructions of one inference}}."""
    wheels = instructions.install()
    counted: dict[str, dict[str, int]] = {}
    for file in files:
        counted[file.name] = {core: instructions.count(file, core, wheels) for core in arm64.CORES}
        _tell(f"{file.name}: " + ", ".join(f"{core} {n / 1e6:.2f} million" for core, n in counted[file.name].items()))
    return counted


def changed(counted: dict[str, dict[str, int]], stored: dict[str, Any], hashes: dict[str, str]) -> list[str]:
    """What differs from the stored figures by more than `TOLERANCE`, or has none that are of the same file."""
    found = []
    for file, by_core in counted.items():
        if stored["files"].get(file) != hashes[file]:
            found.append(f"{file}: the stored figures are another file's; measure anew")
            continue
        for core, now in by_core.items():
            then = stored["instructions"][file][core]
            if abs(now - then) > TOLERANCE * then:
                found.append(f"{file} on {core}: {now:,} instructions, {then:,} are stored")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m convert.release.arm64", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="packaged models (default: all of them)")
    parser.add_argument("--only", choices=PARTS, help="this part alone")
    parser.add_argument("--check", action="store_true", help="compare with arm64.json and leave it as it is")
    args = parser.parse_args(argv)
    files = [zoo.path(name) for name in args.models or zoo.available()]
    hashes = {file.name: sha256(file) for file in files}
    stored = read_json(FILE) if FILE.is_file() else {"files": {}, "live": [], "instructions": {}}
    rows = live(files) if args.only != "instructions" else []
    counted = count_instructions(files) if args.only != "live" else {}
    broken = [f"{row['core']} {row['file']}: {row['worst']}" for row in rows if row["verdict"] != "pass"]
    if args.check:
        broken += changed(counted, stored, hashes)
    else:
        write_json(FILE, merged(stored, hashes, rows, counted))
    print("\n".join(broken) or "all as it should be")
    return 1 if broken else 0


def merged(
    stored: dict[str, Any],
    hashes: dict[str, str],
    rows: list[dict[str, Any]],
    counted: dict[str, dict[str, int]],
) -> dict[str, Any]:
    """The stored figures with these in their place; those of files that are packaged no more, or changed, go."""
    packaged = {path.name: sha256(path) for path in map(zoo.path, zoo.available())}
    kept = {file for file, digest in stored["files"].items() if packaged.get(file) == digest}
    measured = {(row["file"], row["core"]) for row in rows}
    old_rows = [r for r in stored["live"] if r["file"] in kept and (r["file"], r["core"]) not in measured]
    old_counts = {file: n for file, n in stored["instructions"].items() if file in kept}
    return {
        **record("python -m convert.release.arm64", "numpy", "opencv-python", "ai-edge-litert"),
        "cores": {"cortex-a72": "Raspberry Pi 4", "cortex-a76": "Raspberry Pi 5"},
        "files": {file: packaged[file] for file in sorted(kept | hashes.keys())},
        "frames": FRAMES,
        "instructions_are": "of one inference on one thread, after a first one; a regression figure, no latency",
        "instructions": dict(sorted({**old_counts, **counted}.items())),
        "live": sorted([*old_rows, *rows], key=lambda row: (row["file"], row["core"])),
    }


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    command.run(main)

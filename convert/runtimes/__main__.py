"""``python -m convert.runtimes RUNTIME FILE...``: the same golden faces through another runtime."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from convert.runtimes.base import RefusedError, Runtime, UnavailableError
from convert.runtimes.browser import BROWSER
from convert.runtimes.compare import ABSENT, FAIL, PASS, REFUSED, Row, compare
from convert.runtimes.golden import FACES, Case, prepare
from convert.runtimes.gpu import GPU, GPU_FLOAT16
from convert.runtimes.interpreters import ARM64, LITERT_X86, TFLITE_X86
from convert.runtimes.tolerances import tolerance
from edgeface.errors import InputError
from edgeface.files import sha256, write_json
from edgeface.runtime.machine import machine, versions

GROUPS: dict[str, tuple[Runtime, ...]] = {
    "litert": (LITERT_X86,),
    "tflite-runtime": (TFLITE_X86,),
    "arm64": ARM64,
    "gpu": (GPU,),
    "gpu-f16": (GPU_FLOAT16,),
    "browser": BROWSER,
}


def measure(
    runtimes: Sequence[Runtime], cases: Sequence[Case], tell: Callable[[str], None] = lambda text: None
) -> Iterator[Row]:
    """A row for each runtime and file; one that cannot be had or that refuses a file says so in its row."""
    for runtime in runtimes:
        tell(f"{runtime.name}: installing")
        try:
            runtime.install()
        except UnavailableError as error:
            yield from (Row(runtime.name, case.path.name, 0, ABSENT, note=str(error)) for case in cases)
            continue
        for case in cases:
            tell(f"{runtime.name}: {case.path.name}")
            try:
                reply = runtime.answer(case)
            except UnavailableError as error:
                yield Row(runtime.name, case.path.name, 0, ABSENT, note=str(error))
            except RefusedError as error:
                yield Row(runtime.name, case.path.name, 0, REFUSED, note=str(error))
            else:
                bound = tolerance(runtime.name, case.integer)
                yield compare(runtime.name, case, reply.outputs, bound, reply.engine, reply.note)


def table(rows: Sequence[Row]) -> str:
    """Differences are to the same file in LiteRT on this machine; 1 % of the crop is 1.28 px at 128."""
    head = ("runtime", "file", "faces", "points max %", "mean %", "pose max deg", "mean deg", "exact", "verdict")
    lines = [head]
    for row in rows:
        found = row.to_reference
        figures = ("", "", "", "")
        if found is not None:
            figures = tuple(
                "" if value is None else f"{value:.2g}"
                for value in (
                    found.landmarks_max_percent,
                    found.landmarks_mean_percent,
                    found.pose_max_deg,
                    found.pose_mean_deg,
                )
            )
        exact = {None: "", True: "yes", False: f"no ({row.max_steps})"}[row.bit_exact]
        lines.append((row.runtime, row.file.removesuffix(".tflite"), str(row.faces), *figures, exact, row.verdict))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    notes = [f"{row.runtime} {row.file}: {row.note}" for row in rows if row.note and row.verdict != PASS]
    return "\n".join([*text, *([""] if notes else []), *notes])


def document(rows: Sequence[Row], cases: Sequence[Case], command: str) -> dict[str, Any]:
    """What the JSON holds."""
    return {
        "command": command,
        "machine": machine(),
        "versions": versions("ai-edge-litert", "numpy"),
        "units": "landmarks: % of the crop's side (1 % = 1.28 px at 128); pose: degrees; on rendered test faces",
        "files": {case.path.name: sha256(case.path) for case in cases},
        "rows": [dataclasses.asdict(row) for row in rows],
    }


def broken(rows: Sequence[Row]) -> list[Row]:
    """Those that fail or are refused; a runtime that cannot be had here is neither."""
    return [row for row in rows if row.verdict in (FAIL, REFUSED)]


def main(argv: Sequence[str] | None = None) -> int:
    """0: all that ran holds; 1: something does not; 2: wrong arguments; 3: a runtime cannot be had here."""
    parser = argparse.ArgumentParser("python -m convert.runtimes", description=__doc__)
    parser.add_argument("runtime", choices=[*GROUPS, "all"], help="installed under runs/runtimes where need be")
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path, help="converted files of edgeface")
    parser.add_argument("--faces", type=int, default=FACES, help="rendered test faces (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    args = parser.parse_args(argv)
    chosen = tuple(r for group in GROUPS.values() for r in group) if args.runtime == "all" else GROUPS[args.runtime]
    try:
        cases = prepare(args.files, args.faces)
        rows = list(measure(chosen, cases, lambda text: print(text, file=sys.stderr, flush=True)))
        if args.json is not None:
            command = f"python -m convert.runtimes {args.runtime} {' '.join(f.name for f in args.files)}"
            write_json(args.json, document(rows, cases, command))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(rows))
    if broken(rows):
        return 1
    return 3 if any(row.verdict == ABSENT for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

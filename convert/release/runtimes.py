"""Runs the packaged models in every runtime and writes results/runtimes.json:
``python -m convert.release.runtimes [RUNTIME...]``.

Without arguments, all of them, with every model; ``--models`` names those to measure anew. Rows of other runtimes and
other models are kept while the files are the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from convert.runtimes.__main__ import GROUPS, broken, document, measure, table
from convert.runtimes.compare import Row
from convert.runtimes.golden import prepare
from convert.runtimes.tolerances import Difference, Tolerance
from edgeface import zoo
from edgeface.errors import InputError
from edgeface.files import read_json, sha256, write_json
from edgeface.runtime.machine import commit

OUT = Path(__file__).resolve().parents[2] / "results" / "runtimes.json"
RUNS = Path(__file__).parents[2] / "runs"
VARIANTS = ("float32", "float16", "int8_qat", "int8_logits")


def model_of(stem: str) -> str:
    """acdc_n_3d_int8_qat -> acdc_n_3d."""
    return stem.split("_float")[0].split("_int8")[0]


def files() -> list[Path]:
    """Every model's converted variants in runs/, and the packaged files that are not among them."""
    models = sorted({model_of(name) for name in zoo.available()})
    converted = [RUNS / model / f"{model}_{variant}.tflite" for model in models for variant in VARIANTS]
    found = [path for path in converted if path.is_file()]
    known = {sha256(path) for path in found}
    return [*found, *(path for name in zoo.available() if sha256(path := zoo.path(name)) not in known)]


def kept_rows(measured: set[tuple[str, str]], hashes: dict[str, str]) -> list[Row]:
    """Rows of the committed file that this run does not replace, of unchanged files. measured: (runtime, file)."""
    if not OUT.is_file():
        return []
    old = read_json(OUT)
    rows = []
    for row in old["rows"]:
        if (row["runtime"], row["file"]) in measured or old["files"].get(row["file"]) != hashes.get(row["file"]):
            continue
        for key, kind in (("to_reference", Difference), ("to_float32", Difference), ("tolerance", Tolerance)):
            row[key] = None if row[key] is None else kind(**row[key])
        rows.append(Row(**row))
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m convert.release.runtimes", description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", metavar="RUNTIME", help=f"of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--models", nargs="+", default=[], help="measure the files of these alone (acdc_n, ccr_s …)")
    options = parser.parse_args(argv)
    groups = options.groups or list(GROUPS)
    if unknown := sorted(set(groups) - set(GROUPS)):
        parser.error(f"RUNTIME must be one of {', '.join(GROUPS)}. Received: {', '.join(unknown)}")
    order = [runtime.name for group in GROUPS.values() for runtime in group]
    try:
        cases = prepare(files())
        hashes = {case.path.name: sha256(case.path) for case in cases}
        named = [case for case in cases if not options.models or model_of(case.path.stem) in options.models]
        if not named:
            raise InputError(f"--models must name models that lie here. Received: {', '.join(options.models)}")
        rows: list[Row] = []
        for group in groups:
            rows += measure(GROUPS[group], named, lambda text: print(text, file=sys.stderr, flush=True))
            measured = {(row.runtime, row.file) for row in rows}
            every = sorted([*kept_rows(measured, hashes), *rows], key=lambda row: order.index(row.runtime))
            figures = document(every, cases, "python -m convert.release.runtimes")
            figures["packaged"] = {name: sha256(zoo.path(name)) for name in zoo.available()}
            # After each runtime: an hour of emulation is not lost to an interrupt.
            write_json(OUT, figures | {"commit": commit()})
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(every))
    return 1 if broken(every) else 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m convert``: `edgeface convert`, `qat`, `gate`, `parity` and `report`, and two tools of this repository."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeface.cli import run_program
from edgeface.cli.command import Command, build
from edgeface.cli.convert import COMMAND as CONVERT
from edgeface.cli.gate import COMMAND as GATE
from edgeface.cli.options import add_out
from edgeface.cli.parity import COMMAND as PARITY
from edgeface.cli.qat import COMMAND as QAT
from edgeface.cli.report import COMMAND as REPORT
from edgeface.convert.variants import VARIANTS


def _halve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL.keras", help="float or quantization-aware")
    add_out(parser, "NEW.keras", "the new file")


def _halve(args: argparse.Namespace) -> int:
    from edgeface.cli.backend import start_tensorflow

    start_tensorflow()

    from edgeface.models.io import halve_model

    halve_model(args.model, args.out)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes (before: {args.model.stat().st_size:,})")
    return 0


def _list(args: argparse.Namespace) -> int:
    for variant in VARIANTS.values():
        needs = "a quantized model" if variant.needs_qat else "calibration" if variant.needs_calibration else ""
        print(f"{variant.name:<12} {variant.purpose}{f' (needs {needs})' if needs else ''}")
    return 0


SECTIONS = {
    "as in edgeface": {"all": CONVERT, "qat": QAT, "gate": GATE, "parity": PARITY, "report": REPORT},
    "for this repository": {
        "halve": Command(
            about="write a model again with its kernels in float16, as the repository keeps the released ones",
            add_arguments=_halve_arguments,
            run=_halve,
            examples=("python -m convert halve runs/acdc_s/model.keras --out weights/acdc_s.keras",),
        ),
        "list": Command(
            about="list the variants",
            add_arguments=lambda parser: None,
            run=_list,
            examples=("python -m convert list",),
        ),
    },
}


EXAMPLES = (
    "python -m convert all runs/acdc_s/model.keras --out runs/acdc_s/tflite",
    "python -m convert halve runs/acdc_s/model.keras --out weights/acdc_s.keras",
)


def main(argv: Sequence[str] | None = None) -> int:
    about = "From trained Keras models to checked .tflite files, their parity with float, and a report."
    return run_program(build("python -m convert", about, SECTIONS, examples=EXAMPLES), argv)


if __name__ == "__main__":
    sys.exit(main())

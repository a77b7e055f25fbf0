"""`edgeface gate`: whether converted files are what their variants promise."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeface.cli.command import Command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE|DIR", help=".tflite files, or folders of them")
    parser.add_argument("--variant", metavar="NAME", help="what they must be (default: what their cards say)")
    parser.add_argument("--operators", action="store_true", help="list every kind of operator and its dtype")
    parser.add_argument(
        "--gpu",
        action="store_true",
        help="also compile them for the GPU delegate's engine, in software",
    )
    parser.add_argument(
        "--faces", type=int, metavar="N", help="also run float16 files on N rendered faces and look for overflow"
    )


def run(args: argparse.Namespace) -> int:
    from edgeface.cli.backend import start_tensorflow

    start_tensorflow()
    from edgeface.convert.folder import converted_files
    from edgeface.convert.gate import gate
    from edgeface.convert.variants import variant

    expected = variant(args.variant) if args.variant else None
    failed = 0
    for file in converted_files(args.files):
        report = gate(file, expected, gpu=args.gpu, faces=args.faces or 0)
        failed += not report.passed
        print(f"{file}: {report.variant}, {report.bytes:,} bytes, {'passed' if report.passed else 'FAILED'}")
        for name, tensor in (*report.inputs.items(), *report.outputs.items()):
            scale = "" if tensor.scale is None else f", scale {tensor.scale:g}, zero point {tensor.zero_point}"
            print(f"  {name:<12} {tensor.dtype} {list(tensor.shape)}{scale}")
        for op in report.operators if args.operators else ():
            print(f"  {op.count:>4} {op.type:<24} {op.dtype}")
        if args.gpu:
            print(f"  GPU engine: {report.gpu}")
        for failure in report.failures:
            print(f"  FAILED: {failure}")
    return 1 if failed else 0


COMMAND = Command(
    about="check converted files against their variant's contract",
    add_arguments=add_arguments,
    run=run,
    examples=(
        "edgeface gate runs/my_faces_files",
        "edgeface gate my_model.tflite --variant int8_qat --operators",
        "edgeface gate my_model_float16.tflite --gpu --faces 4",
    ),
    notes="Prints each file's inputs and outputs, and what breaks the contract: operators, dtypes, "
    "shapes, names. Exit status 1: a file failed.",
    needs=("Checking converted files", "convert"),
)

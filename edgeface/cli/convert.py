"""`edgeface convert`: from a trained model to checked .tflite files."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeface.cli.command import Command
from edgeface.cli.options import DIR_HELP, add_markup, add_out, add_stages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL.keras", help="the float model")
    add_out(parser, "DIR", "the folder for NAME_VARIANT.tflite and NAME_VARIANT.json")
    parser.add_argument(
        "--qat",
        type=Path,
        metavar="QAT.keras",
        help="its quantized model, fine-tuned by edgeface qat (default: one is calibrated and not fine-tuned)",
    )
    parser.add_argument(
        "--calibration",
        default="synthetic",
        metavar="NAMES",
        help="comma-separated: synthetic (rendered faces), manifests of `edgeface calibrate` (default: synthetic)",
    )
    parser.add_argument("--dir", metavar="DIR", help=f"for manifests: {DIR_HELP}")
    parser.add_argument(
        "--variants",
        metavar="NAMES",
        help="comma-separated, of float32, float16, dynamic, int8_ptq, int8_qat, int8_logits (default: all)",
    )
    add_markup(parser, "the landmarks to keep, such as ibug68 (default: the model's first)")
    parser.add_argument(
        "--outputs",
        default="landmarks,pose,spread",
        metavar="NAMES",
        help="comma-separated; what is not named is not in the file (default: landmarks,pose,spread)",
    )
    add_stages(parser)
    parser.add_argument("--name", help="files are called NAME_VARIANT.tflite (default: the preset's name)")


def run(args: argparse.Namespace) -> int:
    from edgeface.cli.backend import start_tensorflow

    start_tensorflow()

    from edgeface.convert.convert_all import Job, convert_all
    from edgeface.convert.variants import select

    wanted = select(args.variants)
    outputs = tuple(part.strip() for part in args.outputs.split(",") if part.strip())
    job = Job(
        args.model, args.out, args.qat, args.calibration, args.markup, outputs, args.stages, args.name, dir=args.dir
    )
    for converted in convert_all(job, wanted):
        card, checked = converted.card, converted.gate
        print(f"{converted.path}  {card.file_bytes:,} bytes  {checked.float_operators} float operators  gate passed")
        for note in card.notes:
            print(f"  note: {note}")
    return 0


COMMAND = Command(
    about="convert a trained model to .tflite files, each checked as it is written",
    add_arguments=add_arguments,
    run=run,
    examples=(
        "edgeface convert runs/my_faces/model.keras --out runs/my_faces_files --variants float16,dynamic",
        "edgeface convert runs/my_faces/model.keras --out runs/my_faces_files --qat runs/my_faces_qat/qat.keras "
        "--calibration runs/my_faces.json,synthetic",
    ),
    notes="variants:\n"
    "  float32      the reference\n"
    "  float16      Android GPU delegate, WebGPU\n"
    "  dynamic      a small download for any CPU\n"
    "  int8_ptq     CPU, without training (needs --calibration)\n"
    "  int8_qat     CPU: the default (needs --qat to be at its best)\n"
    "  int8_logits  NPU, DSP; decoded on the host (needs --qat to be at its best)\n"
    "\n"
    "A file that fails its gate is not written, and the command ends with exit status 2.",
    needs=("Conversion", "convert"),
)

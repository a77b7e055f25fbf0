"""`edgeface qat`: quantize a trained model and fine-tune it."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeface.cli.command import Command
from edgeface.cli.options import add_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL.keras", help="the float model")
    add_out(parser, "DIR", "the run's folder, another one than the float model's; the result is its qat.keras")
    parser.add_argument("--steps", type=int, default=300, metavar="N", help="training steps (default: 300)")
    parser.add_argument(
        "--learning-rate", type=float, default=5e-5, metavar="RATE", help="at the start; falls to 0 (default: 5e-5)"
    )
    parser.add_argument(
        "--distill",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of the loss that is the distance from the float model's answers instead of the labels, 0 to 1 "
        "(default: 1)",
    )
    parser.add_argument(
        "--ranges",
        default="frozen",
        metavar="HOW",
        help="activation ranges in training: frozen, ema (they follow the batches) or learned (default: frozen)",
    )
    parser.add_argument(
        "--calibration-method",
        default="mse",
        metavar="METHOD",
        help="how the first ranges are set: minmax, percentile, mse or ema (default: mse)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="CONFIG.toml",
        help="a training config whose faces are used (default: the one recorded in the model)",
    )
    parser.add_argument("--fresh", action="store_true", help="delete what the folder holds and start again")


def run(args: argparse.Namespace) -> int:
    from edgeface.training.backend import start_keras

    start_keras()

    from edgeface.convert.fine_tune import FineTune, fine_tune
    from edgeface.training.config_file import load_config

    options = FineTune(
        steps=args.steps,
        learning_rate=args.learning_rate,
        distill=args.distill,
        ranges=args.ranges,
        calibration=args.calibration_method,
    )
    fine_tune(args.model, args.out, options, load_config(args.config) if args.config else None, resume=not args.fresh)
    return 0


COMMAND = Command(
    about="quantize a trained model and fine-tune it (quantization-aware training)",
    add_arguments=add_arguments,
    run=run,
    examples=(
        "edgeface qat runs/my_faces/model.keras --out runs/my_faces_qat",
        "edgeface qat runs/my_faces/model.keras --out runs/trial_qat --steps 50 --config my_faces.toml",
    ),
    notes="Trains on the faces that the float model was trained on. A run that was stopped goes on from its last "
    "checkpoint. The backend is KERAS_BACKEND, else TensorFlow where it is installed, else JAX.",
    needs=("Quantization-aware training", "train"),
)

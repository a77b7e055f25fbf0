"""`edgeface train`: from a config file to a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeface.cli.command import Command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="what to train, on which faces, how long")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: runs/NAME of the config)")
    parser.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one key of the config, such as steps=200 or sources.0.limit=1000; again for another key",
    )
    parser.add_argument("--fresh", action="store_true", help="delete what the folder holds and start again")
    parser.add_argument("--distribute", action="store_true", help="use every device, on JAX; see below")


def run(args: argparse.Namespace) -> int:
    from edgeface.training.backend import start_keras
    from edgeface.training.config_file import load_config

    # A wrong config is reported before Keras starts, which takes seconds.
    config = load_config(args.config, args.override)
    start_keras(args.distribute)

    from edgeface.training.train import train

    train(config, args.out or Path("runs") / config.name, resume=not args.fresh, distribute=args.distribute)
    return 0


COMMAND = Command(
    about="train a network as a config file says",
    add_arguments=add_arguments,
    run=run,
    examples=(
        "edgeface train my_faces.toml",
        "edgeface train my_faces.toml --out runs/trial --override steps=200 --override sources.0.limit=1000",
        "KERAS_BACKEND=jax edgeface train my_faces.toml --distribute",
    ),
    notes="Writes config.json, metrics.csv, checkpoint.npz and model.keras into the run's folder. A run that was "
    "stopped goes on from its last checkpoint with the same command. The backend is KERAS_BACKEND, else "
    "TensorFlow where it is installed, else JAX.\n"
    "\n"
    "--distribute uses all devices of this process; where KERAS_DISTRIBUTION_JOB_ADDRESSES (host:port of the "
    "first), KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID are set, those of all "
    "processes, started one by one with the same arguments and a folder that all see. A run may go on with "
    "another number of devices.",
    needs=("Training", "train"),
)

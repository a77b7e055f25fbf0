"""`edgeface train` and `edgeface evaluate`: arguments in, files and a table out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from edgeface.errors import InputError
from edgeface.training.backend import start_keras


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def run_train(argv: Sequence[str]) -> int:
    """`edgeface train CONFIG`. InputError for whatever a user can cause."""
    parser = _Parser(
        prog="edgeface train",
        description="Train a network as a TOML file says. A run that was stopped goes on where it was.",
        epilog="example: edgeface train configs/acdc_n_demo.toml --override steps=200 --override sources.0.limit=1000",
    )
    parser.add_argument("config", type=Path, help="a TOML file, see configs/")
    parser.add_argument("--out", type=Path, help="the run's folder (default: runs/NAME)")
    parser.add_argument(
        "--override", action="append", default=[], metavar="KEY=VALUE", help="change one key of the config"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what the folder holds and start again")
    parser.add_argument(
        "--distribute",
        action="store_true",
        help="use every device, on JAX; where KERAS_DISTRIBUTION_JOB_ADDRESSES (host:port of the first), "
        "KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID are set, those of all processes, started "
        "one by one with the same arguments and a folder that all see. A run may go on with another number of devices",
    )
    args = parser.parse_args(list(argv))
    start_keras(args.distribute)

    from edgeface.training.config import load_config

    config = load_config(args.config, args.override)

    from edgeface.training.train import train

    train(config, args.out or Path("runs") / config.name, resume=not args.fresh, distribute=args.distribute)
    return 0


def run_evaluate(argv: Sequence[str]) -> int:
    """`edgeface evaluate MODEL --set NAME`. InputError for whatever a user can cause."""
    parser = _Parser(
        prog="edgeface evaluate",
        description="Score a .keras or .tflite model on annotated faces by the set's own protocol.",
        epilog="example: edgeface evaluate runs/acdc_s/model.keras --set 300w --split test --ced ced.png",
    )
    parser.add_argument("model", type=Path, help="a .keras or a .tflite file")
    parser.add_argument("--set", required=True, help="300w, aflw, aflw2000_3d, …, or synthetic, which needs no files")
    parser.add_argument("--split", help="default: test, or val where the set has no test; all: every split")
    parser.add_argument("--dir", help="the folder that holds the set (default: EDGEFACE_FACES, EDGEFACE_DATA)")
    parser.add_argument("--limit", type=int, help="the first so many faces")
    parser.add_argument("--markup", help="the landmarks to score (default: the protocol's)")
    parser.add_argument("--stages", type=int, help="of a .keras file: its first so many stages")
    parser.add_argument("--threads", type=int, default=1, help="of a .tflite file (default: 1)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the scores, per face too")
    parser.add_argument("--ced", type=Path, metavar="PNG", help="draw the cumulative error curve")
    args = parser.parse_args(list(argv))
    if args.model.suffix != ".tflite":
        start_keras()

    from edgeface.datasets.load import evaluation_split, load_set
    from edgeface.evaluation.evaluate import evaluate, protocol_for, save_ced
    from edgeface.evaluation.networks import load_network, markups_of
    from edgeface.files import write_json

    # What is cheap to get wrong is checked first: the model, then the faces, then the run.
    has = markups_of(args.model)
    split = args.split or evaluation_split(args.set)
    samples = load_set(args.set, None if split == "all" else split, args.limit, args.dir)
    protocol, markup = protocol_for(args.set, samples, has, args.markup)
    network = load_network(args.model, markup, args.stages, args.threads)
    scores = evaluate(network, samples, protocol)
    print(scores.table())
    if args.json:
        write_json(args.json, {"stages": args.stages} | scores.as_dict())
    if args.ced:
        save_ced(scores, args.ced)
    return 0

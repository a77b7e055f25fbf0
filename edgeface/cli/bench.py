"""`edgeface bench`: how fast a model is on this machine."""

from __future__ import annotations

import argparse

from edgeface.cli.command import Command
from edgeface.cli.options import add_packaged_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_packaged_model(parser)
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="timed runs (default: 200)")
    parser.add_argument("--out", metavar="JSON", help="write the figures into this file")


def run(args: argparse.Namespace) -> int:
    from edgeface import zoo
    from edgeface.files import check_outputs, write_json
    from edgeface.runtime.bench import bench

    check_outputs({"--out": args.out}, [zoo.resolve(args.model), *([args.delegate] if args.delegate else [])])
    done = bench(args.model, args.runs, args.threads, args.delegate)
    print(done.text())
    if args.out:
        write_json(args.out, done.to_dict())
    return 0


COMMAND = Command(
    about="time a model on this machine",
    add_arguments=add_arguments,
    run=run,
    examples=(
        "edgeface bench --model acdc_n",
        "edgeface bench --model acdc_s --threads 4 --runs 1000 --out bench.json",
    ),
    notes="Prints milliseconds (p50, p90, p99) of the network alone and with its crop, and memory.",
)

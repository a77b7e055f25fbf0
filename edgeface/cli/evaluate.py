"""`edgeface evaluate`: the scores of a model on annotated faces."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeface.cli.command import Command
from edgeface.cli.options import add_faces, add_limit, add_markup, add_stages, add_threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .keras or a .tflite file")
    add_faces(parser, "test, or val where the set has no test; all: every split")
    add_limit(parser)
    add_markup(parser, "the landmarks to score (default: the protocol's)")
    add_stages(parser)
    add_threads(parser)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the scores, per face too, into this file")
    parser.add_argument("--ced", type=Path, metavar="PNG", help="draw the cumulative error curve into this file")


def run(args: argparse.Namespace) -> int:
    from edgeface.datasets.load import set_folders
    from edgeface.files import check_outputs
    from edgeface.training.backend import start_keras

    check_outputs({"--json": args.json, "--ced": args.ced}, [args.model, *set_folders(args.set, args.dir)])
    if args.model.suffix != ".tflite":
        start_keras()

    from edgeface.datasets.load import evaluation_split, load_set
    from edgeface.evaluation.ced_plot import save_ced
    from edgeface.evaluation.evaluate import evaluate, protocol_for
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


COMMAND = Command(
    about="score a .keras or .tflite model on annotated faces",
    add_arguments=add_arguments,
    run=run,
    examples=(
        "edgeface evaluate my_model.tflite --set synthetic --limit 3",
        "edgeface evaluate runs/my_faces/model.keras --set my_faces --dir faces --split test --ced ced.png",
        "edgeface evaluate runs/acdc_s/model.keras --set 300w --markup ibug68 --json scores.json",
    ),
    notes="Scores by the set's own protocol: NME with its normalizer, failure rate and AUC; pose as mean absolute "
    "error per angle and as geodesic distance, all by yaw. What cannot be scored is counted and named.",
    needs=("Evaluation", "train"),
)

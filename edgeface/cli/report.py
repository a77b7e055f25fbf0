"""`edgeface report`: one page on folders of converted files."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from edgeface.cli.command import Command
from edgeface.cli.options import add_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="DIR", help="folders of .tflite files and, after parity, a parity.json"
    )
    add_out(parser, "DIR", "the folder of report.html, report.md and report.json", Path("runs/report"))
    parser.add_argument(
        "--rounds",
        type=int,
        default=40,
        metavar="N",
        help="rounds of timing, five runs per file in each (default: 40)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        nargs="+",
        default=(1, 2),
        metavar="N",
        help="interpreter threads to time with; the first is the one that is compared (default: 1 2)",
    )
    parser.add_argument(
        "--peers", metavar="JSON", help="other projects' models to draw in; none: none (default: the packaged list)"
    )
    parser.add_argument(
        "--memory-runs", type=int, default=3, metavar="N", help="processes per file to measure memory in (default: 3)"
    )
    parser.add_argument(
        "--crops", type=int, default=8, metavar="N", help="rendered faces to compare int8 tensors on (default: 8)"
    )
    parser.add_argument(
        "--faces", action="store_true", help="put parity's pictures of the worst faces in; they show persons"
    )


def run(args: argparse.Namespace) -> int:
    from edgeface.cli.backend import start_tensorflow
    from edgeface.files import check_outputs

    start_tensorflow()
    from edgeface.convert.report import (
        PEERS,
        build_report,
        embed_faces,
        read_entries,
        read_peers,
        terminal_table,
        write_report,
    )

    pages = [args.out / f"report.{kind}" for kind in ("json", "md", "html")]
    read = [folder / "parity.json" for folder in args.folders]
    check_outputs({"--out": pages}, [*read, *([args.peers] if args.peers not in (None, "none") else [])])
    peers = None if args.peers == "none" else read_peers(args.peers or PEERS)
    entries = read_entries(args.folders)
    if args.faces:
        entries = embed_faces(entries)
    report = build_report(
        entries,
        rounds=args.rounds,
        threads=args.threads,
        command=shlex.join(["edgeface", "report", *map(str, args.folders)]),
        peers=peers,
        memory_runs=args.memory_runs,
        crops=args.crops,
    )
    print(terminal_table(report))
    for path in write_report(report, args.out):
        print(f"wrote {path}")
    return 0


COMMAND = Command(
    about="write a page on converted files: accuracy, size, time, memory, where int8 differs",
    add_arguments=add_arguments,
    run=run,
    examples=(
        "edgeface report runs/my_faces_files --out runs/my_faces_report --rounds 2 --memory-runs 1 --crops 1",
        "edgeface report runs/acdc_n/tflite runs/ccr_n/tflite --threads 1 4",
    ),
    notes="Times are of this machine: run it when nothing else does. --memory-runs 0 and --crops 0 leave those parts"
    " out.",
    needs=("The report", "convert"),
)

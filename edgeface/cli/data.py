"""`edgeface data`: a look at annotated faces before anything is trained on them."""

from __future__ import annotations

import argparse

from edgeface.cli.command import Command, Group
from edgeface.cli.options import DIR_HELP

NEEDS = ("Reading annotated faces", "train")


def run_check(args: argparse.Namespace) -> int:
    from edgeface.datasets.check import check

    return check(args.set, args.split, root=args.dir, quick=args.quick, as_json=args.json)


def run_inspect(args: argparse.Namespace) -> int:
    from edgeface.datasets.inspect import inspect

    print(inspect(args.set, args.split, args.out, limit=args.limit, root=args.dir))
    return 0


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("set", metavar="SET|DIR", help="a dataset's name, synthetic, or a folder of datasets")
    parser.add_argument("--split", metavar="NAME", help="default: all of them")
    parser.add_argument("--dir", metavar="DIR", help=DIR_HELP)
    parser.add_argument("--quick", action="store_true", help="decode no image, read its first and last bytes alone")
    parser.add_argument("--json", action="store_true", help="print everything that was found as one JSON object")


def _inspect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("set", metavar="SET", help="a dataset's name, or synthetic")
    parser.add_argument("--split", metavar="NAME", help="default: all of them")
    parser.add_argument("--out", default="contact_sheet.png", metavar="IMAGE", help="default: contact_sheet.png")
    parser.add_argument("--limit", type=int, default=24, metavar="N", help="faces to draw (default: 24)")
    parser.add_argument("--dir", metavar="DIR", help=DIR_HELP)


GROUP = Group(
    "look at annotated faces",
    {
        "check": Command(
            about="read every annotation and image of a set or a folder: what is there, missing or broken",
            add_arguments=_check_arguments,
            run=run_check,
            examples=(
                "edgeface data check my_faces --dir faces",
                "edgeface data check faces/ --quick --json",
                "edgeface data check ~/datasets/WFLW",
                "edgeface data check aflw --split train",
            ),
            notes="A folder may hold 300W, 300W-LP, AFLW, AFLW2000-3D, WFLW and CelebA as their authors ship them, "
            "packs, or faces of your own (NAME/images/ and NAME/annotations.json).\n"
            "Exit status 1: an annotation or its image is broken or missing.",
            needs=NEEDS,
        ),
        "inspect": Command(
            about="draw a contact sheet: landmarks, box and pose of a set's faces",
            add_arguments=_inspect_arguments,
            run=run_inspect,
            examples=(
                "edgeface data inspect synthetic --limit 6 --out sheet.png",
                "edgeface data inspect my_faces --dir faces --out my_faces.jpg",
                "edgeface data inspect 300w --split test --limit 48 --out sheet.jpg",
            ),
            notes="Landmarks that are hidden are hollow; the white square is the crop that a network is given.",
            needs=NEEDS,
        ),
    },
)

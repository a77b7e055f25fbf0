"""`edgeface data`: annotated faces looked at, and brought in from other tools, before anything is trained on them."""

from __future__ import annotations

import argparse
import sys

from edgeface.cli.command import Command, Group
from edgeface.cli.options import DIR_HELP

FORMATS = ("coco", "cvat", "dlib", "labelme", "labelstudio", "pts")
"""The names in `edgeface.datasets.importers.FORMATS`, which only training's packages can import; a test compares."""
SHOWN = 10
"""Skipped records that are named; the rest is counted."""
NEEDS = ("Reading annotated faces", "train")


def run_check(args: argparse.Namespace) -> int:
    from edgeface.datasets.check import check

    return check(args.set, args.split, root=args.dir, quick=args.quick, as_json=args.json)


def run_inspect(args: argparse.Namespace) -> int:
    from edgeface.datasets.inspect import inspect
    from edgeface.datasets.load import set_folders
    from edgeface.files import check_outputs

    check_outputs({"--out": args.out}, set_folders(args.set, args.dir))
    print(inspect(args.set, args.split, args.out, limit=args.limit, root=args.dir))
    return 0


def run_import(args: argparse.Namespace) -> int:
    from edgeface.datasets.importers import import_faces

    done = import_faces(
        args.format,
        args.source,
        args.out,
        markup_name=args.markup,
        images=args.images,
        split=args.split,
        test_share=args.test_share,
    )
    print(f"{done.faces} faces in {done.images} images written to {done.folder}")
    if done.skipped:
        print(f"{len(done.skipped)} of {done.faces + len(done.skipped)} records skipped:")
        print("\n".join(f"  {line}" for line in done.skipped[:SHOWN]))
        if len(done.skipped) > SHOWN:
            print(f"  and {len(done.skipped) - SHOWN} more")
    sys.stdout.flush()
    return 1 if done.skipped else 0


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


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("format", metavar="FORMAT", choices=FORMATS, help=f"one of {', '.join(FORMATS)}")
    parser.add_argument("source", metavar="FILE|DIR", help="the tool's file, or a folder of its files")
    parser.add_argument("--markup", required=True, metavar="NAME", help="which points are marked, such as ibug68")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder; its name is the set's name")
    parser.add_argument("--images", metavar="DIR", help="the folder of the images (default: where the file is)")
    parser.add_argument("--split", default="train", metavar="NAME", help="the split of the faces (default: train)")
    parser.add_argument(
        "--test-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the images that become the split test instead (default: 0)",
    )


GROUP = Group(
    "look at annotated faces, or bring them in from other tools",
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
        "import": Command(
            about="turn annotations of COCO, CVAT, dlib, labelme, Label Studio or .pts files into a set",
            add_arguments=_import_arguments,
            run=run_import,
            examples=(
                "edgeface data import coco people.json --markup ibug68 --out faces/people --test-share 0.2",
                "edgeface data import labelme labelled/ --markup mtfl5 --out faces/mine",
                "edgeface data import cvat annotations.xml --images photos/ --markup wflw98 --out faces/wall",
            ),
            notes="Images are copied; the source is not changed. A face is one object with the markup's points in its "
            "order, or single points labelled with their numbers.\n"
            "Exit status 1: records were skipped, each with its reason.",
            needs=NEEDS,
        ),
    },
)

"""`edgeface calibrate`: which faces the converter measures its int8 ranges on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgeface.cli.command import Command
from edgeface.cli.options import add_faces
from edgeface.errors import InputError

if TYPE_CHECKING:
    from edgeface.convert.calibration_set import Manifest


COUNT = 200
"""How many faces a calibration set has unless asked otherwise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_faces(parser, "train; evaluation splits are refused", default="synthetic")
    parser.add_argument(
        "--count", type=int, metavar="N", help=f"how many faces (default: {COUNT}, or all of a smaller set)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the choice (default: 0)")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, metavar="MANIFEST.json", help="choose faces and write this manifest")
    what.add_argument("--show", type=Path, metavar="MANIFEST.json", help="print how this manifest covers the poses")


def run(args: argparse.Namespace) -> int:
    from edgeface.convert.calibration_set import build, read_manifest, refuse_evaluation
    from edgeface.datasets.load import load_set, set_folders
    from edgeface.files import check_outputs, write_json

    if args.show:
        print(coverage_table(read_manifest(args.show, args.dir)))
        return 0
    if args.count is not None and args.count < 1:
        raise InputError(f"--count must be at least 1. Received: {args.count}")
    check_outputs({"--out": args.out}, set_folders(args.set, args.dir))
    split, count = args.split or "train", args.count
    refuse_evaluation(args.set, split, args.dir)
    if count is None:
        faces = COUNT if args.set == "synthetic" else len(load_set(args.set, split, root=args.dir))
        count = min(COUNT, faces)
    manifest, _ = build(args.set, count, split, args.seed, args.dir)
    write_json(args.out, manifest.to_dict())
    print(coverage_table(manifest))
    print(f"wrote {args.out}")
    return 0


def coverage_table(manifest: Manifest) -> str:
    """Chosen / available faces per pose bin, yaw across, pitch down."""
    columns = list(zip(manifest.bins.yaw_deg, manifest.bins.yaw_deg[1:], strict=False))
    rows = list(zip(manifest.bins.pitch_deg, manifest.bins.pitch_deg[1:], strict=False))
    lines = [
        f"{len(manifest.ids)} of {manifest.pool} faces of {manifest.set} {manifest.split}, seed {manifest.seed}; "
        f"pose of {manifest.estimated_pose} estimated from landmarks",
        " " * 14 + "".join(f"{f'{low:g}..{high:g}':>12}" for low, high in columns) + "  yaw",
    ]
    for r, (low, high) in reversed(list(enumerate(rows))):
        cells = (manifest.coverage[c * len(rows) + r] for c in range(len(columns)))
        figures = "".join(f"{'{chosen}/{available}'.format(**cell):>12}" for cell in cells)
        lines.append(f"pitch {f'{low:g}..{high:g}':>8}{figures}")
    unknown = manifest.coverage[-1]
    if unknown["available"]:
        lines.append("pose unknown  {chosen}/{available}".format(**unknown))
    return "\n".join(lines)


COMMAND = Command(
    about="choose a representative set, balanced over head poses, for int8 calibration",
    add_arguments=add_arguments,
    run=run,
    examples=(
        "edgeface calibrate --set my_faces --dir faces --count 2 --out runs/my_faces.json",
        "edgeface calibrate --show runs/my_faces.json --dir faces",
        "edgeface calibrate --set 300w --count 200 --out runs/300w.json",
    ),
    notes="Writes the faces' names, how they cover yaw and pitch, and a hash of their crops: `edgeface convert "
    "--calibration MANIFEST.json` reads the same faces again and refuses others.",
    needs=("Calibration", "train"),
)

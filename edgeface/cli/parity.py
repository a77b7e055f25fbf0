"""`edgeface parity`: converted files against their float model, on the same faces."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from edgeface.cli.command import Command
from edgeface.cli.options import add_faces, add_limit
from edgeface.errors import InputError

JITTER_FACES = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL.keras", help="the float model")
    parser.add_argument("files", type=Path, nargs="+", metavar="DIR|FILE", help="converted files, or folders of them")
    also = "synthetic (rendered); several with commas; or real: those of 300w, aflw2000_3d and aflw that are on disk"
    add_faces(parser, "each set's own, test or val", also=also, default="synthetic")
    add_limit(parser)
    parser.add_argument("--protocol", metavar="NAME", help="how to score (default: each set's own that fits)")
    parser.add_argument(
        "--jitter-faces",
        type=int,
        default=JITTER_FACES,
        metavar="N",
        help=f"faces whose boxes are shaken to see how steady the landmarks are (default: {JITTER_FACES})",
    )
    parser.add_argument("--out", type=Path, metavar="JSON", help="default: parity.json in the files' folder")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw each file's worst faces into this folder")


def run(args: argparse.Namespace) -> int:
    from edgeface.cli.backend import start_tensorflow

    start_tensorflow()

    from edgeface.convert.folder import converted_files
    from edgeface.convert.parity import table
    from edgeface.convert.parity_file import save_parity
    from edgeface.convert.parity_sets import chosen_sets, score_sets
    from edgeface.datasets.load import set_folders
    from edgeface.files import check_outputs

    files = converted_files(args.files)
    out = args.out or _beside(files)
    sets = chosen_sets(args.set, args.dir)
    folders = [folder for name in sets for folder in set_folders(name, args.dir)]
    check_outputs({"--out": out}, [args.model, *files, *folders])
    scored = score_sets(
        args.model, files, sets, split=args.split, limit=args.limit, protocol=args.protocol,
        jitter_faces=args.jitter_faces, pictures=args.pictures, root=args.dir,
    )  # fmt: skip
    for one in scored:
        print(f"{one.set} {one.split}: " + (f"skipped: {one.skipped}" if one.skipped else table(one.rows)))
    print(f"wrote {save_parity(out, scored, _command(args, sets))}")
    return 0 if all(row.passed for one in scored for row in one.rows) else 1


def _beside(files: list[Path]) -> Path:
    folders = {file.parent for file in files}
    if len(folders) > 1:
        raise InputError(f"--out must be given for files of several folders. Received: {len(folders)} folders")
    return folders.pop() / "parity.json"


def _command(args: argparse.Namespace, sets: tuple[str, ...]) -> str:
    """What to call to get these scores again, for the record."""
    words = ["edgeface", "parity", args.model, *args.files, "--set", ",".join(sets)]
    for name in ("split", "dir", "limit", "protocol"):
        if getattr(args, name) is not None:
            words += [f"--{name}", getattr(args, name)]
    if args.jitter_faces != JITTER_FACES:
        words += ["--jitter-faces", args.jitter_faces]
    return shlex.join(map(str, words))


COMMAND = Command(
    about="score converted files against their float model on the same faces",
    add_arguments=add_arguments,
    run=run,
    examples=(
        "edgeface parity runs/my_faces/model.keras runs/my_faces_files --set synthetic --limit 4 --jitter-faces 2",
        "edgeface parity runs/my_faces/model.keras runs/my_faces_files --set my_faces --dir faces --pictures worst",
        "edgeface parity runs/acdc_s/model.keras runs/acdc_s/tflite --set real",
    ),
    notes="Prints and writes (parity.json) how far each file is from the float model in NME and pose, by yaw, with "
    "the tolerance of its variant. A set that does not label the files' landmarks is skipped and named.\n"
    "Exit status 1: a file is out of its tolerance.",
    needs=("Parity", "convert"),
)

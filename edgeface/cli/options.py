"""Arguments that several commands share: one name and one meaning each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

DEFAULT_MODEL = "acdc_s"
DIR_HELP = "the folder that holds the set (default: EDGEFACE_FACES for packs, EDGEFACE_DATA for datasets as shipped)"
SETS_HELP = "300w, 300w_lp, aflw, aflw2000_3d, wflw, celeba …, a folder of your own in EDGEFACE_FACES"


def add_packaged_model(parser: argparse.ArgumentParser) -> None:
    """--model, --threads and --delegate of what runs on a device."""
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME|PATH",
        help=f"a packaged model or a .tflite file (default: {DEFAULT_MODEL})",
    )
    add_threads(parser)
    parser.add_argument("--delegate", metavar="LIBRARY", help="a delegate's shared library, such as libedgetpu.so.1")


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="interpreter threads (default: 1)")


def add_drawings(parser: argparse.ArgumentParser, line: str, row: str, out: str, drawn: str) -> None:
    """--json, --csv, --out and --spread of what prints and draws faces.

    Args:
        parser: The command's.
        line: What one line of --json is for: "image".
        row: What one row of --csv is for: "face".
        out: What --out takes: "PATH".
        drawn: What --out does.
    """
    parser.add_argument("--json", action="store_true", help=f"print JSON, one object per line, one line per {line}")
    parser.add_argument("--csv", metavar="PATH", help=f"write one row per {row} into this file")
    parser.add_argument("--out", metavar=out, help=drawn)
    parser.add_argument("--spread", action="store_true", help="draw how wide each landmark's attention map is")


def add_box(group: Any) -> None:
    group.add_argument(
        "--box",
        nargs=4,
        type=float,
        metavar=("X0", "Y0", "X1", "Y1"),
        help="the face's tight box in pixels: brows to chin, ear to ear",
    )


def add_faces(
    parser: argparse.ArgumentParser, split: str, *, also: str = "or synthetic (rendered)", default: str | None = None
) -> None:
    """--set, --split and --dir.

    Args:
        parser: The command's.
        split: The default of --split in words.
        also: The names of sets that end the list of --set.
        default: The default set; None: --set is required.
    """
    text = f"{SETS_HELP}, {also}"
    if default is not None:
        text += f" (default: {default})"
    parser.add_argument("--set", required=default is None, default=default, metavar="NAME", help=text)
    parser.add_argument("--split", metavar="NAME", help=f"default: {split}")
    parser.add_argument("--dir", metavar="DIR", help=DIR_HELP)


def add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, metavar="N", help="the first N faces (default: all)")


def add_markup(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--markup", metavar="NAME", help=text)


def add_stages(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stages", type=int, metavar="N", help="the first N stages of a .keras model's cascade (default: all)"
    )


def add_out(parser: argparse.ArgumentParser, metavar: str, text: str, default: Path | None = None) -> None:
    """--out of what writes a file or a folder; required where it has no default."""
    if default is not None:
        text += f" (default: {default})"
    parser.add_argument("--out", type=Path, required=default is None, default=default, metavar=metavar, help=text)

"""Arguments that the commands share."""

from __future__ import annotations

import argparse
from typing import Any

DEFAULT_MODEL = "acdc_s"


def add_model(parser: argparse.ArgumentParser, required: bool = False) -> None:
    default = "" if required else f" (default: {DEFAULT_MODEL})"
    parser.add_argument(
        "--model",
        required=required,
        default=None if required else DEFAULT_MODEL,
        metavar="NAME|PATH",
        help=f"a packaged model or a .tflite file{default}",
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="interpreter threads (default: 1)")
    parser.add_argument("--delegate", metavar="LIBRARY", help="a delegate's shared library, such as libedgetpu.so.1")


def add_outputs(parser: argparse.ArgumentParser, line: str, row: str, out: str, drawn: str) -> None:
    """--json with its ``line``, --csv with its ``row``, --out with what it is called, and --spread."""
    parser.add_argument("--json", action="store_true", help=f"print one JSON object a line, one line {line}")
    parser.add_argument("--csv", metavar="PATH", help=f"write one row {row} into this file")
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

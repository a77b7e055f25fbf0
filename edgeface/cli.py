"""The command `edgeface`. Device commands need the base install; the others import their half when they run."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from edgeface import __version__, zoo
from edgeface.card import Card, read_card
from edgeface.errors import InputError
from edgeface.runtime.commands import bench, live, predict

EXTRA_OF = {"tensorflow": "convert", "jax": "jax"}
"""The extra that brings a module; `train` brings the rest."""

DIR_HELP = "the folder that holds the set (default: EDGEFACE_FACES for packs, EDGEFACE_DATA for datasets as shipped)"


class _Parser(argparse.ArgumentParser):
    """One line on a usage error, like every other error here."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. 2: bad input, told in one line on stderr; 130: interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv and argv[0] in _FORWARDED:
            code = _FORWARDED[argv[0]](argv[1:])
        else:
            args = _parser().parse_args(argv)
            code = args.run(args)
        sys.stdout.flush()
        return code or 0
    except InputError as error:
        print(f"edgeface: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("edgeface: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has left. Nothing more can be said; keep the interpreter's exit from trying.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> _Parser:
    parser = _Parser(
        prog="edgeface",
        description="Facial landmarks and head pose, together, on a phone or a Raspberry Pi.",
        epilog="edgeface COMMAND --help says more. train, evaluate and data need pip install 'edgeface[train]'.",
    )
    parser.add_argument("--version", action="version", version=f"edgeface {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_device(commands)
    _add_zoo(commands)
    commands.add_parser("train", help="train a network as a config file says", add_help=False)
    commands.add_parser("evaluate", help="score a .keras or .tflite model on annotated faces", add_help=False)
    _add_data(commands)
    return parser


def _command(commands: Any, name: str, run: Callable, about: str, examples: str = "") -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_device(commands: Any) -> None:
    """predict, live and bench, each from its own module."""
    for module in (predict, live, bench):
        name = module.__name__.rpartition(".")[2]
        module.add_arguments(_command(commands, name, module.run, module.ABOUT, module.EXAMPLES))


def _add_zoo(commands: Any) -> None:
    parser = commands.add_parser("zoo", help="the packaged models", description="The packaged models.")
    kinds = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _command(kinds, "list", _zoo_list, "names, sizes and markups of the packaged models", "  edgeface zoo list")
    info = _command(
        kinds,
        "info",
        _zoo_info,
        "the card inside a model",
        "  edgeface zoo info acdc_s.tflite\n  edgeface zoo info acdc_s.tflite --json",
    )
    info.add_argument("model", metavar="NAME|PATH", help="a packaged model or a .tflite file")
    info.add_argument("--json", action="store_true", help="print the whole card as JSON")


def _zoo_list(args: argparse.Namespace) -> int:
    for name in zoo.available():
        file = zoo.path(name)
        card = read_card(file)
        print(f"{name:24} {card.variant:12} {card.markup:10} {card.input.side:4} px {file.stat().st_size:>10,} bytes")
    if not zoo.available():
        print("This version packages no models; --model takes the path of a .tflite file.")
    return 0


def _zoo_info(args: argparse.Namespace) -> int:
    card = read_card(zoo.resolve(args.model))
    print(json.dumps(card.to_dict(), indent=2) if args.json else _card_text(card))
    return 0


def _card_text(card: Card) -> str:
    rows = {
        "name": card.name,
        "network": f"{card.network}, preset {card.preset}, variant {card.variant}, version {card.version}",
        "input": f"{card.input.name} {card.input.shape} {card.input.dtype}, {card.input.layout}",
        "crop": f"{card.crop.rule}, {card.crop.scale} x the longer side of the box",
        "markup": card.markup,
        "outputs": "; ".join(f"{role}: {spec.name} {spec.shape} {spec.dtype}" for role, spec in card.outputs.items()),
        "angles": card.angles,
        "size": f"{card.flatbuffer_bytes or '?'} bytes, {card.parameters or '?'} parameters, {card.macs or '?'} MACs",
    }
    return "\n".join(f"{key:8} {value}" for key, value in rows.items())


def _add_data(commands: Any) -> None:
    parser = commands.add_parser("data", help="look at annotated faces", description="Look at annotated faces.")
    kinds = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    inspect = _command(
        kinds,
        "inspect",
        _data_inspect,
        "draw a contact sheet: landmarks, box and pose of a set's faces",
        "  edgeface data inspect synthetic --out sheet.png\n"
        "  edgeface data inspect 300w --split test --limit 48 --out sheet.jpg",
    )
    inspect.add_argument("set", metavar="SET", help="a dataset's name, or synthetic")
    inspect.add_argument("--split", help="default: all of them")
    inspect.add_argument("--out", default="contact_sheet.png", metavar="IMAGE", help="default: contact_sheet.png")
    inspect.add_argument("--limit", type=int, default=24, metavar="N", help="faces to draw (default: 24)")
    inspect.add_argument("--dir", metavar="DIR", help=DIR_HELP)
    check = _command(
        kinds,
        "check",
        _data_check,
        "read every annotation and image of a set or a folder: what is there, what is missing, what is broken",
        "  edgeface data check ~/datasets/WFLW\n"
        "  edgeface data check ~/datasets --quick --json\n"
        "  edgeface data check aflw --split train\n\n"
        "A folder may hold 300W, 300W-LP, AFLW, AFLW2000-3D, WFLW and CelebA as their authors ship them, or packs.\n"
        "Exit status 1: an annotation or its image is broken or missing.",
    )
    check.add_argument("set", metavar="SET|DIR", help="a dataset's name, synthetic, or a folder of datasets")
    check.add_argument("--split", help="default: all of them")
    check.add_argument("--dir", metavar="DIR", help=DIR_HELP)
    check.add_argument("--quick", action="store_true", help="decode no image, read its first and last bytes alone")
    check.add_argument("--json", action="store_true", help="print everything that was found as one JSON object")


def _data_inspect(args: argparse.Namespace) -> int:
    where = {"limit": args.limit, "root": args.dir}
    sheet = _workstation("data", "edgeface.datasets.inspect", "inspect", args.set, args.split, args.out, **where)
    print(sheet)
    return 0


def _data_check(args: argparse.Namespace) -> int:
    how = {"root": args.dir, "quick": args.quick, "as_json": args.json}
    return _workstation("data", "edgeface.datasets.check", "check", args.set, args.split, **how)


def _train(argv: list[str]) -> int:
    return _workstation("train", "edgeface.training.cli", "run_train", argv)


def _evaluate(argv: list[str]) -> int:
    return _workstation("evaluate", "edgeface.training.cli", "run_evaluate", argv)


_FORWARDED = {"train": _train, "evaluate": _evaluate}
"""Commands that read their own arguments, --help included."""


def _workstation(command: str, module: str, function: str, *args: Any, **named: Any) -> Any:
    """Call a function of the workstation half; InputError names the extra where a package that it needs is missing."""
    try:
        return getattr(importlib.import_module(module), function)(*args, **named)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in ("", "edgeface"):
            raise
        extra = EXTRA_OF.get(missing, "train")
        raise InputError(
            f'edgeface {command} must have its extra: pip install "edgeface[{extra}]". Received: no module {missing!r}'
        ) from None

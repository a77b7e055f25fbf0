"""The command `edgeface`. Device commands need the base install; the others import their half when they run."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from edgeface import __version__
from edgeface.cli import bench, calibrate, convert, data, evaluate, gate, live, parity, predict, qat, report, train, zoo
from edgeface.cli.command import Command, Group, Parser, build
from edgeface.errors import InputError

__all__ = ["COMMANDS", "main", "run_program"]

COMMANDS: dict[str, dict[str, Command | Group]] = {
    "on the device": {
        "predict": predict.COMMAND,
        "live": live.COMMAND,
        "bench": bench.COMMAND,
        "zoo": zoo.GROUP,
    },
    'data and training (pip install "edgeface[train]")': {
        "data": data.GROUP,
        "train": train.COMMAND,
        "evaluate": evaluate.COMMAND,
    },
    'conversion (pip install "edgeface[convert]")': {
        "calibrate": calibrate.COMMAND,
        "qat": qat.COMMAND,
        "convert": convert.COMMAND,
        "gate": gate.COMMAND,
        "parity": parity.COMMAND,
        "report": report.COMMAND,
    },
}
"""{heading: {name: command}}, in the order of a project: what `edgeface --help` shows."""

EXAMPLES = (
    "edgeface predict face.jpg --out drawn.png",
    "edgeface live --model acdc_n",
    "edgeface train my_faces.toml",
    "edgeface convert runs/my_faces/model.keras --out runs/my_faces_files",
)
EXTRA_OF = {"tensorflow": "convert", "jinja2": "convert", "jax": "jax"}
"""The extra that brings a package which a command's own extra may lack."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `edgeface` with these arguments (default: the process's); returns the exit status.

    2: bad input, reported in one line on stderr. 130: interrupted. What else a command returns is in its --help.
    """
    return run_program(_parser(), argv)


def run_program(parser: Parser, argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; every error of a user ends in one line, `edgeface: ...`.

    Args:
        parser: From `edgeface.cli.command.build`.
        argv: The arguments without the program's name; default: the process's.
    """
    try:
        args = parser.parse_args(None if argv is None else list(argv))
        with _log_on_stderr():
            code = _run(args.command, args)
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


def _parser() -> Parser:
    about = "Facial landmarks and head pose, together, on a phone or a Raspberry Pi."
    return build("edgeface", about, COMMANDS, examples=EXAMPLES, version=f"edgeface {__version__}")


def _run(command: Command, args: argparse.Namespace) -> int:
    """InputError names the extra where a package that the command needs is missing."""
    try:
        return command.run(args)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if command.needs is None or missing in ("", "edgeface"):
            raise
        what, extra = command.needs
        extra = EXTRA_OF.get(missing, extra)
        raise InputError(
            f'{what} needs optional packages: pip install "edgeface[{extra}]" (missing: {missing})'
        ) from None


class _Stderr(logging.Handler):
    """Plain lines on whatever is stderr when they come."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """The library says what it does through `logging`; a command shows it."""
    log, handler = logging.getLogger("edgeface"), _Stderr()
    before, propagated = log.level, log.propagate
    log.addHandler(handler)
    log.propagate = False  # TensorFlow's export gives the root logger a handler, which would say it again
    if before == logging.NOTSET:
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
        log.propagate = propagated

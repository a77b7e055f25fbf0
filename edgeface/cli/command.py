"""What a command is, and the one parser class: errors in one line, near words suggested, examples in every --help."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from edgeface.errors import InputError, did_you_mean, must_be_one_of


@dataclass(frozen=True)
class Command:
    """One command: its help, its arguments and what runs it.

    `run` imports what it needs when it is called, so that reading the arguments of a device command imports nothing
    of training or conversion.
    """

    about: str
    """One line, without a full stop."""
    add_arguments: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]
    """Returns the exit status."""
    examples: tuple[str, ...]
    """Lines of a shell, each a call of this command; a comment may follow after #."""
    notes: str = ""
    """What it reads and writes, defaults that need a sentence, exit statuses; a line is a paragraph."""
    needs: tuple[str, str] | None = None
    """(What needs optional packages, the extra that brings them), or None: ("Training", "train")."""


@dataclass(frozen=True)
class Group:
    """A command that is a word before others: `edgeface zoo list`."""

    about: str
    commands: Mapping[str, Command]

    @property
    def examples(self) -> tuple[str, ...]:
        """The first of each command."""
        return tuple(command.examples[0] for command in self.commands.values())


class Parser(argparse.ArgumentParser):
    """A usage error is an `InputError` of one line, which names the nearest option or choice."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter} | options)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        args = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:
            self._check_options(args)
        found, extra = super().parse_known_args(args, namespace)
        if extra:
            self.error(f"unrecognized arguments: {' '.join(extra)}")
        return found, extra

    def _check_options(self, args: Sequence[str]) -> None:
        """Looked at ahead of what is required: of a misspelt required option argparse says only that it is missing."""
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for word in args:
            name = word.partition("=")[0]
            if word == "--":
                return
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                self.error(f"unrecognized arguments: {word}{did_you_mean(name, known)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest).lower()
            self.error(must_be_one_of(name, map(str, action.choices), value))


def build(
    prog: str,
    about: str,
    sections: Mapping[str, Mapping[str, Command | Group]],
    *,
    examples: Sequence[str],
    version: str = "",
) -> Parser:
    """The parser of a program. Its namespace has ``command``, the `Command` to run.

    Args:
        prog: How the program is called: "edgeface", "python -m convert".
        about: What it is, in a sentence.
        sections: {heading: {name: command}}, as `--help` shows them.
        examples: Lines of a shell to end the help with.
        version: What --version prints; "" for no such option.
    """
    width = max(len(name) for commands in sections.values() for name in commands) + 2
    lines = [about]
    for heading, commands in sections.items():
        lines += ["", f"{heading}:", *(f"  {name:{width}}{command.about}" for name, command in commands.items())]
    parser = Parser(
        prog=prog,
        usage="%(prog)s COMMAND ...",
        description="\n".join(lines),
        epilog=f"{_listed(examples)}\n\n{prog} COMMAND --help says more. Exit status 2: wrong input, in one line.",
    )
    if version:
        parser.add_argument("--version", action="version", version=version)
    _add(parser, prog, {name: command for commands in sections.values() for name, command in commands.items()})
    return parser


def every_command(commands: Mapping[str, Command | Group], before: str = "") -> dict[str, Command]:
    """{its words: command}, those of groups by two words: {"predict": ..., "zoo list": ...}.

    Args:
        commands: {name: command or group}.
        before: The words of the group that these are of, with a space behind them.
    """
    found = {}
    for name, command in commands.items():
        deeper = isinstance(command, Group)
        found |= every_command(command.commands, f"{name} ") if deeper else {f"{before}{name}": command}
    return found


def _add(parser: Parser, prog: str, commands: Mapping[str, Command | Group]) -> None:
    # Without a help of its own: the headings above list the commands.
    kinds = parser.add_subparsers(prog=prog, metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    for name, command in commands.items():
        if isinstance(command, Group):
            width = max(map(len, command.commands)) + 2
            listed = [f"  {n:{width}}{c.about}" for n, c in command.commands.items()]
            about = "\n".join([_sentence(command.about), "", "commands:", *listed])
            usage = "%(prog)s COMMAND ..."
            group = kinds.add_parser(name, usage=usage, description=about, epilog=_listed(command.examples))
            _add(group, f"{prog} {name}", command.commands)
            continue
        epilog = _listed(command.examples) + (f"\n\n{_wrapped(command.notes)}" if command.notes else "")
        one = kinds.add_parser(name, description=_sentence(command.about), epilog=epilog)
        command.add_arguments(one)
        one.set_defaults(command=command)


def _listed(examples: Sequence[str]) -> str:
    return "\n".join(["examples:", *(f"  {line}" for line in examples)])


def _wrapped(notes: str) -> str:
    """At the terminal's width, like the rest of the help; indented lines as they are."""
    width = shutil.get_terminal_size().columns - 2
    return "\n".join(line if line.startswith("  ") else textwrap.fill(line, width) for line in notes.split("\n"))


def _sentence(about: str) -> str:
    return f"{about[0].upper()}{about[1:]}."

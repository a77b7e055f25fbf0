"""A line of a shell block, read by what it calls: the real argument parser, the Makefile, pyproject."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import inspect
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeface import cli
from tests.docs.pages import ROOT

OUTSIDE = ("sudo", "python3", "npm", "gradle", "./gradlew")
"""Not ours: nothing is known of their arguments."""
IN_THE_PROJECT = ("configs", "weights", "tests", "docs", "results", "edgeface", "convert", "studies")
ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(\S*)")


class ParsedError(BaseException):
    """The arguments were read; nothing was done."""


@dataclass(frozen=True)
class Command:
    """NAME=VALUE words, then a program and its arguments; ``program`` is "" where the line sets variables alone."""

    variables: dict[str, str]
    program: str
    argv: tuple[str, ...]


def commands(text: str) -> list[Command]:
    """The commands of a block, without comments, redirections, and what another program is piped into."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.partition(" | ")[0].partition(" > ")[0], comments=True)
        if words and words[0] == "export":
            words = words[1:]
        variables = {}
        while words and (match := ASSIGNMENT.fullmatch(words[0])):
            variables[match[1]] = match[2]
            words = words[1:]
        if words or variables:
            program, *argv = words or [""]
            found.append(Command(variables, re.sub(r"^(~/faces|\.venv)/bin/", "", program), tuple(argv)))
    return found


def check(command: Command, patch: pytest.MonkeyPatch) -> None:
    """AssertionError or the parser's own error where the command is not one of this project's."""
    for name in command.variables:
        assert name in _source(), f"{name}: no code reads this variable"
    for word in command.argv:
        if word.split("/")[0] in IN_THE_PROJECT and "/" in word:
            assert list(ROOT.glob(word)), f"{word}: no such file"
    program, argv = command.program, command.argv
    if program == "edgeface":
        assert parsed(patch, cli.main, argv), f"edgeface {' '.join(argv)}"
    elif program == "python":
        assert argv[0] == "-m"
        _check_module(argv[1], argv[2:], patch)
    elif program == "make":
        for target in argv:
            assert re.search(rf"^{re.escape(target)}:.*## ", (ROOT / "Makefile").read_text(), re.M), f"make {target}"
    elif program == "pip":
        _check_install(argv)
    elif program == "pre-commit":
        assert (ROOT / ".pre-commit-config.yaml").is_file()
    else:
        assert program in ("", *OUTSIDE), f"{program}: nobody checks this program"
    if program == "./gradlew":
        _check_tasks(argv)


def _check_module(module: str, argv: Sequence[str], patch: pytest.MonkeyPatch) -> None:
    if module == "pytest":
        return  # its paths are looked at above
    found = ROOT.joinpath(*module.split("."))
    assert found.with_suffix(".py").is_file() or (found / "__main__.py").is_file(), f"{module}: no such module"
    program = importlib.import_module(f"{module}.__main__" if found.is_dir() else module)
    if inspect.signature(program.main).parameters:
        assert parsed(patch, program.main, argv), f"{module} {' '.join(argv)}"
    else:
        assert not argv, f"{module} takes no arguments"


def parsed(patch: pytest.MonkeyPatch, main: Callable, argv: Sequence[str]) -> bool:
    """Whether ``main`` reads these arguments; it is stopped as soon as it has, and --help counts."""
    read = argparse.ArgumentParser.parse_args

    def parse_args(self, args=None, namespace=None):
        read(self, args, namespace)
        raise ParsedError

    with patch.context() as only, contextlib.suppress(ParsedError):
        only.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        only.setattr(sys, "argv", ["program", *argv])
        try:
            main(list(argv))
        except SystemExit as ended:
            return "--help" in argv and not ended.code
        return False
    return True


def _check_install(argv: Sequence[str]) -> None:
    assert argv[0] == "install", argv
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in argv[1:]:
        match = re.fullmatch(r"\.(?:\[([\w,]+)\])?|-e", word)  # this folder: the name in the registry is not ours
        assert match, f"pip install {word}"
        for extra in (match[1] or "").split(",") if match[1] else ():
            assert extra in extras, f"{extra}: no such extra"


def _check_tasks(argv: Sequence[str]) -> None:
    """:core:golden is registered in core/build.gradle.kts; installDebug is the Android plugin's."""
    for task in (word for word in argv if word.startswith(":")):
        _, folder, name = task.split(":")
        build = (ROOT / "android_demo" / folder / "build.gradle.kts").read_text()
        assert name == "installDebug" and "android.application" in build or f'"{name}"' in build, task


@functools.cache
def _source() -> str:
    files = [f for folder in ("edgeface", "convert", "demo_web") for f in Path(ROOT, folder).rglob("*.py")]
    return "\n".join(file.read_text() for file in files)

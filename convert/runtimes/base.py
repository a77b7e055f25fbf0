"""What every runtime is made of: how it is installed, how it answers, and running its programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convert.runtimes.golden import Case
from edgeface.errors import InputError
from edgeface.runtime.interpreter import quantize

ROOT = Path(__file__).parents[2] / "runs" / "runtimes"
"""Everything that is installed lies here; removing the folder removes it all."""
WORKERS = Path(__file__).parent / "workers"
INTERPRETER = WORKERS / "interpreter.py"


class UnavailableError(InputError):
    """A runtime that cannot be had on this machine."""


class RefusedError(InputError):
    """A runtime that does not take a file."""


@dataclass(frozen=True, eq=False)
class Reply:
    outputs: dict[str, np.ndarray]
    """By role, (N, ...), as stored or real."""
    engine: str
    note: str = ""


@dataclass(frozen=True)
class Runtime:
    name: str
    install: Callable[[], None]
    """Does nothing where all is there. UnavailableError says what is missing and how to get it."""
    answer: Callable[[Case], Reply]
    """RefusedError: the runtime does not take the file."""


def run(command: Sequence[str | Path], timeout_s: float, env: dict[str, str] | None = None) -> str:
    """Its output, stdout and stderr together. RefusedError with the last line of it where it fails or takes longer."""
    command = [str(part) for part in command]
    env = None if env is None else os.environ | env
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            env=env,
        )
    except subprocess.TimeoutExpired:
        raise RefusedError(f"{command[0]} must end within {timeout_s:g} s. Received: nothing yet") from None
    except OSError as error:
        raise RefusedError(f"{command[0]} must be a program. Received: {error}") from None
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        text = re.sub(r"https?://\S+", "the registry", text)
        last = ([line.strip() for line in text.splitlines() if line.strip()] or ["nothing"])[-1]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise RefusedError(f"{Path(command[0]).name} must succeed. Received: {how}, {last[:300]}")
    return text


def installing(what: str, command: Sequence[str | Path], timeout_s: float = 900) -> str:
    """`run`, with UnavailableError in its place."""
    try:
        return run(command, timeout_s)
    except RefusedError as error:
        raise UnavailableError(f"{what} must be installed. {error}") from None


def need_programs(programs: dict[str, str]) -> None:
    """{program: Debian package}: installs the packages of those that are missing where we are root."""
    missing = {program: package for program, package in programs.items() if shutil.which(program) is None}
    if not missing:
        return
    packages = sorted(set(missing.values()))
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise UnavailableError(
            f"{', '.join(missing)} must be installed: as root, apt-get install {' '.join(packages)}. "
            f"Received: {'no apt-get' if shutil.which('apt-get') is None else 'not root'}"
        )
    print(f"apt-get install {' '.join(packages)}", file=sys.stderr)
    installing("packages", ["apt-get", "update"])
    installing(
        " ".join(packages),
        ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends", *packages],
    )


def make_environment(folder: Path, packages: Sequence[str]) -> Path:
    """A virtual environment of Python 3.11 with the packages; its python. uv where it is, else venv and pip."""
    python = folder / "bin" / "python"
    if (folder / ".ready").is_file() and (folder / ".ready").read_text() == " ".join(packages):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    what = f"{folder.name} (Python 3.11)"
    if shutil.which("uv"):
        installing(what, ["uv", "venv", "--quiet", "--python", "3.11", folder])
        installing(what, ["uv", "pip", "install", "--quiet", "--python", python, *packages])
    else:
        own = sys.version_info[:2] == (3, 11)
        installing(what, [sys.executable if own else "python3.11", "-m", "venv", folder])
        installing(what, [python, "-m", "pip", "install", "--quiet", *packages])
    (folder / ".ready").write_text(" ".join(packages))
    return python


def by_interpreter(case: Case, python: Sequence[str | Path], env: dict[str, str], timeout_s: float = 600) -> Reply:
    """The worker `interpreter.py` under another Python."""
    with tempfile.TemporaryDirectory(prefix="edgeface-") as folder:
        crops, out = Path(folder) / "crops.npy", Path(folder) / "out.npz"
        np.save(crops, np.stack([quantize(crop, case.card.input) for crop in case.crops]))
        log = run([*python, INTERPRETER, case.path.absolute(), crops, out], timeout_s, env)
        with np.load(out) as loaded:
            outputs = dict(loaded)
    return Reply(by_role(case, outputs), log.strip().splitlines()[-1])


def by_role(case: Case, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """{output's name: values} -> {role: values}."""
    return {role: outputs[spec.name] for role, spec in case.card.outputs.items() if spec.name in outputs}

"""What figures are measured on, and with: machine, versions, commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgeface import __version__

PACKAGES = ("numpy", "opencv-python", "opencv-python-headless", "ai-edge-litert", "tflite-runtime")


def environment(*packages: str) -> dict[str, Any]:
    """What a record of figures carries: commit, machine and versions.

    Args:
        packages: as in `versions`.
    """
    return {"commit": commit(), "machine": machine(), "versions": versions(*packages)}


def commit() -> str | None:
    """The commit of the repository that holds this package's source, with "+" where its code differs from it.

    None where the package is installed, or where there is no git. Measured figures do not count as code.
    """
    package = Path(__file__).resolve().parents[1]
    try:
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != package.parent:
            return None
        if not _git("ls-files", "--", str(Path(__file__).resolve())):
            return None
        changed = _git("status", "--porcelain", "-uno", "--", ".", ":!results", ":!studies/*/*.json")
        return _git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*args: str) -> str:
    folder = Path(__file__).resolve().parents[2]
    return subprocess.run(["git", *args], capture_output=True, text=True, check=True, cwd=folder).stdout.strip()


def machine() -> dict[str, str | int]:
    """The processor, its cores and the system; a Raspberry Pi says which."""
    return {"cpu": _cpu(), "cores": os.cpu_count() or 1, "system": f"{platform.system()} {platform.machine()}"}


def versions(*packages: str) -> dict[str, str]:
    """edgeface's, Python's and those of the named packages that are installed; without names, of the device half's."""
    found = {"edgeface": __version__, "python": platform.python_version()}
    for name in packages or PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_mb() -> float | None:
    """The most memory that this process has held at once; None where the system does not say."""
    try:
        # ru_maxrss is inherited over exec on Linux; VmHWM is this program's own.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _cpu() -> str:
    board = Path("/proc/device-tree/model")
    try:
        if board.is_file():
            return board.read_text().strip("\0\n ")
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())

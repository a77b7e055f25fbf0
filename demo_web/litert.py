"""Where LiteRT.js lies on this machine. It is installed by npm, once, and never fetched by the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from edgeface.errors import InputError

PACKAGE = "@litertjs/core"
VERSION = "2.5.3"
PARTS = ("core/dist/index.js", "core/wasm/litert_wasm_internal.js", "wasm-utils/dist/index.js")
"""What the page needs at the least."""
_ROOT = Path(__file__).parents[1]


def cache_folder() -> Path:
    """Where `npm install` is told to put it: the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgeface" / "litert"


def places() -> list[Path]:
    """Folders that may hold node_modules/@litertjs, in order; the second is what `make test-runtimes` installs."""
    return [cache_folder(), _ROOT / "runs" / "runtimes" / "browser", _ROOT]


def install_command(folder: Path | None = None) -> list[str]:
    """npm's, into ``folder`` or the user's cache."""
    # --prefix: else npm looks for a package.json further up. No lock: it would carry the registry's address.
    options = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    return ["npm", "install", *options, "--prefix", str(folder or cache_folder()), f"{PACKAGE}@{VERSION}"]


def install() -> Path:
    """What `find` finds, put into the user's cache by npm where it is nowhere. InputError: no npm, or it failed."""
    try:
        return find()
    except InputError:
        pass
    if shutil.which("npm") is None:
        raise InputError(f"npm must be installed to fetch {PACKAGE}. Received: no such program")
    cache_folder().mkdir(parents=True, exist_ok=True)
    done = subprocess.run(install_command(), capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{' '.join(install_command())} must end well. Received: {done.stderr.strip() or done.stdout}")
    return find()


def find(folder: str | Path | None = None) -> Path:
    """The folder node_modules/@litertjs, looked for in ``folder`` alone where it is given; InputError says how to
    install it."""
    looked = places() if folder is None else [Path(folder)]
    old = ""
    for place in looked:
        found = place / "node_modules" / "@litertjs"
        if not all((found / part).is_file() for part in PARTS):
            continue
        version = _version(found)
        if version == VERSION:
            return found
        old = old or f"{version} in {place}"
    raise InputError(
        f"LiteRT.js {VERSION} must be installed: python -m demo_web --install (or {' '.join(install_command())})."
        f" Received: {old or 'none'} (looked in {', '.join(map(str, looked))})"
    )


def _version(found: Path) -> str:
    try:
        version = str(json.loads((found / "core" / "package.json").read_text())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown version"
    return version if re.fullmatch(r"[\w.+-]{1,40}", version) else "an unknown version"

"""Training configs as TOML files: one may extend another, and the command line changes single keys."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeface.errors import InputError
from edgeface.schema import from_dict
from edgeface.training.config import TrainConfig, with_new_keys

log = logging.getLogger("edgeface")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The config of a TOML file.

    Args:
        path: the file. ``extends = "base.toml"`` in it, relative to its folder, takes over what another file says:
            tables are merged key by key, everything else, lists of tables too, is replaced.
        overrides: ``key=value`` each, applied last (``sources.0.limit=100``, ``augment.mirror=0``; values as in TOML).

    InputError: a file that is missing or not TOML, an unknown key, a wrong value.
    """
    path = Path(path)
    data = _read(path)
    if "extends" in data:
        data = _extended(data, path)
    data.setdefault("name", path.stem)
    for override in overrides:
        _override(data, override)
    try:
        data, renamed = with_new_keys(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if renamed:
        log.warning("%s: renamed keys: %s", path, ", ".join(f"{old} is now {new}" for old, new in renamed.items()))
    return from_dict(TrainConfig, data, str(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path} must be a TOML file. Received: no such file") from None
    except RecursionError:
        raise InputError(f"{path} must be a TOML file. Received: one nested too deeply") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} must be a TOML file. Received: {error}") from None


def _extended(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """The data over that of the file it extends."""
    own = dict(data)
    name = own.pop("extends")
    if not isinstance(name, str):
        raise InputError(f"{path}: extends must be a file's name. Received: {name!r}")
    base = _read(path.parent / name)
    if "extends" in base:
        raise InputError(f"{path}: extends must name a file that extends none itself. Received: {name!r}")
    return _merged(base, own)


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    out = base | own
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            out[key] = _merged(base[key], value)
    return out


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"--override must be key=value. Received: {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    at: Any = data
    *path, last = key.split(".")
    for part in path:
        if isinstance(at, list):
            at = at[_index(at, part, override)]
        elif isinstance(at, dict):
            at = at.setdefault(part, {})
        else:
            raise InputError(f"--override must name a key of the config. Received: {override!r}")
    if isinstance(at, list):
        at[_index(at, last, override)] = value
    elif isinstance(at, dict):
        at[last] = value
    else:
        raise InputError(f"--override must name a key of the config. Received: {override!r}")


def _index(values: list, part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(values):
        raise InputError(f"--override must use an index below {len(values)} there. Received: {override!r}")
    return int(part)

"""MATLAB files, whole or refused: scipy reads a file that was cut off between two variables without a word."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.errors import InputError

HEADER = 128
"""Bytes before the first variable of a version 5 file."""


def read_mat(path: Path, *names: str, optional: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The named variables of a .mat file, the optional ones where it has them.

    InputError: the file is missing, truncated or of another format, or has no such variable.
    """
    from scipy.io import loadmat

    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            _whole(file, size, path)
            file.seek(0)
            found: dict[str, Any] = loadmat(file, variable_names=[*names, *optional])
    except FileNotFoundError:
        raise InputError(f"{path} must be a MATLAB file. Received: no such file") from None
    except NotImplementedError:
        raise InputError(f"{path} must be a MATLAB file of version 7 or older. Received: version 7.3") from None
    except InputError:
        raise
    except Exception as error:  # scipy raises whatever its parser stumbles over
        raise InputError(f"{path} must be a MATLAB file. Received: {error}") from None
    for name in names:
        if name not in found:
            has = ", ".join(sorted(k for k in _names(path))) or "nothing"
            raise InputError(f"{path} must hold {name}. Received: {has}")
    return {name: found[name] for name in (*names, *optional) if name in found}


def matrix(array: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    """(…) float64 of exactly that shape; InputError names what it has instead."""
    if array.shape != shape or array.dtype.kind not in "fiu":
        got = f"{array.shape}" if array.dtype.kind in "fiu" else f"{array.dtype} {array.shape}"
        raise InputError(f"{what} must be numbers of shape {shape}. Received: {got}")
    return array.astype(np.float64)


def _whole(file: Any, size: int, path: Path) -> None:
    """InputError where the variables of a version 5 file reach beyond its end."""
    head = file.read(HEADER)
    if size == 0:
        raise InputError(f"{path} must be a MATLAB file. Received: an empty file")
    if len(head) < HEADER or head[:6] != b"MATLAB" or head[126:128] not in (b"IM", b"MI"):
        return  # version 4 or none of MATLAB's: scipy says which
    if head[124:126] in (b"\x00\x02", b"\x02\x00"):
        return  # version 7.3 is HDF5
    order = "<" if head[126:128] == b"IM" else ">"
    at = HEADER
    while at < size:
        file.seek(at)
        tag = file.read(8)
        if len(tag) < 8:
            break
        at += 8 + struct.unpack(f"{order}II", tag)[1]
    if at != size:
        raise InputError(f"{path} must be a whole MATLAB file. Received: {size} bytes, cut off")


def _names(path: Path) -> list[str]:
    from scipy.io import whosmat

    return [name for name, _, _ in whosmat(path)]

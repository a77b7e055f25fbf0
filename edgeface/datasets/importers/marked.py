"""What every annotation tool's file is read into, and what its readers share."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.errors import InputError

EDGE = 0.5
"""Tools that count from an image's corner put the first pixel's center at (0.5, 0.5); here it is (0, 0)."""


@dataclass(frozen=True, eq=False)
class Marked:
    """One face as a tool's file has it."""

    where: str
    """The record, for messages."""
    file: str
    """The image as the record names it."""
    points_px: np.ndarray | None = None
    """(K, 2) float64, pixel centers at integers, NaN where the point is not marked; None where ``problem`` says why."""
    visible: np.ndarray | None = None
    """(K,) bool; None where the tool does not say."""
    problem: str = ""


def points_of(marks: Mapping[str, tuple[float, float]], size: int) -> np.ndarray:
    """{label: (x, y)} -> (size, 2) in the markup's order, NaN where a label is missing.

    A label ends in its point's number. Numbers count from 0; from 1 where ``size`` occurs and 0 does not.

    Raises:
        InputError: a label that is no point of the markup, or two for one point.
    """
    numbers = {}
    for label in marks:
        found = re.search(r"(\d+)$", label.strip())
        if not found:
            raise InputError(f"a point's label must end in its number. Received: {label!r}")
        numbers[label] = int(found.group(1))
    first = 1 if size in numbers.values() and 0 not in numbers.values() else 0
    points = np.full((size, 2), np.nan)
    for label, (x, y) in marks.items():
        number = numbers[label] - first
        if not 0 <= number < size:
            raise InputError(f"a point's number must be within the markup's {size} points. Received: {label!r}")
        if np.isfinite(points[number]).any():
            raise InputError(f"a point must be marked once. Received: {label!r} twice")
        points[number] = x, y
    return points


def pairs(values: Iterable[Any], size: int) -> np.ndarray:
    """Pairs of numbers -> (size, 2); InputError where there are more or fewer, or something else."""
    try:
        points = np.array([(float(x), float(y)) for x, y in values])
    except (TypeError, ValueError):
        raise InputError("points must be pairs of numbers. Received: something else") from None
    if len(points) != size:
        raise InputError(f"a face must have the markup's {size} points. Received: {len(points)}")
    return points


def number(value: Any, what: str) -> float:
    """A finite number; InputError names ``what`` it was to be."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"{what} must be a number. Received: {value!r}")
    return found


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file; InputError where it cannot be read. A file that declares entities is refused."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} must be an XML file. Received: {error.strerror or error}") from None
    if b"<!ENTITY" in data:
        raise InputError(f"{path} must not declare entities. Received: an XML file with <!ENTITY")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{path} must be an XML file. Received: {error}") from None


def files_in(source: Path, suffix: str) -> list[Path]:
    """The file itself, or a folder's files of that suffix, sorted; InputError where there is none."""
    if source.is_file():
        return [source]
    found = sorted(p for p in source.rglob(f"*{suffix}") if not p.name.startswith("."))
    if not found:
        got = "a folder without one" if source.is_dir() else "no such file"
        raise InputError(f"{source} must be a {suffix} file or a folder of them. Received: {got}")
    return found

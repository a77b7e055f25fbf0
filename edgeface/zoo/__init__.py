"""The models that come with the package: `NAME_VARIANT.tflite` in this folder, each with its card inside.

``acdc_s`` alone means its `DEFAULT_VARIANT`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeface.card import read_card
from edgeface.errors import InputError, did_you_mean
from edgeface.files import files_of

FOLDER = Path(__file__).parent
DEFAULT_VARIANT = "int8_qat"


@dataclass(frozen=True)
class PackagedModel:
    """One packaged `.tflite`."""

    name: str
    """What `Predictor.load` takes."""
    variant: str
    markup: str
    """Which landmarks it gives, such as ibug68."""
    side: int
    """Its input is ``side`` x ``side`` px."""
    bytes: int
    path: Path


def list_models() -> list[PackagedModel]:
    """The packaged models by name.

    >>> [model.name for model in edgeface.list_models()]
    """
    return [_packaged(path(name)) for name in available()]


def _packaged(file: Path) -> PackagedModel:
    card = read_card(file)
    return PackagedModel(file.stem, card.variant, card.markup, card.input.side, file.stat().st_size, file)


def available() -> tuple[str, ...]:
    """Names of the packaged models, sorted; empty where the package ships none."""
    return tuple(file.stem for file in files_of(FOLDER, ".tflite"))


def path(name: str) -> Path:
    """The packaged model of that name, with or without its variant; InputError lists what there is."""
    names = available()
    if f"{name}_{DEFAULT_VARIANT}" in names:
        name = f"{name}_{DEFAULT_VARIANT}"
    if name not in names:
        known = f"one of {', '.join(names)}" if names else "a path to a .tflite file (this version packages no models)"
        short = [n.removesuffix(f"_{DEFAULT_VARIANT}") for n in names]
        raise InputError(f"model must be {known}. Received: {name!r}{did_you_mean(name, (*short, *names))}")
    return FOLDER / f"{name}.tflite"


def resolve(name_or_path: str | Path) -> Path:
    """A packaged model's name or a file's path -> the path. A name wins only where it has no folder and no suffix."""
    given = Path(name_or_path)
    if str(name_or_path) in available() or (len(given.parts) <= 1 and not given.suffix and not given.exists()):
        return path(str(name_or_path))
    return given

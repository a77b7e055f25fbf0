"""What the configs of both networks must be, so that a wrong one is refused before anything is built or trained."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

from edgeface.errors import must_be_one_of
from edgeface.markup import markup


def check_choices(config: Any) -> None:
    """ValueError where a field annotated as a Literal holds none of its values."""
    for name, hint in get_type_hints(type(config)).items():
        if get_origin(hint) is Literal and getattr(config, name) not in get_args(hint):
            raise ValueError(must_be_one_of(name, map(str, get_args(hint)), getattr(config, name)))


def check_markups(names: tuple[str, ...]) -> None:
    """ValueError where one is unknown, or there twice: a head is named for its markup."""
    for name in names:
        markup(name)
    if len(set(names)) < len(names):
        raise ValueError(f"markups must be distinct. Received: {names}")


def check_counts(config: Any, *fields: str) -> None:
    """ValueError where such a field, a number or several, holds one below 1."""
    for name in fields:
        value = getattr(config, name)
        if min(value if isinstance(value, tuple) else (value,), default=1) < 1:
            raise ValueError(f"{name} must be at least 1. Received: {value}")


def check_side(config: Any, stem_stride: int, halvings: int) -> None:
    """ValueError where the image's side, divided by the stem and halved so often, is no whole number of cells.

    Args:
        config: with side, channels, patch and stem.
        stem_stride: pixels per cell of the maps.
        halvings: of the maps, within the network.
    """
    shrink = stem_stride * 2**halvings
    if config.channels not in (1, 3):
        raise ValueError(f"channels must be 1 (gray) or 3. Received: {config.channels}")
    if config.patch and not config.stem:
        raise ValueError("patch must have a stem. Received: stem = ()")
    if config.side < shrink or config.side % shrink:
        raise ValueError(f"side must be a multiple of {shrink}. Received: {config.side}")

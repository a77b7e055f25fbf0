"""Figures as tables show them."""

from __future__ import annotations


def figure(value: float | None, width: int = 0, digits: int = 2, sign: str = "") -> str:
    """A number to so many digits, right-aligned; a dash where there is none.

    Args:
        value: the number, or None.
        width: of the column, in characters.
        digits: after the point.
        sign: "+" to show it on positive numbers too.
    """
    return f"{'-':>{width}}" if value is None else f"{value:>{sign}{width}.{digits}f}"

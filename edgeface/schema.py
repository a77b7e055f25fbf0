"""JSON or TOML data to frozen dataclasses and back: every key known, every value of its annotated type.

A class states its fields and types; what else must hold is checked in its ``__post_init__``, whose messages name the
field, and this module puts the path in front: ``run.toml: sources.0: weight must be > 0. Received: 0``.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from edgeface.errors import InputError, must_be_one_of

T = TypeVar("T")
SHOWN = 100
"""Characters of a wrong value that an error shows."""


def from_dict(cls: type[T], data: Any, where: str) -> T:
    """A dataclass from plain data.

    Args:
        cls: the dataclass. Its fields may be other dataclasses, ``tuple``, ``dict``, ``Literal``, ``X | None``, str,
            int, float, bool and ``Any``.
        data: the decoded JSON or TOML. Lists become tuples and whole numbers floats where the field says so; nothing
            else is converted.
        where: what is read, the first words of an error.

    InputError: an unknown key (with the nearest known one), a missing key, a wrong type, or what ``__post_init__``
    refuses.
    """
    return _build(cls, data, where, lambda key: f"{where}: {key}")


def must(holds: bool, name: str, rule: str, value: Any) -> None:
    """InputError ``name must be rule. Received: value`` unless it holds: a check for a ``__post_init__``.

    Args:
        holds: the check.
        name: the field.
        rule: what it must be.
        value: what it is.
    """
    if not holds:
        raise InputError(f"{name} must be {rule}. Received: {value!r}")


def as_dict(value: Any) -> dict[str, Any]:
    """Plain data that `from_dict` takes back, without the fields that are None."""
    return dataclasses.asdict(value, dict_factory=_without_none)


def non_default_fields(value: Any) -> dict[str, Any]:
    """`as_dict` without what is at its default: the same before and after a field with a default is added."""
    out = {}
    for f in dataclasses.fields(value):
        own = getattr(value, f.name)
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        if own == default:
            continue
        if isinstance(own, tuple):
            out[f.name] = [non_default_fields(v) if dataclasses.is_dataclass(v) else v for v in own]
        else:
            out[f.name] = non_default_fields(own) if dataclasses.is_dataclass(own) else own
    return out


def _without_none(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in items if v is not None}


def _build(cls: type[T], data: Any, where: str, path_of: Callable[[str], str]) -> T:
    """``path_of(key)`` names a field of this object in an error, ``where`` the object itself."""
    if not isinstance(data, dict):
        raise InputError(f"{where} must be an object. Received: {_short(data)}")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in data:
        if key not in fields:
            raise InputError(must_be_one_of(f"{where}: key", fields, key))
    unset = dataclasses.MISSING
    required = [f.name for f in fields.values() if f.default is unset and f.default_factory is unset]
    missing = [name for name in required if name not in data]
    if missing:
        raise InputError(f"{where}: must have {', '.join(missing)}. Received: {', '.join(data) or 'no key'}")
    hints = get_type_hints(cls)
    values = {key: _convert(value, hints[key], path_of(key)) for key, value in data.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _convert(value: Any, kind: Any, path: str) -> Any:
    """``value`` as the annotated type ``kind``."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, path, lambda key: f"{path}.{key}")
    if origin in (Union, types.UnionType):
        kinds = [k for k in args if k is not type(None)]
        return None if value is None and len(kinds) < len(args) else _convert(value, kinds[0], path)
    if origin is Literal:
        if value not in args:
            raise InputError(must_be_one_of(path, map(str, args), value))
        return value
    elif origin is tuple and isinstance(value, list | tuple):
        inner = [args[0]] * len(value) if args[1:] == (...,) else list(args)
        if len(inner) == len(value):
            return tuple(_convert(v, k, f"{path}.{i}") for i, (v, k) in enumerate(zip(value, inner, strict=True)))
    elif origin is dict and isinstance(value, dict):
        return {k: _convert(v, args[1], f"{path}.{k}") for k, v in value.items()}
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif origin is None and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise InputError(f"{path} must be {_named(kind)}. Received: {_short(value)}")


def _named(kind: Any) -> str:
    """The type as an error says it."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple:
        return f"a list of {_named(args[0])}" if args[1:] == (...,) else f"a list of {len(args)}"
    if origin is dict or dataclasses.is_dataclass(kind):
        return "an object"
    return getattr(kind, "__name__", str(kind))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"

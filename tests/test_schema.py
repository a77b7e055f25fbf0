"""Plain data becomes the dataclass that it describes, or an error that names the place and what it must be."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from edgeface.errors import InputError
from edgeface.schema import as_dict, from_dict, must, non_default_fields


@dataclass(frozen=True)
class Part:
    size: int
    ratio: float = 0.5
    pair: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        must(self.size > 0, "size", "> 0", self.size)


@dataclass(frozen=True)
class Whole:
    name: str
    parts: tuple[Part, ...] = ()
    kind: Literal["a", "b"] = "a"
    on: bool = True
    weights: dict[str, float] = field(default_factory=dict)
    rows: tuple[tuple[float, ...], ...] = ()
    more: dict[str, Any] = field(default_factory=dict)


FULL = {
    "name": "x",
    "parts": [{"size": 2, "pair": [1, 2]}, {"size": 3, "ratio": 1}],
    "kind": "b",
    "on": False,
    "weights": {"w": 2},
    "rows": [[1, 2.5], []],
    "more": {"any": [1, None]},
}


def test_data_and_back():
    whole = from_dict(Whole, FULL, "here")
    assert whole.parts == (Part(2, 0.5, (1, 2)), Part(3, 1.0)) and whole.rows == ((1.0, 2.5), ())
    assert isinstance(whole.parts[1].ratio, float) and isinstance(whole.weights["w"], float)
    assert from_dict(Whole, json.loads(json.dumps(as_dict(whole))), "json") == whole
    assert "pair" not in as_dict(whole)["parts"][1]


def test_what_differs_from_the_defaults():
    assert non_default_fields(Whole("x")) == {"name": "x"}
    assert non_default_fields(from_dict(Whole, FULL, "here"))["parts"] == [
        {"size": 2, "pair": [1, 2]},
        {"size": 3, "ratio": 1.0},
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "here must be an object. Received: []"),
        ({}, "here: must have name. Received: no key"),
        ({"nam": "x"}, "here: key must be one of name, parts, kind, on, weights, rows, more. "
         "Received: 'nam'. Did you mean 'name'?"),
        ({"name": "x", "zzz": 1}, "rows, more. Received: 'zzz'"),
        ({"name": 1}, "here: name must be str. Received: 1"),
        ({"name": "x", "on": 1}, "here: on must be bool. Received: 1"),
        ({"name": "x", "kind": "c"}, "here: kind must be one of a, b. Received: 'c'"),
        ({"name": "x", "kind": ["a"]}, "here: kind must be one of a, b. Received: ['a']"),
        ({"name": "x", "parts": {"size": 1}}, "here: parts must be a list of an object. Received: {'size': 1}"),
        ({"name": "x", "parts": [3]}, "here: parts.0 must be an object. Received: 3"),
        ({"name": "x", "parts": [{"size": True}]}, "here: parts.0.size must be int. Received: True"),
        ({"name": "x", "parts": [{"size": 1.0}]}, "here: parts.0.size must be int. Received: 1.0"),
        ({"name": "x", "parts": [{"size": 0}]}, "here: parts.0: size must be > 0. Received: 0"),
        ({"name": "x", "parts": [{"size": 1, "ratio": "1"}]}, "here: parts.0.ratio must be float. Received: '1'"),
        ({"name": "x", "parts": [{"size": 1, "ratio": True}]}, "here: parts.0.ratio must be float. Received: True"),
        ({"name": "x", "parts": [{"size": 1, "pair": [1]}]}, "here: parts.0.pair must be a list of 2. Received: [1]"),
        ({"name": "x", "parts": [{"size": 1, "sise": 1}]}, "Received: 'sise'. Did you mean 'size'?"),
        ({"name": "x", "weights": {"w": None}}, "here: weights.w must be float. Received: None"),
        ({"name": "x", "weights": 2}, "here: weights must be an object. Received: 2"),
        ({"name": "x", "rows": [[1], 2]}, "here: rows.1 must be a list of float. Received: 2"),
        ({"name": list(range(99))}, ", 25, 26, 2…"),
    ],
)  # fmt: skip
def test_what_is_refused(data, message):
    with pytest.raises(InputError) as caught:
        from_dict(Whole, data, "here")
    assert str(caught.value).endswith(message)

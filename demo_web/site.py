"""What the page consists of: its own files, LiteRT.js, the models, the markups, some rendered faces."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeface import box as boxes
from edgeface import zoo
from edgeface.card import read_card
from edgeface.errors import InputError
from edgeface.files import write_bytes
from edgeface.markup import MARKUPS, Markup
from edgeface.runtime.drawing import APART, group_color

PAGE = Path(__file__).parent / "page"
SAMPLES = (3, 25, 13, 17, 24, 14, 28, 32)
"""Rendered test faces, chosen by hand: turned to either side, up, leaning, with glasses."""
SAMPLE_SIDE = 640
REFERENCES, REFERENCE_SIDE = 6, 192
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".wasm": "application/wasm",
    ".tflite": "application/octet-stream",
}


class Site:
    """Every path of the site and its bytes; the same for the server and for a folder that is written."""

    def __init__(self, litert: Path, models: Sequence[str | Path] = ()) -> None:
        """litert: node_modules/@litertjs. models: .tflite files beside those of the zoo; InputError where one has no
        card, or two have one name."""
        packaged = [zoo.path(name) for name in zoo.available()]
        self.models = {file.name: file for file in packaged}
        for file in map(Path, models):
            if self.models.setdefault(file.name, file) != file:
                raise InputError(f"models must have names of their own. Received: two {file.name}")
        if not self.models:
            raise InputError("a page must have a model: give --model FILE. Received: an empty zoo and no file")
        self._made: dict[str, Callable[[], bytes]] = {
            "models.json": lambda: _json(listing(self.models.values())),
            "markups.json": lambda: _json(markups()),
            "reference.json": lambda: _json({"file": "reference.jpg", "boxes": [box for box, _ in _references()]}),
            "reference.jpg": lambda: _jpeg(np.hstack([image for _, image in _references()])),
            "samples.json": lambda: _json([_sample_facts(i) for i in range(len(SAMPLES))]),
        }
        self._made |= {f"samples/{i}.jpg": lambda i=i: _sample_picture(i) for i in range(len(SAMPLES))}
        self._files = {f"models/{name}": file for name, file in self.models.items()}
        self._files |= {file.relative_to(PAGE).as_posix(): file for file in PAGE.rglob("*") if file.suffix in KINDS}
        for folder in ("core/dist", "core/wasm", "wasm-utils/dist"):
            for file in (litert / folder).iterdir():
                if file.suffix in (".js", ".wasm"):
                    self._files[f"litert/{folder}/{file.name}"] = file
        listing(self.models.values())

    def paths(self) -> Iterator[str]:
        """All of them, without a leading slash."""
        yield from (*self._files, *self._made)

    def read(self, path: str) -> bytes | None:
        """The bytes of a path; None where the site has none such."""
        if path in self._made:
            return self._made[path]()
        try:
            return self._files[path].read_bytes()
        except (KeyError, FileNotFoundError):
            return None

    def write(self, folder: Path) -> int:
        """The whole site as files, for any host of static files; their number."""
        paths = list(self.paths())
        for path in paths:
            write_bytes(folder / path, self.read(path))
        return len(paths)


def listing(files: Sequence[Path]) -> list[dict[str, Any]]:
    """A line for each model, in the order given: what the picker shows before a file is loaded, and the file's hash."""
    lines = []
    for file in files:
        card = read_card(file)
        lines.append(
            {
                "file": file.name,
                "bytes": file.stat().st_size,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
            | {key: getattr(card, key) for key in ("name", "preset", "variant", "markup", "parameters", "macs")}
        )
    return lines


def markups() -> dict[str, Any]:
    """Sizes, drawing and the way to a face box of every markup, and the box rule's constants."""
    return {
        "markups": {
            name: {
                "name": name,
                "size": markup.size,
                "groups": _groups(markup),
                "full": name in boxes.FULL,
                "five": boxes.FIVE.get(name),
            }
            for name, markup in MARKUPS.items()
        },
        "box_rule": dataclasses.asdict(boxes.RULE),
    }


def _groups(markup: Markup) -> list[dict[str, Any]]:
    """The runs of points in drawing order; joined: by lines."""
    return [
        {"points": points, "color": "#{:02x}{:02x}{:02x}".format(*group_color(name)), "joined": name not in APART}
        for name, points in markup.groups.items()
    ]


@cache
def _sample(index: int) -> Any:
    from edgeface.datasets.synthetic import synthetic_sample

    return synthetic_sample(SAMPLES[index], size=SAMPLE_SIDE, split="test")


def _sample_facts(index: int) -> dict[str, Any]:
    """The pose that the face was rendered with."""
    return {"file": f"samples/{index}.jpg", "pose_deg": [round(float(a), 2) for a in _sample(index).pose_deg]}


@cache
def _sample_picture(index: int) -> bytes:
    return _jpeg(_sample(index).load())


@cache
def _references() -> list[tuple[list[float], np.ndarray]]:
    """Frontal faces, which show the page how wide a model's spread is where it sees one: each one's box in the picture
    of them all, and its own part of it."""
    from edgeface.datasets.synthetic import PoseRanges, synthetic_samples

    faces = []
    ranges = PoseRanges(yaw_deg=8, pitch_deg=8, roll_deg=4)
    for i, sample in enumerate(synthetic_samples(REFERENCES, size=REFERENCE_SIDE, split="test", ranges=ranges)):
        x0, y0, x1, y1 = sample.box.as_xyxy()
        left = i * REFERENCE_SIDE
        faces.append(([left + x0, y0, left + x1, y1], sample.load()))
    return faces


def _jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()

"""Draws the tables of README.md and docs/ and the model cards from results/ and studies/:
``python -m convert.release.draw [--check]``.

A table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; the text around it is written by hand. A model card is
drawn whole.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from convert.release import cards, device_tables, papers, tables
from convert.release.command import run
from convert.release.measure import SUBJECTS
from edgeface.errors import InputError
from edgeface.files import write_text

HERE = Path(__file__).resolve().parents[2] / "results"
ROOT = HERE.parent

PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"results": tables.readme},
    "docs/results.md": {
        "bounds": lambda: tables.BOUNDS_TEXT,
        "accuracy": tables.accuracy,
        "yaw": tables.yaw,
        "peers": tables.peers,
        "prices": tables.prices,
        "costs": tables.costs,
        "tfmot": tables.tfmot,
        "runtimes": tables.runtimes,
        "speed": tables.speed,
        "records": tables.records,
    },
    "docs/papers.md": {"acdc": papers.acdc, "ccr": papers.ccr, "as_published": papers.as_published},
    "docs/device.md": {"turns": device_tables.turns, "frame": device_tables.frame, "arm64": device_tables.arm64},
}

CARDS: dict[str, Callable[[], str]] = {
    f"docs/models/{model}.md": partial(
        cards.page, model, tuple(f"{f.name}_{variant}" for f in SUBJECTS[model].files for variant in f.released)
    )
    for model in tables.MODELS
}


def drawn(text: str, parts: dict[str, Callable[[], str]], where: str) -> str:
    """A page's text with its tables drawn anew. InputError where a table's two marks are missing."""
    for name, draw in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise InputError(f"{where} must hold {begin} and {end} once each, in this order. Received: something else")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{draw().strip()}\n{end}{rest.split(end)[1]}"
    return text


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page differs")
    check = parser.parse_args(args).check
    stale = False
    texts = {page: (ROOT / page).read_text() if (ROOT / page).exists() else "" for page in (*PAGES, *CARDS)}
    pages = {page: drawn(texts[page], parts, page) for page, parts in PAGES.items()}
    pages |= {page: draw() for page, draw in CARDS.items()}
    for page, new in pages.items():
        if check and new != texts[page]:
            print(f"{page} must show what results/ holds: run `python -m convert.release.draw`", file=sys.stderr)
            stale = True
        elif not check:
            write_text(ROOT / page, new)
    return int(stale)


if __name__ == "__main__":
    run(main)

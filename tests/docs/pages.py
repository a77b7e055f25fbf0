"""The project's pages, and the code blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = tuple(
    str(path.relative_to(ROOT))
    for folder in (".", "docs", "docs/models", "android_demo", "demo_web")
    for path in sorted((ROOT / folder).glob("*.md"))
)
FENCE = re.compile(r"(?:^<!-- (?P<note>[^>]*) -->\n)?^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.S | re.M)


@dataclass(frozen=True)
class Block:
    """A fenced code block; ``note``: the text of a comment in the line above it."""

    page: str
    line: int
    note: str
    kind: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def blocks(kind: str | None = None) -> list[Block]:
    """The blocks of all pages, or those of one language."""
    found = []
    for page in PAGES:
        text = text_of(page)
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, match["note"] or "", match["kind"], match["text"]))
    return [block for block in found if kind in (None, block.kind)]

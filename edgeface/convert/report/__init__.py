"""Size, speed and accuracy of converted files: JSON first; Markdown and one HTML page are drawn from it."""

from edgeface.convert.report.build import build_report
from edgeface.convert.report.entries import Entry, SetScore, embed_faces, read_entries
from edgeface.convert.report.pages import html, markdown, terminal_table, write_report
from edgeface.convert.report.peers import PEERS, read_peers

__all__ = [
    "PEERS", "Entry", "SetScore", "build_report", "embed_faces", "html", "markdown", "read_entries", "read_peers",
    "terminal_table", "write_report",
]  # fmt: skip

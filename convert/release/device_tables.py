"""The tables of docs/device.md, from device.json, turns.json and arm64.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert.release.markdown import table
from edgeface.files import read_json

HERE = Path(__file__).resolve().parents[2] / "results"
BOUND = 0.35
"""Largest share of a frame's time that may be spent outside the networks."""
MODES = {
    "detected_in_every_frame": "the detector in every frame",
    "tracked": "tracked, the detector every 15 frames",
    "box_given": "tracked from a given box, no detector",
}
PARTS = ("read_and_decode", "interpreter", "detector_network", "own")


def frame() -> str:
    return frame_of(read_json(HERE / "device.json")["speed"])


def frame_of(speed: Mapping[str, Any]) -> str:
    """A row for each mode: where a frame's time goes, and its shares by three definitions."""
    head = ("ms a frame", "frames a second", "decoding", "landmark network", "detector network", "own code")
    head += ("outside both networks: of everything", "without decoding", "outside the landmark network: of everything")
    rows = []
    for mode, name in MODES.items():
        if "not_measured" in speed[mode]:
            rows.append([name, f"not measured: {speed[mode]['not_measured']}", *[""] * (len(head) - 2)])
            continue
        parts = {part: speed[mode]["parts_ms"].get(part, 0.0) for part in PARTS}
        decoding, interpreter, detector, own = parts.values()
        shares = (
            (decoding + own) / sum(parts.values()),
            own / (own + interpreter + detector),
            1 - interpreter / sum(parts.values()),
        )
        rate = f"{speed[mode]['frames_a_second_of_processor_time']:.0f}"
        rows.append([name, rate, *(f"{ms:.2f}" if ms else "" for ms in parts.values()), *map(_share, shares)])
    return f"{table(head, rows)}\n\n{speed['model']}, {speed['frame']}, one core; bold: under {100 * BOUND:.0f} %."


def _share(value: float) -> str:
    return f"**{100 * value:.0f} %**" if value < BOUND else f"{100 * value:.0f} %"


def turns() -> str:
    """A row for each way to find a face: found, and NME of those found, by the face's turn in the picture."""
    figures = read_json(HERE / "turns.json")
    rows = figures["rows"]
    angles = list(dict.fromkeys(row["turn_deg"] for row in rows))
    cells = {(row["way"], row["turn_deg"]): f"{100 * row['found'] / row['n']:.1f} %, {row['nme']:.2f}" for row in rows}
    ways = list(dict.fromkeys(row["way"] for row in rows))
    lines = [[f"`{way}`" if "_" in way else way, *(cells[way, angle] for angle in angles)] for way in ways]
    note = f"`{figures['model']}`, {rows[0]['n']} faces of {figures['set']}: faces found, and the NME % of those found."
    return f"{table(['turned by', *(f'{angle}°' for angle in angles)], lines)}\n\n{note}"


def arm64() -> str:
    path = HERE / "arm64.json"
    return arm64_of(read_json(path)) if path.is_file() else "Not measured yet: `python -m convert.release.arm64`."


def arm64_of(figures: Mapping[str, Any]) -> str:
    """A row for each file: lines that are this machine's to the last digit, and instructions, by core."""
    cores = figures["cores"]
    head = ["file", *(f"{board}: lines the same" for board in cores.values())]
    head += [f"{board}: million instructions" for board in cores.values()]
    live = {(row["file"], row["core"]): row for row in figures["live"]}
    rows = []
    for file in figures["files"]:
        lines = [_lines(live.get((file, core))) for core in cores]
        counted = figures["instructions"].get(file, {})
        rows.append([f"`{file}`", *lines, *(f"{counted[core] / 1e6:.1f}" if core in counted else "" for core in cores)])
    return table(head, rows)


def _lines(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    worst = max(row["worst"]["landmarks_px"], row["worst"]["box_xyxy"])
    gap = f", {worst:.3f} px apart" if row["lines_equal"] < row["frames"] else ""
    return f"{row['lines_equal']} of {row['frames']}{gap}" + ("" if row["verdict"] == "pass" else " (**fails**)")

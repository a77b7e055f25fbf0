"""Size, speed and accuracy of converted files: JSON first; Markdown and one HTML page are drawn from it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from convert.gate import GateReport, gate
from convert.latency import Latency, machine, measure
from convert.metadata import commit, versions
from convert.parity import BOUNDS, Parity
from convert.variants import VARIANTS
from edgeface.card import Card, read_card
from edgeface.errors import InputError
from edgeface.files import read_json, write_json, write_text

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Entry:
    """One file and what is known of it. ``parity``: its row of a parity.json; ``test_set``: what that was scored on."""

    path: Path
    card: Card
    gate: GateReport
    parity: dict[str, Any] | None = None
    test_set: str | None = None
    reference: dict[str, Any] | None = None
    """The float model's row."""


def save_parity(rows: Sequence[Parity], path: Path, set_name: str, split: str, command: str = "") -> Path:
    """Parity as data, with what it takes to repeat it."""
    data = {
        "format": 1,
        "set": set_name,
        "split": split,
        "command": command,
        "created": _now(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions("keras", "tensorflow", "ai-edge-litert", "numpy"),
        "rows": [row.as_dict() for row in rows],
    }
    write_json(path, json.loads(json.dumps(data)))
    return path


def read_entries(folders: Sequence[Path]) -> list[Entry]:
    """The files of the folders, variants in order. InputError: an empty folder, a parity.json of other files."""
    if not folders:
        raise InputError("at least one folder must be given. Received: none")
    entries = []
    order = list(VARIANTS)
    for folder in folders:
        cards = {path: read_card(path) for path in sorted(folder.glob("*.tflite"))}
        if not cards:
            raise InputError(f"{folder} must be a folder with .tflite files. Received: none there")
        scored, where = _scored(folder / "parity.json")
        reference = next((row for row in scored.values() if row["variant"] not in BOUNDS), None)
        for path in sorted(cards, key=lambda p: order.index(cards[p].variant) if cards[p].variant in order else 99):
            entries.append(Entry(path, cards[path], gate(path), scored.get(path.name), where, reference))
    return entries


def build_report(
    entries: Sequence[Entry], rounds: int = 100, threads: int = 1, command: str = "", title: str = "edgeface report"
) -> dict[str, Any]:
    """Everything that the pages show, JSON-ready. Measures the milliseconds, all files in turn."""
    from rich.progress import track

    if not entries:
        raise InputError("a report needs at least one file. Received: none")
    times = measure(
        [e.path for e in entries], rounds, threads, progress=lambda r: track(r, description="timing", transient=True)
    )
    base = {(e.card.preset, e.card.variant): _bytes(e) for e in entries}
    rows = [_row(e, t, base.get((e.card.preset, "float32"))) for e, t in zip(entries, times, strict=True)]
    return json.loads(
        json.dumps(
            {
                "format": 1,
                "title": title,
                "created": _now(),
                "command": command,
                "commit": commit(),
                "machine": machine(),
                "versions": versions("keras", "tensorflow", "ai-edge-litert", "numpy"),
                "threads": threads,
                "rounds": rounds,
                "test_sets": sorted({e.test_set for e in entries if e.test_set}),
                "bounds": {name: vars(bound) for name, bound in BOUNDS.items()},
                "float_models": _float_models(entries),
                "rows": rows,
            }
        )
    )


def write_report(report: dict[str, Any], out: str | Path) -> list[Path]:
    """report.json, report.md and report.html in the folder; the page needs no other file."""
    out = Path(out)
    paths = [out / f"report.{kind}" for kind in ("json", "md", "html")]
    write_json(paths[0], report)
    write_text(paths[1], markdown(report))
    write_text(paths[2], html(report))
    return paths


def markdown(report: dict[str, Any]) -> str:
    return _environment(False).get_template("report.md.j2").render(**_view(report))


def html(report: dict[str, Any]) -> str:
    plots = [
        ("Accuracy and size", _data_uri(pareto(report, "bytes"))),
        ("Accuracy and time", _data_uri(pareto(report, "p50_ms"))),
        ("Time", _data_uri(bars(report))),
    ]
    return _environment(True).get_template("report.html.j2").render(plots=[p for p in plots if p[1]], **_view(report))


def terminal_table(report: dict[str, Any]) -> str:
    """The figures, for the terminal."""
    head = "".join(f"{name:>{width}}" for name, width in (("KB", 8), ("ms", 8), ("NME %", 8), ("delta", 8), ("pose", 8),
                                                         ("delta", 8), ("jitter", 8)))  # fmt: skip
    lines = [f"{'file':<34}{head}  parity"]
    for row in report["rows"]:
        cells = [
            f"{row['bytes'] / 1000:.0f}", f"{row['p50_ms']:.2f}",
            figure(row["nme"], 3), figure(row["nme_delta"], 3, True),
            figure(row["pose"]["mean"], 2), figure(row["pose_delta"]["mean"], 3, True), figure(row["jitter"], 3),
        ]  # fmt: skip
        lines.append(f"{row['name']:<34}{''.join(f'{c:>8}' for c in cells)}  {row['result']}")
    return "\n".join(lines)


def figure(value: float | None, digits: int, sign: bool = False) -> str:
    """A number for a cell; a dash where there is none."""
    return "-" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def pareto(report: dict[str, Any], axis: str) -> str | None:
    """NME against bytes or milliseconds as SVG: colour = network, marker = variant; None where nothing was scored.

    The line joins the files that no other beats in both.
    """
    scored = [row for row in report["rows"] if row["nme"] is not None]
    if not scored:
        return None
    label, factor = {"bytes": ("KB", 1e-3), "p50_ms": ("ms, one face", 1.0)}[axis]
    figure, axes = _axes(height=4)
    best = [a for a in scored if not any(b[axis] < a[axis] and b["nme"] < a["nme"] for b in scored)]
    best.sort(key=lambda row: (row[axis], row["nme"]))
    axes.plot([row[axis] * factor for row in best], [row["nme"] for row in best], "--", color="0.6", zorder=1)
    presets = list(dict.fromkeys(row["preset"] for row in scored))
    variants = list(dict.fromkeys(row["variant"] for row in scored))
    for row in scored:
        marker, color = "osDv^P*X"[variants.index(row["variant"]) % 8], f"C{presets.index(row['preset']) % 10}"
        text = _plain_text(f"{row['preset']} {row['variant']}")
        axes.plot(row[axis] * factor, row["nme"], marker, color=color, alpha=0.8, label=text)
    axes.set(xlabel=label, ylabel="NME, %", xlim=(0, None))
    figure.legend(loc="outside lower center", ncols=2, fontsize=7)
    return _svg(figure)


def bars(report: dict[str, Any]) -> str:
    """Milliseconds a file as SVG: the median, and a line to the 90th percentile."""
    rows = report["rows"][::-1]
    figure, axes = _axes(height=0.6 + 0.28 * len(rows))
    p50 = [row["p50_ms"] for row in rows]
    reach = [[0] * len(rows), [max(row["p90_ms"] - row["p50_ms"], 0) for row in rows]]
    axes.barh([_plain_text(row["name"]) for row in rows], p50, xerr=reach, height=0.6)
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlabel=f"ms, one face, {report['threads']} thread{'s' * (report['threads'] > 1)}")
    return _svg(figure)


def _row(entry: Entry, time: Latency, float_bytes: int | None) -> dict[str, Any]:
    card, scored = entry.card, entry.parity or {}
    scores = scored.get("scores", {})
    none = {"yaw": None, "pitch": None, "roll": None, "mean": None}
    pose = {key: scores.get("pose", none).get(key) for key in none}
    return {
        "name": entry.path.stem,
        "network": card.network,
        "preset": card.preset,
        "variant": card.variant,
        "purpose": VARIANTS[card.variant].purpose if card.variant in VARIANTS else "",
        "bytes": _bytes(entry),
        "ratio": _bytes(entry) / float_bytes if float_bytes else None,
        "parameters": card.parameters,
        "macs": card.macs,
        "p50_ms": time.p50_ms,
        "p90_ms": time.p90_ms,
        "float_operators": entry.gate.float_operators,
        "gate": "passed" if entry.gate.passed else "failed: " + "; ".join(entry.gate.failures),
        "n": scores.get("n"),
        "skipped": scores.get("skipped"),
        "nme": scores.get("nme"),
        "failure_rate": scores.get("failure_rate"),
        "auc": scores.get("auc"),
        "nme_delta": scored.get("nme_delta"),
        "nme_delta_sem": scored.get("nme_delta_sem"),
        "pose": pose,
        "pose_n": scores.get("pose", {}).get("n"),
        "pose_delta": scored.get("pose_delta", none),
        "geodesic": scores.get("pose", {}).get("geodesic"),
        "geodesic_delta": scored.get("geodesic_delta"),
        "jitter": scored.get("jitter"),
        "jitter_change": scored.get("jitter_change"),
        "landmark_shift": scored.get("landmark_shift"),
        "pose_shift_deg": scored.get("pose_shift_deg"),
        "by_yaw": scored.get("by_yaw", []),
        "result": "not scored" if not scored else "pass" if scored["passed"] else "FAIL",
        "failures": scored.get("failures", []),
        "test_set": entry.test_set if scored else None,
        "notes": list(card.notes),
        "flatbuffer_sha256": card.flatbuffer_sha256,
    }


def _float_models(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The scores of the Keras models that the deltas are from, one a network."""
    found = {}
    for entry in entries:
        if entry.reference is not None:
            found[entry.card.preset] = {"preset": entry.card.preset, **entry.reference}
    return list(found.values())


def _scored(path: Path) -> tuple[dict[str, dict[str, Any]], str | None]:
    if not path.is_file():
        return {}, None
    data = read_json(path)
    try:
        return {row["file"]: row for row in data["rows"]}, f"{data['set']} {data['split']}"
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} must be what `python -m convert parity` writes. Received: no {error}") from None


def _bytes(entry: Entry) -> int:
    return entry.path.stat().st_size


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _view(report: dict[str, Any]) -> dict[str, Any]:
    return {"report": report, "figure": figure}


def _environment(escape: bool):
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=escape, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["cell"] = _markdown_cell
    return environment


def _markdown_cell(value: Any) -> str:
    """Text that stays inside its cell and is no markup."""
    text = " ".join(str(value).split())
    for character in "\\|`*_<>[]":
        text = text.replace(character, "\\" + character)
    return text


def _axes(height: float = 3.2):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes


def _plain_text(text: str) -> str:
    """A dollar sign would start matplotlib's own markup."""
    return text.replace("$", r"\$")


def _svg(figure) -> str:
    buffer = io.StringIO()
    # No date inside: the same figures draw the same page.
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _data_uri(svg: str | None) -> str | None:
    return svg and "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()

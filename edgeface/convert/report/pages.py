"""The report's three forms: JSON as it is, Markdown, and one HTML page that needs no other file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from edgeface.convert.report import plots
from edgeface.convert.report.peers import comparable
from edgeface.files import write_json, write_text

BOUND_HEADS = {
    "nme_points": "NME, points",
    "bin_nme_points": "in a yaw bin",
    "pose_deg": "pose MAE, degrees",
    "jitter": "jitter, of float's",
    "shift": "landmarks off, % of crop",
    "pose_shift_deg": "angles off, degrees",
}
SHOWN_LOSS = 0.01
"""Points of NME: a face that lost less is not worth a line."""
TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


def write_report(report: dict[str, Any], out: str | Path) -> list[Path]:
    """report.json, report.md and report.html in the folder; the page needs no other file.

    Args:
        report: from `build_report`.
        out: the folder.
    """
    out = Path(out)
    paths = [out / f"report.{kind}" for kind in ("json", "md", "html")]
    write_json(paths[0], report)
    write_text(paths[1], markdown(report))
    write_text(paths[2], html(report))
    return paths


def markdown(report: dict[str, Any]) -> str:
    return _environment(False).get_template("report.md.j2").render(**_view(report))


def html(report: dict[str, Any]) -> str:
    sets = [
        (
            name,
            _pictures(
                ("Accuracy and size", plots.pareto(report, name, "bytes")),
                ("Accuracy and time", plots.pareto(report, name, "p50_ms")),
                ("Head pose and size", plots.pareto(report, name, "bytes", "pose")),
                ("Cumulative errors", plots.ced_curves(report, name)),
            ),
        )
        for name in report["test_sets"]
    ]
    charts = [_pictures(("", plots.layer_chart(e))) for e in report["layer_errors"]]
    view = _view(report) | {"plots": dict(sets), "bars": _pictures(("", plots.bars(report))), "charts": charts}
    return _environment(True).get_template("report.html.j2").render(**view)


def terminal_table(report: dict[str, Any]) -> str:
    """The figures, for the terminal: one line per file and test set."""
    heads = [("KB", 8), ("ms", 8), ("faster", 8), ("MB used", 9), ("NME %", 8), ("delta", 8), ("pose", 8), ("delta", 8),
             ("jitter", 8)]  # fmt: skip
    lines = [f"{'file':<34}" + "".join(f"{name:>{width}}" for name, width in heads) + "  parity"]
    for row in report["rows"]:
        price = [
            f"{row['bytes'] / 1000:.0f}", f"{row['p50_ms']:.2f}", figure(row["times_faster"], 2),
            figure(row["peak_bytes"] and row["peak_bytes"] / 1e6, 1),
        ]  # fmt: skip
        for i, score in enumerate(row["scores"] or [None]):
            if score is None:
                cells, result = ["-"] * 5, "not scored"
            else:
                cells = [
                    figure(plots.headline(score), 3), figure(score["nme_delta"], 3, True),
                    figure(score["pose"]["mean"], 2), figure(score["pose_delta"]["mean"], 3, True),
                    figure(score["jitter"], 3),
                ]  # fmt: skip
                result = f"{'pass' if score['passed'] else 'FAIL'} {score['test_set']}"
            shown = (price if i == 0 else [""] * len(price)) + cells
            text = "".join(f"{c:>{width}}" for c, (_, width) in zip(shown, heads, strict=True))
            lines.append(f"{row['name'] if i == 0 else '':<34}{text}  {result}")
    return "\n".join(lines)


def figure(value: float | None, digits: int, sign: bool = False) -> str:
    """A number for a cell; a dash where there is none."""
    return "-" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def summary(report: dict[str, Any]) -> list[str]:
    """What a reader should know first, in sentences."""
    rows = report["rows"]
    sentences = []
    scored = [row for row in rows if row["scores"]]
    failed = [row["name"] for row in scored if row["result"] == "FAIL"]
    if scored:
        on = ", ".join(report["test_sets"])
        sentences.append(f"{len(scored) - len(failed)} of {len(scored)} files are within their bounds on {on}")
        sentences[-1] += f"; out of bounds: {', '.join(failed)}." if failed else "."
    refused = [row["name"] for row in rows if row["gate"] != "passed"]
    if refused:
        sentences.append(f"{len(refused)} of {len(rows)} files fail their gate: {', '.join(refused)}.")
    for row in rows:
        if row["variant"] == "int8_qat" and row["ratio"] is not None:
            text = (
                f"{row['name']}: {100 * row['ratio']:.0f} % of float32's bytes, {row['times_faster']:.2f} times faster"
            )
            deltas = [f"NME {s['nme_delta']:+.3f} on {s['test_set']}" for s in row["scores"]]
            sentences.append(", ".join([text, *deltas]) + ".")
    return sentences


def _view(report: dict[str, Any]) -> dict[str, Any]:
    def scores_on(name: str) -> list[tuple[dict, dict]]:
        return [(row, s) for row in report["rows"] if (s := plots.score_on(row, name)) is not None]

    return {
        "report": report,
        "figure": figure,
        "summary": summary(report),
        "busy_text": _busy_text(report),
        "bound_heads": [BOUND_HEADS.get(key, key) for key in next(iter(report["bounds"].values()))],
        "scores_on": scores_on,
        "headline": plots.headline,
        "nme_label": plots.nme_label,
        "hurting": plots.hurting,
        "lost": lambda score: [f for f in score["worst"] if f["nme_delta"] >= SHOWN_LOSS],
        "peers_on": lambda name, n: comparable(report["peers"], name, n),
    }


def _busy_text(report: dict[str, Any]) -> str:
    """Why the milliseconds are not to be trusted, with what processor time says instead."""
    faster = [
        f"{row['name']} {timed['times_faster_by_cpu']:.2f}"
        for row in report["rows"]
        for timed in row["times"]
        if timed["threads"] == 1 and timed["times_faster_by_cpu"] and row["variant"] != "float32"
    ]
    text = (
        f"The machine was busy with other work: files waited for a processor up to {100 * (report['busy'] or 0):.0f} %"
    )
    text += " of their time, slow ones most. Measure again on a quiet machine."
    return text + (f" Times faster by processor time: {', '.join(faster)}." if faster else "")


def _pictures(*captioned: tuple[str, str | None]) -> list[tuple[str, str]]:
    return [(caption, _data_uri(svg)) for caption, svg in captioned if svg]


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _environment(escape: bool):
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=escape, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["cell"] = _markdown_cell
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str):
    """A name as HTML that may be broken behind its underscores, so that long ones fit a narrow column."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in str(name).split("_"))


def _markdown_cell(value: Any) -> str:
    """Text that stays inside its cell and is no markup."""
    text = " ".join(str(value).split())
    for character in "\\|`*_<>[]":
        text = text.replace(character, "\\" + character)
    return text

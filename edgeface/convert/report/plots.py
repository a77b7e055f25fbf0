"""A report's pictures as SVG: readable at a phone's width, drawn from the report's data alone."""

from __future__ import annotations

import io
from typing import Any

from edgeface.convert.report.peers import comparable

WIDTH = 4.3
"""Inches: about 400 px, a phone's width, so that type is as large there as it was set."""
MARKERS = {"float32": "o", "float16": "s", "dynamic": "D", "int8_ptq": "v", "int8_qat": "P", "int8_logits": "X"}
LINES = ["-", "--", "-.", ":", (0, (1, 1)), (0, (5, 1))]
SHOWN_TENSORS = 8


def score_on(row: dict[str, Any], test_set: str) -> dict[str, Any] | None:
    """A row's scores on a set."""
    return next((s for s in row["scores"] if s["test_set"] == test_set), None)


def headline(score: dict[str, Any]) -> float:
    """The NME that a set is known by: AFLW2000-3D's is the mean of its yaw bins' means."""
    binned = score["protocol"] == "aflw2000_3d" and score["mean_of_bins"] is not None
    return score["mean_of_bins"] if binned else score["nme"]


def nme_label(score: dict[str, Any]) -> str:
    of = (score["normalizer"] or "").replace("_", "-")
    return "NME, %" + (f" of {of}" if of else "") + (", mean of yaw bins" if headline(score) != score["nme"] else "")


def pareto(report: dict[str, Any], test_set: str, axis: str, figure: str = "nme") -> str | None:
    """NME (or pose MAE) on one set against bytes or p50_ms, with peers' letters; None where nothing has that figure.

    Color = network, marker = variant; the line joins the files that no other file of the report beats in both. Both
    axes are logarithmic.
    """
    points = []
    for row in report["rows"]:
        score = score_on(row, test_set)
        value = None if score is None else score["pose"]["mean"] if figure == "pose" else headline(score)
        if value:
            points.append((row[axis] * (1e-6 if axis == "bytes" else 1), value, row, score))
    if not points:
        return None
    canvas, axes = _axes(3.9)
    best = sorted((x, y) for x, y, *_ in points if not any(b[0] < x and b[1] < y for b in points))
    axes.plot([x for x, _ in best], [y for _, y in best], "--", color="0.6", linewidth=1, zorder=1)
    presets = list(dict.fromkeys(row["preset"] for row in report["rows"]))
    variants = list(dict.fromkeys(row["variant"] for _, _, row, _ in points))
    for x, y, row, _ in points:
        marker, color = MARKERS.get(row["variant"], "*"), f"C{presets.index(row['preset']) % 10}"
        axes.plot(x, y, marker, color=color, alpha=0.75, markersize=7, markeredgecolor="white", zorder=3)
    shown = []
    for peer in comparable(report.get("peers"), test_set, points[0][3]["n"]):
        value = peer["on_set"].get("pose_mae" if figure == "pose" else "nme")
        if value is not None:
            shown.append((peer["megabytes" if axis == "bytes" else "ms"], value, peer["letter"]))
    for x, y, letter in shown:
        axes.plot(x, y, "o", color="0.88", markersize=9, markeredgecolor="0.6", markeredgewidth=0.5, zorder=2)
        axes.annotate(letter, (x, y), ha="center", va="center_baseline", fontsize=7, color="0.25", zorder=4)
    everything = [(x, y) for x, y, *_ in points + shown]
    _logarithmic(axes.set_xscale, axes.xaxis, axes.set_xlim, [x for x, _ in everything])
    _logarithmic(axes.set_yscale, axes.yaxis, axes.set_ylim, [y for _, y in everything])
    unit = {"bytes": "MB", "p50_ms": f"ms a face, {report['threads']} thread{'s' * (report['threads'] > 1)}"}[axis]
    axes.set(xlabel=unit, ylabel="pose MAE, degrees" if figure == "pose" else nme_label(points[0][3]))
    used = [p for p in presets if any(row["preset"] == p for _, _, row, _ in points)]
    handles = [_key(f"C{presets.index(p) % 10}", "_", p) for p in used] if len(used) > 1 else []
    handles += [
        _key("0.35" if len(used) > 1 else f"C{presets.index(used[0])}", MARKERS.get(v, "*"), v) for v in variants
    ]
    if shown:
        handles.append(_key("0.6", "o", "letters: peers, see table"))
    canvas.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7, handletextpad=0.2, columnspacing=1)
    return _svg(canvas)


def ced_curves(report: dict[str, Any], test_set: str) -> str | None:
    """The share of faces with an error below each value, one line per file; None where no curve was kept."""
    rows = [(row["name"], score_on(row, test_set)) for row in report["rows"]]
    rows = [(name, score) for name, score in rows if score and score["ced"]]
    if not rows:
        return None
    canvas, axes = _axes(3.4 + 0.14 * len(rows))
    for i, (name, score) in enumerate(rows):
        label = _plain_text(f"{name}: AUC {score['auc']:.1f} %, FR {score['failure_rate']:.1f} %")
        errors, shares = ([100 * v for v in score["ced"][key]] for key in ("errors", "shares"))
        axes.plot(errors, shares, linestyle=LINES[i % 6], color=f"C{i % 10}", linewidth=1.4, label=label)
    axes.set(xlabel=_label_of_ced(rows[0][1]), ylabel="faces, %", ylim=(0, 101), xlim=(0, errors[-1]))
    canvas.legend(loc="outside lower left", fontsize=7)
    return _svg(canvas)


def bars(report: dict[str, Any]) -> str:
    """Milliseconds a file: the median for each number of threads, and a line to the 90th percentile."""
    rows = report["rows"][::-1]
    counts = [timed["threads"] for timed in rows[0]["times"]]
    height = 0.8 / len(counts)
    canvas, axes = _axes(1.0 + 0.2 * len(rows) * len(counts) ** 0.5)
    for k, count in enumerate(counts):
        times = [row["times"][k] for row in rows]
        p50 = [t["p50_ms"] for t in times]
        reach = [[0] * len(rows), [max(t["p90_ms"] - t["p50_ms"], 0) for t in times]]
        at = [i + 0.4 - height * (k + 0.5) for i in range(len(rows))]
        error = {"linewidth": 0.8, "ecolor": "0.3"}
        label = f"{count} thread{'s' * (count > 1)}"
        axes.barh(
            at, p50, xerr=reach, height=height * 0.92, error_kw=error, color=["C0", "C9", "C7"][k % 3], label=label
        )
    axes.set_yticks(range(len(rows)), [_plain_text(row["name"]) for row in rows], fontsize=7)
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="ms a face: median, line to p90", ylim=(-0.5, len(rows) - 0.5))
    if len(counts) > 1:
        canvas.legend(loc="outside lower right", ncols=len(counts), fontsize=7)
    return _svg(canvas)


def hurting(errors: dict[str, Any]) -> list[dict[str, Any]]:
    """The int8 tensors to look at first, in the order they run: the lowest signal to noise, then the largest drops.

    A tensor that only passes on what it reads (padding, resizing without a range of its own) is left out.
    """
    tensors = [t for t in errors["tensors"] if t["sqnr_db"] is not None and t["own_db"] is not None]
    moving = ("PAD", "RESHAPE", "REDUCE_MAX")
    tensors = [t for t in tensors if t["operator"] not in moving]
    lowest = sorted(tensors, key=lambda t: t["sqnr_db"])[: SHOWN_TENSORS // 2]
    rest = [t for t in tensors if t not in lowest and t["drop_db"] is not None]
    lowest += sorted(rest, key=lambda t: -t["drop_db"])[: SHOWN_TENSORS - len(lowest)]
    return sorted(lowest, key=lambda t: t["position"])


def layer_chart(errors: dict[str, Any]) -> str | None:
    """Signal to noise along one int8 file, and what each range alone would leave; numbers as in the table beneath."""
    tensors = [t for t in errors["tensors"] if t["own_db"] is not None and t["sqnr_db"] is not None]
    if not tensors:
        return None
    canvas, axes = _axes(2.9)
    at = [t["position"] for t in tensors]
    axes.plot(at, [t["own_db"] for t in tensors], ".", color="0.65", markersize=4, label="its own rounding alone")
    axes.plot(at, [t["sqnr_db"] for t in tensors], ".-", color="C0", linewidth=0.6, markersize=3, label="all so far")
    for i, tensor in enumerate(hurting(errors), 1):
        place = (tensor["position"], tensor["sqnr_db"])
        axes.plot(*place, "o", color="C3", markersize=4)
        axes.annotate(str(i), place, (0, -5), textcoords="offset points", ha="center", va="top", fontsize=7, color="C3")
    low = min(t["sqnr_db"] for t in tensors)
    axes.set(xlabel="operator, in the order they run", ylabel="signal to noise, dB", ylim=(low - 6, None))
    canvas.legend(loc="outside lower center", ncols=2, fontsize=7)
    return _svg(canvas)


def _label_of_ced(score: dict[str, Any]) -> str:
    of = (score["normalizer"] or "").replace("_", "-")
    return "NME of a face, %" + (f" of {of}" if of else "")


def _logarithmic(set_scale, axis, set_limits, values: list[float]) -> None:
    """A logarithmic axis with plain numbers on it."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = min(values) / 1.25, max(values) * 1.25
    set_scale("log")
    fine = high / low < 6
    steps = (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9) if fine else (1, 2, 5) if high / low < 200 else (1,)
    marks = [s * 10.0**e for e in range(-3, 4) for s in steps]
    axis.set_major_locator(FixedLocator([m for m in marks if low <= m <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    set_limits(low, high)


def _key(color: str, marker: str, text: str):
    from matplotlib.lines import Line2D

    line = {"linestyle": "-", "linewidth": 4, "marker": None} if marker == "_" else {"linestyle": "", "marker": marker}
    return Line2D([], [], color=color, markersize=6, label=_plain_text(text), **line)


def _axes(height: float):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_size(8)
    axes.yaxis.label.set_size(8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _plain_text(text: str) -> str:
    """A dollar sign would start matplotlib's own markup."""
    return text.replace("$", r"\$")


def _svg(figure) -> str:
    import matplotlib

    buffer = io.StringIO()
    # No date and no random ids inside: the same figures draw the same page.
    with matplotlib.rc_context({"svg.hashsalt": "edgeface"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()

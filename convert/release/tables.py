"""The tables that the README and docs/results.md show, drawn from the JSON files beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from convert.release.markdown import table
from edgeface.convert.parity_file import load_parity
from edgeface.convert.report import PEERS, read_peers
from edgeface.convert.tolerances import BOUNDS, MIN_BIN_FACES
from edgeface.files import read_json

HERE = Path(__file__).resolve().parents[2] / "results"
MODELS = ("acdc_n", "acdc_s", "acdc_m", "ccr_n", "ccr_s", "ccr_m")
SETS = {
    "300w_test": "300W common",
    "aflw2000_3d_val": "AFLW2000-3D, 199 faces",
    "aflw_test": "AFLW",
}
TFMOT_ARMS = {
    "ours": "`edgeface.quantize`",
    "tfmot_calibrated": "tfmot, ranges set as ours",
    "tfmot": "tfmot as it is",
}
VARIANTS = ("float", "float16", "dynamic", "int8_ptq", "int8_qat", "int8_logits")

BOUNDS_TEXT = (
    f"Bounds on *worse than float*: {BOUNDS['int8_qat'].nme_points:g} NME points, {BOUNDS['int8_qat'].pose_deg:g}° and "
    f"{100 * BOUNDS['int8_qat'].jitter:g} % of jitter for int8, {BOUNDS['float16'].nme_points:g} points and "
    f"{BOUNDS['float16'].pose_deg:g}° for float16; in a yaw bin of {MIN_BIN_FACES} faces and more "
    f"{BOUNDS['int8_qat'].bin_nme_points:g} points for int8, {BOUNDS['float16'].bin_nme_points:g} for float16. "
    "Bold: a bound is missed; the JSON says which."
)


def summary() -> str:
    """The README's: float and what `int8_qat` costs, a row a model and set; then every model's price."""
    head = ["model", "faces", "points", "NME %", "yaw MAE", "pose MAE", "int8 costs: NME", "pose", "jitter"]
    scores = table(
        head,
        [
            [f"`{model}`", *_summary_cells(model, name, title)]
            for model in MODELS
            for name, title in SETS.items()
            if (HERE / model / f"{name}.json").exists()
        ],
    )
    head = ["model", "parameters", "MMAC", "float32", "float16", "int8", "float32 ms", "int8 ms", "times faster"]
    reports = {model: HERE / model / "report.json" for model in MODELS}
    prices = table(head, [[f"`{m}`", *_price_cells(read_json(p))] for m, p in reports.items() if p.exists()])
    return f"{scores}\n\n{prices}"


def _summary_cells(model: str, name: str, title: str) -> list[str]:
    (scored,) = load_parity(HERE / model / f"{name}.json")
    rows = {row["variant"]: row for row in scored.rows}
    scores, int8 = rows["float"]["scores"], rows["int8_qat"]
    pose = scores["pose"]
    bins = "" if name != "aflw2000_3d_val" else f" (bins {scores['mean_of_bins']:.2f})"
    cells = [f"{title} ({scores['n']})", scores["markup"], f"{scores['nme']:.2f}{bins}"]
    cells += ["-" if pose["yaw"] is None else f"{pose['yaw']:.2f}°"]
    cells += ["-" if pose["roll"] is None else f"{pose['mean']:.2f}°"]
    turn = int8["pose_delta"]["mean"]
    cost = [
        f"{int8['nme_delta']:+.3f}",
        "-" if turn is None else f"{turn:+.3f}°",
        f"{100 * int8['jitter_change']:+.1f} %",
    ]
    return cells + (cost if int8["passed"] else [f"**{c}**" for c in cost])


def _price_cells(report: dict[str, Any]) -> list[str]:
    rows = {row["variant"]: row for row in report["rows"]}
    size = [f"{rows[v]['bytes'] / 1000:.0f} KB" for v in ("float32", "float16", "int8_qat")]
    int8 = rows["int8_qat"]
    ms = [f"{rows[v]['p50_ms']:.2f}" for v in ("float32", "int8_qat")]
    return [f"{int8['parameters']:,}", f"{int8['macs'] / 1e6:.0f}", *size, *ms, f"{int8['times_faster']:.2f}"]


def accuracy() -> str:
    """Every file of every model on every set."""
    return "\n\n".join(
        _accuracy(model, name, title)
        for model in MODELS
        for name, title in SETS.items()
        if (HERE / model / f"{name}.json").exists()
    )


def _accuracy(model: str, name: str, title: str) -> str:
    (scored,) = load_parity(HERE / model / f"{name}.json")
    rows = {row["variant"]: row for row in scored.rows}
    n = rows["float"]["scores"]["n"]
    bins = [b for b in rows["float"]["scores"]["by_yaw"] if b["n"]] if "3d" in name else []
    heads = ["NME %", *(f"{b['low_deg']:g}-{b['high_deg']:g}°" for b in bins), *(["mean of bins"] if bins else [])]
    heads += ["FR %", "AUC %", "pose MAE (yaw / pitch / roll)", "jitter %", "worse than float: NME, pose, jitter"]
    if rows["float"]["scores"]["pose"]["n"] == 0:
        heads.remove("pose MAE (yaw / pitch / roll)")
    scores = rows["float"]["scores"]
    crossed = scores["predicted_markup"] != scores["markup"]
    head = f"; the {scores['predicted_markup']} head on {scores['markup']} truth" if crossed else ""
    drawn = table(["file", *heads], [[v, *_cells(rows[v], bins)] for v in VARIANTS if v in rows])
    return f"**`{model}` on {title}, {scores['markup']}** (n = {n}{head})\n\n{drawn}"


def _cells(row: dict[str, Any], bins: list) -> list[str]:
    scores = row["scores"]
    cells = [f"{scores['nme']:.3f}"]
    if bins:
        cells += [f"{b['nme']:.2f}" for b in scores["by_yaw"] if b["n"]] + [f"{scores['mean_of_bins']:.3f}"]
    cells += [f"{scores['failure_rate']:.2f}", f"{scores['auc']:.1f}"]
    pose = scores["pose"]
    if pose["n"]:
        angles = " / ".join("-" if pose[a] is None else f"{pose[a]:.2f}" for a in ("yaw", "pitch", "roll"))
        cells.append(f"{pose['mean']:.2f} ({angles})")
    cells.append(f"{row['jitter']:.3f}")
    if row["variant"] == "float":
        return [*cells, ""]
    turn = row["pose_delta"]["mean"]
    turned = "-" if turn is None else f"{turn:+.3f}°"
    delta = f"{row['nme_delta']:+.3f}, {turned}, {100 * row['jitter_change']:+.1f} %"
    return [*cells, delta if row["passed"] else f"**{delta}**"]


def peers() -> str:
    """The int8 files beside other programs' published models on the same faces, by the mean of AFLW2000-3D's bins."""
    lines = []
    for model in MODELS:
        if not (HERE / model / "report.json").exists():
            continue
        flat, solid = (_int8_scores(model, name) for name in ("300w_test", "aflw2000_3d_val"))
        size = next(r for r in read_json(HERE / model / "report.json")["rows"] if r["variant"] == "int8_qat")["bytes"]
        bins = [b["nme"] for b in solid["by_yaw"]]
        figures = [flat["nme"], *bins, solid["mean_of_bins"], solid["pose"]["mean"]]
        lines.append([f"**`{model}` int8**", f"{size / 1e6:.2f}", *figures])
    for peer in read_peers(PEERS)["peers"]:
        flat, solid = (peer["scores"].get(name, {}) for name in ("300w test", "aflw2000_3d val"))
        figures = [flat.get("nme"), *solid.get("by_yaw", [None] * 3), solid.get("nme"), solid.get("pose_mae")]
        note = f" ({peer['note']})" if peer["note"] else ""
        lines.append([f"{peer['name']}{note}", f"{peer['megabytes']:.2f}", *figures])
    lines.sort(key=lambda line: np.inf if line[6] is None else line[6])
    head = ["model", "MB", "300W NME %", "AFLW2000-3D 0-30°", "30-60°", "60-90°", "mean of bins", "pose MAE"]
    return table(head, [[*line[:2], *("-" if v is None else f"{v:.2f}" for v in line[2:])] for line in lines])


def _int8_scores(model: str, name: str) -> dict[str, Any]:
    (scored,) = load_parity(HERE / model / f"{name}.json")
    return next(row for row in scored.rows if row["variant"] == "int8_qat")["scores"]


def prices() -> str:
    """Bytes and time of every file."""
    return "\n\n".join(_price(HERE / m / "report.json") for m in MODELS if (HERE / m / "report.json").exists())


def _price(path: Path) -> str:
    report = read_json(path)
    rows = []
    for row in report["rows"]:
        cells = [row["variant"], f"{row['bytes'] / 1000:.0f}", f"{row['parameters']:,}", f"{row['macs'] / 1e6:.0f}"]
        rows.append([*cells, f"{row['p50_ms']:.2f}", f"{row['times_faster']:.2f}"])
    head = ["file", "KB", "parameters", "MMAC", "ms", "times faster than float32"]
    title = f"**Price of `{path.parent.name}`** ({report['machine']['cpu']}, {report['threads']} thread, medians)"
    return f"{title}\n\n{table(head, rows)}"


def presets() -> str:
    """What int8 gains in time, for every edge preset."""
    data = read_json(HERE / "presets.json")
    head = ["preset", "parameters", "MMAC", "float32 KB", "int8 KB", "float32 ms", "int8 ms", "times faster"]
    rows = []
    for row in data["rows"]:
        ms = {kind: sorted(values)[len(values) // 2] for kind, values in row["p50_ms"].items()}
        cells = [f"`{row['preset']}`", f"{row['parameters']:,}", f"{row['macs'] / 1e6:.0f}"]
        cells += [f"{row['bytes'][kind] / 1000:.0f}" for kind in ("float32", "int8_qat")]
        cells += [f"{ms[kind]:.2f}" for kind in ("float32", "int8_qat")]
        rows.append([*cells, f"{row['times_faster']:.2f}"])
    return table(head, rows)


def tfmot() -> str:
    """Our quantisation-aware training against tfmot's, both from the same float weights on the same batches."""
    head = ["model", "trained by", "steps", "set", "NME - float (SEM)", "pose MAE - float", "landmark shift %", "KB"]
    rows = []
    for row in read_json(HERE / "tfmot.json")["rows"]:
        for where, scores in row["scores"].items():
            delta, sem, turn = (scores.get(key) for key in ("nme_delta", "nme_delta_sem", "pose_mae_delta"))
            cells = [f"`{row['model']}`", TFMOT_ARMS[row["arm"]], str(row["steps"]), f"{where} ({scores['faces']})"]
            cells += ["-" if delta is None else f"{delta:+.3f} ({sem:.3f})", "-" if turn is None else f"{turn:+.3f}°"]
            rows.append([*cells, f"{scores['landmark_shift_percent_of_crop']:.3f}", f"{row['bytes'] / 1000:.0f}"])
    return table(head, rows)


def runtimes() -> str:
    """Every runtime against LiteRT on x86, by file."""
    head = ["runtime", "file", "verdict", "points: max %", "mean %", "pose: max", "int8 outputs"]
    rows = []
    for row in read_json(HERE / "runtimes.json")["rows"]:
        off = row["to_reference"]
        figures = ["-"] * 3
        if off is not None:
            pose = off["pose_max_deg"]
            figures = [f"{off['landmarks_max_percent']:.4f}", f"{off['landmarks_mean_percent']:.4f}"]
            figures.append("-" if pose is None else f"{pose:.4f}°")
        exact = {None: "", True: "bit-exact", False: f"up to {row['max_steps']} steps"}[row["bit_exact"]]
        rows.append([row["runtime"], row["file"].removesuffix(".tflite"), row["verdict"], *figures, exact])
    return table(head, rows)


def speed() -> str:
    data = read_json(HERE / "speed.json")
    return (
        f"Rendering: {data['rendered_faces_per_second_one_thread']:.0f} faces of {data['side_px']} px a second on one "
        f"thread; the input pipeline with default augmentation: {data['augmented_gray_faces_per_second']:.0f} gray or "
        f"{data['augmented_rgb_faces_per_second']:.0f} RGB faces a second on {data['machine']['cores']} cores."
    )

"""The tables of README.md and docs/results.md, drawn from the JSON files in results/."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from convert.release.markdown import table
from edgeface import zoo
from edgeface.convert.parity_file import load_parity
from edgeface.convert.report import PEERS, read_peers
from edgeface.convert.tolerances import BOUNDS, MIN_BIN_FACES
from edgeface.files import read_json

HERE = Path(__file__).resolve().parents[2] / "results"
MODELS = ("acdc_n", "acdc_s", "acdc_m", "ccr_n", "ccr_s", "ccr_m")
SETS = {
    "300w_test": "300W common",
    "aflw2000_3d_val": "AFLW2000-3D",
    "aflw_test": "AFLW",
}
TFMOT_ARMS = {
    "ours": "`edgeface.quantize`",
    "tfmot_calibrated": "tfmot, our calibrated ranges",
    "tfmot": "tfmot, its defaults",
}
VARIANTS = ("float", "float16", "dynamic", "int8_ptq", "int8_qat", "int8_logits")
README_PEERS = ("MediaPipe face landmarker v2", "3DDFA_V2 mb05", "face-api 68")

README_NOTES = (
    "int8 files; ms per face on one thread of an x86 machine. 300W: its *common* test set, 554 faces, percent of the "
    "outer inter-ocular distance. Pose MAE: mean of yaw, pitch and roll on 199 faces of AFLW2000-3D, which were also "
    "used for model selection of ours. ¹ By the network's 68-point head, which the 21-point files do not hold. "
    "² On the same faces, but measured in another run on another machine: take these ms as ±20 %. Sources: "
    "[peers.json](edgeface/convert/report/peers.json); more models in [results](docs/results.md)."
)
BOUNDS_TEXT = (
    f"Limits on *worse than float*: {BOUNDS['int8_qat'].nme_points:g} NME points, {BOUNDS['int8_qat'].pose_deg:g}° and "
    f"{100 * BOUNDS['int8_qat'].jitter:g} % of jitter for int8, {BOUNDS['float16'].nme_points:g} points and "
    f"{BOUNDS['float16'].pose_deg:g}° for float16; in a yaw bin of {MIN_BIN_FACES} faces and more "
    f"{BOUNDS['int8_qat'].bin_nme_points:g} points for int8, {BOUNDS['float16'].bin_nme_points:g} for float16. "
    "Bold: a limit is missed; the JSON says which."
)


def readme() -> str:
    """Six models and three of other projects: points, size, time, accuracy, and a link to each file."""
    head = ["model", "points", "KB: int8 / float16", "ms", "300W NME %", "pose MAE", "download"]
    lines = [_readme_row(model) for model in MODELS]
    peers = {peer["name"]: peer for peer in read_peers(PEERS)["peers"]}
    for peer in (peers[name] for name in README_PEERS):
        flat, solid = (peer["scores"][name] for name in ("300w test", "aflw2000_3d val"))
        size = f"{1000 * peer['megabytes']:,.0f}"
        lines.append([f"*{peer['name']}* ²", peer["points"], size, f"{peer['ms']:g}", f"{flat['nme']:.2f}"])
        lines[-1] += [f"{solid['pose_mae']:.2f}°", ""]
    return f"{table(head, lines)}\n\n{README_NOTES}"


def _readme_row(model: str) -> list[str]:
    report = {row["variant"]: row for row in read_json(HERE / model / "report.json")["rows"]}
    flat = scores_of(model, "300w_test", "int8_qat")
    solid = scores_of(model, "aflw2000_3d_val", "int8_qat")
    ships_3d = model.startswith("acdc")
    points = "68, or 68 in 3D" if ships_3d else "21"
    nme = f"{flat['nme']:.2f}" + ("" if ships_3d else " ¹")
    names = [(model, ""), *([(f"{model}_3d", " 3D")] if ships_3d else [])]
    links = []
    for name, label in names:
        for variant, short in (("int8_qat", "int8"), ("float16", "float16")):
            path = zoo.FOLDER / f"{name}_{variant}.tflite"
            links += [f"[{short}{label}](edgeface/zoo/{path.name})"] if path.is_file() else []
    size = " / ".join(f"{report[v]['bytes'] / 1000:,.0f}" for v in ("int8_qat", "float16"))
    ms = f"{report['int8_qat']['p50_ms']:.2f}"
    return [f"[`{model}`](docs/models/{model}.md)", points, size, ms, nme, f"{solid['pose']['mean']:.2f}°"] + [
        ", ".join(links)
    ]


def accuracy() -> str:
    """NME of every variant of every model on every set."""
    lines = []
    for name, title in SETS.items():
        for model in MODELS:
            rows = rows_of(model, name)
            scores = rows["float"]["scores"]
            crossed = scores["predicted_markup"] != scores["markup"]
            points = f"{scores['predicted_markup']} on {scores['markup']}" if crossed else scores["markup"]
            cells = [_bold(f"{rows[v]['scores']['nme']:.3f}", rows[v]) for v in VARIANTS]
            lines.append([f"{title} ({scores['n']})", f"`{model}`", points, *cells])
    return table(["faces", "model", "points", *VARIANTS], lines)


def yaw() -> str:
    """Float and int8_qat on AFLW2000-3D by |yaw|, with failure rate, AUC and the pose's angles."""
    lines = []
    for model in MODELS:
        for variant in ("float", "int8_qat"):
            scores = scores_of(model, "aflw2000_3d_val", variant)
            pose = scores["pose"]
            cells = [f"`{model}` {variant}", *(f"{b['nme']:.2f}" for b in scores["by_yaw"] if b["n"])]
            cells += [f"{scores['mean_of_bins']:.2f}", f"{scores['failure_rate']:.1f}", f"{scores['auc']:.1f}"]
            cells += [f"{pose['mean']:.2f}", *(f"{pose[a]:.2f}" for a in ("yaw", "pitch", "roll", "geodesic"))]
            lines.append(cells)
    bins = [b for b in scores_of(MODELS[0], "aflw2000_3d_val", "float")["by_yaw"] if b["n"]]
    head = ["file", *(f"{b['low_deg']:g}-{b['high_deg']:g}°, n = {b['n']}" for b in bins)]
    head += ["mean of bins", "FR %", "AUC %", "pose MAE °", "yaw", "pitch", "roll", "geodesic"]
    return table(head, lines)


def costs() -> str:
    """What float16 and each int8 variant cost: the largest loss over the sets, of NME, pose and jitter."""
    lines = []
    for model in MODELS:
        cells = []
        for variant in VARIANTS[1:]:
            rows = [rows_of(model, name)[variant] for name in SETS]
            turns = [row["pose_delta"]["mean"] for row in rows if row["pose_delta"]["mean"] is not None]
            nme, jitter = (max(row[key] for row in rows) for key in ("nme_delta", "jitter_change"))
            text = f"{nme:+.3f} / {max(turns):+.3f}° / {100 * jitter:+.1f} %"
            cells.append(text if all(row["passed"] for row in rows) else f"**{text}**")
        lines.append([f"`{model}`", *cells])
    return table(["model", *VARIANTS[1:]], lines)


def peers() -> str:
    """The int8 files and published models of other projects on the same faces, by AFLW2000-3D's mean of bins."""
    lines = []
    for model in MODELS:
        flat, solid = (scores_of(model, name, "int8_qat") for name in ("300w_test", "aflw2000_3d_val"))
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
    head = ["model", "MB", "300W NME %", "AFLW2000-3D 0-30°", "30-60°", "60-90°", "mean of bins", "pose MAE °"]
    return table(head, [[*line[:2], *("-" if v is None else f"{v:.2f}" for v in line[2:])] for line in lines])


def prices() -> str:
    """Size and time of every file."""
    sizes, times = [], []
    for model in MODELS:
        report = read_json(HERE / model / "report.json")
        rows = {row["variant"]: row for row in report["rows"]}
        whole = rows["float32"]
        cells = [f"`{model}`", f"{whole['parameters']:,}", f"{whole['macs'] / 1e6:.0f}"]
        names = ("float32", *VARIANTS[1:])
        sizes.append([*cells, *(f"{rows[v]['bytes'] / 1000:,.0f}" for v in names)])
        times.append([f"`{model}`", *(f"{rows[v]['p50_ms']:.2f}" for v in names)])
        times[-1].append(f"{rows['int8_qat']['times_faster']:.2f}")
    where = f"({report['machine']['cpu']}, {report['threads']} thread, medians)"
    head = ["float32", *VARIANTS[1:]]
    ratios = [row["times_faster"] for row in read_json(HERE / "presets.json")["rows"]]
    again = f"Timed in turns in one run, int8 is {min(ratios):.2f} to {max(ratios):.2f} times as fast as float32."
    return "\n\n".join(
        [
            f"**KB**\n\n{table(['model', 'parameters', 'MMAC', *head], sizes)}",
            f"**ms** {where}\n\n{table(['model', *head, 'int8_qat: times faster'], times)}",
            again,
        ]
    )


def tfmot() -> str:
    """Our quantization-aware training and tfmot's, from the same float weights on the same batches."""
    rows = []
    for row in read_json(HERE / "tfmot.json")["rows"]:
        cells = [f"`{row['model']}`", TFMOT_ARMS[row["arm"]], str(row["steps"]), f"{row['bytes'] / 1000:.0f}"]
        for key in ("300w/test", "aflw2000_3d/val"):
            scores = row["scores"].get(key)
            if scores is None:
                cells.append("-")
                continue
            cells.append(f"{scores['nme_delta']:+.3f} ({scores['nme_delta_sem']:.3f})")
        pose = row["scores"].get("aflw2000_3d/val", {}).get("pose_mae_delta")
        cells.append("-" if pose is None else f"{pose:+.3f}")
        found = [row["scores"].get(key) for key in ("300w/test", "aflw2000_3d/val", "synthetic/val")]
        shifts = [scores["landmark_shift_percent_of_crop"] for scores in found if scores is not None]
        rows.append([*cells, " / ".join(f"{v:.3f}" for v in shifts)])
    head = ["model", "trained by", "steps", "KB", "300W NME - float (SEM)", "AFLW2000-3D NME - float (SEM)"]
    return table([*head, "pose MAE - float °", "landmarks moved, % of the crop"], rows)


def runtimes() -> str:
    """Every runtime against LiteRT on x86: how many files passed, and the largest distances."""
    rows = read_json(HERE / "runtimes.json")["rows"]
    lines = []
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        own = [row for row in rows if row["runtime"] == runtime]
        off = [row["to_reference"] for row in own if row["to_reference"] is not None]
        poses = [o["pose_max_deg"] for o in off if o["pose_max_deg"] is not None]
        failed = [row["file"].removesuffix(".tflite") for row in own if row["verdict"] == "fail"]
        exact = [row["bit_exact"] for row in own if row["bit_exact"] is not None]
        cells = [runtime, f"{len(own) - len(failed)} of {len(own)}"]
        cells += [f"{max(o['landmarks_max_percent'] for o in off):.3f}" if off else "-"]
        cells += [f"{max(poses):.3f}" if poses else "-", f"{sum(exact)} of {len(exact)}"]
        lines.append([*cells, ", ".join(f"`{name}`" for name in failed)])
    head = ["runtime", "files that pass", "landmarks: max % of the crop", "pose: max °", "int8 outputs bit-exact"]
    return table([*head, "fail"], lines)


def speed() -> str:
    """Rendering and the input pipeline, faces per second."""
    data = read_json(HERE / "speed.json")
    gray, rgb = (data[f"augmented_{kind}_faces_per_second"] for kind in ("gray", "rgb"))
    return (
        f"Rendering: {data['rendered_faces_per_second_one_thread']:.0f} faces of {data['side_px']} px per second on "
        f"one thread; the input pipeline with default augmentation: {gray:.0f} gray or {rgb:.0f} RGB faces per second "
        f"on {data['machine']['cores']} cores."
    )


def records() -> str:
    """The commit, machine and command of every file of results/; what lacks a clean commit is named."""
    lines = []
    for path in sorted(HERE.rglob("*.json")):
        commits = list(dict.fromkeys(_commits(read_json(path))))
        unclean = [c for c in commits if c.endswith("+")]
        # The record inside a .keras file, copied: versions and machine, no commit.
        name = "*/training.json" if path.name == "training.json" else str(path.relative_to(HERE))
        if not commits or unclean:
            said = "none" if not commits else " and ".join(f"`{c[:8]}`" for c in unclean) + " with uncommitted changes"
            lines.append(f"- `results/{name}`: {said}")
    return "\n".join(dict.fromkeys(lines))


def _commits(value: Any) -> Iterator[str]:
    """Every commit that a file's record names."""
    if isinstance(value, dict):
        if "commit" in value:
            yield str(value["commit"])
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _commits(part)


@lru_cache(maxsize=32)
def rows_of(model: str, name: str) -> dict[str, dict[str, Any]]:
    """{variant: its row} of a model on a set."""
    (scored,) = load_parity(HERE / model / f"{name}.json")
    return {row["variant"]: row for row in scored.rows}


def scores_of(model: str, name: str, variant: str) -> dict[str, Any]:
    return rows_of(model, name)[variant]["scores"]


def _bold(text: str, row: dict[str, Any]) -> str:
    return text if row["variant"] == "float" or row["passed"] else f"**{text}**"

"""The studies' tables, drawn from their JSON files: ``python -m studies.tables NAME ...``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from convert.release.markdown import table
from edgeface.files import read_json
from studies.rows import comparable, stored

HERE = Path(__file__).parent
NOT_YET = "*Not measured yet.*"
POSES, CONTOUR = "aflw2000_3d/val", "300w/test ibug68"


def sources() -> str:
    """What each source of faces adds to the landmarks of each head, by yaw."""
    lines = []
    for arm, runs in _by_arm(HERE / "training_sets" / "sources.json", "arm"):
        for key in (k for k in runs[0]["stages"][-1] if k.startswith(POSES)):
            at = [r["stages"][-1][key] for r in runs]
            cells = [arm, str(len(runs)), key.split()[1]]
            cells += [spread_text([s["by_yaw"][i]["nme"] for s in at]) for i in range(3)]
            cells += [spread_text([s["mean_of_bins"] for s in at])]
            lines.append([*cells, spread_text([r["stages"][-1][CONTOUR]["nme"] for r in runs])])
    head = ["trained on", "seeds", "head", "0-30", "30-60", "60-90", "mean of bins", "300W NME %"]
    return table(head, lines) if lines else NOT_YET


def sources_pose() -> str:
    """The same networks' poses: absolute errors by yaw bin and signed means."""
    lines = []
    for arm, runs in _by_arm(HERE / "training_sets" / "sources.json", "arm"):
        # All heads share the one pose.
        at = [next(v for k, v in r["stages"][-1].items() if k.startswith(POSES)) for r in runs]
        bins = [[s["by_yaw"][i] for s in at] for i in range(3)]
        for i, scores in enumerate([at, *bins]):
            where = "all" if not i else f"{scores[0]['low_deg']:g}-{scores[0]['high_deg']:g}"
            cells = [arm if not i else "", where, str(scores[0]["pose"]["n"])]
            cells += [spread_text([s["pose"][angle] for s in scores]) for angle in ("yaw", "pitch", "roll", "mean")]
            signed = ("yaw_outwards", "pitch", "roll")
            lines.append(cells + [_signed([s["pose"]["signed"][angle] for s in scores]) for angle in signed])
    head = ["trained on", "yaw", "faces", "yaw MAE", "pitch", "roll", "mean", "signed: yaw outwards", "pitch", "roll"]
    return table(head, lines) if lines else NOT_YET


def pareto() -> str:
    """The candidates, in order of the processor time that their int8 file takes; means over seeds."""
    prices = {r["candidate"]: r for r in stored(HERE / "pareto" / "pareto_prices.json")}
    scored = dict(_by_arm(HERE / "pareto" / "pareto.json", "candidate"))
    names = [*prices, *(name for name in scored if name not in prices)]
    names.sort(key=lambda name: prices[name]["int8_cpu_ms"] if name in prices else np.inf)
    lines = []
    for name in names:
        price, runs = prices.get(name), scored.get(name, [])
        cells = [name, *(_price(price) if price else ["-"] * 6)]
        last = [r["stages"][-1] for r in runs]
        poses = [s[f"{POSES} ibug68_3d"] for s in last]
        cells += [f"{len(runs)} × {runs[0]['steps']:,}" if runs else "-"]
        cells += [spread_text([s["mean_of_bins"] for s in poses]), spread_text([s["pose"]["mean"] for s in poses])]
        lines.append([*cells, spread_text([s[CONTOUR]["nme"] for s in last])])
    head = ["candidate", "parameters", "MMAC", "int8 KB", "int8 ms, processor", "wall", "times faster than float32"]
    head += ["seeds × steps", "AFLW2000-3D NME %", "pose MAE", "300W NME %"]
    return table(head, lines) if lines else NOT_YET


def _price(row: dict[str, Any]) -> list[str]:
    cells = [f"{row['parameters']:,}", f"{row['macs'] / 1e6:.0f}", f"{row['int8_bytes'] / 1000:.0f}"]
    return [*cells, f"{row['int8_cpu_ms']:.2f}", f"{row['int8_ms']:.2f}", f"{row['times_faster']:.2f}"]


def labels() -> str:
    """What shifts of the 3D points would still gain, on all faces and on the half that did not choose them."""
    rows = stored(HERE / "labels" / "labels.json")
    if not rows:
        return NOT_YET
    head = ["network", "weights", "as it answers", "best shifts of all faces", "best shifts of the other half"]
    lines = []
    for row in rows:
        bins = [row[key]["mean_of_bins"] for key in ("as_it_is", "shifts_of_all_faces", "shifts_of_the_other_half")]
        lines.append([f"`{row['model']}`", f"`{row['sha256'][:8]}`", *(f"{value:.2f}" for value in bins)])
    return table(head, lines)


def profile_nod() -> str:
    """What is left of the nod of profiles, and the errors with a nod chosen for all faces and on the other half."""
    lines = []
    for row in stored(HERE / "profile_pitch" / "profile_nod.json"):
        cells = [f"`{row['model']}`", f"`{row['sha256'][:8]}`", f"{row['learned_nod_deg']:g}°"]
        cells += [f"{b['mean']:+.1f} ± {b['sem']:.1f}" for b in row["nod_left"]]
        ways = ("as_it_answers", "nod_of_all_faces", "nod_of_the_other_half")
        at = f" at {row['nod_of_all_faces']['nod_deg']:+.2f}°"
        lines.append([*cells, *(f"{row[w]['mean']:.2f} / {row[w]['geodesic']:.2f}" for w in ways)])
        lines[-1][-2] += at
    head = ["network", "weights", "learned with", "left at 0-15°", "15-30°", "30-60°", "60-90°"]
    head += ["pose MAE / geodesic", "with the best more for all faces", "with the other half's best"]
    return table(head, lines) if lines else NOT_YET


def spread_text(values: list[float | None]) -> str:
    """Mean and standard deviation; "-" where there is none."""
    if not values or any(v is None for v in values):
        return "-"
    mean = float(np.mean(values))
    return f"{mean:.2f}" if len(values) < 2 else f"{mean:.2f} ± {float(np.std(values, ddof=1)):.2f}"


def _signed(values: list[float | None]) -> str:
    return "-" if any(v is None for v in values) else f"{float(np.mean(values)):+.2f}"


def laid_heads() -> str:
    """Poses of 3D heads fitted to the 2D points that a network finds, by yaw bin."""
    lines = []
    for row in stored(HERE / "head_fit" / "laid_heads.json"):
        for way, bins in row["ways"].items():
            for where, b in zip(("0-30°", "30-60°", "60-90°"), bins, strict=True):
                cells = [f"`{row['model']}`: {way}" if b is bins[0] else "", where, str(b["n"])]
                cells += [f"{b['mae'][angle]:.2f}" for angle in ("yaw", "pitch", "roll")]
                signed, slope = b["median_signed"]["pitch"], b["slope"]
                lines.append(
                    [*cells, f"{signed:+.2f}", f"{100 * slope['pitch']:+.0f} %", f"{100 * slope['yaw']:+.0f} %"]
                )
    head = ["points by, contour", "yaw", "faces", "yaw MAE", "pitch", "roll"]
    head += ["pitch, median signed", "pitch per true pitch", "yaw per true yaw"]
    return table(head, lines) if lines else NOT_YET


def yaw_scale() -> str:
    """How AFLW's yaw and that of a fitted head go together, by the head's yaw."""
    path = HERE / "aflw_yaw_scale" / "yaw_scale.json"
    if not path.exists():
        return NOT_YET
    found = read_json(path)
    lines = []
    for row in found["rows"]:
        cells = [row["split"], f"{row['n']:,} of {row['faces']:,}", f"{row['mae_deg']:.2f}", f"{row['median_deg']:.2f}"]
        lines.append([*cells, *("-" if b["mae_deg"] is None else f"{b['mae_deg']:.2f}" for b in row["by_yaw"])])
    *most, last = found["rows"][0]["by_yaw"]
    head = ["faces", "that have both", "mean distance °", "median"]
    head += [*(f"{b['low_deg']}-{b['high_deg']}°" for b in most), f"beyond {last['low_deg']}°"]
    line = f"AFLW's yaw = {found['slope']:.3f} × the fitted head's {found['offset_deg']:+.2f}° over the training faces."
    return f"{line}\n\n{table(head, lines)}"


def paper_presets() -> str:
    """How far the published networks were trained, and some points of their curves."""
    path = HERE / "paper_presets" / "paper_presets.json"
    if not path.exists():
        return NOT_YET
    parts = []
    for row in read_json(path)["rows"]:
        columns = {"loss": "loss", "landmarks": "landmarks, % of the crop", "pose": "pose °"}
        if row["validation"]:
            where = row["validation"]["set"]
            columns |= {"val_nme": f"{where} NME %", "val_pose_mae": f"{where} pose MAE °"}
        cores = "one processor core" if row["machine"]["cpus"] == 1 else f"{row['machine']['cpus']} processor cores"
        text = (
            f"**`{row['preset']}`** ({row['parameters']:,} parameters, {row['macs'] / 1e6:,.0f} MMAC):"
            f" {row['steps']:,} steps of {row['batch_size']} faces in {row['hours']:.1f} hours on"
            f" {cores}, {100 * row['share_of_faces']:.2g} % of the faces that its"
            f" config asks for ({row['planned_steps']:,} steps of {row['planned_batch_size']})."
        )
        every = max(1, len(row["curve"]) // 8)
        points = [*row["curve"][:-1:every], row["curve"][-1]]
        cells = [[f"{p['step']:,.0f}", *(_at(p, key) for key in columns)] for p in points]
        parts.append(f"{text}\n\n{table(['step', *columns.values()], cells)}")
    return "\n\n".join(parts)


def _at(point: dict[str, float], key: str) -> str:
    return f"{point[key]:.2f}" if key in point else "-"


def _by_arm(file: Path, name: str) -> list[tuple[str, list[dict[str, Any]]]]:
    rows = comparable(stored(file), name)
    return [(arm, [r for r in rows if r[name] == arm]) for arm in dict.fromkeys(r[name] for r in rows)]


def tables() -> dict[str, Callable[[], str]]:
    """Every table by its name."""
    from studies.papers import tables as papers

    own = (sources, sources_pose, pareto, labels, profile_nod, laid_heads, yaw_scale, paper_presets)
    theirs = (papers.acdc, papers.ccr, papers.claims, papers.stages, papers.decodings, papers.confidence)
    named = {f.__name__: f for f in own} | {f"papers_{f.__name__}": f for f in theirs}
    return named | {"papers_calibration": papers.calibration}


def main(args: list[str] | None = None) -> int:
    drawn = tables()
    parser = argparse.ArgumentParser(prog="python -m studies.tables", description=__doc__)
    parser.add_argument("names", nargs="+", choices=sorted(drawn), metavar="NAME", help=", ".join(drawn))
    print("\n\n".join(drawn[name]() for name in parser.parse_args(args).names))
    return 0


if __name__ == "__main__":
    main()

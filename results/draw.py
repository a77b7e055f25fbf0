"""The README's tables, drawn from the JSON files beside this one: ``python -m results.draw [--check]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from convert.parity import BOUNDS, MIN_BIN_FACES
from edgeface.errors import InputError
from edgeface.files import read_json, write_text

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"

SETS = (
    ("acdc_s", "300w_test", "300W common, 68 points"),
    ("acdc_s", "aflw2000_3d_val", "AFLW2000-3D, 199 faces, 68 points"),
    ("ccr_s", "aflw_test", "AFLW, 21 visible points"),
)
SHOWN = ("float", "float16", "dynamic", "int8_ptq", "int8_qat", "int8_logits")


_BOUNDS = (
    f"Bounds on *worse than float*: {BOUNDS['int8_qat'].nme_points:g} NME points, {BOUNDS['int8_qat'].pose_deg:g}° and "
    f"{100 * BOUNDS['int8_qat'].jitter:g} % of jitter for int8, {BOUNDS['float16'].nme_points:g} points and "
    f"{BOUNDS['float16'].pose_deg:g}° for float16. Bold: a bound is missed, here or in a yaw bin of "
    f"{MIN_BIN_FACES} faces and more; the JSON says which."
)


def tables() -> str:
    """Accuracy by file and set, then price by file; a set or model that was not measured is left out."""
    parts = [_accuracy(*entry) for entry in SETS if _path(*entry[:2]).exists()]
    parts += [_price(path) for path in sorted(HERE.glob("*/report.json"))]
    if (HERE / "speed.json").exists():
        parts.append(_speed(read_json(HERE / "speed.json")))
    return "\n\n".join([*parts, _BOUNDS]) if parts else ""


def _path(model: str, name: str) -> Path:
    return HERE / model / f"{name}.json"


def _accuracy(model: str, name: str, title: str) -> str:
    data = read_json(_path(model, name))
    rows = {row["variant"]: row for row in data["rows"]}
    n = rows["float"]["scores"]["n"]
    bins = [b for b in rows["float"]["scores"]["by_yaw"] if b["n"]] if "3d" in name else []
    heads = ["NME %", *(f"{b['low_deg']:g}-{b['high_deg']:g}°" for b in bins), *(["mean of bins"] if bins else [])]
    heads += ["FR %", "AUC %", "pose MAE (yaw / pitch / roll)", "jitter %", "worse than float: NME, pose, jitter"]
    if rows["float"]["scores"]["pose"]["n"] == 0:
        heads.remove("pose MAE (yaw / pitch / roll)")
    scores = rows["float"]["scores"]
    crossed = scores["predicted_markup"] != scores["markup"]
    head = f"; the {scores['predicted_markup']} head on {scores['markup']} truth" if crossed else ""
    lines = [
        f"**`{model}` on {title}** (n = {n}{head})",
        "",
        _line(["file", *heads]),
        _line(["---"] * (len(heads) + 1)),
    ]
    for variant in SHOWN:
        if variant in rows:
            lines.append(_line([variant, *_cells(rows[variant], bins)]))
    return "\n".join(lines)


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


def _price(path: Path) -> str:
    report = read_json(path)
    base = {row["preset"]: row["p50_ms"] for row in report["rows"] if row["variant"] == "float32"}
    lines = [
        f"**Price of `{path.parent.name}`** ({report['machine']['cpu']}, {report['threads']} thread, medians)",
        "",
        _line(["file", "KB", "parameters", "MMAC", "ms", "times faster than float32"]),
        _line(["---"] * 6),
    ]
    for row in report["rows"]:
        faster = base.get(row["preset"], row["p50_ms"]) / row["p50_ms"]
        cells = [row["variant"], f"{row['bytes'] / 1000:.0f}", f"{row['parameters']:,}", f"{row['macs'] / 1e6:.0f}"]
        lines.append(_line([*cells, f"{row['p50_ms']:.2f}", f"{faster:.2f}"]))
    return "\n".join(lines)


def _speed(data: dict[str, Any]) -> str:
    return (
        f"Rendering: {data['rendered_faces_per_second_one_thread']:.0f} faces of {data['side_px']} px a second on one "
        f"thread; the input pipeline with default augmentation: {data['augmented_gray_faces_per_second']:.0f} gray or "
        f"{data['augmented_rgb_faces_per_second']:.0f} RGB faces a second on {data['machine']['cores']} cores."
    )


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def drawn(readme: str) -> str:
    """The README's text with its tables drawn anew. InputError where the two marks are missing."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise InputError(f"the README must hold {BEGIN} and {END} once each. Received: something else")
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.split(END)[1]}"


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the README differs")
    check = parser.parse_args(args).check
    text = README.read_text()
    new = drawn(text)
    if check:
        if new != text:
            print("README.md must show what results/ holds: run `python -m results.draw`", file=sys.stderr)
        return int(new != text)
    write_text(README, new)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")

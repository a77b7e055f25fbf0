"""docs/papers.md: every figure that the two papers report of their own networks, beside ours.

Ours come from results/ (released models) and studies/ (short runs of each arm, networks as published).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convert.release.markdown import table
from convert.release.tables import HERE, scores_of
from edgeface.files import read_json

STUDIES = HERE.parent / "studies"
W300, POSES, AFLW = "300w/test ibug68", "aflw2000_3d/val ibug68_3d", "aflw/test aflw21"
SUBSETS = {"all": "test", "pose": "pose", "expr": "expression", "illu": "illumination"}
SUBSETS |= {"m-up": "makeup", "occl": "occlusion", "blur": "blur"}
"""WFLW's subsets: the paper's column, our split."""
TABLE_1 = {
    "AC": (4.6, 8.08, 4.64, 4.39, 4.50, 5.70, 5.38),
    "AC+Pose": (4.55, 7.86, 4.61, 4.34, 4.31, 5.66, 5.33),
    "AC-DC": (4.49, 7.76, 4.45, 4.35, 4.25, 5.57, 5.21),
}
TABLE_2 = {
    "NME %": (4.49, 7.76, 4.45, 4.35, 4.25, 5.57, 5.21),
    "AUC@0.1 %": (57.5, 31.5, 56.6, 58.7, 58.3, 49.5, 51.1),
    "FR@0.1 %": (4.29, 17.3, 2.69, 2.45, 4.66, 9.2, 5.82),
}
TABLE_3 = {"0-30°": 2.29, "30-60°": 3.15, "60-90°": 4.76, "mean of bins": 3.40, "all faces (text)": 2.83}
TABLE_4 = {
    "stage 1": {"yaw": 3.48, "pitch": 8.26, "roll": 6.87, "mean": 6.20},
    "stage 4": {"yaw": 2.92, "pitch": 6.94, "roll": 5.99, "mean": 5.29},
}
CCR_1 = {"yaw": 5.22, "pitch": 5.85, "roll": 2.51, "mean": 4.527}
CCR_2 = 5.72
SHORT = "short run"
A3D = "AFLW2000-3D (199) [A]"


def acdc() -> str:
    """AC-DC's Tables I to IV, one row for each figure of the paper's own networks."""
    lines = []
    for arm, figures in TABLE_1.items():
        for (column, split), value in zip(SUBSETS.items(), figures, strict=True):
            near = ("not measured", f"[W] `{split}`")
            if column == "all":
                near = (_spread(arm, W300), f"300W common (554), {SHORT}; [W] `{split}`")
            lines.append(["I", f"{arm}, WFLW {column}, NME %", f"{value:.2f}", *near])
    for measure, figures in TABLE_2.items():
        for (column, split), value in zip(SUBSETS.items(), figures, strict=True):
            near = ("not measured", f"[W] `{split}`")
            if column == "all":
                near = (_flat(measure), f"300W common (554), released `acdc_m`; [W] `{split}`")
            lines.append(["II", f"AC-DC, WFLW {column}, {measure}", f"{value:g}", *near])
    solid = scores_of("acdc_m", "aflw2000_3d_val", "float")
    bins = {f"{b['low_deg']:g}-{b['high_deg']:g}°": b["nme"] for b in solid["by_yaw"] if b["n"]}
    bins |= {"mean of bins": solid["mean_of_bins"], "all faces (text)": solid["nme"]}
    for name, value in TABLE_3.items():
        where = f"{A3D}, released `acdc_m`"
        lines.append(["III", f"AC-DC, AFLW2000-3D {name}, NME %", f"{value:.2f}", f"{bins[name]:.2f}", where])
    for index, (stage, figures) in enumerate(TABLE_4.items()):
        for angle, value in figures.items():
            ours, where = _stage(0 if index == 0 else -1, angle), f"{A3D}, {SHORT}, {stage}"
            if index:
                ours += f"; {solid['pose'][angle]:.2f}"
                where += "; released `acdc_m`, last stage (third)"
            lines.append(["IV", f"AC-DC {stage}, AFLW2000-3D {angle} MAE °", f"{value:.2f}", ours, where])
    for arm, value in (("AC+Pose", 3.29), ("AC-DC", 2.92)):
        ours = _spread(arm, POSES, "yaw")
        lines.append(["text", f"{arm}, AFLW2000-3D yaw MAE °", f"{value:.2f}", ours, f"{A3D}, {SHORT}"])
    return table(["table", "figure", "paper", "ours", "ours on"], lines)


def ccr() -> str:
    """CCR's Tables 1 and 2, one row for each figure of the paper's own network."""
    released = scores_of("ccr_m", "aflw_test", "float")
    where = f"AFLW ({released['n']}, our split) [C], {SHORT}; released `ccr_m`"
    lines = []
    for angle, value in CCR_1.items():
        near = ["not measured", "[C], labeled with yaw only"]
        if angle == "yaw":
            near = [f"{_spread('two blocks, crossed', AFLW, 'yaw')}; {released['pose']['yaw']:.2f}", where]
        lines.append(["1", f"CCR (two blocks), AFLW {angle} MAE °", f"{value:g}", *near])
    near = f"{_spread('two blocks, crossed', AFLW)}; {released['nme']:.2f}"
    lines.append(["2", "CCR (two blocks), AFLW NME %", f"{CCR_2:.2f}", near, where])
    return table(["table", "figure", "paper", "ours", "ours on"], lines)


def as_published() -> str:
    """How far the networks of the papers' own size were trained."""
    lines = []
    for row in read_json(STUDIES / "paper_presets" / "paper_presets.json")["rows"]:
        last = row["curve"][-1]
        cells = [f"`{row['preset']}`", f"{row['parameters']:,}", f"{row['macs'] / 1e6:,.0f}"]
        cells += [f"{row['steps']:,} of {row['planned_steps']:,}", f"{100 * row['share_of_faces']:.2g} %"]
        lines.append([*cells, f"{row['hours']:.1f}", f"{last['landmarks']:.1f}", f"{last['pose']:.1f}"])
    head = ["network", "parameters", "MMAC", "steps", "share of the planned faces", "hours"]
    return table([*head, "landmark error, % of the crop", "pose error °"], lines)


def _flat(measure: str) -> str:
    scores = scores_of("acdc_m", "300w_test", "float")
    value = {"NME %": scores["nme"], "AUC@0.1 %": scores["auc"], "FR@0.1 %": scores["failure_rate"]}[measure]
    return f"{value:.2f}" if measure != "AUC@0.1 %" else f"{value:.1f}"


def _rows(arm: str) -> list[dict[str, Any]]:
    return [row for row in read_json(STUDIES / "papers" / "papers.json")["rows"] if row["arm"] == arm]


def _spread(arm: str, key: str, angle: str = "") -> str:
    """Mean and standard deviation over seeds of an arm's last stage: NME, or an angle's MAE."""
    at = [row["stages"][-1][key] for row in _rows(arm)]
    return _mean([s["pose"][angle] if angle else s["nme"] for s in at])


def _stage(stage: int, angle: str) -> str:
    """The same of one stage of AC-DC."""
    return _mean([row["stages"][stage][POSES]["pose"][angle] for row in _rows("AC-DC")])


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"

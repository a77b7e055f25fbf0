"""Tables of the short training runs, the papers' claims, the sources of faces, the shapes of network; of the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeface.files import read_json
from results.markdown import table

HERE = Path(__file__).parent
NOT_YET = "*Not measured yet.*"
POSES, CONTOUR, OWN = "aflw2000_3d/val", "300w/test ibug68", "aflw/test aflw21"


def papers() -> str:
    """The arms of both papers, mean and standard deviation over seeds, last stage."""
    rows = _rows("papers.json")
    if not rows:
        return NOT_YET
    head = ["network", "arm", "seeds", "steps", "300W NME %", "AFLW2000-3D NME %, mean of bins", "pose MAE", "yaw MAE"]
    lines = []
    for experiment, arm in dict.fromkeys((r["experiment"], r["arm"]) for r in rows):
        runs = [r for r in rows if (r["experiment"], r["arm"]) == (experiment, arm)]
        last = [r["stages"][-1] for r in runs]
        cells = [experiment.upper(), arm, str(len(runs)), _steps(runs), _spread([s[CONTOUR]["nme"] for s in last])]
        cells += [_spread([_poses(s)["mean_of_bins"] for s in last])]
        cells += [_spread([_poses(s)["pose"][key] for s in last]) for key in ("mean", "yaw")]
        lines.append(cells)
    return table(head, lines)


def stages() -> str:
    """What each stage of the same networks adds, and what the soft-argmax adds to the arg max of its maps."""
    rows = [r for r in _rows("papers.json") if r["arm"] in ("AC-DC", "two blocks, crossed")]
    if not rows:
        return NOT_YET
    head = ["network", "stage", "300W NME %", "by arg max", "AFLW2000-3D NME %, mean of bins", "pose MAE"]
    lines = []
    for arm in dict.fromkeys(r["arm"] for r in rows):
        runs = [r["stages"] for r in rows if r["arm"] == arm]
        for stage in range(len(runs[0])):
            at = [r[stage] for r in runs]
            cells = [arm, str(stage + 1), _spread([s[CONTOUR]["nme"] for s in at])]
            cells += [_spread([s[CONTOUR]["nme_of_arg_max"] for s in at])]
            cells += [
                _spread([_poses(s)["mean_of_bins"] for s in at]),
                _spread([_poses(s)["pose"]["mean"] for s in at]),
            ]
            lines.append(cells)
    return table(head, lines)


def confidence() -> str:
    """Whether a wide spread means a large error: a face's mean spread against its NME."""
    rows = [r for r in _rows("papers.json") if r["arm"] in ("AC-DC", "two blocks, crossed")]
    if not rows:
        return NOT_YET
    head = [
        "network",
        "faces",
        "rank correlation",
        "NME % by fifth of spread, narrow to wide",
        "NME % without the widest 10 %",
    ]
    lines = []
    for arm in dict.fromkeys(r["arm"] for r in rows):
        runs = [r["stages"][-1] for r in rows if r["arm"] == arm]
        for key in runs[0]:
            spreads = [r[key]["spread"] for r in runs]
            fifths = np.mean([[g[1] for g in s["groups"]] for s in spreads], axis=0)
            cells = [arm, key, _spread([s["rank_correlation"] for s in spreads])]
            cells += [" / ".join(f"{v:.2f}" for v in fifths)]
            kept, whole = (np.mean(v) for v in ([s["kept_nme"]["0.9"] for s in spreads], [r[key]["nme"] for r in runs]))
            cells += [f"{kept:.2f} of {whole:.2f}"]
            lines.append(cells)
    return table(head, lines)


def sources() -> str:
    """What each source of faces adds, by yaw."""
    rows = _rows("sources.json")
    if not rows:
        return NOT_YET
    head = ["trained on", "seeds", "head", "0-30", "30-60", "60-90", "mean of bins", "pose MAE", "300W NME %"]
    lines = []
    for arm in dict.fromkeys(r["arm"] for r in rows):
        runs = [r["stages"][-1] for r in rows if r["arm"] == arm]
        for key in (k for k in runs[0] if k.startswith(POSES)):
            at = [r[key] for r in runs]
            cells = [arm, str(len(runs)), key.split()[1]]
            cells += [_spread([s["by_yaw"][i]["nme"] for s in at]) for i in range(3)]
            cells += [_spread([s["mean_of_bins"] for s in at]), _spread([s["pose"]["mean"] for s in at])]
            lines.append([*cells, _spread([r[CONTOUR]["nme"] for r in runs])])
    return table(head, lines)


def pareto() -> str:
    """The candidates, in order of the time that their int8 file takes."""
    rows = sorted(_rows("pareto.json"), key=lambda r: r["int8_ms"])
    if not rows:
        return NOT_YET
    head = ["candidate", "parameters", "MMAC", "int8 KB", "int8 ms", "times faster than float32", "AFLW2000-3D NME %"]
    head += ["pose MAE", "300W NME %"]
    lines = []
    for row in rows:
        scores = row["stages"][-1]
        cells = [
            row["candidate"],
            f"{row['parameters']:,}",
            f"{row['macs'] / 1e6:.0f}",
            f"{row['int8_bytes'] / 1000:.0f}",
        ]
        cells += [f"{row['int8_ms']:.2f}", f"{row['times_faster']:.2f}", f"{_poses(scores)['mean_of_bins']:.2f}"]
        lines.append([*cells, f"{_poses(scores)['pose']['mean']:.2f}", f"{scores[CONTOUR]['nme']:.2f}"])
    return table(head, lines)


def labels() -> str:
    """What shifts of the 3D points would still gain, on all faces and on the half that did not choose them."""
    rows = _rows("labels.json")
    if not rows:
        return NOT_YET
    head = ["network", "weights", "as it answers", "best shifts of all faces", "best shifts of the other half"]
    lines = []
    for row in rows:
        bins = [row[key]["mean_of_bins"] for key in ("as_it_is", "shifts_of_all_faces", "shifts_of_the_other_half")]
        lines.append([f"`{row['model']}`", f"`{row['sha256'][:8]}`", *(f"{value:.2f}" for value in bins)])
    return table(head, lines)


def _poses(scores: dict[str, Any]) -> dict[str, Any]:
    """The scores on AFLW2000-3D by the 3D head where there is one."""
    return scores.get(f"{POSES} ibug68_3d") or scores[f"{POSES} ibug68"]


def _rows(name: str) -> list[dict[str, Any]]:
    path = HERE / name
    return read_json(path)["rows"] if path.exists() else []


def _steps(runs: list[dict[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(f"{r['steps']:,}" for r in runs))


def _spread(values: list[float | None]) -> str:
    if any(v is None for v in values):
        return "-"
    mean = float(np.mean(values))
    return f"{mean:.2f}" if len(values) < 2 else f"{mean:.2f} ± {float(np.std(values, ddof=1)):.2f}"

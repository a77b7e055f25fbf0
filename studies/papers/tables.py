"""Tables of `studies.papers.study`: the arms of both networks, their differences pair by pair, stages, decodings, spread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from convert.release.markdown import table
from studies.paired import Measure, compare
from studies.rows import comparable, stored, stored_faces
from studies.tables import NOT_YET, spread_text

HERE = Path(__file__).parent
OUT = HERE / "papers.json"
W300, POSES_3D, POSES_2D, AFLW = (
    "300w/test ibug68",
    "aflw2000_3d/val ibug68_3d",
    "aflw2000_3d/val ibug68",
    "aflw/test aflw21",
)
MEASURES: dict[str, tuple[Measure, ...]] = {
    "acdc": (
        Measure("300W NME %", W300, "nme"),
        Measure("AFLW2000-3D NME %, mean of bins", POSES_3D, "nme of bins"),
        Measure("AFLW2000-3D pose MAE °", POSES_3D, "pose"),
        Measure("AFLW2000-3D yaw MAE °", POSES_3D, "yaw"),
    ),
    "ccr": (
        Measure("AFLW NME %", AFLW, "nme"),
        Measure("AFLW yaw MAE °", AFLW, "yaw"),
        Measure("300W NME %", W300, "nme"),
        Measure("AFLW2000-3D NME %, mean of bins, 2D points against 3D", POSES_2D, "nme of bins"),
    ),
}
"""Each network's columns, the set that its paper answers for first."""
CLAIMS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "acdc": (
        ("a pose loss", "AC+Pose", "AC"),
        ("conditioning on the pose", "AC-DC", "AC+Pose"),
        ("a pose loss of a tenth", "AC+Pose, a tenth", "AC"),
        ("conditioning on that pose", "AC-DC, a tenth", "AC+Pose, a tenth"),
        ("conditioning by units of 15°", "AC-DC, a tenth, unit of 15°", "AC+Pose, a tenth"),
        ("both", "AC-DC, a tenth, unit of 15°", "AC"),
        ("four stages", "AC-DC", "AC-DC, one stage"),
        ("the edge presets' choices", "AC-DC, edge", "AC-DC"),
    ),
    "ccr": (
        ("a second block", "two blocks", "one block"),
        ("cross connections", "two blocks, crossed", "two blocks"),
        ("integral regression", "two blocks, crossed", "maps alone"),
    ),
}
"""What is claimed, the arm that has it, the arm that has not."""
SHOWN = {"acdc": ("AC-DC",), "ccr": ("two blocks, crossed",)}
"""Whose stages and spread are shown."""
SAME = ("experiment", "arm", "seed", "steps")


def acdc() -> str:
    """AC-DC's arms, mean and standard deviation over seeds, last stage."""
    return _arms("acdc")


def ccr() -> str:
    """CCR's arms likewise."""
    return _arms("ccr")


def claims() -> str:
    """Differences of arms over the same seeds and faces."""
    faces, lines = stored_faces(OUT), []
    for experiment, pairs in CLAIMS.items():
        rows = _rows(experiment)
        for claim, arm, base in pairs:
            seeds = [sorted(r["seed"] for r in rows if r["arm"] == name) for name in (arm, base)]
            both = [s for s in seeds[0] if s in seeds[1]]
            prefixes = [[_prefix(rows, name, seed) for seed in both] for name in (arm, base)]
            for measure in MEASURES[experiment]:
                found = compare(faces, *prefixes, measure) if both else None
                if found is None:
                    continue
                by_seed = ", ".join(f"{v:+.2f}" for v in found.by_seed)
                cells = [claim, f"{arm} − {base}", measure.name, f"{found.mean:+.3f}"]
                lines.append([*cells, f"{found.low:+.3f} to {found.high:+.3f}", by_seed, found.verdict])
    head = ["claim", "arms", "measure", "difference", "95 % over faces", "each seed", "verdict"]
    return table(head, lines) if lines else NOT_YET


def stages() -> str:
    """What each stage of the same networks answers, a table a network."""
    tables = []
    for experiment, arms in SHOWN.items():
        lines = []
        for arm, runs in _by_arm(experiment, arms).items():
            for stage in range(len(runs[0]["stages"])):
                at = [r["stages"][stage] for r in runs]
                cells = [arm, str(stage + 1), str(len(runs))]
                lines.append(cells + [spread_text([_value(s, m) for s in at]) for m in MEASURES[experiment]])
        if lines:
            tables.append(table(["network", "stage", "seeds", *(m.name for m in MEASURES[experiment])], lines))
    return "\n\n".join(tables) or NOT_YET


def decodings() -> str:
    """CCR's landmarks by the three ways to read its maps, trained with and without the coordinates."""
    lines = []
    for arm, runs in _by_arm("ccr", ("two blocks, crossed", "maps alone")).items():
        for key in (AFLW, W300):
            at = [r["stages"][-1][key] for r in runs]
            cells = [arm, key, str(len(runs))]
            cells += [spread_text([s["nme_by"]["expectation"] for s in at])]
            for way in ("arg max", "arg max, offset"):
                cells += [spread_text([s["nme_by"][way] for s in at]), f"{at[0]['nme_floor'][way]:.2f}"]
            lines.append(cells)
    head = ["trained by", "faces", "seeds", "expectation", "arg max", "its floor", "arg max, offset", "its floor"]
    return table(head, lines) if lines else NOT_YET


def confidence() -> str:
    """Whether a wide spread means a large error, point by point; what dropping the least sure faces gains."""
    lines = []
    for arm, key, at in _shown():
        sure = [s["confidence"] for s in at]
        yaws = ", ".join(f"{name}: {_mean([c['by_yaw'][name] for c in sure])}" for name in sure[0]["by_yaw"])
        cells = [arm, key, f"{sure[0]['points']:,}", spread_text([c["rank_correlation"] for c in sure])]
        cells += [yaws or "-", spread_text([c["rank_correlation_of_faces"] for c in sure])]
        cells += [_mean([s["nme"] for s in at]), _mean([c["kept_nme"] for c in sure])]
        lines.append([*cells, _mean([c["kept_nme_oracle"] for c in sure])])
    head = ["network", "faces", "points", "rank correlation", "within yaw bins", "of faces"]
    head += ["NME %", "without the widest 10 % of faces", "an oracle's"]
    return table(head, lines) if lines else NOT_YET


def calibration() -> str:
    """Mean spread and mean error of tenths of the points, in percent of the crop's width."""
    lines = []
    for arm, key, at in _shown():
        bins = np.mean([s["confidence"]["bins"] for s in at], axis=0)
        lines.append([arm, key, *(f"{100 * s:.2f} / {100 * e:.2f}" for s, e, _ in bins)])
    head = ["network", "faces", *(f"tenth {i}" for i in range(1, 11))]
    return table(head, lines) if lines else NOT_YET


def _shown() -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """(arm, "set/split head", that head's scores at the last stage, a seed each) of what is shown."""
    for experiment, arms in SHOWN.items():
        for arm, runs in _by_arm(experiment, arms).items():
            for key in runs[0]["stages"][-1]:
                yield arm, key, [r["stages"][-1][key] for r in runs]


def _arms(experiment: str) -> str:
    lines = []
    for arm, runs in _by_arm(experiment).items():
        last = [r["stages"][-1] for r in runs]
        cells = [arm, str(len(runs)), f"{runs[0]['steps']:,}"]
        cells += [f"{runs[0]['parameters']:,}", f"{runs[0]['macs'] / 1e6:.1f}"]
        lines.append(cells + [spread_text([_value(s, m) for s in last]) for m in MEASURES[experiment]])
    head = ["arm", "seeds", "steps", "parameters", "MMAC", *(m.name for m in MEASURES[experiment])]
    return table(head, lines) if lines else NOT_YET


def _rows(experiment: str) -> list[dict[str, Any]]:
    return comparable([r for r in stored(OUT) if r["experiment"] == experiment], "arm")


def _by_arm(experiment: str, arms: tuple[str, ...] | None = None) -> dict[str, list[dict[str, Any]]]:
    """{arm: its rows}, in the order of the file, or of ``arms``."""
    rows = _rows(experiment)
    names = dict.fromkeys(r["arm"] for r in rows) if arms is None else arms
    found = {name: [r for r in rows if r["arm"] == name] for name in names}
    return {name: runs for name, runs in found.items() if runs}


def _prefix(rows: list[dict[str, Any]], arm: str, seed: int) -> str:
    row = next(r for r in rows if (r["arm"], r["seed"]) == (arm, seed))
    return "|".join(str(row[k]) for k in SAME)


def _value(scores: dict[str, Any], measure: Measure) -> float | None:
    at = scores[measure.key]
    if measure.what == "nme":
        return at["nme"]
    if measure.what == "nme of bins":
        return at["mean_of_bins"]
    return at["pose"]["mean" if measure.what == "pose" else "yaw"]


def _mean(values: list[float | None]) -> str:
    return "-" if any(v is None for v in values) else f"{np.mean(values):.2f}"

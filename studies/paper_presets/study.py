"""How far the networks as published were trained, and their curves: ``python -m studies.paper_presets.study``.

`acdc_paper` and `ccr_paper` cost hundreds of times what an edge network does; their configs are for a GPU. What the
machine at hand can do of them is the run that each of these commands starts, ended by whoever stops it:

    edgeface train configs/acdc_paper.toml --set precision=float32 --set batch_size=8 --set epoch_steps=10
    edgeface train configs/ccr_paper.toml --set precision=float32 --set batch_size=8 --set epoch_steps=10

Reads their folders under runs/, finished or not, and writes paper_presets.json beside this file.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from convert.release.command import run
from convert.release.record import record

HERE = Path(__file__).parent
OUT = HERE / "paper_presets.json"
PRESETS = ("acdc_paper", "ccr_paper")
CURVE = ("step", "loss", "landmarks", "pose", "val_nme", "val_pose_mae")


def row_of(preset: str, folder: Path) -> dict[str, Any]:
    """What a run's folder says: settings, how far it is, and a row of the curve a line of progress."""
    from edgeface.files import read_json
    from edgeface.models.presets import build
    from edgeface.models.summary import count_macs, count_parameters
    from edgeface.training.checkpoint import read_rows
    from edgeface.training.config_file import load_config
    from edgeface.training.folder import CONFIG, METRICS
    from edgeface.training.train import network_config_of
    from studies.rows import plain

    record, lines = read_json(folder / CONFIG), read_rows(folder / METRICS)
    planned, config = load_config(HERE.parents[1] / "configs" / f"{preset}.toml"), record["config"]
    network = build(network_config_of(planned))
    steps = int(lines[-1]["step"])
    return {
        "preset": preset,
        "parameters": count_parameters(network),
        "macs": count_macs(network),
        "steps": steps,
        "batch_size": config["batch_size"],
        "precision": config["precision"],
        "planned_steps": planned.steps,
        "planned_batch_size": planned.batch_size,
        "share_of_faces": steps * config["batch_size"] / (planned.steps * planned.batch_size),
        "hours": plain(sum(float(line["step_seconds"]) for line in lines) * config["epoch_steps"] / 3600),
        "validation": config.get("validation"),
        "curve": [{k: plain(_number(line, k)) for k in CURVE if math.isfinite(_number(line, k))} for line in lines],
        "machine": record["machine"],
        "versions": record["versions"],
    }


def _number(line: dict[str, str], key: str) -> float:
    """NaN where the line has none."""
    return float(line.get(key) or "nan")


def main(args: list[str] | None = None) -> int:
    from edgeface.errors import InputError
    from edgeface.files import write_json
    from edgeface.training.folder import METRICS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder that holds the runs")
    runs = parser.parse_args(args).runs
    begun = [name for name in PRESETS if (runs / name / METRICS).exists()]
    if not begun:
        raise InputError(f"{runs} must hold a run of {' or '.join(PRESETS)}. Received: none")
    rows = [row_of(name, runs / name) for name in begun]
    about = {**record("python -m studies.paper_presets.study", "keras", "numpy", "scipy")}
    write_json(OUT, about | {"rows": rows})
    for row in rows:
        print(f"{row['preset']}: {row['steps']} steps of {row['batch_size']} faces, {row['curve'][-1]}")
    return 0


if __name__ == "__main__":
    run(main)

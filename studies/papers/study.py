"""The two papers' claims, measured on the faces at hand: ``python -m studies.papers.study [acdc] [ccr] [--seeds 3]``.

AC-DC, with the paper's mechanism (pose by one dense layer on the 3D points, mask of all markups): an attentional
cascade alone (AC), with a pose loss (AC+Pose), with pose conditioning (AC-DC), Table I's arms. The same with the pose
loss at a tenth of its weight, and with the pose that conditions in units of 15 degrees: the paper gives neither weight
nor unit. One stage at full weight, since the first stages of a cascade are trained at a fraction of the last one's. The
choices of the edge presets. CCR: one block, two blocks, two blocks with the cross connections; the same trained by its
maps alone and read by their arg max, with a quarter of a cell's offset towards the higher neighbour
(`studies.scoring.QUARTER`), which integral regression replaces. Both: whether the spread ranks the errors.

Every arm is trained from ``--seeds`` seeds on the same batches for the same steps by `configs/papers_*.toml`; layers
that two arms share start from the same weights. `studies.paired` compares them face by face.

Runs are kept in runs/trials and resume; papers.json beside this file gains one row per run.
Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from convert.release.command import run
from edgeface.errors import InputError
from studies.trials import CONFIGS, sweep, trial, trial_config

HERE = Path(__file__).parent
OUT = HERE / "papers.json"
EDGE = {"pose_from": "features", "mask_from": "finest", "mask_form": "peak", "stream_slices": None}
"""What the edge presets of AC-DC do otherwise than the paper."""
ARMS: dict[str, dict[str, dict[str, Any]]] = {
    "acdc": {
        "AC": {"pose_from": "none", "excitation": False},
        "AC+Pose": {"excitation": False},
        "AC-DC": {},
        "AC-DC, one stage": {"stages": 1},
        "AC+Pose, a tenth": {"excitation": False},
        "AC-DC, a tenth": {},
        "AC-DC, a tenth, unit of 15°": {"excite_unit_deg": 15.0},
        "AC-DC, edge": EDGE,
    },
    "ccr": {
        "one block": {"stages": 1},
        "two blocks": {"cross": False},
        "two blocks, crossed": {},
        "maps alone": {},
    },
}
"""Experiment -> arm -> changes of the network's config."""
LOSSES: dict[str, dict[str, Any]] = {
    "AC+Pose, a tenth": {"pose": 0.1},
    "AC-DC, a tenth": {"pose": 0.1},
    "AC-DC, a tenth, unit of 15°": {"pose": 0.1},
    "maps alone": {"coordinates": 0.0},
}
"""Arm -> changes of the loss: a pose's error at a tenth of its weight; maps without the coordinates' term."""
SCORED = {
    "acdc": (("300w", "test", "ibug68"), ("aflw2000_3d", "val", "ibug68_3d")),
    "ccr": (("aflw", "test", "aflw21"), ("300w", "test", "ibug68"), ("aflw2000_3d", "val", "ibug68")),
}
"""What each network is scored on: set, split, the head that answers. Parameters and MACs are the first head's."""


def run_arm(experiment: str, arm: str, seed: int, steps: int) -> dict[str, Any]:
    """Trains (or goes on with) one arm from one seed and scores each of its stages."""
    from edgeface.training.config_file import load_config

    config = load_config(CONFIGS / f"papers_{experiment}.toml")
    model, loss = config.model | ARMS[experiment][arm], config.loss | LOSSES.get(arm, {})
    config = trial_config(config, f"{experiment} {arm}", seed, steps, model=model, loss=loss)
    decode = "arg max, offset" if arm == "maps alone" else "expectation"
    return trial(config, SCORED[experiment], every_stage=True, decode=decode)


def main(args: list[str] | None = None) -> int:
    from edgeface.training.config_file import load_config

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", help=f"among {', '.join(ARMS)} (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="in place of the configs'")
    parser.add_argument("--again", action="store_true", help="score finished runs again")
    options = parser.parse_args(args)
    unknown = sorted(set(options.experiments) - set(ARMS))
    if unknown:
        raise InputError(f"experiments must be among {', '.join(ARMS)}. Received: {', '.join(unknown)}")
    # Seed by seed, so that a run that ends early has every arm as often as any other.
    jobs = [
        {
            "experiment": experiment,
            "arm": arm,
            "seed": seed,
            "steps": options.steps or load_config(CONFIGS / f"papers_{experiment}.toml").steps,
        }
        for seed in range(options.seeds)
        for experiment in options.experiments or ARMS
        for arm in ARMS[experiment]
    ]
    sweep(OUT, jobs, run_arm, "python -m studies.papers.study", options.again)
    return 0


if __name__ == "__main__":
    run(main)

"""The two papers' claims, measured on the faces at hand: ``python -m results.papers [acdc] [ccr] [--seeds 3]``.

AC-DC: an attentional cascade alone (AC), with a pose loss (AC+Pose), with pose conditioning (AC-DC); what each stage of
one network adds. CCR: one block, two blocks, two blocks with the cross connections; integral regression against the
maps' arg max. Both: whether the spread ranks the errors. Every arm is trained from ``--seeds`` seeds on the same faces
for the same steps by `configs/papers_*.toml`, so that the differences have a spread of their own.

Runs lie in runs/trials and go on where they were; papers.json beside this file grows by a row a run.
Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from edgeface.errors import InputError
from results.command import run
from results.trials import CONFIGS, HERE, keep, stored, trial

OUT = HERE / "papers.json"
ARMS: dict[str, dict[str, dict[str, Any]]] = {
    "acdc": {
        "AC": {"pose_from": "none", "excitation": False},
        "AC+Pose": {"excitation": False},
        "AC-DC": {},
    },
    "ccr": {
        "one block": {"stages": 1},
        "two blocks": {"cross": False},
        "two blocks, crossed": {},
    },
}
"""Experiment -> arm -> changes of the network's config."""
SCORED = {
    "acdc": (("300w", "test", "ibug68"), ("aflw2000_3d", "val", "ibug68_3d")),
    "ccr": (("300w", "test", "ibug68"), ("aflw", "test", "aflw21"), ("aflw2000_3d", "val", "ibug68")),
}
"""What each network is scored on: set, split, the head that answers."""
SAME = ("experiment", "arm", "seed", "steps")


def run_arm(experiment: str, arm: str, seed: int, steps: int | None) -> dict[str, Any]:
    """Trains (or goes on with) one arm from one seed and scores each of its stages."""
    from edgeface.training.config import load_config

    config = load_config(CONFIGS / f"papers_{experiment}.toml")
    name = f"{experiment}_{arm.lower().replace(' ', '_').replace(',', '')}_{seed}"
    model = config.model | ARMS[experiment][arm]
    config = replace(config, name=name, seed=seed, model=model, steps=steps or config.steps)
    return {"experiment": experiment, "arm": arm} | trial(config, SCORED[experiment], every_stage=True)


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", help=f"among {', '.join(ARMS)} (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="in place of the config's")
    parser.add_argument("--again", action="store_true", help="score finished runs again")
    options = parser.parse_args(args)
    unknown = sorted(set(options.experiments) - set(ARMS))
    if unknown:
        raise InputError(f"experiments must be among {', '.join(ARMS)}. Received: {', '.join(unknown)}")
    # Seed by seed, so that a run that ends early has every arm as often as any other.
    for seed in range(options.seeds):
        for experiment in options.experiments or ARMS:
            for arm in ARMS[experiment]:
                done = [r for r in stored(OUT) if (r["experiment"], r["arm"], r["seed"]) == (experiment, arm, seed)]
                if done and not options.again and options.steps in (None, done[-1]["steps"]):
                    continue
                print(f"{experiment}: {arm}, seed {seed}", flush=True)
                keep(OUT, run_arm(experiment, arm, seed, options.steps), SAME, "python -m results.papers")
    return 0


if __name__ == "__main__":
    run(main)

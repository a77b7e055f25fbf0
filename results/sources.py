"""What each source of faces adds, by yaw: ``python -m results.sources [--seeds 2]`` writes sources.json beside this.

One small network, the same steps, four mixtures: photographs as they are annotated; the same and rendered faces; the
same and the 3D points of a head laid over the photographs; the same and the photographs turned to profile. The real
photographs keep their share among themselves. Scored on AFLW2000-3D's 199 faces and 300W common; chosen by the former.
Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from results.command import run
from results.trials import CONFIGS, HERE, SHORT, keep, stored, trial

if TYPE_CHECKING:
    from edgeface.training.config import SourceConfig

OUT = HERE / "sources.json"
STEPS = 3000
ARMS = ("photographs", "rendered", "rendered, fitted", "rendered, fitted, turned", "fitted, turned")
"""Mixtures, by what is added to the photographs."""
SCORED = (
    ("300w", "test", "ibug68"),
    ("aflw2000_3d", "val", "ibug68"),
    ("aflw2000_3d", "val", "ibug68_3d"),
)
SAME = ("arm", "seed", "steps")


def mixture(sources: tuple[SourceConfig, ...], arm: str) -> tuple[SourceConfig, ...]:
    """The sources of the released networks' config that an arm keeps, 3D labels only where it says ``fitted``."""
    kept = []
    for source in sources:
        if source.set == "synthetic" and "rendered" not in arm or source.turned and "turned" not in arm:
            continue
        if source.fit_3d and "fitted" not in arm:
            # The pose alone, from the mean head.
            source = replace(source, fit_3d=False, fit_pose=True)
        if source.set == "synthetic" and "fitted" not in arm:
            source = replace(source, pose=True, markups=())
        kept.append(source)
    return tuple(kept)


def run_arm(arm: str, seed: int, steps: int) -> dict[str, Any]:
    from edgeface.training.config import load_config

    config = load_config(CONFIGS / "acdc_n_300w.toml")
    sources = mixture(config.sources, arm)
    name = f"sources_{arm.replace(', ', '_')}_{seed}"
    config = replace(config, name=name, seed=seed, steps=steps, sources=sources, **SHORT)
    # Without a source of 3D points that head stays untrained: the 2D head answers.
    labelled = any(s.set == "synthetic" or s.fit_3d or s.turned for s in sources)
    if not labelled:
        config = replace(config, validation=replace(config.validation, markups=("ibug68",)))
    scored = tuple(s for s in SCORED if labelled or s[2] != "ibug68_3d")
    return {"arm": arm} | trial(config, scored)


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args(args)
    for seed in range(options.seeds):
        for arm in ARMS:
            if not any([r[k] for k in SAME] == [arm, seed, options.steps] for r in stored(OUT)):
                print(f"{arm}, seed {seed}", flush=True)
                keep(OUT, run_arm(arm, seed, options.steps), SAME, "python -m results.sources")
    return 0


if __name__ == "__main__":
    run(main)

"""What each source of faces adds, by yaw: ``python -m studies.training_sets.study [--seeds 2]`` writes sources.json beside this.

One small network, the same steps, mixtures that differ by one thing each. ``photographs``: their 2D points, and the
pose of the head fitted to them, without which there would be none to train. Added, one after the other: ``rendered``
faces by their 2D points alone; ``fitted``: the 3D points of that same head; ``turned``: views of the photographs turned
to profile, by their 3D points and poses; ``nodded``: the same with more pitch, and views raised and bowed; ``rare``:
photographs of rare poses drawn more often. Beside them all but the rendered ones, and the photographs with rendered
faces that bring 3D points and poses of their own. Sources keep their weights among themselves.

Scored on AFLW2000-3D's 199 faces by the head of 68 2D points (against 3D ones), of 21 visible points, which every
arm trains, and of 68 3D points where it is trained; on 300W common. The first also chose how the fitted head's labels
are shifted (`studies.labels.study`), so that the 3D points of ``fitted`` and ``turned`` are flattered there.
Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert.release.command import run
from edgeface.datasets.profile_views.views import NOD_DEG, YAW_DEG
from studies.trials import CONFIGS, SHORT, sweep, trial, trial_config

if TYPE_CHECKING:
    from edgeface.training.config import SourceConfig

HERE = Path(__file__).parent
OUT = HERE / "sources.json"
STEPS = 2000
OWN = "photographs, rendered with its own 3D points and pose"
ARMS = (
    "photographs",
    "photographs, rendered",
    "photographs, rendered, fitted",
    "photographs, rendered, fitted, turned",
    "photographs, rendered, fitted, turned, nodded",
    "photographs, rendered, fitted, turned, nodded, rare",
    "photographs, fitted, turned, nodded, rare",
    OWN,
)
MARKUPS_2D = {"300w": ("ibug68",), "aflw": ("ibug68", "aflw21", "mtfl5"), "youtube_faces": ("ibug68",)}
"""What the photographs to which a head is fitted are labelled with themselves."""
RENDERED_2D = ("ibug68", "aflw21", "mtfl5")
SCORED = (
    ("aflw2000_3d", "val", "ibug68"),
    ("aflw2000_3d", "val", "aflw21"),
    ("aflw2000_3d", "val", "ibug68_3d"),
    ("300w", "test", "ibug68"),
)
ALWAYS = "ibug68"
"""The head that every arm trains, and validates by."""


def mixture(sources: tuple[SourceConfig, ...], arm: str) -> tuple[SourceConfig, ...]:
    """The sources of the released networks' config that an arm keeps, with the labels that its name says."""
    parts = arm.split(", ")
    kept = []
    for source in sources:
        source = source if "rare" in parts else replace(source, pose_balance=0.0)
        if source.set == "synthetic":
            if arm == OWN:
                kept.append(replace(source, pose=True, markups=()))
            elif "rendered" in parts:
                kept.append(replace(source, pose=False, markups=RENDERED_2D))
        elif source.profile_views and "nodded" in parts:
            kept.append(source)
        elif source.profile_views:
            aside = "turned" in parts and source.view_yaw == YAW_DEG
            kept += [replace(source, view_pitch_std=NOD_DEG)] if aside else []
        elif source.fit_3d and "fitted" not in parts:
            # The same head still gives the pose.
            kept.append(replace(source, markups=MARKUPS_2D[source.set]))
        else:
            kept.append(source)
    return tuple(kept)


def trains_3d(sources: tuple[SourceConfig, ...]) -> bool:
    """Whether a source labels ibug68_3d."""
    return any((s.fit_3d or s.profile_views or s.set == "synthetic") and not s.markups for s in sources)


def run_arm(arm: str, seed: int, steps: int) -> dict[str, Any]:
    from edgeface.training.config_file import load_config

    config = load_config(CONFIGS / "acdc_n_300w.toml")
    sources = mixture(config.sources, arm)
    validation = replace(config.validation, markups=(ALWAYS,)) if config.validation else None
    config = trial_config(config, f"sources {arm}", seed, steps, sources=sources, validation=validation, **SHORT)
    return trial(config, tuple(s for s in SCORED if s[2] != "ibug68_3d" or trains_3d(sources)))


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--again", action="store_true", help="score finished runs again")
    options = parser.parse_args(args)
    jobs = [{"arm": arm, "seed": seed, "steps": options.steps} for seed in range(options.seeds) for arm in ARMS]
    sweep(OUT, jobs, run_arm, "python -m studies.training_sets.study", options.again)
    return 0


if __name__ == "__main__":
    run(main)

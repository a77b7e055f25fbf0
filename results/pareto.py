"""Which shapes of network pay: ``python -m results.pareto [NAME ...] [--steps N]`` writes pareto.json beside this file.

Every candidate differs from an edge preset in what its name says: width, depth, resolution of the maps, depthwise
against plain convolutions, stages, input size, pose branch. Each is trained for the same few thousand steps on the same
faces, scored on AFLW2000-3D's 199 faces (the choice) and 300W common (shown), and priced as int8: bytes and
milliseconds of its converted file, against float32. The presets are what this search found.
Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeface.errors import InputError
from results.command import run
from results.trials import CONFIGS, HERE, SHORT, keep, stored, trial

OUT = HERE / "pareto.json"
STEPS = 3000
CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
    "n": ("acdc_n", {}),
    "s": ("acdc_s", {}),
    "m": ("acdc_m", {}),
    "s, 1 stage": ("acdc_s", {"stages": 1}),
    "s, 3 stages": ("acdc_s", {"stages": 3}),
    "s, width 48": ("acdc_s", {"stem": (32, 48), "widths": (48, 64)}),
    "s, width 96": ("acdc_s", {"stem": (32, 96), "widths": (96, 96)}),
    "s, 3 levels": ("acdc_s", {"widths": (64, 64, 96)}),
    "s, maps of 32 x 32": ("acdc_s", {"stem": (48,), "widths": (48, 64)}),
    "s, stem of stride 2": ("acdc_s", {"stem": (16, 32, 64), "patch": False}),
    "s, depthwise": ("acdc_s", {"separable": True, "widths": (96, 160)}),
    "s, 96 px": ("acdc_s", {"side": 96}),
    "s, 160 px": ("acdc_s", {"side": 160}),
    "s, pose from 3D points": ("acdc_s", {"pose_from": "landmarks_3d"}),
}
"""Name -> (preset, changes of its fields)."""
SCORED = (
    ("300w", "test", "ibug68"),
    ("aflw2000_3d", "val", "ibug68_3d"),
)
SAME = ("candidate", "seed", "steps")
ROUNDS = 60


def run_candidate(name: str, seed: int, steps: int) -> dict[str, Any]:
    from edgeface.training.config import load_config
    from edgeface.training.train import network_config_of

    base, changes = CANDIDATES[name]
    config = load_config(CONFIGS / "acdc_s_300w.toml")
    slug = "".join(c if c.isalnum() else "_" for c in name)
    config = replace(config, network=base, model=dict(changes), name=f"pareto_{slug}_{seed}", seed=seed, steps=steps)
    config = replace(config, **SHORT)
    return {"candidate": name, "config": changes} | price(network_config_of(config)) | trial(config, SCORED)


def price(config) -> dict[str, Any]:
    """Bytes, ms and gain of the network as int8; weights do not change them, so untrained ones serve."""
    import keras

    from convert.convert_all import Job, convert_all
    from convert.latency import measure
    from convert.variants import select
    from edgeface.models.io import model_info, save_model
    from edgeface.models.presets import build

    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "candidate.keras"
        save_model(build(config), model, model_info(config, "float"))
        files = [done.path for done in convert_all(Job(model, Path(folder) / "files"), select("float32,int8_qat"))]
        whole, int8 = measure(files, rounds=ROUNDS)
        return {
            "int8_bytes": files[1].stat().st_size,
            "float32_ms": whole.p50_ms,
            "int8_ms": int8.p50_ms,
            "times_faster": whole.p50_ms / int8.p50_ms,
        }


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candidates", nargs="*", help=f"among {'; '.join(CANDIDATES)} (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args(args)
    unknown = sorted(set(options.candidates) - set(CANDIDATES))
    if unknown:
        raise InputError(f"candidates must be among {'; '.join(CANDIDATES)}. Received: {'; '.join(unknown)}")
    for name in options.candidates or CANDIDATES:
        if not any([r[k] for k in SAME] == [name, options.seed, options.steps] for r in stored(OUT)):
            print(name, flush=True)
            keep(OUT, run_candidate(name, options.seed, options.steps), SAME, "python -m results.pareto")
    return 0


if __name__ == "__main__":
    run(main)

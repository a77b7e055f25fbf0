"""Which shapes of network pay: ``python -m studies.pareto.study [NAME ...] [--seeds 1]`` writes pareto.json beside this file,
``python -m studies.pareto.study --price`` pareto_prices.json.

Every candidate differs from an edge preset in what its name says: width, depth, resolution of the maps, depthwise
against plain convolutions, stages, input size, pose branch. Each is trained for the same steps on the same faces,
layers of one name and shape from the same weights, and scored on AFLW2000-3D's 199 faces and 300W common. A short run
favours what learns fast: the table shows where the presets stand among their neighbours after so many steps, not that
no other shape is better. "m", of three and a half times the multiplications of "s", is priced and not trained. No
larger input is among the candidates, since the packed pictures hold no more than the presets' input needs.

Prices are taken apart from the trainings, in one run of all files in turns, so that they compare: untrained weights,
converted to float32 and int8. Parameters and MACs are of the graph that is converted.
Needs the folder of annotated faces (EDGEFACE_FACES), but for prices.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert.release.command import run
from convert.release.record import record
from edgeface.errors import InputError
from edgeface.files import write_json
from studies.trials import CONFIGS, SHORT, size, sweep, trial, trial_config

if TYPE_CHECKING:
    from edgeface.models.presets import ModelConfig

HERE = Path(__file__).parent
OUT, PRICES = HERE / "pareto.json", HERE / "pareto_prices.json"
STEPS = 1000
CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
    "n": ("acdc_n", {}),
    "s": ("acdc_s", {}),
    "s, 1 stage": ("acdc_s", {"stages": 1}),
    "s, 3 stages": ("acdc_s", {"stages": 3}),
    "s, width 48": ("acdc_s", {"stem": (32, 48), "widths": (48, 64)}),
    "s, width 96": ("acdc_s", {"stem": (32, 96), "widths": (96, 96)}),
    "s, 3 levels of widths 64, 64, 96": ("acdc_s", {"widths": (64, 64, 96)}),
    "s, maps of 32 x 32, width 48": ("acdc_s", {"stem": (48,), "widths": (48, 64)}),
    "s, stem of three strides of 2": ("acdc_s", {"stem": (16, 32, 64), "patch": False}),
    "s, depthwise, widths 96, 160": ("acdc_s", {"separable": True, "widths": (96, 160)}),
    "s, 96 px": ("acdc_s", {"side": 96}),
    "s, pose from 3D points": ("acdc_s", {"pose_from": "landmarks_3d"}),
    "s, no pose": ("acdc_s", {"pose_from": "none", "excitation": False}),
    "m": ("acdc_m", {}),
}
"""Name -> (preset, changes of its fields)."""
PRICED_ALONE = ("m",)
SCORED = (("300w", "test", "ibug68"), ("aflw2000_3d", "val", "ibug68_3d"))
ROUNDS = 60


def config_of(name: str) -> ModelConfig:
    from edgeface.models.presets import config_from_dict, preset

    base, changes = CANDIDATES[name]
    return config_from_dict("acdc", asdict(preset(base)) | changes)


def run_candidate(candidate: str, seed: int, steps: int) -> dict[str, Any]:
    from edgeface.training.config_file import load_config

    base, changes = CANDIDATES[candidate]
    config = replace(load_config(CONFIGS / "acdc_s_300w.toml"), network=base, model=dict(changes))
    return trial(trial_config(config, f"pareto {candidate}", seed, steps, **SHORT), SCORED)


def price(names: tuple[str, ...], rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Parameters, MACs, bytes and ms of the networks as int8, against float32; all files in one run of the clock.

    Weights do not change what a file costs, so untrained ones serve.
    """
    import keras

    from edgeface.convert.convert_all import Job, convert_all
    from edgeface.convert.latency import measure, speedup
    from edgeface.convert.variants import select
    from edgeface.models.io import model_info, save_model
    from edgeface.models.presets import build

    rows, files = [], []
    with tempfile.TemporaryDirectory() as folder:
        for i, name in enumerate(names):
            print(f"{i + 1} of {len(names)}: {name}", flush=True)
            keras.backend.clear_session()
            keras.utils.set_random_seed(0)
            config = config_of(name)
            network, model = build(config), Path(folder) / f"{i}.keras"
            save_model(network, model, model_info(config, "float"))
            outputs = ("landmarks", "spread") if config.pose_from == "none" else ("landmarks", "pose", "spread")
            job = Job(model, Path(folder) / str(i), outputs=outputs)
            files += [done.path for done in convert_all(job, select("float32,int8_qat"))]
            rows.append({"candidate": name, "config": CANDIDATES[name][1]} | size(network, config.markups[0]))
            rows[-1] |= {"float32_bytes": files[-2].stat().st_size, "int8_bytes": files[-1].stat().st_size}
        times = measure(files, rounds=rounds)
    for row, whole, int8 in zip(rows, times[::2], times[1::2], strict=True):
        row |= {"float32_ms": whole.p50_ms, "int8_ms": int8.p50_ms, "times_faster_wall": speedup(int8, whole)}
        row |= {"float32_cpu_ms": whole.cpu_ms, "int8_cpu_ms": int8.cpu_ms}
        row["times_faster"] = speedup(int8, whole, cpu=True)
    return rows


def write_prices(names: tuple[str, ...]) -> None:
    about = record("python -m studies.pareto.study --price", "keras", "tensorflow", "ai-edge-litert")
    write_json(PRICES, about | {"rounds": ROUNDS, "threads": 1, "rows": price(names)})


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candidates", nargs="*", help=f"among {'; '.join(CANDIDATES)} (default: all)")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--again", action="store_true", help="score finished runs again")
    parser.add_argument("--price", action="store_true", help="train nothing: convert and time all candidates")
    options = parser.parse_args(args)
    unknown = sorted(set(options.candidates) - set(CANDIDATES))
    if unknown:
        raise InputError(f"candidates must be among {'; '.join(CANDIDATES)}. Received: {'; '.join(unknown)}")
    if options.price:
        if options.candidates:
            raise InputError(f"--price must have no names: all are timed together. Received: {options.candidates}")
        write_prices(tuple(CANDIDATES))
        return 0
    names = options.candidates or [name for name in CANDIDATES if name not in PRICED_ALONE]
    jobs = [{"candidate": n, "seed": s, "steps": options.steps} for s in range(options.seeds) for n in names]
    sweep(OUT, jobs, run_candidate, "python -m studies.pareto.study", options.again)
    return 0


if __name__ == "__main__":
    run(main)

"""What int8 gains in time for every edge preset: ``python -m convert.release.presets`` writes results/presets.json.

Weights do not change the price, so untrained networks are converted; each preset's float32 and int8_qat files are timed
in one run, in turns, on one thread.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from convert.release.command import run
from convert.release.record import record

HERE = Path(__file__).resolve().parents[2] / "results"
BAR = 2.5
"""How many times faster than float32 an int8_qat file must be."""
EDGE = ("acdc_n", "acdc_s", "acdc_m", "ccr_n", "ccr_s", "ccr_m")


def price(name: str, rounds: int, repeats: int, folder: Path) -> dict:
    """One preset's row: bytes, and ms of each of ``repeats`` measurements, float32 against int8_qat."""
    import keras

    from edgeface.convert.convert_all import Job, convert_all
    from edgeface.convert.latency import measure
    from edgeface.convert.variants import select
    from edgeface.models.io import model_info, save_model
    from edgeface.models.presets import build, preset
    from edgeface.models.summary import count_macs, count_parameters

    keras.utils.set_random_seed(0)
    model = folder / f"{name}.keras"
    network = build(name)
    save_model(network, model, model_info(preset(name), "float"))
    done = convert_all(Job(model, folder / name), select("float32,int8_qat"))
    files = [c.path for c in done]
    runs = [measure(files, rounds=rounds) for _ in range(repeats)]
    ms = {file.path.stem.removeprefix(f"{name}_"): [r[i].p50_ms for r in runs] for i, file in enumerate(done)}
    faster = [a / b for a, b in zip(ms["float32"], ms["int8_qat"], strict=True)]
    return {
        "preset": name,
        "parameters": count_parameters(network),
        "macs": count_macs(network),
        "bytes": {c.card.variant: c.path.stat().st_size for c in done},
        "p50_ms": ms,
        "times_faster": sorted(faster)[len(faster) // 2],
        "times_faster_each": faster,
    }


def main(args: list[str] | None = None) -> int:
    from edgeface.files import write_json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each preset; the median one counts")
    options = parser.parse_args(args)
    rows = []
    for name in EDGE:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(price(name, options.rounds, options.repeats, Path(folder)))
        row = rows[-1]
        verdict = "" if row["times_faster"] >= BAR else f"  BELOW {BAR}"
        print(f"{name:<8}{row['bytes']['int8_qat'] / 1000:>7.0f} KB{row['times_faster']:>7.2f} times faster{verdict}")
    write_json(
        HERE / "presets.json",
        record("python -m convert.release.presets", "keras", "tensorflow", "ai-edge-litert", "numpy")
        | {"threads": 1, "rounds": options.rounds, "bar": BAR, "rows": rows},
    )
    return 0 if all(row["times_faster"] >= BAR for row in rows) else 1


if __name__ == "__main__":
    run(main)

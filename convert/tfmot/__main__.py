"""``python -m convert.tfmot MODEL.keras --out DIR``: the model through tensorflow-model-optimization, to a .tflite.

Writes DIR/tfmot.tflite and DIR/tfmot.json; the batches, the float run's own, are made into DIR/batches.npz first.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_USE_LEGACY_KERAS"] = "1"  # what importing tfmot does anyway; here it is said
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from edgeface.errors import InputError

RANGES = ("default", "calibrated")


def run(
    model: Path, out: Path, *, batches: Path | None, steps: int, learning_rate: float, ranges: str, markup: str | None
) -> dict[str, Any]:
    """One model through tfmot; returns (and writes) the facts that the comparison needs."""
    import numpy as np

    from convert.tfmot.quantize import calibrate, quantize
    from convert.tfmot.rebuild import rebuild
    from convert.tfmot.tuning import load_batches, make_batches, save_batches, tune
    from edgeface.convert.gate import check
    from edgeface.convert.tflite import exported
    from edgeface.convert.variants import VARIANTS
    from edgeface.files import sha256, write_bytes, write_json
    from edgeface.models.io import load_model
    from edgeface.models.outputs import StageOutputs
    from edgeface.quantize.tflite_graph import read_graph
    from edgeface.runtime.machine import versions
    from edgeface.training.losses import loss_for

    network, info = load_model(model, kind="float")
    if batches is None:
        batches = out / "batches.npz"
        save_batches(batches, make_batches(network, info, steps, learning_rate, out.parent / "cache", str(model)))
    data = load_batches(batches)
    faces = data.calibration[0].astype(np.float32)
    differences = agreement(network, rebuild(network), faces)
    quantized = quantize(network)
    if ranges == "calibrated":
        calibrate(quantized.model, data.calibration)
    started = time.perf_counter()
    losses = tune(
        lambda images: quantized.rebuilt.by_key(quantized.model(images, training=True)),
        quantized.model.trainable_variables,
        data,
        loss_for(network, info.get("training", {}).get("config", {}).get("loss")),
        _progress,
    )
    seconds = time.perf_counter() - started
    names = StageOutputs.of(network)
    markup = markup or names.markups[0]
    with exported(quantized.deployed(names.deployed(names.stages, markup))) as saved:
        flatbuffer = saved.to_tflite(VARIANTS["int8_qat"])
    checked = check(read_graph(flatbuffer), VARIANTS["int8_qat"], "tfmot.tflite")
    facts = {
        "float_sha256": sha256(model),
        "markup": markup,
        "ranges": ranges,
        "steps": len(losses),
        "seconds": round(seconds, 1),
        "loss_first_and_last": [float(np.mean(part)) for part in (losses[:20], losses[-20:])] if losses else [],
        "largest_difference_of_the_rebuilt_graph": differences,
        "customised": quantized.customized,
        "float": quantized.floats,
        "shared_layers": list(quantized.rebuilt.shared),
        "bytes": len(flatbuffer),
        "operators": [[o.type, o.dtype, o.count] for o in checked.operators],
        "gate": list(checked.failures),
        "versions": versions("tensorflow", "tensorflow-model-optimization", "tf-keras", "keras"),
    }
    write_bytes(out / "tfmot.tflite", flatbuffer)
    write_json(out / "tfmot.json", facts)
    return facts


def agreement(network, rebuilt, images) -> dict[str, float]:
    """Largest absolute difference between the Keras 3 graph and the tf_keras one, by kind of output, on images
    (N, S, S, C): landmarks and spread in crop widths, pose in degrees, maps and logits in their own units."""
    import numpy as np

    from edgeface.models.outputs import StageOutputs

    expected, got = network(images), rebuilt.by_key(rebuilt.model(images))
    found: dict[str, float] = {}
    for key in expected:
        kind = StageOutputs.kind(key)
        found[kind] = max(found.get(kind, 0.0), float(np.abs(np.asarray(expected[key]) - np.asarray(got[key])).max()))
    return found


def _progress(step: int, loss: float) -> None:
    if step % 50 == 0:
        print(f"  tfmot step {step}: loss {loss:.4f}", flush=True)


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m convert.tfmot", description=__doc__.split("\n\n")[0])
    parser.add_argument("model", type=Path, help="a float .keras model that carries the record of its training")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batches", type=Path, help="a batches.npz made before (then --steps and the rate are its)")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--ranges", choices=RANGES, default="calibrated", help="default: tfmot's own start, -6..6")
    parser.add_argument("--markup", help="the landmarks to keep; by default the model's first")
    options = vars(parser.parse_args(args))
    if options["steps"] < 1:
        raise InputError(f"steps must be at least 1. Received: {options['steps']}")
    facts = run(options.pop("model"), options.pop("out"), **options)
    print(f"{facts['bytes']} bytes after {facts['steps']} steps; customized: {len(facts['customised'])} layers")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
    except ImportError as error:
        sys.exit(f'error: tensorflow-model-optimization must be installed: pip install "edgeface[tfmot]" ({error})')

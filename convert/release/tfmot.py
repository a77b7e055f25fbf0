"""Our quantization-aware training against tensorflow-model-optimization's:
``python -m convert.release.tfmot acdc_s ccr_s``.

Each model of `weights/` goes to int8 three times, from the same float weights: by tfmot as it is, by tfmot with ranges
set from the same faces as ours, and by `edgeface.quantize`. All three see the same stored batches, loss, optimizer
and rates; their files are scored on the same real faces against the same float model. A preset without trained
weights is compared at its initial ones, calibrated and untrained: how far its landmarks move is then all that can be
said.

Writes results/tfmot.json, row by row: a row that is there with the same settings is not made again.
Needs the extra `edgeface[tfmot]` and, for trained models, the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from convert.release.command import run
from convert.release.record import record
from edgeface.errors import InputError
from edgeface.files import read_json, write_bytes, write_json
from edgeface.head_pose import ANGLES, geodesic_deg

HERE = Path(__file__).resolve().parents[2] / "results"
OUT, RUNS, WEIGHTS = HERE / "tfmot.json", Path("runs/tfmot"), HERE.parent / "weights"
ARMS = {"ours": "", "tfmot_calibrated": "calibrated", "tfmot": "default"}
"""Arm -> where tfmot's ranges begin."""
SETS = (("aflw2000_3d", "val"), ("300w", "test"))
CALIBRATION_FACES = 128


def compare(name: str, steps: int, learning_rate: float, rescore: bool = False) -> None:
    """Every arm of one model that is not in the table yet. rescore: and the files of those that are, anew."""
    from edgeface.files import sha256
    from edgeface.models.deploy import deploy
    from edgeface.models.io import load_model

    model = WEIGHTS / f"{name}.keras"
    trained = model.exists()
    out = RUNS / name
    if not trained:
        model, steps = initialised(name, out / "initialised.keras"), 0
    settings = {"steps": steps, "learning_rate": learning_rate if steps else None, "float_sha256": sha256(model)}
    settings |= {"ranges": "ema", "calibration": "minmax"}
    wanted = [arm for arm in ARMS if trained or ARMS[arm] != "default"]
    rows = {arm: _row(name, arm, settings) for arm in wanted}
    if all(rows.values()) and not rescore:
        return say(f"{name}: nothing new")
    network, info = load_model(model)
    markup = "ibug68"
    batches = stored_batches(network, info, model, out, settings)
    score_on = _faces(network, markup, trained)
    from edgeface.evaluation.networks import KerasNetwork

    reference = KerasNetwork(deploy(network, markup), "float", markup, info["crop"]["scale"])
    expected = {key: _answers(reference, faces) for key, faces in score_on.items()}
    for arm, row in rows.items():
        if row is None:
            say(f"{name}: {arm}, {steps} steps")
            make = ours if arm == "ours" else tfmots
            facts = make(network, info, model, batches, out / arm, ARMS[arm], markup)
            row = {"model": name, "arm": arm, "trained": trained, **settings, **facts}
        elif not rescore:
            continue
        file = FileNetwork(out / arm / ("ours.tflite" if arm == "ours" else "tfmot.tflite"))
        scores = {key: _against(expected[key], _answers(file, faces), faces, markup, trained) for key, faces in
                  score_on.items()}  # fmt: skip
        _keep({**row, "scores": scores})


def ours(network, info, model: Path, batches: Path, out: Path, ranges: str, markup: str) -> dict[str, Any]:
    """`edgeface.quantize` with the choices of `edgeface.convert.fine_tune`, in the loop that trains tfmot's model."""
    from convert.tfmot.tuning import load_batches, tune
    from edgeface.convert.fine_tune import FineTune, prepare, quantized_of
    from edgeface.convert.gate import check
    from edgeface.convert.tflite import exported
    from edgeface.convert.variants import VARIANTS
    from edgeface.models.deploy import deploy
    from edgeface.quantize.tflite_graph import read_graph
    from edgeface.training.losses import loss_for

    data = load_batches(batches)
    # As tfmot: moving ranges that start at the same extremes.
    options = FineTune(steps=len(data.images), distill=0.0, ranges="ema", calibration="minmax")
    twin = quantized_of(network, options)
    prepare(twin, options, [batch.astype(np.float32) for batch in data.calibration])
    started = time.perf_counter()
    losses = tune(
        lambda images: twin(images, training=True),
        [variable.value for variable in twin.trainable_variables],
        data,
        loss_for(network, info.get("training", {}).get("config", {}).get("loss")),
        lambda step, loss: step % 50 or say(f"ours step {step}: loss {loss:.4f}"),
    )
    seconds = time.perf_counter() - started
    with exported(deploy(twin, markup)) as saved:
        flatbuffer = saved.to_tflite(VARIANTS["int8_qat"])
    checked = check(read_graph(flatbuffer), VARIANTS["int8_qat"], "ours.tflite")
    write_bytes(out / "ours.tflite", flatbuffer)
    return {
        "seconds": round(seconds, 1),
        "loss_first_and_last": [float(np.mean(part)) for part in (losses[:20], losses[-20:])] if losses else [],
        "bytes": len(flatbuffer),
        "operators": [[o.type, o.dtype, o.count] for o in checked.operators],
        "gate": list(checked.failures),
    }


def tfmots(network, info, model: Path, batches: Path, out: Path, ranges: str, markup: str) -> dict[str, Any]:
    """In a process of its own: tfmot turns `tf.keras` into Keras 2."""
    options = ["--out", out, "--batches", batches, "--ranges", ranges, "--markup", markup]
    done = subprocess.run([sys.executable, "-m", "convert.tfmot", str(model), *map(str, options)], cwd=HERE.parent)
    if done.returncode:
        raise InputError(f"tfmot must take {model.name}. Received: exit code {done.returncode} (see above)")
    facts = read_json(out / "tfmot.json")
    return {k: v for k, v in facts.items() if k not in ("float_sha256", "markup", "ranges", "steps")}


def stored_batches(network, info, model: Path, out: Path, settings: dict[str, Any]) -> Path:
    """The batches of these settings, made once: both sides read this file."""
    from convert.tfmot.tuning import make_batches, save_batches, untrained_batches

    path, made_for = out / "batches.npz", out / "batches.json"
    if path.exists() and made_for.exists() and read_json(made_for) == settings:
        return path
    say(f"{network.name}: {settings['steps']} batches")
    if settings["steps"]:
        data = make_batches(network, info, settings["steps"], settings["learning_rate"], RUNS.parent / "cache", model)
    else:
        data = untrained_batches(_crops(network))
    save_batches(path, data)
    write_json(made_for, settings)
    return path


def initialised(name: str, path: Path) -> Path:
    """The preset at its initial weights, with batch norm statistics of rendered faces: raw input is 0..255."""
    if path.exists():
        return path
    import keras

    from edgeface.models.io import model_info, save_model
    from edgeface.models.presets import build, preset

    keras.utils.set_random_seed(0)
    model = build(name)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum, kept = 0.0, layer.momentum
    model(_crops(model).astype(np.float32), training=True)
    for layer in norms:
        layer.momentum = kept
    save_model(model, path, model_info(preset(name)))
    return path


def _crops(model) -> np.ndarray:
    from edgeface.convert.calibration_set import synthetic_crops

    return synthetic_crops(CALIBRATION_FACES, model.input_shape[1], model.input_shape[3])


class FileNetwork:
    """A `.tflite` without a card, one face at a time (`edgeface.evaluation.networks.Network`'s one method)."""

    def __init__(self, path: Path):
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(path), num_threads=1)
        self._run = self._interpreter.get_signature_runner()

    def infer_batch(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        outs = [self._run(image=crop[None]) for crop in crops]
        return {key: np.concatenate([out[key] for out in outs]) for key in outs[0]}


def _faces(network, markup: str, trained: bool) -> dict[str, Any]:
    from edgeface.datasets.load import load_set
    from edgeface.evaluation.evaluate import prepare, protocol_for

    side, channels = network.input_shape[1], network.input_shape[3]
    found = {}
    for name, split in SETS if trained else (("synthetic", "val"),):
        faces = load_set(name, split, 100 if name == "synthetic" else None)
        protocol, _ = protocol_for(name, faces, (markup,))
        found[f"{name}/{split}"] = prepare(faces, protocol, side, channels, 1.3)
    return found


def _answers(network, faces) -> dict[str, np.ndarray]:
    return network.infer_batch(faces.crops)


def _against(expected, got, faces, markup: str, trained: bool) -> dict[str, Any]:
    """One arm's figures on one set; deltas are to float, face by face."""
    from edgeface.evaluation.evaluate import score

    shift = np.linalg.norm(got["landmarks"] - expected["landmarks"], axis=-1).mean()
    figures = {
        "faces": len(faces),
        "landmark_shift_percent_of_crop": 100 * float(shift),
        "pose_shift_deg": float(geodesic_deg(got["pose"], expected["pose"]).mean()),
    }
    if not trained:
        return figures
    base, own = score(expected, faces, markup), score(got, faces, markup)
    paired = own.nme_per_face - base.nme_per_face
    turned = _pose_errors(got, faces) - _pose_errors(expected, faces)
    return figures | {
        "nme": own.nme,
        "nme_delta": float(paired.mean()),
        "nme_delta_sem": _sem(paired),
        "pose_faces": own.pose.n,
        "pose_mae": own.pose.mean,
        "pose_mae_delta": None if own.pose.mean is None else own.pose.mean - base.pose.mean,
        "pose_mae_delta_sem": _sem(turned) if len(turned) > 1 else None,
        "pose_mae_delta_by_angle": {
            angle: None if getattr(own.pose, angle) is None else getattr(own.pose, angle) - getattr(base.pose, angle)
            for angle in ANGLES
        },
        "geodesic_delta": None if own.pose.geodesic is None else own.pose.geodesic - base.pose.geodesic,
    }


def _pose_errors(answers, faces) -> np.ndarray:
    """Mean absolute error of the three angles, (M,) degrees, of the faces that have a pose and may be scored on it."""
    known = np.isfinite(faces.pose_deg).all(axis=1) & ~faces.beyond_pose_limit()
    return np.abs(answers["pose"][known] - faces.pose_deg[known]).mean(axis=1)


def _sem(values: np.ndarray) -> float:
    """Standard error of the mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _rows() -> list[dict[str, Any]]:
    return read_json(OUT)["rows"] if OUT.exists() else []


def _row(name: str, arm: str, settings: dict[str, Any]) -> dict[str, Any] | None:
    wanted = {"model": name, "arm": arm, **settings}
    return next((row for row in _rows() if all(row.get(k) == v for k, v in wanted.items())), None)


def _keep(row: dict[str, Any]) -> None:
    """The table with this row in the place of an older one."""
    packages = ("tensorflow", "tensorflow-model-optimization", "tf-keras", "keras", "ai-edge-litert", "numpy")
    row = row | record(f"python -m convert.release.tfmot {row['model']} --steps {row['steps']}", *packages)
    rows = [r for r in _rows() if (r["model"], r["arm"]) != (row["model"], row["arm"])] + [row]
    order = list(ARMS)
    rows.sort(key=lambda r: (r["model"], order.index(r["arm"])))
    write_json(OUT, {"about": __doc__.split("\n\n")[1].replace("\n", " "), "rows": rows})


def table(rows: list[dict[str, Any]]) -> str:
    """For the terminal."""
    lines = [
        f"{'model':<8}{'arm':<18}{'set':<18}{'steps':>6}{'NME':>8}{'delta':>9}{'+-':>7}{'pose':>7}{'delta':>8}{'+-':>7}"
        f"{'yaw':>8}{'pitch':>8}{'roll':>8}{'shift %':>9}{'bytes':>9}  gate"
    ]
    for row in rows:
        for key, s in row["scores"].items():
            angles = s.get("pose_mae_delta_by_angle", {})
            figures = [(s.get("nme"), 8, 3), (s.get("nme_delta"), 9, 4), (s.get("nme_delta_sem"), 7, 3)]
            figures += [(s.get("pose_mae"), 7, 2), (s.get("pose_mae_delta"), 8, 3), (s.get("pose_mae_delta_sem"), 7, 3)]
            figures += [(angles.get(a), 8, 3) for a in ANGLES] + [(s["landmark_shift_percent_of_crop"], 9, 4)]
            text = "".join(f"{'-':>{w}}" if v is None else f"{v:>{w}.{d}f}" for v, w, d in figures)
            gate = f"{len(row['gate'])} failures" if row["gate"] else "passed"
            lines.append(f"{row['model']:<8}{row['arm']:<18}{key:<18}{row['steps']:>6}{text}{row['bytes']:>9}  {gate}")
    return "\n".join(lines)


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def main(args: list[str] | None = None) -> int:
    from edgeface.convert.fine_tune import FineTune

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="presets; none: print the table")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=FineTune().learning_rate)
    parser.add_argument("--rescore", action="store_true", help="score the files of finished rows again")
    options = parser.parse_args(args)
    for name in options.models:
        compare(name, options.steps, options.learning_rate, options.rescore)
    print(table(_rows()))
    return 0


if __name__ == "__main__":
    run(main)

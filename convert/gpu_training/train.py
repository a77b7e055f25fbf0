"""Training from a pack with Keras on JAX, everything on the device:
``KERAS_BACKEND=jax python -m convert.gpu_training.train pack.npz --out OUT --seconds N``.

Faces lie in its memory; one call runs ``--scan`` whole steps: draw, augment, train. Step k sees the same batch in
every run of the same pack, so a run in pieces is one run. See `convert.gpu_training` for what the machine needs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from convert.gpu_training import views
from convert.gpu_training.packfile import Pack, join, split
from edgeface.errors import InputError
from edgeface.files import write_json
from edgeface.head_pose import ANGLES
from edgeface.models.io import save_model
from edgeface.models.outputs import StageOutputs
from edgeface.models.presets import build, config_from_dict
from edgeface.models.summary import count_macs
from edgeface.training.checkpoint import append_row, load_checkpoint, save_checkpoint, truncate_rows
from edgeface.training.folder import run_lock
from edgeface.training.losses import AcdcLoss, CcrLoss
from edgeface.training.trainer import AlignmentTrainer, make_optimizer

MIB = 1 << 20
FORWARD_AND_BACKWARD = 3
"""A training step's arithmetic against the forward pass's: the gradient of a convolution is two convolutions."""


def main(argv: list[str] | None = None) -> int:
    about = "Trains from a pack with Keras on JAX, everything on the device."
    parser = argparse.ArgumentParser(prog="python -m convert.gpu_training.train", description=about)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="checkpoint.npz, metrics.csv, record.json, model.keras")
    parser.add_argument("--seconds", type=float, default=500.0, help="stop after that long, start included")
    parser.add_argument("--scan", type=int, default=50, help="steps in one call of the device (default: 50)")
    parser.add_argument("--max-steps", type=int, default=0, help="stop after so many steps as well")
    parser.add_argument("--save-every", type=float, default=120.0, metavar="SECONDS", help="between two checkpoints")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="the chip's dense rate (H200, bf16: 989)")
    parser.add_argument("--part-mib", type=float, default=0.0, help="cut written files into pieces of this size")
    parser.add_argument("--resume-from", type=Path, help="a folder whose checkpoint.npz to begin with (default: OUT's)")
    args = parser.parse_args(argv)
    try:
        with run_lock(args.out):
            record = run(args)
    except InputError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    print(json.dumps(record))
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Trains until the config's steps or the time are used up; what record.json gets."""
    begin = time.perf_counter()
    if keras.backend.backend() != "jax":
        raise InputError(f"KERAS_BACKEND must be jax. Received: {keras.backend.backend()}")
    pack = Pack.load(args.pack)
    config = pack.about["config"]
    network_config = config_from_dict(pack.about["network"], pack.about["model"])
    keras.config.set_dtype_policy(config["precision"])
    keras.utils.set_random_seed(config["seed"])
    network = build(network_config)
    trainer, optimizer = compiled(network, pack)
    files = {name: args.out / name for name in ("checkpoint.npz", "metrics.csv", "model.keras")}
    start = (args.resume_from or args.out) / "checkpoint.npz"
    join(start)
    fingerprint = hashlib.sha256(json.dumps(pack.about, sort_keys=True).encode()).hexdigest()
    step = load_checkpoint(start, network, optimizer, fingerprint) if start.exists() else 0
    truncate_rows(files["metrics.csv"], step)
    say = f"{jax.devices()[0].device_kind}, {len(pack.images)} faces, from step {step} of {config['steps']}"
    print(say, flush=True)

    advance, faces = stepper(trainer, pack, network), on_device(pack)
    state = [[v.value for v in part] for part in parts_of(trainer)]
    macs, batch = count_macs(network), config["batch_size"]
    first, timed, saved, loss = step, 0.0, time.perf_counter(), float("nan")
    compiled_for: set[int] = set()
    steps_timed = 0
    slowest = 0.0
    stop = min(config["steps"], first + args.max_steps) if args.max_steps else config["steps"]
    while step < stop:
        count = min(args.scan, stop - step)
        left = args.seconds - (time.perf_counter() - begin)
        if left < 1.5 * slowest or left <= 0:
            break
        before = time.perf_counter()
        state, logs = advance(state, faces, jnp.arange(step, step + count))
        logs = {k: np.asarray(v) for k, v in logs.items()}
        spent = time.perf_counter() - before
        if count in compiled_for:
            timed, steps_timed, slowest = timed + spent, steps_timed + count, max(slowest, spent)
        compiled_for.add(count)
        step, loss = step + count, float(logs["loss"][-1])
        if not np.isfinite(logs["loss"]).all():
            raise InputError(f"loss must be finite. Received: {loss} at step {step}, last checkpoint before it")
        if time.perf_counter() - saved > args.save_every:
            write(state, trainer, network, optimizer, files, step, fingerprint, logs, args)
            saved = time.perf_counter()
    rate = batch * steps_timed / timed if timed else float("nan")
    tflops = rate * macs * 2 * FORWARD_AND_BACKWARD / 1e12
    record = {
        "step": step,
        "steps": config["steps"],
        "new_steps": step - first,
        "batch_size": batch,
        "precision": config["precision"],
        "loss": loss,
        "images_per_s": round(rate, 1) if timed else None,
        "mmac_forward": round(macs / 1e6, 1),
        "tflops": round(tflops, 3) if timed else None,
        "share_of_peak": round(tflops / args.peak_tflops, 4) if timed else None,
        "seconds": round(time.perf_counter() - begin, 1),
        "device": jax.devices()[0].device_kind,
        "versions": {"keras": keras.__version__, "jax": jax.__version__, "numpy": np.__version__},
        "sources": pack.about["sources"],
    }
    if step > first:
        write(state, trainer, network, optimizer, files, step, fingerprint, logs, args)
    write_model(network, network_config, optimizer, trainer, pack, record, files["model.keras"])
    write_json(args.out / "record.json", record)
    if args.part_mib:
        for path in files.values():
            if path.exists():
                split(path, int(args.part_mib * MIB))
    return record


def compiled(network: keras.Model, pack: Pack) -> tuple[AlignmentTrainer, keras.optimizers.Optimizer]:
    """The trainer of `edgeface train`, ready."""
    config = pack.about["config"]
    kind = {"acdc": AcdcLoss, "ccr": CcrLoss}[pack.about["loss_kind"]]
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in pack.about["loss"].items()}
    trainer = AlignmentTrainer(network, kind(**values))
    options = {name: config[name] for name in ("schedule", "warmup", "power", "clip", "ema")}
    optimizer = make_optimizer(config["learning_rate"], config["steps"], **options)
    optimizer.build(trainer.trainable_variables)
    trainer.compile(optimizer=optimizer)
    return trainer, optimizer


def on_device(pack: Pack) -> dict[str, Any]:
    share = np.cumsum(pack.weight / pack.weight.sum())
    return {
        "images": jnp.asarray(pack.images),
        "landmarks": {k: jnp.asarray(v) for k, v in pack.landmarks.items()},
        "pose_deg": jnp.asarray(pack.pose_deg),
        "box_center": jnp.asarray(pack.box_center),
        "box_side": jnp.asarray(pack.box_side),
        "count": jnp.asarray(pack.count, jnp.int32),
        "first": jnp.asarray(np.cumsum(pack.count) - pack.count, jnp.int32),
        "cumulative": jnp.asarray(share, jnp.float32),
    }


def parts_of(trainer: AlignmentTrainer) -> list[list]:
    """The state in the order in which Keras's stateless train step takes it."""
    optimizer = trainer.optimizer
    return [
        trainer.trainable_variables,
        trainer.non_trainable_variables,
        optimizer.variables,
        trainer.metrics_variables,
    ]


def stepper(trainer: AlignmentTrainer, pack: Pack, network: keras.Model):
    """(state, faces, steps (n,)) -> (state, logs of each step); the state's memory is used again."""
    config, markups = pack.about["config"], StageOutputs.of(network).markups
    side, size = network.input_shape[1], config["batch_size"]
    seed = jax.random.key(config["seed"])

    def advance(state, faces, steps):
        # The progress metrics are means over one call.
        state = [*state[:3], [jnp.zeros_like(v) for v in state[3]]]

        def one(state, step):
            data = views.batch(jax.random.fold_in(seed, step), faces, config["augment"], markups, side, size)
            logs, state = trainer.train_step(tuple(state), data)
            return [list(part) for part in state], logs

        return jax.lax.scan(one, state, steps)

    return jax.jit(advance, donate_argnums=0)


def write(state, trainer, network, optimizer, files, step: int, fingerprint: str, logs, args) -> None:
    """A row of metrics.csv and the checkpoint; the variables then hold copies of the state."""
    for variables, values in zip(parts_of(trainer), state, strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(np.asarray(value))
    row = {"step": step} | {k: round(float(v[-1]), 6) for k, v in logs.items()}
    append_row(files["metrics.csv"], row)
    save_checkpoint(files["checkpoint.npz"], network, optimizer, step, fingerprint)
    print(", ".join(f"{k} {v:g}" for k, v in row.items()), flush=True)


def write_model(network, network_config, optimizer, trainer, pack: Pack, record, path: Path) -> None:
    """The averaged weights, where the run keeps them, in a float32 model."""
    optimizer.finalize_variable_values(trainer.trainable_variables)
    keras.config.set_dtype_policy("float32")
    plain = build(network_config)
    plain.set_weights(network.get_weights())
    training = record | {"config": pack.about["config"], "untrained": untrained(pack)}
    save_model(plain, path, pack.about["info"] | {"training": training})


def untrained(pack: Pack) -> list[str]:
    """Markups and angles that no face of the pack has."""
    heads = [name for name, points in pack.landmarks.items() if not np.isfinite(points).any()]
    known = np.isfinite(pack.pose_deg).any(axis=0)
    return heads + [angle for angle, has in zip(ANGLES, known, strict=True) if not has]


if __name__ == "__main__":
    sys.exit(main())

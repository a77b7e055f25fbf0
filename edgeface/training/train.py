"""A training run: from a config to a folder with config.json, metrics.csv, checkpoint.npz and model.keras.

A run that is killed, at any time, goes on from its last checkpoint with the very batches, weights and optimiser state
it would have had.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import re
from collections.abc import Callable
from contextlib import contextmanager, nullcontext, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgeface import __version__
from edgeface.datasets.load import load_set
from edgeface.datasets.profile_views import fit
from edgeface.errors import InputError
from edgeface.evaluation.evaluate import prepare, protocol_for
from edgeface.evaluation.networks import deployed
from edgeface.files import read_json, write_json
from edgeface.head_pose import ANGLES
from edgeface.models.deploy import landmark_markups
from edgeface.models.grow import check_growth, grow
from edgeface.models.io import config_of, load_model, model_info, read_info, save_model
from edgeface.models.presets import ModelConfig, build, preset
from edgeface.schema import as_dict, from_dict, non_default_fields
from edgeface.training.backend import override_setting
from edgeface.training.checkpoint import checkpoint_step, load_checkpoint, read_rows, truncate_rows
from edgeface.training.config import TrainConfig, recorded_config, with_old_keys
from edgeface.training.distribution import Team, check_agreement, distributed, team, undistributed
from edgeface.training.folder import (
    CHECKPOINT,
    CONFIG,
    DAY_S,
    METRICS,
    MODEL,
    clear_run,
    remove_partial_files,
    run_lock,
)
from edgeface.training.losses import loss_for
from edgeface.training.monitor import Monitor, Validation
from edgeface.training.pipeline import Source, batches, cores, measure_throughput
from edgeface.training.source_faces import load_sources, seen_by_validation
from edgeface.training.trainer import AlignmentTrainer, make_optimizer
from edgeface.training.usable_faces import unknown_labels


def say_plainly(message: str) -> None:
    print(message, flush=True)


def train(
    config: TrainConfig,
    out: str | Path,
    resume: bool = True,
    model: keras.Model | None = None,
    say: Callable[[str], None] = say_plainly,
    distribute: bool = False,
) -> Path:
    """Runs (or goes on with, or reuses) the training that ``config`` describes; the path of the finished model.keras.

    model: a ready network to train in place of the one that the config names (it must have the config's shape, and
    have been built under its precision).
    distribute: on all devices of all processes, see `edgeface.training.distribution`; not part of the config, since a
    run may go on with another number of them.
    InputError: a folder with another config's run or another process, too many faces that cannot be read, a loss that
    is not finite, a full disk; the same call goes on from the last checkpoint.
    """
    out = Path(out)
    if resume and already_trained(config, out, MODEL):
        say(f"{out / MODEL}: trained already")
        return out / MODEL
    with distributed(distribute) as members, run_lock(out) if members.first else nullcontext():
        return _train(config, out, resume, model, members.speaker(say))


def _train(config: TrainConfig, out: Path, resume: bool, model: keras.Model | None, say: Callable[[str], None]) -> Path:
    network_config = network_config_of(config)
    with override_setting(keras.config.dtype_policy, keras.config.set_dtype_policy, config.precision):
        keras.utils.set_random_seed(config.seed)
        network = model if model is not None else build(network_config)
    if config.init and model is None:
        start_from(network, network_config, config.init)
    record = fit_network(network, config, out, resume, say)
    if not team().first:
        return out / MODEL
    if config.precision != "float32":
        # Bfloat16 casts must not reach the converter; the weights themselves have been float32 all along.
        with undistributed():
            trained, network = network, build(network_config)
        network.set_weights(trained.get_weights())
    crop = {"rule": "square", "scale": config.augment.crop_scale}
    save_model(network, out / MODEL, model_info(network_config) | {"crop": crop, "training": record})
    say(f"{out / MODEL}: {record['steps']} steps in {record['seconds'] / 60:.1f} min")
    return out / MODEL


def fit_network(
    network: keras.Model,
    config: TrainConfig,
    out: str | Path,
    resume: bool = True,
    say: Callable[[str], None] = say_plainly,
    trainer_type: Callable[..., AlignmentTrainer] = AlignmentTrainer,
    model_name: str = MODEL,
) -> dict[str, Any]:
    """Trains any network with the outputs of `edgeface.models` (a quantised twin too) in place; writes the run's files
    but not the model, which the caller saves as ``model_name``. Returns the record that goes into the model's file."""
    out, members = Path(out), team()
    rows = members.rows(config.batch_size)
    say = members.speaker(say)
    if members.first:
        remove_partial_files(out)
        remove_partial_files(out.parent / "cache", older_than_s=DAY_S)  # others may be writing there
    loss = loss_for(network, config.loss)
    side, _, channels = network.input_shape[1:]
    markups = landmark_markups(network)
    if not resume:
        if members.first:
            clear_run(out, model_name)
    elif (out / CONFIG).exists():
        _check_same(config, out)
    sources = load_sources(config, markups, out.parent / "cache", say)
    for line in seen_by_validation(config):
        say(line)
    untrained = untrained_heads(sources, network)
    if untrained:
        say(f"no source labels {', '.join(untrained)}: what the network says of it will mean nothing")
    validation = _validation(network, config, untrained, members)

    trainer = trainer_type(network, loss)
    optimizer = make_optimizer(
        config.learning_rate, config.steps, config.schedule, config.warmup, config.power, config.clip, config.ema
    )
    optimizer.build(trainer.trainable_variables)
    trainer.compile(optimizer=optimizer, jit_compile=_jit())

    facts = {"config": as_dict(config), "network": _network_facts(network), "sources": _source_facts(sources)}
    facts |= head_fit_facts(config)
    facts |= {"devices": members.devices, "processes": members.processes}
    fingerprint = _fingerprint(config)
    step = checkpoint_step(out / CHECKPOINT) if resume else 0
    # Before anything is loaded: assigning different values to one distributed variable ends in JAX's own words.
    check_agreement(members, f"step {step}, {[(s.name, len(s.faces)) for s in sources]}, config {fingerprint[:8]}")
    if step:
        load_checkpoint(out / CHECKPOINT, network, optimizer, fingerprint)
        say(f"going on from step {step} of {config.steps}")
        _say_other_faces(out, sources, say)
    begun_from = _begun_from(config, out, step)
    if members.first:
        write_json(out / CONFIG, facts | environment() | begun_from)
        truncate_rows(out / METRICS, step)

    if step < config.steps:
        shape = (config.augment, markups, side, channels, config.batch_size, config.seed)
        rate = measure_throughput(batches(sources, *shape, start_step=step, mode=config.mode, rows=rows), steps=12)
        say(f"input pipeline alone: {rate:.0f} faces/s, {1000 * (rows[1] - rows[0]) / rate:.0f} ms a batch")
        files = (out / METRICS, out / CHECKPOINT) if members.first else None
        monitor = Monitor(config, network, step, files, fingerprint, validation, say)
        with _plain_errors(), monitor:
            trainer.fit(
                batches(sources, *shape, start_step=step, mode=config.mode, rows=rows),
                initial_epoch=step // config.epoch_steps,
                epochs=-(-config.steps // config.epoch_steps),
                steps_per_epoch=config.epoch_steps,
                callbacks=[monitor],
                shuffle=False,  # the pipeline has done it
                verbose=0,
            )
    # fit ends with this too; here for a run that was killed after its last step.
    optimizer.finalize_variable_values(trainer.trainable_variables)
    # A curve that was removed by hand is no reason to lose the model.
    curve = (read_rows(out / METRICS) if members.first else []) or [{"seconds": "0"}]
    return {
        "config": as_dict(config),
        "steps": config.steps,
        "seconds": round(float(curve[-1]["seconds"]), 1),
        "sources": _source_facts(sources),
        "untrained": untrained,
        "last": {k: float(v) for k, v in curve[-1].items() if v != "nan"},
    } | (begun_from | head_fit_facts(config) | environment())


def _fingerprint(config: TrainConfig) -> str:
    """What a checkpoint's config is known by: its fields that are not at their defaults, under their first names."""
    return hashlib.sha256(json.dumps(with_old_keys(non_default_fields(config)), sort_keys=True).encode()).hexdigest()


def network_config_of(config: TrainConfig) -> ModelConfig:
    """The preset that the config names, with its changes; InputError where either is unknown."""
    try:
        base = preset(config.network)
    except ValueError as error:
        raise InputError(f"network: {error}") from None
    if not config.model:
        return base
    return from_dict(type(base), dataclasses.asdict(base) | config.model, "model")


def untrained_heads(sources: list[Source], network: keras.Model) -> list[str]:
    """The network's markups, and angles of the pose, for which no source has a label."""
    labelled = {m for s in sources for m in s.faces.landmarks if s.markups is None or m in s.markups}
    heads = [m for m in landmark_markups(network) if m not in labelled]
    if "s1_pose" in network.output:
        known = [np.isfinite(s.faces.pose_deg).any(axis=0) for s in sources if s.pose]
        heads += [a for i, a in enumerate(ANGLES) if not any(k[i] for k in known)]
    return heads


def environment() -> dict[str, Any]:
    """Versions and machine, for records."""
    versions = {"python": platform.python_version(), "edgeface": __version__, "backend": keras.backend.backend()}
    for name in ("keras", "tensorflow", "jax", "numpy", "opencv-python", "grain"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    machine = {"system": f"{platform.system()} {platform.machine()}", "cpus": cores()}
    return {"versions": versions, "machine": machine | lowered_precision()}


def lowered_precision() -> dict[str, str]:
    """{"onednn_fpmath": mode} where TensorFlow's oneDNN was told to multiply float32 in fewer bits; else {}."""
    mode = os.environ.get("TF_SET_ONEDNN_FPMATH_MODE")
    return {"onednn_fpmath": mode} if mode else {}


def _validation(network: keras.Model, config: TrainConfig, untrained: list[str], members: Team) -> Validation | None:
    v = config.validation
    if v is None:
        return None
    samples = load_set(v.set, v.split, v.limit, v.dir)
    trained = [m for m in landmark_markups(network) if m not in untrained]
    protocol, markup = protocol_for(v.set, samples, trained, v.markups[0] if v.markups else None)
    copy = None
    if members.devices > 1:
        # Scored by each process for itself: faces need not divide by the devices, and none waits for another.
        with undistributed():
            copy = keras.models.clone_model(network)
    view = deployed(copy or network, config.name, markup, crop_scale=config.augment.crop_scale)
    faces = prepare(samples, protocol, view.side, view.channels, view.crop_scale)
    return Validation(view, faces, v.set, network, copy)


def start_from(network: keras.Model, network_config: ModelConfig, path: str) -> None:
    """Takes another model's weights over, grown where it is narrower or has fewer stages (`edgeface.models.grow`);
    InputError where it is another network's."""
    source, info = load_model(path)
    shapes = [tuple(w.shape) for w in network.get_weights()]
    if [tuple(w.shape) for w in source.get_weights()] == shapes:
        network.set_weights(source.get_weights())
        return
    before = config_of(info)
    try:
        check_growth(before, network_config)
        grow(source, network)
    except ValueError as error:
        rule = f"init must hold a network like {network_config.name}, or one that is only narrower or of fewer stages"
        raise InputError(f"{rule}. Received: {before.name}; {error}") from None


def _begun_from(config: TrainConfig, out: Path, step: int) -> dict[str, str]:
    """Network and SHA-256 of the weights that the run began with, "" where those were random: a run's own result may
    since lie where they lay."""
    if step and (out / CONFIG).exists():
        found = read_json(out / CONFIG)
        return {key: found.get(key, "") for key in ("begun_from", "begun_from_sha256")}
    if not config.init:
        return {"begun_from": "", "begun_from_sha256": ""}
    digest = hashlib.sha256(Path(config.init).read_bytes()).hexdigest()
    return {"begun_from": config_of(read_info(config.init)).name, "begun_from_sha256": digest}


def already_trained(config: TrainConfig, out: Path, name: str) -> bool:
    """Whether the folder holds this config's finished run; InputError where it is another config's."""
    if not ((out / name).exists() and (out / CONFIG).exists()):
        return False
    _check_same(config, out)
    return True


def _check_same(config: TrainConfig, out: Path) -> None:
    """InputError where the folder holds a run of another config."""
    # Through JSON, so that both sides are lists, floats and strings.
    wanted, found = json.loads(json.dumps(non_default_fields(config))), read_json(out / CONFIG).get("config", {})
    with suppress(InputError):  # of a newer edgeface, with keys unknown here: other than any config
        found = non_default_fields(recorded_config(found, str(out / CONFIG)))
    changed = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
    if changed:
        raise InputError(f"{out} must be a new folder or this config's run. Received: a run with other {changed}")
    laid, now = read_json(out / CONFIG).get("laid_heads"), head_fit_facts(config).get("laid_heads")
    # Runs of before their records held the constants cannot be told.
    if laid not in (None, now):
        raise InputError(f"{out} must be a new folder or a run whose heads were laid by {now}. Received: {laid}")


def _source_facts(sources: list[Source]) -> list[dict[str, Any]]:
    """What was trained on, and what was not: faces left out with their reasons, labels that are unknown.

    ``drawn`` counts a face of a rare pose as often as it is drawn beside the others (`SourceConfig.pose_balance`), and
    so do the unknown labels.
    """
    return [
        {
            "name": s.name,
            "faces": s.distinct,
            "weight": s.weight,
            "drawn": len(s.faces),
            "skipped": list(s.skipped),
            "unknown": unknown_labels(s.faces, s.markups or tuple(s.faces.landmarks), s.pose),
        }
        for s in sources
    ]


def head_fit_facts(config: TrainConfig) -> dict[str, Any]:
    """{"laid_heads": their constants} of a run that learns from heads laid over photographs, else {}."""
    return {"laid_heads": fit.constants()} if any(s.fit_3d or s.profile_views for s in config.sources) else {}


def _say_other_faces(out: Path, sources: list[Source], say: Callable[[str], None]) -> None:
    """A warning where the run began with other faces: it can go on, but not as if it had never stopped."""
    recorded = read_json(out / CONFIG).get("sources") if (out / CONFIG).exists() else None
    began = [(s["name"], s["faces"]) for s in recorded or ()]
    now = [(s.name, s.distinct) for s in sources]
    if recorded and began != now:
        text = [", ".join(f"{name} {faces}" for name, faces in pairs) for pairs in (began, now)]
        say(f"not the faces that this run began with: {text[0]} then, {text[1]} now; its batches differ from here on")


def _network_facts(network: keras.Model) -> dict[str, Any]:
    return {"name": network.name, "parameters": network.count_params(), "input": list(network.input_shape[1:])}


def _jit() -> bool | str:
    # On a CPU TensorFlow's own kernels beat XLA (0.21 s against 0.29 s a step of a small cascade).
    slower = keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices("gpu")
    return False if slower else "auto"


@contextmanager
def _plain_errors():
    """TensorFlow wraps what the pipeline raises in an error of its own: take the InputError out again."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        found = re.search(r"InputError: (.+)", str(error))
        if found is None:
            raise
        raise InputError(found[1]) from error

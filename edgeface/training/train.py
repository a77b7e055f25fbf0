"""A training run: from a config to a folder with config.json, metrics.csv, checkpoint.npz and model.keras.

A run that is killed, at any time, goes on from its last checkpoint with the very batches, weights and optimizer state
it would have had.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgeface.datasets.load import load_set
from edgeface.errors import InputError
from edgeface.evaluation.evaluate import prepare, protocol_for
from edgeface.evaluation.networks import deployed
from edgeface.files import check_outputs
from edgeface.head_pose import ANGLES
from edgeface.models.grow import check_growth, grow
from edgeface.models.io import config_of, load_model, model_info, save_model
from edgeface.models.outputs import StageOutputs
from edgeface.models.presets import ModelConfig, build, preset
from edgeface.schema import as_dict, from_dict
from edgeface.training.backend import override_setting
from edgeface.training.config import TrainConfig
from edgeface.training.distribution import Team, check_agreement, distributed, team, undistributed
from edgeface.training.folder import MODEL, run_lock
from edgeface.training.losses import loss_for
from edgeface.training.monitor import Monitor, Validation
from edgeface.training.pipeline import LoadedSource, Views, batches, measure_throughput
from edgeface.training.records import network_facts, source_facts
from edgeface.training.run import Run, already_trained
from edgeface.training.source_faces import load_sources, seen_by_validation
from edgeface.training.trainer import AlignmentTrainer, make_optimizer

log = logging.getLogger("edgeface")


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = True,
    model: keras.Model | None = None,
    distribute: bool = False,
) -> Path:
    """Runs (or resumes, or reuses) the training that ``config`` describes; returns the path of the model.keras.

    Args:
        config: the run.
        out: its folder.
        resume: False deletes the run that the folder holds.
        model: a network to train in place of the one that the config names; it must have the config's shape, and have
            been built under its precision.
        distribute: on all devices of all processes, see `edgeface.training.distribution`; not part of the config,
            since a run may go on with another number of them.

    InputError: a folder with another config's run or another process, weights to start from that the run would replace,
    too many faces that cannot be read, a loss that is not finite, a full disk; the same call goes on from the last
    checkpoint.
    """
    out = Path(out)
    if config.init and model is None:
        check_outputs({"out": out / MODEL}, [config.init])
    if resume and already_trained(config, out, MODEL):
        log.info("%s: trained already", out / MODEL)
        return out / MODEL
    with distributed(distribute) as members, run_lock(out) if members.first else nullcontext():
        return _train(config, out, resume, model)


def _train(config: TrainConfig, out: Path, resume: bool, model: keras.Model | None) -> Path:
    network_config = network_config_of(config)
    with override_setting(keras.config.dtype_policy, keras.config.set_dtype_policy, config.precision):
        keras.utils.set_random_seed(config.seed)
        network = model if model is not None else build(network_config)
    if config.init and model is None:
        start_from(network, network_config, config.init)
    record = fit(network, config, out, resume=resume)
    if not team().first:
        return out / MODEL
    if config.precision != "float32":
        # Bfloat16 casts must not reach the converter; the weights themselves have been float32 all along.
        with undistributed():
            trained, network = network, build(network_config)
        network.set_weights(trained.get_weights())
    crop = {"rule": "square", "scale": config.augment.crop_scale}
    save_model(network, out / MODEL, model_info(network_config) | {"crop": crop, "training": record})
    log.info("%s: %d steps in %.1f min", out / MODEL, record["steps"], record["seconds"] / 60)
    return out / MODEL


def fit(
    network: keras.Model,
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = True,
    trainer_type: Callable[..., AlignmentTrainer] = AlignmentTrainer,
    model_name: str = MODEL,
) -> dict[str, Any]:
    """Trains a network in place and writes the run's files, but not the model; returns the record for the model's file.

    Args:
        network: any with the outputs of `edgeface.models`; a quantized one too.
        config: the run.
        out: its folder.
        resume: False deletes the run that the folder holds.
        trainer_type: (network, loss) -> what `keras.Model.fit` drives.
        model_name: the file that the caller saves the model as.
    """
    run = Run(config, Path(out), team(), model_name)
    rows = run.members.rows(config.batch_size)
    loss = loss_for(network, config.loss)
    run.open(resume)
    sources = load_sources(config, StageOutputs.of(network).markups, run.cache)
    untrained = _warned_untrained(config, sources, network)
    validation = _validation(network, config, untrained, run.members)
    trainer = _compiled(trainer_type(network, loss), config)
    step = run.saved_step() if resume else 0
    # Before anything is loaded: assigning different values to one distributed variable ends in JAX's own words.
    faces = [(s.name, len(s.faces)) for s in sources]
    check_agreement(run.members, f"step {step}, {faces}, config {run.fingerprint[:8]}")
    if step:
        run.restore(network, trainer.optimizer, sources)
    facts = {"config": as_dict(config), "network": network_facts(network), "sources": source_facts(sources)}
    origin = run.begin(step, facts)
    if step < config.steps:
        _fit_from(step, trainer, run, sources, rows, validation)
    # Keras's fit ends with this too; here for a run that was killed after its last step.
    trainer.optimizer.finalize_variable_values(trainer.trainable_variables)
    return run.record(sources, untrained, origin)


def _compiled(trainer: AlignmentTrainer, config: TrainConfig) -> AlignmentTrainer:
    optimizer = make_optimizer(
        config.learning_rate,
        config.steps,
        schedule=config.schedule,
        warmup=config.warmup,
        power=config.power,
        clip=config.clip,
        ema=config.ema,
    )
    optimizer.build(trainer.trainable_variables)
    trainer.compile(optimizer=optimizer, jit_compile=_jit())
    return trainer


def _fit_from(
    step: int,
    trainer: AlignmentTrainer,
    run: Run,
    sources: Sequence[LoadedSource],
    rows: tuple[int, int],
    validation: Validation | None,
) -> None:
    """From ``step`` to the config's last. rows: [start, stop) of every batch that this process makes."""
    config, network = run.config, trainer.network
    side, _, channels = network.input_shape[1:]
    views = Views(side, channels, StageOutputs.of(network).markups, config.augment, config.seed, config.batch_size)

    def faces():
        return batches(sources, views, start_step=step, mode=config.mode, rows=rows)

    rate = measure_throughput(faces(), steps=12)
    log.info("input pipeline alone: %.0f faces/s, %.0f ms a batch", rate, 1000 * (rows[1] - rows[0]) / rate)
    monitor = Monitor(config, network, step, run.files, run.fingerprint, validation)
    with _plain_errors(), monitor:
        trainer.fit(
            faces(),
            initial_epoch=step // config.epoch_steps,
            epochs=-(-config.steps // config.epoch_steps),
            steps_per_epoch=config.epoch_steps,
            callbacks=[monitor],
            shuffle=False,  # the pipeline has done it
            verbose=0,
        )


def network_config_of(config: TrainConfig) -> ModelConfig:
    """The preset that the config names, with its changes; InputError where either is unknown."""
    try:
        base = preset(config.network)
    except ValueError as error:
        raise InputError(f"network: {error}") from None
    if not config.model:
        return base
    return from_dict(type(base), dataclasses.asdict(base) | config.model, "model")


def untrained_heads(sources: Sequence[LoadedSource], network: keras.Model) -> list[str]:
    """The network's markups, and angles of the pose, for which no source has a label.

    Args:
        sources: what is trained on.
        network: the training graph.
    """
    labelled = {m for s in sources for m in s.faces.landmarks if s.markups is None or m in s.markups}
    names = StageOutputs.of(network)
    heads = [m for m in names.markups if m not in labelled]
    if names.has_pose:
        known = [np.isfinite(s.faces.pose_deg).any(axis=0) for s in sources if s.pose]
        heads += [a for i, a in enumerate(ANGLES) if not any(k[i] for k in known)]
    return heads


def _warned_untrained(config: TrainConfig, sources: Sequence[LoadedSource], network: keras.Model) -> list[str]:
    """`untrained_heads`, with warnings of them and of a validation that is trained on."""
    for line in seen_by_validation(config):
        log.warning(line)
    untrained = untrained_heads(sources, network)
    if untrained:
        log.warning("no source labels %s: the network's answers there will mean nothing", ", ".join(untrained))
    return untrained


def _validation(network: keras.Model, config: TrainConfig, untrained: list[str], members: Team) -> Validation | None:
    v = config.validation
    if v is None:
        return None
    samples = load_set(v.set, v.split, v.limit, v.dir)
    trained = [m for m in StageOutputs.of(network).markups if m not in untrained]
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
    """Takes another model's weights over; a narrower one, or one of fewer stages, grows (`edgeface.models.grow`).

    Args:
        network: the training graph that gets them.
        network_config: its config.
        path: the other model's .keras file.

    InputError where it is another network's.
    """
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

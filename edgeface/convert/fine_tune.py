"""Quantization-aware fine-tuning of a float model on the data that the model itself was trained on."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np

import edgeface.quantize as qat
from edgeface.convert.distill import DistillingTrainer, with_maps
from edgeface.errors import InputError, must_be_one_of
from edgeface.files import read_json, sha256, write_json
from edgeface.models.io import config_of, load_model, model_info, save_model
from edgeface.models.outputs import StageOutputs
from edgeface.training.augment import AugmentConfig
from edgeface.training.config import TrainConfig, recorded_config
from edgeface.training.folder import CHECKPOINT, CONFIG, clear_run, run_lock
from edgeface.training.pipeline import Views, batches
from edgeface.training.run import already_trained
from edgeface.training.source_faces import load_sources
from edgeface.training.train import fit
from edgeface.training.trainer import AlignmentTrainer

log = logging.getLogger("edgeface")

MODEL, SOURCE = "qat.keras", "source.json"
FORMER_OPTIONS = {"distil": "distill", "equalise": "equalize"}
"""{name in a run's record: name now}, so that a run goes on whose record has the former one."""


@dataclass(frozen=True)
class FineTune:
    """What differs from the float run: a short, gentle continuation of it."""

    steps: int = 300
    learning_rate: float = 5e-5
    """The weights have only to settle on the int8 grid."""
    calibration_batches: int = 16
    """Unaugmented batches that set the first activation ranges."""
    freeze_after: float = 0.6
    """Share of the steps after which moving ranges stand still, so that weights end on the grid that is exported."""
    ema: float = 0.99
    epoch_steps: int = 250
    ranges: str = "frozen"
    """"ema", "frozen" or "learned": `qat.Recipe.ranges`. Frozen keeps what "mse" found; batches would widen it."""
    calibration: str = "mse"
    """"minmax", "percentile", "mse" or "ema": how the first ranges are set, `qat.calibrate`."""
    percentile: float = 99.99
    bias_correction: bool = False
    """`qat.correct_bias` on the calibration batches, before training."""
    equalize: bool = False
    """`qat.equalize` the float network first."""
    distill: float = 1.0
    """Share of the loss that is the distance from the float network's own answers, 0 to 1 (`edgeface.convert.distill`).
    All of it, as the goal is the float network in int8: labels move the landmarks further from it, whether scores rise
    or fall (studies/quantization)."""
    seed: int = 1
    """Added to the float run's: other batches than it began with."""

    def __post_init__(self):
        if not 0 <= self.distill <= 1:
            raise InputError(f"distill must be in [0, 1]. Received: {self.distill}")
        if self.calibration not in qat.METHODS:
            raise InputError(must_be_one_of("calibration", qat.METHODS, self.calibration))
        qat.Recipe(ranges=self.ranges)  # refuses an unknown method


def fine_tune(
    model: str | Path,
    out: str | Path,
    options: FineTune | None = None,
    config: TrainConfig | None = None,
    resume: bool = True,
) -> Path:
    """Trains the quantized model of a float `.keras` file into ``out``/qat.keras and returns that path.

    A run that was stopped goes on where it was. InputError: a model without a training record and no config, a
    quantized model, a folder with another run or another process, the float model's own folder.

    Args:
        model: the float `.keras` file.
        out: the run's folder, another one than the float model's.
        options: how to tune; None: `FineTune`'s defaults.
        config: the data to tune on; None: the float run's own, as recorded in the model's file.
        resume: go on with what the folder holds; False: delete it and start again.
    """
    options = FineTune() if options is None else options
    out = Path(out)
    network, info = load_model(model, kind="float")
    run = tuning_config(info, options, config, str(model))
    facts = {"float_sha256": sha256(model), "options": asdict(options)}
    _check_not_a_float_run(out, Path(model))
    with run_lock(out):
        _check_source(out / SOURCE, facts, resume)
        if resume and already_trained(run, out, MODEL):
            log.info("%s: tuned already", out / MODEL)
            return out / MODEL
        if not resume:
            # Before the new source: a kill from here on must leave nothing that could pass for this run's.
            clear_run(out, MODEL)
        write_json(out / SOURCE, facts)
        quantized, record = _tuned(network, run, options, out, resume)
        record |= facts
        save_model(
            quantized, out / MODEL, model_info(config_of(info), "qat") | {"crop": info["crop"], "training": record}
        )
    log.info("%s: %d steps in %.1f min", out / MODEL, record["steps"], record["seconds"] / 60)
    return out / MODEL


def _tuned(
    network: keras.Model, run: TrainConfig, options: FineTune, out: Path, resume: bool
) -> tuple[keras.Model, dict[str, Any]]:
    """The trained quantized model and the record of its run."""
    quantized = quantized_of(network, options)
    if not (resume and (out / CHECKPOINT).exists()):  # a checkpoint brings its ranges with it
        prepare(quantized, options, calibration_batches(network, run, options, out.parent / "cache"))
    student, trainer_type = quantized, AlignmentTrainer
    if options.distill:
        student = with_maps(quantized)
        trainer_type = partial(DistillingTrainer, teacher=with_maps(network), share=options.distill)
    return quantized, fit(student, run, out, resume=resume, trainer_type=trainer_type, model_name=MODEL)


def quantized_of(network: keras.Model, options: FineTune) -> keras.Model:
    """The float network's quantized model, its ranges not yet set.

    Args:
        network: the float training graph.
        options: how it is tuned.
    """
    if options.equalize:
        network, _ = qat.equalize(network)
    freeze = round(options.steps * options.freeze_after)
    return qat.quantize_aware(network, qat.Recipe(ranges=options.ranges, freeze_ranges_after_steps=freeze))


def prepare(quantized: keras.Model, options: FineTune, images: list[np.ndarray]) -> None:
    """Sets the first ranges, and corrects the biases where asked.

    Args:
        quantized: from `quantized_of`.
        options: how the ranges are set.
        images: batches (B, S, S, C), raw 0..255.
    """
    qat.calibrate(quantized, images, options.calibration, options.percentile, progress=False)
    if options.bias_correction:
        qat.correct_bias(quantized, images[:8])


def _check_not_a_float_run(out: Path, model: Path) -> None:
    """InputError where the folder is the float model's own or another training's: their files have the same names."""
    if out.resolve() == model.resolve().parent:
        raise InputError(f"out must be another folder than the float model's own. Received: {out}")
    if (out / CONFIG).exists() and not (out / SOURCE).exists():
        raise InputError(f"{out} must be a new folder or this model's. Received: another training's")


def _check_source(path: Path, facts: dict[str, Any], resume: bool) -> None:
    """InputError where the folder holds the run of another float model, or one with other options."""
    if not (resume and path.exists()):
        return
    found = read_json(path)
    found["options"] = {FORMER_OPTIONS.get(key, key): value for key, value in found.get("options", {}).items()}
    changed = [key for key in facts if found.get(key) != facts[key]]
    if changed:
        raise InputError(f"{path.parent} must be a new folder or this model's. Received: one with other {changed}")


def tuning_config(info: dict[str, Any], options: FineTune, config: TrainConfig | None, where: str) -> TrainConfig:
    """The float run's config, or the given one, with this one's steps and rate and the float model's crops.

    Args:
        info: of the float model's file.
        options: steps, rate and the like.
        config: the data to tune on; None: the float run's own.
        where: what to call the model in an error.
    """
    if config is None:
        recorded = info.get("training", {}).get("config")
        if recorded is None:
            raise InputError(f"{where} must carry its training config, or one must be given. Received: neither")
        config = recorded_config(recorded, where)
    return replace(
        config,
        # The crops are the float model's, whatever the config's own were.
        augment=replace(config.augment, crop_scale=info["crop"]["scale"]),
        steps=options.steps,
        learning_rate=options.learning_rate,
        schedule="cosine",
        warmup=min(50, options.steps // 10),
        ema=options.ema,
        epoch_steps=min(options.epoch_steps, options.steps),
        precision="float32",
        init="",
        seed=config.seed + options.seed,
    )


def calibration_batches(network: keras.Model, run: TrainConfig, options: FineTune, cache: Path) -> list[np.ndarray]:
    """Unaugmented faces of the run's sources: batches (B, S, S, C) float32, raw 0..255.

    Args:
        network: the training graph.
        run: the config whose sources are used.
        options: how many batches.
        cache: the folder of cut-out faces.
    """
    markups = StageOutputs.of(network).markups
    side, _, channels = network.input_shape[1:]
    sources = load_sources(run, markups, cache)
    plain = AugmentConfig.none(run.augment.crop_scale)
    log.info("calibrating on %d batches", options.calibration_batches)
    views = Views(side, channels, markups, plain, run.seed, run.batch_size)
    faces = batches(sources, views, threads=0)
    return [x["image"] for x, _ in islice(iter(faces), options.calibration_batches)]

"""One trained model -> every variant, each checked by the gate, with its card beside it and inside it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeface.card import Card, attach_card, write_card
from edgeface.convert.gate import GateReport, gate, require
from edgeface.convert.make_card import make_card
from edgeface.convert.variants import VARIANTS, Variant
from edgeface.errors import InputError
from edgeface.files import atomic_write, check_outputs, check_writable, remove_partial, sha256
from edgeface.quantize.tflite_graph import read_graph

if TYPE_CHECKING:
    import keras

    from edgeface.convert.tflite import Exported

OVERFLOW_CROPS = 4
"""Faces that a float16 file is run on, every tensor kept, to see whether what it computes fits float16."""

log = logging.getLogger("edgeface")


@dataclass(frozen=True)
class Job:
    """What to convert, and how."""

    model: Path
    """The float model, a `.keras` file."""
    out: Path
    """The folder for the files."""
    qat: Path | None = None
    """Its fine-tuned quantized model; without one, a quantized model is calibrated and not fine-tuned."""
    calibration: str = "synthetic"
    """A manifest of `edgeface calibrate`, "synthetic" for rendered faces, or several with commas: a set without
    profiles leaves ranges too narrow for one."""
    markup: str | None = None
    """The landmarks to keep; None: the model's first."""
    outputs: tuple[str, ...] = ("landmarks", "pose", "spread")
    stages: int | None = None
    """Cut the cascade after this many stages; None: all."""
    name: str | None = None
    """Files are called NAME_VARIANT.tflite; None: the preset's name."""
    dir: str | Path | None = None
    """The folder that holds the manifests' sets; None: EDGEFACE_FACES, EDGEFACE_DATA."""

    @property
    def calibrations(self) -> tuple[str, ...]:
        return tuple(one.strip() for one in self.calibration.split(","))

    @property
    def calibration_name(self) -> str:
        """The calibration sets as a card names them."""
        return ", ".join(Path(one).name for one in self.calibrations)


@dataclass(frozen=True)
class Converted:
    """One file as it was written."""

    path: Path
    card: Card
    gate: GateReport


def convert_all(job: Job, variants: Sequence[Variant] | None = None) -> list[Converted]:
    """Every variant, in order; the first that fails its gate raises GateError.

    Args:
        job: the model, the folder and the options.
        variants: which ones; all six by default.
    """
    variants = list(VARIANTS.values()) if variants is None else variants
    done = []
    with Conversion.load(job, variants) as conversion:
        files = [conversion.path(variant) for variant in variants]
        cards = [file.with_suffix(".json") for file in files]
        read = [job.model, *([job.qat] if job.qat else []), *(one for one in job.calibrations if Path(one).is_file())]
        check_outputs({"--out": (*files, *cards)}, read)
        for file in map(conversion.path, VARIANTS.values()):
            remove_partial(file)
            remove_partial(file.with_suffix(".json"))
        for variant in variants:
            log.info("converting %s", variant.name)
            path = conversion.path(variant)
            data = conversion.export(variant)
            if variant.needs_calibration:
                data = conversion.correct(variant, data)
            with atomic_write(path) as aside:
                aside.write_bytes(data)
                # Checked before the file takes its name, so that one that fails is never there to be used.
                checked = conversion.gate(variant, aside)
                card = attach_card(aside, conversion.card(variant, data, checked))
                # Ahead of the renaming: where the disk is full, no file is left without its card.
                write_card(path.with_suffix(".json"), card)
            done.append(Converted(path, card, checked))
    return done


@dataclass(frozen=True)
class Conversion:
    """A float model and all that its files are made from, read once. A context: exports are removed at its end."""

    job: Job
    model: keras.Model
    """The float training graph."""
    info: dict[str, Any]
    markup: str
    stages: int
    crops: np.ndarray | None = None
    """(N, S, S, C) uint8, representative, cut as the model was trained; None where no variant needs them."""
    quantized: keras.Model | None = None
    """The quantized training graph; None where no variant needs one."""
    quantization: dict[str, Any] = field(default_factory=dict)
    """How the quantized model was made, for the cards."""
    _exports: dict[tuple[bool, bool], Exported] = field(default_factory=dict, repr=False)
    _stack: ExitStack = field(default_factory=ExitStack, repr=False)

    @classmethod
    def load(cls, job: Job, variants: Sequence[Variant]) -> Conversion:
        """Reads the model and what the variants need besides it. InputError names what does not fit the job.

        Args:
            job: the model, the folder and the options.
            variants: those that will be converted.
        """
        from edgeface.convert.calibration_set import calibration_crops
        from edgeface.models.io import config_of, load_model
        from edgeface.models.outputs import StageOutputs

        log.info("loading the model")
        model, info = load_model(job.model, kind="float")
        config_of(info)
        names = StageOutputs.of_network(model, job.model)
        check_writable(job.out)
        crops = quantized = None
        quantization: dict[str, Any] = {}
        needs_qat = any(v.needs_qat for v in variants)
        if any(v.needs_calibration for v in variants) or (needs_qat and job.qat is None):
            side, channels = model.input_shape[1], model.input_shape[3]
            crops = calibration_crops(job.calibrations, side, channels, info["crop"]["scale"], job.dir)
        if needs_qat and job.qat is not None:
            quantized, quantization = _load_quantized(job, info)
        elif needs_qat:
            quantized, quantization = _calibrated(job, model, crops)
        markup = names.markups[0] if job.markup is None else job.markup
        stages = names.stages if job.stages is None else job.stages
        return cls(job, model, info, markup, stages, crops, quantized, quantization)

    def __enter__(self) -> Conversion:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @cached_property
    def float_sha256(self) -> str:
        return sha256(self.job.model)

    def path(self, variant: Variant) -> Path:
        return self.job.out / f"{self.job.name or self.info['config']['name']}_{variant.name}.tflite"

    def source(self, variant: Variant) -> keras.Model:
        """The training graph that a variant's file is made from."""
        return self.quantized if variant.needs_qat else self.model

    def deployed(self, variant: Variant, source: keras.Model | None = None) -> keras.Model:
        """The outputs that a variant's file has, of the float model or of another training graph.

        Args:
            variant: whose outputs.
            source: the training graph; None: the float one.
        """
        from edgeface.models.deploy import deploy

        model = self.model if source is None else source
        try:
            return deploy(model, self.markup, self.job.outputs, self.stages, head=not variant.head_on_host)
        except ValueError as error:
            raise InputError(f"{self.job.model}: {error}") from None

    def export(self, variant: Variant) -> bytes:
        """The variant's flatbuffer, not yet checked. Variants of one source share its export."""
        from edgeface.convert.tflite import exported

        kind = (variant.needs_qat, variant.head_on_host)
        if kind not in self._exports:
            model = self.deployed(variant, self.source(variant))
            model = without_float_gates(model, variant.head_on_host) if variant.needs_qat else model
            self._exports[kind] = self._stack.enter_context(exported(model))
        return self._to_tflite(self._exports[kind], variant)

    def correct(self, variant: Variant, data: bytes) -> bytes:
        """The flatbuffer once more, its answers moved by their mean distance from the float model's over the crops.

        Args:
            variant: what it is.
            data: its flatbuffer.
        """
        from edgeface.convert.output_bias import moved, offsets
        from edgeface.convert.tflite import exported

        log.info("correcting the bias of %s's outputs", variant.name)
        deployed = self.deployed(variant)
        with exported(moved(deployed, offsets(deployed, data, self.crops))) as saved:
            return self._to_tflite(saved, variant)

    def gate(self, variant: Variant, file: Path) -> GateReport:
        """The report on a written file; GateError where it is not what the variant promises.

        Args:
            variant: what it must be.
            file: the file as it was written.
        """
        crops = None
        if variant.weights == "float16":
            crops = self._overflow_crops if self.crops is None else self.crops[:OVERFLOW_CROPS]
        return require(gate(file, variant, name=self.path(variant).name, crops=crops))

    def card(self, variant: Variant, data: bytes, checked: GateReport) -> Card:
        """The card of a variant's flatbuffer.

        Args:
            variant: what it is.
            data: its flatbuffer.
            checked: what the gate found.
        """
        return make_card(self, variant, read_graph(data), checked)

    def quantization_of(self, variant: Variant) -> dict[str, Any]:
        """How a variant's numbers became small, for its card."""
        if variant.needs_qat:
            return self.quantization
        if variant.needs_calibration:
            return {"method": "post-training", "calibration": self.job.calibration_name, "crops": len(self.crops)}
        return {"method": {"float16": "float16 weights", "int8": "int8 weights"}.get(variant.weights, "none")}

    @cached_property
    def _overflow_crops(self) -> np.ndarray:
        from edgeface.convert.calibration_set import rendered_crops

        side, channels = self.model.input_shape[1], self.model.input_shape[3]
        return rendered_crops("train", OVERFLOW_CROPS, side, channels, self.info["crop"]["scale"])

    def _to_tflite(self, saved: Exported, variant: Variant) -> bytes:
        try:
            return saved.to_tflite(variant, self.crops)
        except InputError:
            raise
        except Exception as error:  # the converter raises what it likes; its log is on stderr already
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()
            raise InputError(f"{self.job.model} must convert to {variant.name}. Received: {reason[:300]}") from error


def without_float_gates(deployed: keras.Model, head_on_host: bool) -> keras.Model:
    """A quantized model whose outputs are int8 tensors, not float copies of them behind a `FloatGate`.

    Args:
        deployed: of a quantized training graph.
        head_on_host: also put what conditions the next stage into int8, so that no operator is left in float.
    """
    import keras

    from edgeface.quantize.integer import integer_conditioning
    from edgeface.quantize.layers import FloatGate

    makers = {key: tensor._keras_history.operation for key, tensor in deployed.output.items()}
    kept = {key: maker.input if isinstance(maker, FloatGate) else deployed.output[key] for key, maker in makers.items()}
    model = keras.Model(deployed.input, kept, name=deployed.name)
    return integer_conditioning(model) if head_on_host else model


def _load_quantized(job: Job, info: dict[str, Any]) -> tuple[keras.Model, dict[str, Any]]:
    """The fine-tuned quantized model and how it was made. InputError where it is not one of the job's float model."""
    import edgeface.quantize  # noqa: F401  registers the layers of a quantized model
    from edgeface.models.io import config_of, load_model

    log.info("loading the quantized model")
    quantized, own = load_model(job.qat, kind="qat")
    if config_of(own) != config_of(info):
        raise InputError(
            f"{job.qat} must be the quantized model of {job.model}, of the same network and config. Received: "
            f"{own['network']} {own['config'].get('name')!r}"
        )
    made_from = own.get("training", {}).get("float_sha256")
    if made_from not in (None, sha256(job.model), info.get("halved_from")):
        raise InputError(
            f"{job.qat} must be the quantized model of {job.model}. Received: one of a model {made_from[:12]}…"
        )
    _check_ranges(quantized)
    how = {"method": "quantisation-aware training", **own.get("training", {}), "sha256": sha256(job.qat)}
    return quantized, how


def _calibrated(job: Job, model: keras.Model, crops: np.ndarray) -> tuple[keras.Model, dict[str, Any]]:
    """A quantized model whose ranges are measured on the crops, and how it was made."""
    import edgeface.quantize as qat

    log.info("calibrating a quantized model")
    quantized = qat.quantize_aware(model)
    qat.calibrate(quantized, [crops[i : i + 32].astype(np.float32) for i in range(0, len(crops), 32)])
    _check_ranges(quantized)
    return quantized, {
        "method": "twin, calibrated only",
        "calibration": job.calibration_name,
        "crops": len(crops),
    }


def _check_ranges(quantized: keras.Model) -> None:
    from edgeface.quantize import uncalibrated

    if missing := uncalibrated(quantized):
        raise InputError(
            f"every activation range of the quantized model must be set. Received: none for {', '.join(missing[:3])}"
        )

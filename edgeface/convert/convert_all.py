"""One trained model -> every variant, each checked by the gate, with its card beside it and inside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeface.card import Card, attach_card, write_card
from edgeface.convert.gate import GateReport, gate, require
from edgeface.convert.make_card import make_card, sha256
from edgeface.convert.variants import VARIANTS, Variant
from edgeface.errors import InputError
from edgeface.files import atomic_write
from edgeface.quantize.tflite_graph import read_graph

if TYPE_CHECKING:
    import keras

SYNTHETIC_CROPS = 128
"""Rendered faces, of every pose, for ``synthetic`` among the calibration sets."""
OVERFLOW_CROPS = 4
"""Faces that a float16 file is run on, every tensor kept, to see whether what it computes fits float16."""


@dataclass(frozen=True)
class Job:
    """What to convert, and how."""

    model: Path
    """The float model, a `.keras` file."""
    out: Path
    """The folder for the files."""
    qat: Path | None = None
    """Its fine-tuned quantisation-aware twin; without one the twin is calibrated and not fine-tuned."""
    calibration: str = "synthetic"
    """A manifest of `python -m calibration build`, "synthetic" for rendered faces, or several with commas: a set
    without profiles leaves ranges too narrow for one."""
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


@dataclass(frozen=True)
class Converted:
    path: Path
    card: Card
    gate: GateReport


def convert_all(
    job: Job,
    variants: list[Variant] | None = None,
    fine_tune: Callable[[keras.Model], dict[str, Any]] | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> list[Converted]:
    """Every variant (all six by default), in order; the first that fails its gate raises GateError.

    fine_tune: called with a calibrated twin where ``job.qat`` is None; trains it in place, returns what it did (for the
    card). report: told what is being done.
    """
    from edgeface.convert.tflite import exported
    from edgeface.models.deploy import deploy, landmark_markups, stage_count
    from edgeface.models.io import config_of, load_model

    variants = list(VARIANTS.values()) if variants is None else variants
    report("loading the model")
    trained, info = load_model(job.model)
    _must_be("float", info, job.model)
    config_of(info)
    _must_be_a_network(trained, job.model)
    _must_be_writable(job.out)
    markup = landmark_markups(trained)[0] if job.markup is None else job.markup
    stages = stage_count(trained) if job.stages is None else job.stages
    scale = info["crop"]["scale"]
    crops = _crops(job, trained, scale, variants, report)
    twin, how = (
        _twin(job, trained, info, crops, fine_tune, report) if any(v.needs_qat for v in variants) else (None, {})
    )
    done = []
    with ExitStack() as stack:
        sources = {}
        for variant in variants:
            report(f"converting {variant.name}")
            kept = {"markup": markup, "outputs": job.outputs, "stages": stages, "head": not variant.head_on_host}
            kind = (variant.needs_qat, variant.head_on_host)
            try:
                deployed = deploy(trained, **kept)
                if kind not in sources:
                    source = _on_the_grid(deploy(twin, **kept), variant) if variant.needs_qat else deployed
                    sources[kind] = stack.enter_context(exported(source))
            except ValueError as error:
                raise InputError(f"{job.model}: {error}") from None
            quantisation = how if variant.needs_qat else _how(variant, job, crops)
            data = _tflite(sources[kind], variant, crops, job.model)
            if variant.needs_calibration:
                report(f"centring {variant.name}'s answers")
                data = _centred(deployed, data, variant, crops, job.model)
            made = twin if variant.needs_qat else trained
            done.append(
                _write(job, variant, data, deployed=deployed, trained=made, info=info, markup=markup, stages=stages,
                       faces=_faces(variant, crops, trained, scale), float_sha256=sha256(job.model),
                       quantisation=quantisation)
            )  # fmt: skip
    return done


def _tflite(source, variant: Variant, crops: np.ndarray | None, model: Path) -> bytes:
    try:
        return source.to_tflite(variant, crops)
    except InputError:
        raise
    except Exception as error:  # the converter raises what it likes; its log is on stderr already
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"{model} must convert to {variant.name}. Received: {reason.strip()[:300]}") from error


def _centred(deployed: keras.Model, data: bytes, variant: Variant, crops: np.ndarray, model: Path) -> bytes:
    """The file once more, its answers moved by their mean distance from the float model's over the crops."""
    from edgeface.convert.output_bias import moved, offsets
    from edgeface.convert.tflite import exported

    with exported(moved(deployed, offsets(deployed, data, crops))) as source:
        return _tflite(source, variant, crops, model)


def _on_the_grid(deployed: keras.Model, variant: Variant) -> keras.Model:
    """A twin's outputs without the gate that leads from the int8 trunk to a float head: a cut-off head ends in int8."""
    import keras

    from edgeface.quantize.integer import integer_conditioning
    from edgeface.quantize.layers import FloatGate

    makers = {key: tensor._keras_history.operation for key, tensor in deployed.output.items()}
    kept = {key: maker.input if isinstance(maker, FloatGate) else deployed.output[key] for key, maker in makers.items()}
    on_grid = keras.Model(deployed.input, kept, name=deployed.name)
    return integer_conditioning(on_grid) if variant.head_on_host else on_grid


def _write(job: Job, variant: Variant, data: bytes, *, info, faces, **card_parts) -> Converted:
    name = f"{job.name or info['config']['name']}_{variant.name}"
    path = job.out / f"{name}.tflite"
    graph = read_graph(data)
    with atomic_write(path) as aside:
        aside.write_bytes(data)
        # Judged as written, before it takes its name: a file that fails never lies there to be used.
        checked = require(gate(aside, variant, path.name, faces=faces))
        notes = _notes(variant, checked, card_parts["quantisation"])
        card = attach_card(aside, make_card(name, variant, graph, info=info, notes=notes, **card_parts))
        # Ahead of the file's renaming: where the disk is full, no file lies there without its card.
        write_card(path.with_suffix(".json"), card)
    return Converted(path, card, checked)


def _notes(variant: Variant, checked: GateReport, quantisation: dict[str, Any]) -> tuple[str, ...]:
    notes = []
    if quantisation.get("method") == "twin, calibrated only":
        notes.append("the quantisation-aware twin was calibrated, not fine-tuned")
    if variant.head_on_host and checked.float_operators:
        notes.append(
            f"{checked.float_operators} operators between the stages (or for the pose) compute in float: "
            "a full-integer device runs them on its CPU; one stage alone has no more than the pose's"
        )
    return tuple(notes)


def _how(variant: Variant, job: Job, crops: np.ndarray | None) -> dict[str, Any]:
    if variant.needs_calibration:
        return {"method": "post-training", "calibration": _calibration_name(job), "crops": len(crops)}
    return {"method": {"float16": "float16 weights", "int8": "int8 weights"}.get(variant.weights, "none")}


def _twin(job: Job, trained, info, crops, fine_tune, report) -> tuple[keras.Model, dict[str, Any]]:
    """The quantisation-aware twin and how it came about."""
    import edgeface.quantize as qat  # its layers must be known before a twin is loaded
    from edgeface.models.io import config_of, load_model

    if job.qat is not None:
        report("loading the quantisation-aware twin")
        twin, twin_info = load_model(job.qat)
        _must_be("qat", twin_info, job.qat)
        if config_of(twin_info) != config_of(info):
            raise InputError(
                f"{job.qat} must be a twin of {job.model}, of the same network and config. Received: "
                f"{twin_info['network']} {twin_info['config'].get('name')!r}"
            )
        made_from = twin_info.get("training", {}).get("float_sha256")
        if made_from not in (None, sha256(job.model), info.get("halved_from")):
            raise InputError(f"{job.qat} must be a twin of {job.model}. Received: one of a model {made_from[:12]}…")
        how = {"method": "quantisation-aware training", **twin_info.get("training", {}), "sha256": sha256(job.qat)}
    else:
        report("calibrating a quantisation-aware twin")
        twin = qat.quantize_aware(trained)
        qat.calibrate(twin, [crops[i : i + 32].astype(np.float32) for i in range(0, len(crops), 32)])
        how = {"method": "twin, calibrated only", "calibration": _calibration_name(job), "crops": len(crops)}
        if fine_tune is not None:
            report("fine-tuning the twin")
            how = {**how, "method": "quantisation-aware training", **fine_tune(twin)}
    missing = qat.uncalibrated(twin)
    if missing:
        raise InputError(f"every activation range of the twin must be set. Received: none for {', '.join(missing[:3])}")
    return twin, how


def _crops(job: Job, trained, scale: float, variants: list[Variant], report) -> np.ndarray | None:
    """Representative crops (N, S, S, C) uint8, cut as the model was trained, where a variant needs them."""
    needed = any(v.needs_calibration for v in variants) or (job.qat is None and any(v.needs_qat for v in variants))
    if not needed:
        return None
    from edgeface.convert.calibration_set import load_calibration, synthetic_crops

    side, channels = trained.input_shape[1], trained.input_shape[3]
    parts = []
    for one in job.calibrations:
        if one == "synthetic":
            report(f"rendering {SYNTHETIC_CROPS} faces to calibrate on")
            parts.append(synthetic_crops(SYNTHETIC_CROPS, side, channels, scale))
        else:
            report(f"reading the calibration set {Path(one).name}")
            parts.append(load_calibration(one, side, channels, scale, root=job.dir))
    return np.concatenate(parts)


def _faces(variant: Variant, crops: np.ndarray | None, trained, scale: float) -> np.ndarray | None:
    """Crops on which a float16 file's activations must fit float16; None for every other file."""
    if variant.weights != "float16":
        return None
    if crops is not None:
        return crops[:OVERFLOW_CROPS]
    from edgeface.convert.calibration_set import cut
    from edgeface.datasets.load import load_set

    side, channels = trained.input_shape[1], trained.input_shape[3]
    return cut(load_set("synthetic", "train", OVERFLOW_CROPS), side, channels, scale)


def _calibration_name(job: Job) -> str:
    return ", ".join(Path(one).name for one in job.calibrations)


def _must_be_a_network(model: keras.Model, path: Path) -> None:
    """A training graph of this project: one image in, ``s1_<markup>`` and its like out."""
    names = [t.name for t in getattr(model, "inputs", None) or ()]
    outputs = getattr(model, "output", None)
    if names == ["image"] and isinstance(outputs, dict) and any(k.startswith("s1_") for k in outputs):
        return
    got = sorted(outputs)[:3] if isinstance(outputs, dict) else type(outputs).__name__
    raise InputError(
        f"{path} must be a training graph of edgeface.models: one input named image, outputs named s1_<markup>, "
        f"s1_<markup>_spread and so on. Received: inputs {names}, outputs {got}"
    )


def _must_be_writable(folder: Path) -> None:
    """Asked ahead of minutes of conversion."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder} must be a folder that can be written to. Received: {error.strerror}") from None


def _must_be(kind: str, info: dict[str, Any], path: Path) -> None:
    if info.get("kind", "float") != kind:
        what = {"float": "a float model (its twin goes to --qat)", "qat": "a quantisation-aware twin"}[kind]
        raise InputError(f"{path} must be {what}. Received: a {info.get('kind')!r} model")

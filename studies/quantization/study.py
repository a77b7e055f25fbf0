"""Which recipe of quantisation pays: ``python -m studies.quantization.study acdc_s ccr_s [--only row,...]``.

From weights/MODEL.keras, a twin by each recipe of `ROWS`, scored as the Keras twin against the float model on
AFLW2000-3D val, which serves to choose by and tests nothing else. (The twin's arithmetic is the file's: row
``converted`` shows it.) Each row is written to results/qat_study.json when it is done; a row that is there with the
same recipe, made from the same model, is kept. Twins that are tuned are runs of their own in runs/, so that a killed
one goes on where it was. Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from convert.release.command import run
from edgeface.convert.fine_tune import FineTune
from edgeface.errors import InputError

HERE = Path(__file__).parent
RUNS, WEIGHTS, TABLE = Path("runs"), HERE.parents[1] / "weights", HERE / "qat_study.json"
SET, SPLIT = "aflw2000_3d", "val"
JITTER_FACES, SHAKES = 100, 8
SENSITIVITY_FACES = 32

# Written out where the defaults may follow what the table says.
_TUNED = FineTune(steps=300, learning_rate=5e-5, distil=0.0, ranges="ema", calibration="minmax", seed=1)
_CALIBRATED = replace(_TUNED, steps=0)
ROWS: dict[str, FineTune] = {
    "tuned": _TUNED,
    "tuned_distil_alone": replace(_TUNED, distil=1.0),
    "tuned_distil_mse_frozen": replace(_TUNED, distil=1.0, calibration="mse", ranges="frozen"),
    "tuned_learned": replace(_TUNED, ranges="learned"),
    "minmax": _CALIBRATED,
    "percentile_99_9": replace(_CALIBRATED, calibration="percentile", percentile=99.9),
    "percentile_99_99": replace(_CALIBRATED, calibration="percentile", percentile=99.99),
    "mse": replace(_CALIBRATED, calibration="mse"),
    "minmax_bias": replace(_CALIBRATED, bias_correction=True),
    "mse_bias": replace(_CALIBRATED, calibration="mse", bias_correction=True),
    "minmax_equalised": replace(_CALIBRATED, equalise=True),
    "minmax_equalised_bias": replace(_CALIBRATED, equalise=True, bias_correction=True),
    "tuned_other_seed": replace(_TUNED, seed=2),
    "tuned_distil_learned": replace(_TUNED, distil=1.0, ranges="learned"),
    "tuned_distil_half": replace(_TUNED, distil=0.5),
    "tuned_distil_alone_other_seed": replace(_TUNED, distil=1.0, seed=2),
    "tuned_distil_mse": replace(_TUNED, distil=1.0, calibration="mse"),
    "tuned_distil_percentile": replace(_TUNED, distil=1.0, calibration="percentile", percentile=99.99),
    "tuned_faster": replace(_TUNED, learning_rate=2e-4),
    "tuned_distil_faster": replace(_TUNED, distil=1.0, learning_rate=2e-4),
    "tuned_distil_bias": replace(_TUNED, distil=1.0, bias_correction=True),
}
"""Ordered by how much is learnt from a row: a run that is stopped has the important ones. ``steps=0``: not tuned."""
CONVERTED = {"converted": "minmax", "converted_tuned": "tuned", "converted_tuned_distil_alone": "tuned_distil_alone"}
"""Files of these rows' twins."""
EXTRA = (*CONVERTED, "sensitivity", "sixteen_bits")
"""Rows that are no recipe: files, what each tensor of twin ``minmax`` costs alone, and that twin with 16 bits for the
activation that costs most."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A float model and the faces, cut out once."""

    name: str
    network: Any
    info: dict[str, Any]
    faces: Any
    shaken: Any
    view: Callable[[Any, str], Any]
    """(training graph or twin, name) -> a network that can be scored."""
    answers: dict[str, np.ndarray]
    """Float's."""

    @property
    def file(self) -> Path:
        return WEIGHTS / f"{self.name}.keras"


def load_subject(name: str) -> Subject:
    from edgeface.convert.parity import shake
    from edgeface.datasets.load import load_set
    from edgeface.evaluation.evaluate import prepare, protocol_for
    from edgeface.evaluation.networks import deployed
    from edgeface.models.deploy import landmark_markups
    from edgeface.models.io import load_model

    network, info = load_model(WEIGHTS / f"{name}.keras")
    samples = load_set(SET, SPLIT)
    protocol, markup = protocol_for(SET, samples, landmark_markups(network))

    def view(model, label):
        return deployed(model, label, markup, crop_scale=info["crop"]["scale"])

    reference = view(network, "float")
    faces = prepare(samples, protocol, reference.side, reference.channels, reference.crop_scale)
    shaken = shake(samples, reference, JITTER_FACES, SHAKES)
    return Subject(name, network, info, faces, shaken, view, _answers(reference, faces, shaken))


def study(name: str, wanted: tuple[str, ...]) -> None:
    """Every wanted row of one model, in the table's order."""
    subject = load_subject(name)
    _keep(name, "float", {}, lambda: _figures(subject, subject.answers), subject)
    for row, options in ROWS.items():
        if row in wanted:
            _keep(name, row, asdict(options), lambda row=row, options=options: _row(subject, row, options), subject)
    plain = asdict(ROWS["minmax"])
    for row, source in CONVERTED.items():
        if row in wanted:
            recipe = asdict(ROWS[source])
            _keep(name, row, recipe, lambda source=source: _converted(subject, source), subject)
    if "sensitivity" in wanted:
        _keep(name, "sensitivity", plain, lambda: _tensors(subject), subject)
    if "sixteen_bits" in wanted:
        _keep(name, "sixteen_bits", plain, lambda: _sixteen_bits(subject), subject)


def _row(subject: Subject, row: str, options: FineTune) -> dict[str, Any]:
    twin = _twin(subject, row, options)
    return _figures(subject, _answers(subject.view(twin, row), subject.faces, subject.shaken))


def _twin(subject: Subject, row: str, options: FineTune):
    from edgeface.convert.fine_tune import fine_tune, prepare_twin, twin_of
    from edgeface.convert.make_card import sha256
    from edgeface.models.io import load_model

    if options.steps:
        # By the model's hash too: a model that was trained anew starts a run of its own.
        out = RUNS / f"qat_study_{subject.name}_{sha256(subject.file)[:8]}_{row}"
        return load_model(fine_tune(subject.file, out, options))[0]
    twin = twin_of(subject.network, options)
    prepare_twin(twin, options, _calibration(subject))
    return twin


_batches: dict[str, list[np.ndarray]] = {}


def _calibration(subject: Subject) -> list[np.ndarray]:
    """The batches that `fine_tune` calibrates on."""
    from edgeface.convert.fine_tune import calibration_batches, tuning_config

    if subject.name not in _batches:
        run = tuning_config(subject.info, _TUNED, None, str(subject.file))
        _batches[subject.name] = calibration_batches(subject.network, run, _TUNED, RUNS / "cache", _say)
    return _batches[subject.name]


def _answers(network, faces, shaken) -> dict[str, np.ndarray]:
    from edgeface.evaluation.evaluate import run

    return run(network, faces) | {"shaken": network.infer_batch(shaken.crops)["landmarks"]}


def _figures(subject: Subject, answers: dict[str, np.ndarray]) -> dict[str, Any]:
    """Scores, and how they differ from float's: positive is worse."""
    from edgeface.convert.parity import jitter_of
    from edgeface.evaluation.evaluate import score
    from edgeface.head_pose import ANGLES, geodesic_deg

    faces, base = subject.faces, subject.answers
    own, reference = (score(a, faces, faces.protocol.markup.name) for a in (answers, base))
    paired = own.nme_per_face - reference.nme_per_face
    jitters = [jitter_of(a["shaken"], subject.shaken) for a in (answers, base)]
    pose = {key: getattr(own.pose, key) for key in (*ANGLES, "mean", "geodesic")}
    return {
        "faces": len(faces),
        "nme": own.nme,
        "nme_delta": float(paired.mean()),
        "nme_delta_sem": float(paired.std(ddof=1) / np.sqrt(len(paired))),
        "pose_mae": pose,
        "pose_delta": {key: value - getattr(reference.pose, key) for key, value in pose.items()},
        "landmark_shift_percent": _shift(answers, base),
        "pose_shift_deg": float(geodesic_deg(answers["pose"], base["pose"]).mean()),
        "jitter": 100 * jitters[0],
        "jitter_change_percent": 100 * (jitters[0] / jitters[1] - 1),
    }


def _converted(subject: Subject, row: str) -> dict[str, Any]:
    """The `.tflite` of a row's twin, scored as a device runs it; beside it, how far it is from its twin.

    A value on a rounding edge falls to either side, and what it shifts falls again: so far can two int8 programs be.
    """
    from edgeface.quantize import to_int8

    twin = subject.view(_twin(subject, row, ROWS[row]), row)
    answers = _answers(_FileNetwork(to_int8(twin.model)), subject.faces, subject.shaken)
    own = _answers(twin, subject.faces, subject.shaken)
    return _figures(subject, answers) | {"shift_from_twin_percent": _shift(answers, own)}


class _FileNetwork:
    """A `.tflite`, run one face at a time."""

    name = "file"

    def __init__(self, data: bytes):
        from ai_edge_litert.interpreter import Interpreter

        self._data = data  # the interpreter keeps no copy
        self._run = Interpreter(model_content=data).get_signature_runner()

    def infer_batch(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        outs = [self._run(image=crop[None]) for crop in crops]
        return {key: np.concatenate([out[key] for out in outs]) for key in outs[0]}


def _shift(answers: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> float:
    """Percent of the crop."""
    return 100 * float(np.linalg.norm(answers["landmarks"] - others["landmarks"], axis=-1).mean())


def _sixteen_bits(subject: Subject) -> dict[str, Any]:
    """The calibrated twin with 16 bits for the activation that costs most by itself; and for each of the costliest
    three, what becomes of such a file."""
    import edgeface.quantize as qat

    activations = [t["name"] for t in _tensors(subject)["tensors"] if t["kind"] == "activation"][:3]
    figures, files = {}, {}
    for name in activations:
        twin = qat.quantize_aware(subject.network, qat.Recipe(wide=(name,)))
        qat.calibrate(twin, _calibration(subject), progress=False)
        view = subject.view(twin, "int16")
        files[name] = _file_with_16_bits(subject, view)
        figures = figures or _figures(subject, _answers(view, subject.faces, subject.shaken)) | {"wide": [name]}
    return figures | {"files": files}


def _file_with_16_bits(subject: Subject, view) -> str:
    from edgeface.convert.tflite import to_tflite
    from edgeface.convert.variants import VARIANTS

    try:
        data = to_tflite(view.model, VARIANTS["int8_qat"])  # `to_int8` would refuse it
    except Exception as error:  # the converter's own type
        lines = [line for line in str(error).splitlines() if "error: '" in line] or [str(error)]
        return "refused by the converter: " + lines[0].split("error: ")[-1][:160]
    crops = subject.faces.crops[:SENSITIVITY_FACES]
    try:
        answers = _FileNetwork(data).infer_batch(crops)
    except (RuntimeError, ValueError) as error:
        return f"refused by the interpreter: {str(error)[:160]}"
    return f"runs, landmarks {_shift(answers, view.infer_batch(crops)):.2f} % of the crop from its twin's"


@lru_cache(maxsize=2)
def _tensors(subject: Subject) -> dict[str, Any]:
    """The tensors of the calibrated twin by what their rounding alone does to the final landmarks and pose."""
    import edgeface.quantize as qat
    from edgeface.head_pose import geodesic_deg

    view = subject.view(_twin(subject, "minmax", ROWS["minmax"]), "minmax").model
    crops = subject.faces.crops[:SENSITIVITY_FACES].astype(np.float32)

    def shift(exact, rounded) -> float:
        return 100 * float(np.linalg.norm(exact["landmarks"] - rounded["landmarks"], axis=-1).mean())

    def turn(exact, rounded) -> float:
        return float(geodesic_deg(exact["pose"], rounded["pose"]).mean())

    turns = {s.name: s.cost for s in qat.sensitivity(view, [crops], turn, progress=False)}
    tensors = [
        {"name": s.name, "kind": s.kind, "landmark_shift_percent": s.cost, "pose_shift_deg": turns[s.name]}
        for s in qat.sensitivity(view, [crops], shift, progress=False)
    ]
    return {"faces": len(crops), "tensors": tensors}


def _keep(name: str, row: str, recipe: dict[str, Any], make: Callable[[], dict[str, Any]], subject: Subject) -> None:
    """Makes a row and writes it, unless the table has it. The table is read again first: another may have written."""
    from edgeface.convert.make_card import sha256

    mark = {"recipe": recipe, "float_sha256": sha256(subject.file)}
    found = _table().get("models", {}).get(name, {}).get(row, {})
    if {key: found.get(key) for key in mark} == mark:
        return _say(f"{name} {row}: kept")
    _say(f"{name} {row} …")
    start = time.perf_counter()
    figures = make()
    table = _table()
    table["models"].setdefault(name, {})[row] = mark | {"seconds": round(time.perf_counter() - start, 1)} | figures
    _write(table)
    shown = {k: figures.get(k) for k in ("nme_delta", "landmark_shift_percent", "jitter_change_percent")}
    _say(f"{name} {row}: {shown} {figures.get('pose_delta')}")


def _table() -> dict[str, Any]:
    from edgeface.files import read_json

    return read_json(TABLE) if TABLE.exists() else {"models": {}}


def _write(table: dict[str, Any]) -> None:
    from edgeface.convert.latency import machine
    from edgeface.convert.make_card import commit, versions
    from edgeface.files import write_json

    order = ["float", *ROWS, *EXTRA]
    models = {
        name: dict(sorted(rows.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))
        for name, rows in sorted(table["models"].items())
    }
    about = {
        "command": f"python -m studies.quantization.study {' '.join(models)}",
        "scored_on": f"{SET} {SPLIT}",
        "versions": versions("keras", "tensorflow", "numpy"),
        "commit": commit(),
        "machine": machine(),
    }
    write_json(TABLE, about | {"models": models})


def as_markdown(table: dict[str, Any]) -> str:
    """The recipes of every model, one row each: differences from float, positive is worse."""
    lines = []
    for name, rows in table["models"].items():
        lines += [
            f"**{name}**: {table['scored_on']}, {rows['float']['faces']} faces, float NME {rows['float']['nme']:.3f} %",
            "",
            "| recipe | NME, points (SEM) | yaw / pitch / roll, deg | pose mean | landmark shift, % of crop | jitter |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for row, r in rows.items():
            if row == "float" or "nme_delta" not in r:
                continue
            angles = " / ".join(f"{r['pose_delta'][a]:+.3f}" for a in ("yaw", "pitch", "roll"))
            lines.append(
                f"| {row} | {r['nme_delta']:+.3f} ({r['nme_delta_sem']:.3f}) | {angles} "
                f"| {r['pose_delta']['mean']:+.3f} | {r['landmark_shift_percent']:.3f} "
                f"| {r['jitter_change_percent']:+.1f} % |"
            )
        lines.append("")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, flush=True)


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    everything = (*ROWS, *EXTRA)
    parser.add_argument("--only", default=",".join(everything), help=f"comma-separated, of {', '.join(everything)}")
    options = parser.parse_args(args)
    wanted = tuple(options.only.split(","))
    unknown = sorted(set(wanted) - set(everything))
    if unknown:
        raise InputError(f"--only must name rows of {', '.join(everything)}. Received: {', '.join(unknown)}")
    for name in options.models:
        study(name, wanted)
    print(as_markdown(_table()))
    return 0


if __name__ == "__main__":
    run(main)

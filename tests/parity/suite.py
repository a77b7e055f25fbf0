"""One trained network, variants of it, on every evaluation set: what `python -m convert parity --set real` does.

A part of each set, taken evenly, so that the suite runs in minutes; the whole sets are `python -m convert.release.measure`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import pytest

from edgeface.convert.calibration_set import build
from edgeface.convert.convert_all import Converted, Job, convert_all
from edgeface.convert.parity import Parity, contest, parity
from edgeface.convert.parity_sets import chosen_sets
from edgeface.convert.variants import VARIANTS
from edgeface.datasets.load import evaluation_split, load_set
from edgeface.datasets.packs import faces_root
from edgeface.errors import InputError
from edgeface.evaluation.evaluate import protocol_for
from edgeface.files import write_json

WEIGHTS = Path(__file__).parents[2] / "weights"
FACES = 200
JITTER_FACES = 32
RENDERED = 60


@dataclass(frozen=True)
class Suite:
    files: tuple[Converted, ...]
    rows: dict[str, list[Parity]]
    """By set; the float model's row first."""
    skipped: dict[str, str]


def run(name: str, variants: tuple[str, ...], markup: str, calibration: str, out: Path) -> Suite:
    """Converts into ``out`` and scores. calibration: the set whose training split `int8_ptq` sees beside
    rendered faces, if it is on disk."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter reads what Keras's TensorFlow backend exports")
    model, twin = WEIGHTS / f"{name}.keras", WEIGHTS / f"{name}_qat.keras"
    if not (model.is_file() and twin.is_file()):
        pytest.skip(f"no trained {name} here: {WEIGHTS} holds none")
    calibrated = any(VARIANTS[v].needs_calibration for v in variants)
    job = Job(model, out, twin, _calibration(calibration, out) if calibrated else "synthetic", markup)
    files = convert_all(job, [v for v in VARIANTS.values() if v.name in variants])
    against = contest(model, [c.path for c in files])
    rows, skipped = {}, {}
    for name_of_set in chosen_sets("real"):
        samples = load_set(name_of_set, evaluation_split(name_of_set), RENDERED if name_of_set == "synthetic" else None)
        samples = samples[:: max(1, len(samples) // FACES)]
        try:
            rules = protocol_for(name_of_set, samples, (against.markup,))[0]
        except InputError as error:
            skipped[name_of_set] = str(error)
            continue
        rows[name_of_set] = parity(against, (), samples, rules, jitter_faces=JITTER_FACES)
    return Suite(tuple(files), rows, skipped)


def _calibration(name: str, out: Path) -> str:
    root = faces_root()
    if root is None or not (root / name).is_dir():
        return "synthetic"
    manifest = out / "calibration.json"
    write_json(manifest, build(name, 100)[0].to_dict())
    return f"{manifest},synthetic"


def out_of_bounds(suite: Suite) -> list[str]:
    """Every figure that misses its bound, with the file and the set."""
    return [
        f"{row.file} on {name} ({row.scores.n} faces): {failure}"
        for name, rows in suite.rows.items()
        for row in rows
        for failure in row.failures
    ]

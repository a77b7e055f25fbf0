"""A trained network and converted files of it on every evaluation set, as `python -m convert parity --set real` does.

A part of each set, taken evenly: minutes, not an hour. `python -m convert.release.measure` scores the whole sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import pytest

from edgeface.convert.calibration_set import build
from edgeface.convert.convert_all import Job, convert_all
from edgeface.convert.parity import Parity, ParityRun
from edgeface.convert.parity_sets import chosen_sets
from edgeface.datasets.load import evaluation_split, load_set
from edgeface.datasets.packs import faces_root
from edgeface.errors import InputError
from edgeface.evaluation.evaluate import protocol_for
from edgeface.files import write_json

WEIGHTS = Path(__file__).parents[2] / "weights"
FACES = 100
JITTER_FACES = 16
RENDERED = 60


@dataclass(frozen=True)
class Suite:
    rows: dict[str, list[Parity]]
    """By set; the float model's row first."""
    skipped: dict[str, str]
    """By set, why."""


def trained(name: str) -> Path:
    """The float model's file; skips where it cannot be converted and run."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter reads what Keras's TensorFlow backend exports")
    model = WEIGHTS / f"{name}.keras"
    if not model.is_file():
        pytest.skip(f"no trained {name} here: {WEIGHTS} holds none")
    return model


def converted(model: Path, markup: str, calibration: str, out: Path) -> list[Path]:
    """Every variant of ``model``, in ``out``. calibration: the set whose training split `int8_ptq` sees beside
    rendered faces, if it is on disk."""
    job = Job(model, out, model.with_name(f"{model.stem}_qat.keras"), _calibration(calibration, out), markup)
    return [file.path for file in convert_all(job)]


def scored(model: Path, files: Sequence[Path]) -> Suite:
    """``files`` against ``model`` on every real set on disk that labels their markup; on rendered faces without one."""
    run = ParityRun.load(model, files)
    rows, skipped = {}, {}
    for name in chosen_sets("real"):
        samples = load_set(name, evaluation_split(name), RENDERED if name == "synthetic" else None)
        samples = samples[:: max(1, len(samples) // FACES)]
        try:
            rules = protocol_for(name, samples, (run.markup,))[0]
        except InputError as error:
            skipped[name] = str(error)
            continue
        rows[name] = run.score(samples, rules, jitter_faces=JITTER_FACES)
    return Suite(rows, skipped)


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

"""The figures of `results/MODEL/`: ``python -m results.measure acdc_s ccr_s`` from `weights/` and real faces.

For each model: every variant is converted into runs/MODEL, held against the float model on each set, and timed.
Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from edgeface.errors import InputError

HERE = Path(__file__).parent
RUNS, WEIGHTS = Path("runs"), HERE.parent / "weights"
CALIBRATION_FACES = 200


@dataclass(frozen=True)
class Subject:
    """A trained model and what it is scored on."""

    calibration: str
    """The set whose training split `int8_ptq` is calibrated on."""
    markup: str
    sets: tuple[tuple[str, str], ...]


SUBJECTS = {
    "acdc_s": Subject("300w", "ibug68", (("300w", "test"), ("aflw2000_3d", "val"))),
    "ccr_s": Subject("aflw", "aflw21", (("aflw", "test"),)),
}


def measure(name: str) -> None:
    """Converts, scores and times one model."""
    from calibration.crops import build
    from convert.convert_all import Job, convert_all
    from convert.parity import parity, table
    from convert.report import build_report, read_entries, save_parity, write_report
    from edgeface.datasets.load import load_set
    from edgeface.files import write_json
    from edgeface.markup import PROTOCOLS
    from edgeface.models.io import read_info

    subject = SUBJECTS[name]
    model, twin = WEIGHTS / f"{name}.keras", WEIGHTS / f"{name}_qat.keras"
    out = RUNS / name
    manifest = out / "calibration.json"
    write_json(manifest, build(subject.calibration, CALIBRATION_FACES, "train", 0)[0].to_dict())
    done = convert_all(Job(model, out, twin, str(manifest), subject.markup), report=_say)
    for set_name, split in subject.sets:
        faces = load_set(set_name, split)
        rows = parity(model, [c.path for c in done], faces, PROTOCOLS[set_name], jitter_faces=100, report=_say)
        print(table(rows))
        command = f"python -m results.measure {name}"
        save_parity(rows, HERE / name / f"{set_name}_{split}.json", set_name, split, command)
        save_parity(rows, out / "parity.json", set_name, split, command)
    report = build_report(read_entries([out]), command=f"python -m results.measure {name}", title=f"edgeface {name}")
    write_report(report, out)
    write_json(HERE / name / "report.json", report)
    write_json(HERE / name / "training.json", {kind: read_info(p)["training"] for kind, p in _files(model, twin)})


def _files(model: Path, twin: Path):
    return ("float", model), ("qat", twin)


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", choices=sorted(SUBJECTS))
    for name in parser.parse_args(args).models:
        measure(name)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")

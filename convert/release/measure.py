"""Measures released models into `results/MODEL/`: ``python -m convert.release.measure acdc_s ccr_s``.

For each model: every variant is converted into runs/MODEL, compared with the float model on each set, and timed. Exit 1
where an `int8_qat` file misses a bound.
Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from convert.release.command import run
from convert.release.record import record
from edgeface.files import write_json
from edgeface.progress import show_progress

HERE = Path(__file__).resolve().parents[2] / "results"
REAL = ("300w", "aflw2000_3d", "aflw")
RUNS, WEIGHTS = Path("runs"), HERE.parent / "weights"
CALIBRATION_FACES = 200


@dataclass(frozen=True)
class Files:
    """One conversion of a model: which landmarks its files keep, and what they are scored on."""

    name: str
    markup: str
    sets: tuple[str, ...]
    released: tuple[str, ...] = ("int8_qat", "float16")
    """Variants that the package ships."""


@dataclass(frozen=True)
class Subject:
    """A trained model."""

    calibration: str
    """Set whose training split calibrates `int8_ptq`, together with rendered faces, since it has few profiles."""
    files: tuple[Files, ...]
    """Its conversions; the first one is timed."""


def _acdc(name: str, released_3d: tuple[str, ...] = Files.released) -> Subject:
    """An AC-DC model: 300W's contour points and AFLW2000-3D's 3D points come from two heads, so it has two conversions.

    Args:
        name: the network's name.
        released_3d: variants of the 3D points' conversion that the package ships.
    """
    own = Files(name, "ibug68", ("300w", "aflw"))
    return Subject("300w", (own, Files(f"{name}_3d", "ibug68_3d", ("aflw2000_3d",), released_3d)))


def _ccr(name: str) -> Subject:
    own = Files(name, "aflw21", ("aflw",))
    return Subject("aflw", (own, Files(f"{name}_ibug68", "ibug68", ("300w", "aflw2000_3d"), released=())))


SUBJECTS = {
    "acdc_n": _acdc("acdc_n"),
    "acdc_s": _acdc("acdc_s"),
    # A second float16 file of 4 MB is not shipped.
    "acdc_m": _acdc("acdc_m", released_3d=("int8_qat",)),
    "ccr_n": _ccr("ccr_n"),
    "ccr_s": _ccr("ccr_s"),
    "ccr_m": _ccr("ccr_m"),
}


def measure(name: str) -> bool:
    """Converts, scores and times one model; whether every `int8_qat` file is within its bounds."""
    from edgeface.convert.parity_file import save_parity
    from edgeface.models.io import read_info

    subject = SUBJECTS[name]
    model, twin = WEIGHTS / f"{name}.keras", WEIGHTS / f"{name}_qat.keras"
    command = f"python -m convert.release.measure {name}"
    passed, seconds = True, {}
    for files in subject.files:
        out = RUNS / files.name
        seconds[files.markup] = _convert(model, twin, out, subject.calibration, files)
        scored = _score(model, out, files.sets)
        save_parity(out / "parity.json", scored, command)
        for one in scored:
            save_parity(HERE / name / f"{one.set}_{one.split}.json", [one], command)
            passed &= all(row.passed for row in one.rows if row.variant == "int8_qat")
    about = record(command, "keras", "tensorflow", "ai-edge-litert", "numpy")
    write_json(HERE / name / "conversion.json", about | {"seconds_for_all_variants": seconds})
    write_json(HERE / name / "training.json", {kind: read_info(p)["training"] for kind, p in _files(model, twin)})
    time_again(name)
    return passed


def time_again(name: str) -> None:
    """The report on the files that lie in runs/MODEL, timed now."""
    from edgeface.convert.report import PEERS, build_report, read_entries, read_peers, write_report

    command = f"python -m convert.release.measure {name}"
    entries = read_entries([RUNS / name])
    report = build_report(entries, command=command, title=f"edgeface {name}", peers=read_peers(PEERS))
    write_report(report, RUNS / name)
    write_json(HERE / name / "report.json", report)


def _convert(model: Path, twin: Path, out: Path, calibration: str, files: Files) -> float:
    """Every variant into ``out``, in seconds, the gate included."""
    from edgeface.convert.calibration_set import build
    from edgeface.convert.convert_all import Job, convert_all

    manifest = out / "calibration.json"
    write_json(manifest, build(calibration, CALIBRATION_FACES, "train", 0)[0].to_dict())
    start = time.perf_counter()
    convert_all(Job(model, out, twin, f"{manifest},synthetic", files.markup, name=files.name))
    return round(time.perf_counter() - start, 1)


def _score(model: Path, out: Path, sets: tuple[str, ...]) -> list:
    from edgeface.convert.folder import tflite_files
    from edgeface.convert.parity import table
    from edgeface.convert.parity_sets import score_sets

    scored = score_sets(model, tflite_files(out), sets, jitter_faces=100)
    for one in scored:
        print(table(one.rows))
    return scored


def _files(model: Path, twin: Path):
    return ("float", model), ("qat", twin)


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", choices=sorted(SUBJECTS))
    parser.add_argument("--times", action="store_true", help="only time the files that are converted, once more")
    options = parser.parse_args(args)
    show_progress()
    if options.times:
        for name in options.models:
            time_again(name)
        return 0
    within = [measure(name) for name in options.models]
    return 0 if all(within) else 1


if __name__ == "__main__":
    run(main)

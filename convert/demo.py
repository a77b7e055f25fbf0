"""``make demo``: the whole job on rendered faces, from two networks to a report."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"  # what the converter reads
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RUNS = Path("runs/demo")
NETWORKS = ("acdc_n", "ccr_n")
TUNE_STEPS = 200
TEST_FACES = 200

PLAN = f"""edgeface demo: both networks, from rendered faces to .tflite files and a report.
  1. train        {" and ".join(NETWORKS)} on rendered faces                       about 7 minutes
  2. fine-tune    both, quantization-aware, {TUNE_STEPS} steps each                   about 2 minutes
  3. convert      six variants of each, every file checked as written    about 2 minutes
  4. parity       every file against its float model, {TEST_FACES} test faces     about 1 minute
  5. report       {RUNS}/report.html, .md and .json
On two cores; what is done already is used again. Networks trained for minutes on rendered faces show the way, not what
the networks can do: see results/ for real faces.
"""


def main() -> int:
    print(PLAN, flush=True)
    start = time.perf_counter()
    from edgeface.progress import show_progress
    from edgeface.training.backend import start_keras

    show_progress()
    start_keras()
    folders = [_network(name) for name in NETWORKS]
    _heading("report")
    from edgeface.convert.report import build_report, read_entries, terminal_table, write_report

    report = build_report(read_entries(folders), command="make demo", title="edgeface demo")
    *_, page = write_report(report, RUNS)
    print(f"\n{terminal_table(report)}\n")
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes. The report: {page}")
    print(
        f"Try a file: .venv/bin/edgeface predict --model {folders[0]}/{NETWORKS[0]}_int8_qat.tflite IMAGE --out out.png"
    )
    failed = [row["name"] for row in report["rows"] if row["gate"] != "passed"]
    if failed:
        print(f"edgeface: every file must pass its gate. Received: {', '.join(failed)} failed", file=sys.stderr)
    return 1 if failed else 0


def _network(name: str) -> Path:
    """Trains, tunes, converts and scores one network; its folder of files."""
    from edgeface.convert.convert_all import Job, convert_all
    from edgeface.convert.fine_tune import FineTune, fine_tune
    from edgeface.convert.parity import ParityRun, table
    from edgeface.convert.parity_file import ScoredSet, save_parity
    from edgeface.datasets.load import load_set
    from edgeface.evaluation.protocols import PROTOCOLS
    from edgeface.training.config_file import load_config
    from edgeface.training.train import train

    _heading(f"{name}: train")
    folder = RUNS / name
    model = train(load_config(f"configs/{name}_demo.toml"), folder)
    _heading(f"{name}: quantization-aware fine-tuning")
    quantized = fine_tune(model, RUNS / f"{name}_qat", FineTune(steps=TUNE_STEPS, epoch_steps=100))

    _heading(f"{name}: convert")
    files = folder / "tflite"
    scores = files / "parity.json"
    if scores.exists() and scores.stat().st_mtime > quantized.stat().st_mtime:
        print(f"{files}: converted and scored already")
        return files
    done = convert_all(Job(model, files, qat=quantized))
    _heading(f"{name}: parity")
    run = ParityRun.load(model, [file.path for file in done])
    rows = run.score(load_set("synthetic", "test", TEST_FACES), PROTOCOLS["synthetic"])
    save_parity(scores, [ScoredSet("synthetic", "test", tuple(rows))], "make demo")
    print(table(rows))
    return files


def _heading(text: str) -> None:
    print(f"\n== {text} ==", flush=True)


if __name__ == "__main__":
    from edgeface.errors import InputError

    try:
        raise SystemExit(main())
    except InputError as error:
        raise SystemExit(f"edgeface: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; `make demo` goes on from here") from None

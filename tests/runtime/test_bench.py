"""The figures that `edgeface bench` prints and writes: of the runs that were made, under the machine's name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeface import cli
from edgeface.runtime.bench import Percentiles, bench
from edgeface.runtime.machine import machine, peak_memory_mb, versions


def test_percentiles_are_of_the_runs():
    found = Percentiles.of(np.arange(101) / 1000)
    assert (found.p50_ms, found.p90_ms, found.p99_ms, found.mean_ms) == pytest.approx((50, 90, 99, 50))


def test_every_figure_is_of_its_own_part():
    ticks = iter(range(10_000))
    done = bench("acdc_n", runs=3, clock=lambda: float(next(ticks)))
    # A clock that ticks once a look: whatever is timed takes one tick.
    assert (done.load_ms, done.first_ms, done.infer.p99_ms, done.predict.p50_ms) == (1000, 1000, 1000, 1000)
    assert done.runs == 3 and done.file_bytes > 10_000


def test_the_command_prints_and_writes(capsys, tmp_path):
    path = tmp_path / "bench.json"
    assert cli.main(["bench", "--model", "acdc_n", "--runs", "5", "--out", str(path)]) == 0
    out = capsys.readouterr().out
    for part in ("p50", "p90", "p99", "at its peak", "first", str(machine()["cpu"]), versions()["numpy"]):
        assert part in out
    written = json.loads(path.read_text())
    assert written["model"].startswith("acdc_n") and written["machine"] == machine()
    assert written["versions"] == versions() and {"python", "numpy"} <= versions().keys()
    assert 0 < written["infer"]["p50_ms"] <= written["infer"]["p99_ms"]


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        (["--runs", "0"], "runs must be at least 1"),
        (["--threads", "0"], "threads must be at least 1"),
        (["--model", "none"], "model must be one of"),
        (["--delegate", "no_such_library.so"], "delegate must be a TensorFlow Lite delegate library"),
    ],
)
def test_arguments_are_checked(capsys, extra, rule):
    assert cli.main(["bench", *extra]) == 2
    assert rule in capsys.readouterr().err


def test_memory_is_in_megabytes():
    peak = peak_memory_mb()
    assert peak is None or 10 < peak < 100_000

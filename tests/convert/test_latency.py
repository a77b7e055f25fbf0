"""Timing in bursts that take turns, ratios within a round, and memory of a fresh process."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface.convert import latency
from edgeface.convert.latency import Latency, measure, speedup
from edgeface.convert.memory import peak_memory
from edgeface.errors import InputError
from edgeface.runtime.machine import machine


class Clock:
    """A model in whose runs alone time passes, as long as its name says (ms); the first run after another's is cold."""

    now, log = 0.0, []

    def __init__(self, file, threads=1):
        self.ms, self.threads = float(file), threads
        self.card = self
        self.input = self
        self.shape = (1, 4, 4, 1)

    def infer(self, crop):
        assert crop.shape == (4, 4, 1) and crop.dtype == np.uint8
        cold = 3.0 if Clock.log and Clock.log[-1] != self.ms else 0.0
        Clock.log.append(self.ms)
        Clock.now += (self.ms + cold) / 1000


@pytest.fixture
def clock(monkeypatch):
    Clock.now, Clock.log = 0.0, []
    monkeypatch.setattr(latency, "TFLiteModel", Clock)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: Clock.now)
    monkeypatch.setattr(latency.time, "process_time", lambda: Clock.now / 2)
    return Clock


def test_every_file_runs_in_bursts_and_the_order_turns(clock):
    measure(["1", "2", "3"], rounds=2, warmup=0, burst=2)
    assert clock.log == [1, 1, 2, 2, 3, 3, 2, 2, 3, 3, 1, 1]


def test_a_burst_hides_what_a_neighbour_costs_and_times_every_run(clock):
    fast, slow = measure(["1", "2"], rounds=4, warmup=1, burst=5)
    assert (fast.p50_ms, slow.p50_ms) == pytest.approx((1, 2))
    assert fast.runs == slow.runs == 20
    assert fast.p90_ms == pytest.approx(4), "the cold run of a burst is one of five, and counts"
    assert fast.cpu_ms == pytest.approx(0.5)
    assert speedup(fast, slow) == pytest.approx(2) and speedup(slow, fast) == pytest.approx(0.5)
    one, two, _ = measure(["1", "2", "3"], rounds=4, warmup=1, burst=1)
    assert speedup(one, two) == pytest.approx(5 / 4), "single runs in turns would have told another story"


def test_ratios_are_within_a_round():
    # The machine slowed down to a half after the first round: each round still says 3 times faster.
    fast, slow = Latency(2, 2, 3, 1, (1, 2, 2), 1, (1, 1, 1)), Latency(6, 6, 3, 1, (3, 6, 6), 2, (2, 2, 2))
    assert speedup(fast, slow) == 3
    assert speedup(fast, slow, cpu=True) == 2
    with pytest.raises(InputError, match=r"same rounds to be compared. Received: 2 and 3 rounds"):
        speedup(Latency(1, 1, 2, 1, (1, 1)), slow)
    with pytest.raises(InputError, match="same rounds"):
        speedup(Latency(1, 1, 2, 1), Latency(1, 1, 2, 1))


def test_real_files(tiny_files):
    files = [tiny_files.files[name].path for name in ("float32", "int8_logits")]
    times = measure(files, rounds=3, warmup=1, threads=2, burst=2)
    assert [(t.runs, t.threads, len(t.round_ms)) for t in times] == [(6, 2, 3)] * 2
    assert all(0 < t.p50_ms <= t.p90_ms and t.cpu_ms > 0 for t in times)
    with pytest.raises(InputError, match="rounds must be at least 1. Received: 0"):
        measure(files, rounds=0)
    with pytest.raises(InputError, match="burst must be at least 1. Received: 0"):
        measure(files, burst=0)


def test_machine():
    assert {"cpu", "cores", "system"} == set(machine()) and machine()["cores"] >= 1


def test_memory_is_of_the_file(tiny_files, tmp_path):
    file = tiny_files.files["float32"].path
    grown = peak_memory(file, times=1)
    if grown is None:
        pytest.skip("only Linux tells a process's peak memory in /proc")
    # At least the file itself, far below what the process's libraries take.
    assert file.stat().st_size <= grown < 100e6
    (tmp_path / "bad.tflite").write_bytes(b"no model")
    with pytest.raises(InputError, match="must run in a process of its own. Received: error: .*bad.tflite"):
        peak_memory(tmp_path / "bad.tflite", times=1)
    with pytest.raises(InputError, match="times must be at least 1"):
        peak_memory(file, times=0)

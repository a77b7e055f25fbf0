"""Several devices, several processes: the same training as on one device. Each in processes of its own, on JAX."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeface.datasets.cut_faces import cut_faces
from edgeface.errors import InputError
from edgeface.training.distribution import Team, distributed, team
from edgeface.training.pipeline import FaceBatches, LoadedSource, Views
from tests.training import tiny

ROOT = Path(__file__).parents[2]
SUMS = 1e-4
"""Two devices add up half a batch each and then the halves: float32 sums in another order, a few ulps (6e-8) a step,
which Adam's division by a small second moment can enlarge a hundredfold, over ten steps. A mean over half a batch is
another function: `halves` measures what it would change in one step, percents."""


def started(mode: str, folder: Path, env: dict[str, str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.training.team", mode, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def seen(process: subprocess.Popen) -> dict:
    """What it printed; its last words where it failed."""
    try:
        out, errors = process.communicate(timeout=400)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def two_devices(jax_env, tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("team")
    flags = f"{jax_env['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    return folder, seen(started("devices", folder, jax_env | {"XLA_FLAGS": flags}))


def test_two_devices_train_as_one(two_devices):
    found = two_devices[1]
    assert found["devices"] == ["cpu:0", "cpu:1"] and found["used"] == 2
    assert not found["distribution_left"]
    # The losses are means over the global batch, and batch norm takes its statistics: else halves would differ.
    assert found["halves"]["loss"] > 100 * SUMS and found["halves"]["variance"] > 100 * SUMS
    assert found["same"]["two"]["weights"] < SUMS and found["same"]["two"]["loss"] < SUMS


@pytest.mark.parametrize("name", ["one_two", "two_one"])
def test_a_checkpoint_goes_on_with_another_number_of_devices(two_devices, name):
    found = two_devices[1]["same"][name]
    assert found["weights"] < SUMS and found["loss"] < SUMS


def test_bfloat16_trains_on_two_devices(two_devices):
    # Bfloat16 keeps 8 bits, 0.4 %: the first losses are the float32 run's within a few of its steps.
    assert 0 < two_devices[1]["half"]["loss"] < 0.1


def test_a_batch_that_the_devices_cannot_share_is_refused(two_devices):
    assert two_devices[1]["refused"] == "batch_size must be a multiple of the 2 devices. Received: 3"


def test_two_processes_go_on_with_one_devices_checkpoint(two_devices, jax_env):
    """By the command, on loopback: one folder, two processes, a device each; refused where the folders differ."""
    folder, _ = two_devices
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    env = jax_env | {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    both = [started("process", folder, env | {"KERAS_DISTRIBUTION_PROCESS_ID": str(i)}) for i in range(2)]
    try:
        first, second = [seen(process) for process in both]
    finally:
        for process in both:
            process.kill()
    assert first["processes"] == second["processes"] == first["devices"] == 2
    for found in (first, second):
        code, message = found["differing"]
        assert code == 2 and "all 2 processes must see the same folder and faces. Received: other ones on" in message
        assert found["code"] == 0
    assert "going on from step 4 of 10" in first["said"] and second["said"] == []
    assert second["wrote_elsewhere"] == []
    assert first["apart"]["weights"] < SUMS and first["apart"]["loss"] < SUMS


def test_processes_draw_the_rows_of_one_batch():
    source = LoadedSource(cut_faces(tiny.samples(12), 48), 1.0, "tiny")

    def drawn(rows):
        views = Views(32, 1, ("mtfl5",), tiny.config().augment, seed=3, batch_size=6)
        return FaceBatches((source,), views, start_step=5, rows=rows)[2]

    (x, y), parts = drawn(None), [drawn(Team(2, 2, process).rows(6)) for process in range(2)]
    np.testing.assert_array_equal(x["image"], np.concatenate([part[0]["image"] for part in parts]))
    for name in y:
        np.testing.assert_array_equal(y[name], np.concatenate([part[1][name] for part in parts]))
    with pytest.raises(InputError, match=r"rows must be in a batch of 6. Received: \(3, 7\)"):
        drawn((3, 7))


def test_processes_with_another_number_of_devices_are_refused(monkeypatch):
    """Rows are shared out by process: with 3 devices here and 1 there the device of one would get the other's."""
    jax = pytest.importorskip("jax")
    mesh = SimpleNamespace(device_mesh=SimpleNamespace(devices=np.arange(4)))
    monkeypatch.setattr("keras.distribution.distribution", lambda: mesh)
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(process_index=i) for i in (0, 0, 0, 1)])
    with pytest.raises(InputError, match="as many devices as the others. Received: 3 on process 0, 1 on process 1"):
        team()
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(process_index=i) for i in (0, 0, 1, 1)])
    assert team().devices == 4


def test_other_backends_are_refused(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "tensorflow")
    refused = "distribution must run on JAX, KERAS_BACKEND=jax. Received: tensorflow"
    with pytest.raises(InputError, match=refused), distributed(True):
        pass

"""A full disk, for real: a small tmpfs. Every file that a run writes meets it once; afterwards the run goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeface import cli
from edgeface.models.io import load_model
from edgeface.training import monitor
from tests.training import tiny

pytestmark = pytest.mark.slow

SIZE = 1 << 20


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 1 MB, full when we say so. It is the run's folder, so that its cache is elsewhere."""
    folder = tmp_path / "run"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small file system can only be mounted by root")
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Takes all but ``leave`` bytes of the disk."""
    ballast = folder / "ballast"
    stat = os.statvfs(folder)
    with open(ballast, "wb") as file:
        file.write(bytes(stat.f_bavail * stat.f_frsize // 4096 * 4096 - leave))
    return ballast


@pytest.fixture
def command(tmp_path, monkeypatch) -> list[str]:
    tiny.use_tiny_faces(monkeypatch.setattr)
    monkeypatch.setattr("edgeface.training.train.measure_throughput", lambda *args, **kwargs: 1.0)
    path = tmp_path / "tiny.toml"
    path.write_text(tiny.TOML.format(more="steps = 6\nepoch_steps = 2"))
    return ["train", str(path), "--out"]


def test_a_full_disk_at_every_write_ends_clearly_and_the_run_goes_on(small_disk, command, tmp_path, monkeypatch, capfd):
    run, real_append = [*command, str(small_disk)], monitor.append_row
    assert cli.main([*command, str(tmp_path / "whole")]) == 0

    # Nothing fits: the run's first file.
    ballast = fill(small_disk)
    assert cli.main(run) == 2
    assert refused(capfd, small_disk / "config.json")
    ballast.unlink()

    # Full when a line of metrics.csv is due (the first: later ones fit into its last page), then the second checkpoint.
    for full_at, leave, name, saved in ((2, 0, "metrics.csv", 0), (4, 8192, "checkpoint.npz", 2)):

        def append_row(path, row, full_at=full_at, leave=leave):
            if row["step"] == full_at:
                fill(small_disk, leave)
            real_append(path, row)

        monkeypatch.setattr(monitor, "append_row", append_row)
        assert cli.main(run) == 2
        message = refused(capfd, small_disk / name)
        assert f"The last good state is that of step {saved}: the same command goes on from it" in message
        if saved:
            assert int(np.load(small_disk / "checkpoint.npz")["step"]) == saved
        assert set(left(small_disk)) - {"ballast", "checkpoint.npz", "config.json", "metrics.csv"} == set()
        (small_disk / "ballast").unlink()
        monkeypatch.setattr(monitor, "append_row", real_append)

    # Full when the model is due.
    real_save = keras.Model.save
    monkeypatch.setattr(keras.Model, "save", lambda *args: (fill(small_disk, 4096), real_save(*args)))
    assert cli.main(run) == 2
    assert refused(capfd, small_disk / "model.keras")
    assert left(small_disk) == ["ballast", "checkpoint.npz", "config.json", "metrics.csv"]
    monkeypatch.setattr(keras.Model, "save", real_save)
    (small_disk / "ballast").unlink()

    assert cli.main(run) == 0
    assert "going on from step 6 of 6" in capfd.readouterr().err
    whole, parts = (load_model(folder / "model.keras")[0].get_weights() for folder in (tmp_path / "whole", small_disk))
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)  # threads may sum in another order, see test_train


def refused(capfd, path: Path) -> str:
    """The one line on stderr; it names the file and the reason."""
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("edgeface: ")]
    assert len(lines) == 1, lines
    assert f"{path} must be writable. Received: No space left on device" in lines[0]
    return lines[0]


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())

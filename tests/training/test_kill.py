"""SIGKILL at random moments, and in the middle of a write: the run still ends with the uninterrupted run's bits.

Three random kills and three chosen ones here, on JAX. `EDGEFACE_KILLS=10 pytest tests/training/test_kill.py` kills ten
times; `KERAS_BACKEND=tensorflow` does it on TensorFlow, `EDGEFACE_SEED=1` at other moments.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeface.errors import InputError
from edgeface.training.folder import remove_partial_files, run_lock

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("EDGEFACE_KILLS", "3"))
SEED = int(os.environ.get("EDGEFACE_SEED", "0"))


def test_a_run_killed_at_random_moments_ends_with_the_uninterrupted_runs_bits(jax_env, tmp_path):
    env = jax_env | {
        "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "jax"),
        # Sums in one order: bit for bit is a promise for one backend on one machine with a fixed number of threads.
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.training.lives", str(tmp_path), str(KILLS), str(SEED)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found))
    assert [life["code"] for life in found["kills"] + found["cut"]] == [-signal.SIGKILL] * (KILLS + 3)
    assert found["resumed"] >= 2  # it did go on from checkpoints, and did not begin anew each time
    # Half a checkpoint, a whole one and a model that never got their names.
    assert [life["left"] for life in found["cut"]] == [[".npz"], [".npz"], [".keras"]]
    assert found["code"] == 0
    assert min(found["arrays"]) > 20
    assert found["same_state"] and found["same_model"] and found["same_curve"]
    assert found["hidden"] == []  # what the kills left is gone
    assert found["files"] == ["checkpoint.npz", "config.json", "metrics.csv", "model.keras"]


def test_a_folder_has_one_training_at_a_time(tmp_path):
    run, refused = tmp_path / "run", "must not be in use. Received: a folder that another process trains in"
    with run_lock(run), pytest.raises(InputError, match=refused), run_lock(run):
        pass
    with run_lock(run):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must be a folder that can be written"), run_lock(tmp_path / "file" / "run"):
        pass


def test_only_leavings_are_removed(tmp_path):
    left = [".checkpoint.a1b2c3_d.npz", ".metrics.abcdefgh.csv", ".qat.abcdefgh.keras"]
    kept = [".gitignore", ".hidden.npz", "checkpoint.npz", ".note.abcdefgh.txt", "model.abcdefgh.keras"]
    for name in left + kept:
        (tmp_path / name).write_text("")
    remove_partial_files(tmp_path, older_than_s=60)
    assert len(list(tmp_path.iterdir())) == len(left + kept)
    remove_partial_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)

"""The pack and the runner, rehearsed on the CPU with nothing but Keras, JAX and numpy in the process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convert.gpu_training.pack import MIB, chosen_faces, packed
from convert.gpu_training.packfile import Pack, join, split
from edgeface.datasets.cut_faces import cut_faces
from edgeface.errors import InputError
from edgeface.evaluation.evaluate import evaluate
from edgeface.evaluation.networks import load_network
from edgeface.evaluation.protocols import PROTOCOLS
from edgeface.models.io import load_model
from edgeface.training.checkpoint import read_rows
from edgeface.training.pipeline import LoadedSource
from tests.training import tiny

MTFL = PROTOCOLS["mtfl"]
ROOT = Path(__file__).parents[2]
ALONE = """
import runpy, sys
for name in ("tensorflow", "cv2", "grain", "matplotlib", "PIL", "torch"):
    sys.modules[name] = None
sys.argv[0] = "train"
runpy.run_module("convert.gpu_training.train", run_name="__main__")
"""


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    with pytest.MonkeyPatch.context() as patch:
        tiny.use_tiny_faces(patch.setattr)
        packed(tiny.config(steps=30, batch_size=8), cache=folder / "cache").save(folder / "pack.npz")
    return folder / "pack.npz"


def ran(env: dict[str, str], pack: Path, out: Path, *more: str) -> tuple[int, str]:
    """(exit code, what was said) of a run in a process of its own."""
    command = [sys.executable, "-c", ALONE, str(pack), "--out", str(out), "--scan", "5"]
    # No clock: a busy machine must not save or stop in between.
    command += ["--save-every", "1e9", "--seconds", "1e9", *more]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=400)
    return done.returncode, done.stdout + done.stderr[-3000:]


def test_a_run_in_two_pieces_is_one_run(jax_env, pack, tmp_path):
    code, said = ran(jax_env, pack, tmp_path / "whole")
    assert code == 0, said
    record = json.loads((tmp_path / "whole" / "record.json").read_text())
    assert record["step"] == record["steps"] == 30 and record["images_per_s"] > 0 and record["tflops"] is not None
    rows = read_rows(tmp_path / "whole" / "metrics.csv")
    assert [row["step"] for row in rows] == ["30"]

    code, said = ran(jax_env, pack, tmp_path / "parts", "--max-steps", "10", "--part-mib", "0.02")
    assert code == 0, said
    assert json.loads((tmp_path / "parts" / "record.json").read_text())["step"] == 10
    parts = sorted(path.name for path in (tmp_path / "parts").glob("checkpoint.npz*"))
    assert parts[0] == "checkpoint.npz.part00" and len(parts) > 1
    code, said = ran(jax_env, pack, tmp_path / "parts")
    assert code == 0 and "from step 10 of 30" in said, said
    whole, info = load_model(tmp_path / "whole" / "model.keras")
    for a, b in zip(whole.get_weights(), load_model(tmp_path / "parts" / "model.keras")[0].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # threads of the CPU may sum in another order
    assert info["training"]["untrained"] == [] and info["crop"] == {"rule": "square", "scale": 1.3}
    assert json.loads((tmp_path / "parts" / "record.json").read_text())["new_steps"] == 20
    curve = [float(row["landmarks"]) for row in read_rows(tmp_path / "parts" / "metrics.csv")]
    assert curve[-1] < curve[0]  # steps 25 to 30 against 5 to 10
    assert np.isfinite(evaluate(load_network(tmp_path / "whole" / "model.keras"), tiny.samples(12), MTFL).nme)


def test_a_pack_holds_what_the_pipeline_would_use(pack):
    stored = Pack.load(pack)
    faces = cut_faces(tiny.samples(12), 48)
    assert stored.images.shape == (12, 48, 48, 1) and stored.images.dtype == np.uint8
    np.testing.assert_allclose(stored.landmarks["mtfl5"], faces.landmarks["mtfl5"], atol=1 / 128)
    np.testing.assert_array_equal(stored.pose_deg, faces.pose_deg)
    np.testing.assert_allclose(stored.box_side, np.ptp(faces.box_xyxy.reshape(-1, 2, 2), 1).max(1), rtol=1e-5)
    import cv2

    np.testing.assert_array_equal(stored.images[3, ..., 0], cv2.cvtColor(faces.images[3], cv2.COLOR_RGB2GRAY))
    pack.with_name("bad.npz").write_bytes(pack.read_bytes()[:500])
    with pytest.raises(InputError, match=r"bad\.npz must be a pack"):
        Pack.load(pack.with_name("bad.npz"))


def test_faces_are_shared_out_by_weight_until_the_file_is_full():
    faces = cut_faces(tiny.samples(40), 32)
    sources = [
        LoadedSource(faces, 3.0, "a"),
        LoadedSource(faces, 1.0, "b"),
        LoadedSource(faces.take(range(4)), 2.0, "c"),
    ]
    rng = np.random.default_rng(0)
    chosen = chosen_faces(sources, [1000.0, 1000.0, 1000.0], 24_500, rng)
    # 24 faces: c has but 4 for its 8, what it leaves goes to a and b by 3 : 1.
    assert [len(c) for c in chosen] == [15, 5, 4]
    assert all((np.diff(c) > 0).all() for c in chosen)
    assert [len(c) for c in chosen_faces(sources, [1.0] * 3, MIB, rng)] == [40, 40, 4]
    with pytest.raises(InputError, match="a face of every source"):
        chosen_faces(sources, [1000.0] * 3, 1000, rng)


def test_files_are_cut_and_joined(tmp_path):
    path = tmp_path / "a.npz"
    data = np.random.default_rng(0).bytes(2500)
    path.write_bytes(data)
    split(path, 1000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz.part00", "a.npz.part01", "a.npz.part02"]
    join(path)
    assert path.read_bytes() == data and [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    split(path, 5000)
    assert path.exists()

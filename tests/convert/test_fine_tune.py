"""Fine-tuning a twin from a trained run's own record."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import edgeface.convert.fine_tune
from edgeface.convert.distill import DistillingTrainer, with_maps
from edgeface.convert.fine_tune import FineTune, fine_tune, tuning_config
from edgeface.errors import InputError
from edgeface.files import read_json
from edgeface.models.io import load_model, model_info, read_info, save_model
from edgeface.models.presets import build, config_from_dict
from edgeface.quantize import FakeQuant, uncalibrated
from edgeface.schema import as_dict
from edgeface.training.folder import run_lock
from edgeface.training.losses import loss_for
from edgeface.training.monitor import Monitor
from edgeface.training.train import network_config_of, train
from tests.training import tiny

pytestmark = pytest.mark.slow
OPTIONS = FineTune(steps=6, epoch_steps=3, calibration_batches=2)


@pytest.fixture
def eager():
    """TensorFlow runs step by step: for a few steps that is faster than tracing them into a graph first."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        tiny.use_tiny_faces(patch.setattr)
        yield train(tiny.config(steps=4), tmp_path_factory.mktemp("runs") / "float")


@pytest.fixture(scope="module")
def tuned(trained, tmp_path_factory):
    return fine_tune(trained, tmp_path_factory.mktemp("tuned") / "twin", OPTIONS).parent


def test_a_twin_is_tuned_saved_and_used_again(trained, tuned, tmp_path):
    out = Path(shutil.copytree(tuned, tmp_path / "runs" / "twin"))
    path = out / "qat.keras"
    twin, info = load_model(path)
    assert info["kind"] == "qat" and info["training"]["steps"] == 6
    assert info["training"]["config"]["seed"] == tiny.config().seed + 1
    assert info["crop"] == load_model(trained)[1]["crop"]
    assert not uncalibrated(twin)
    assert (out / "metrics.csv").read_text().count("\n") == 3
    before = path.read_bytes()
    with tiny.logged() as said:
        assert fine_tune(trained, out, OPTIONS) == path
    assert path.read_bytes() == before and "tuned already" in said[-1]
    for other in (replace(OPTIONS, learning_rate=1e-3), replace(OPTIONS, freeze_after=0.5)):
        with pytest.raises(
            InputError, match="must be a new folder or this model's. Received: one with other .'options'"
        ):
            fine_tune(trained, out, other)
    retrained = tmp_path / "retrained.keras"
    model, info = load_model(trained)
    model.set_weights([w + 0.01 for w in model.get_weights()])
    save_model(model, retrained, info)
    with pytest.raises(InputError, match="float_sha256"):
        fine_tune(retrained, out, OPTIONS)


def test_a_killed_run_goes_on_to_the_same_twin(eager, trained, tmp_path, monkeypatch):
    # Labels and moving ranges: what a checkpoint must bring along besides the weights.
    moving = replace(OPTIONS, distill=0.0, ranges="ema", calibration="minmax")
    whole, _ = load_model(fine_tune(trained, tmp_path / "a" / "twin", moving))

    class Killed(Exception):
        pass

    epochs = []

    def killed_after_an_epoch(self, epoch, logs=None):
        original(self, epoch, logs)
        epochs.append(epoch)
        raise Killed

    original = edgeface.convert.fine_tune.fit.__globals__["Monitor"].on_epoch_end
    with monkeypatch.context() as patch:
        patch.setattr(edgeface.convert.fine_tune.fit.__globals__["Monitor"], "on_epoch_end", killed_after_an_epoch)
        with pytest.raises(Killed):
            fine_tune(trained, tmp_path / "b" / "twin", moving)
    assert epochs == [0] and not (tmp_path / "b" / "twin" / "qat.keras").exists()
    resumed, _ = load_model(fine_tune(trained, tmp_path / "b" / "twin", moving))
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        # The same arithmetic in the same order: what differs is the order of float sums in threads.
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), atol=1e-5, err_msg=a.path
        )


def test_a_twin_learns_from_its_teacher_alone_with_every_option_on(eager, trained, tmp_path, monkeypatch):
    """And a killed run of it goes on: what it learns besides the weights is in the checkpoint."""
    options = replace(
        OPTIONS,
        distill=1.0,
        ranges="learned",
        calibration="mse",
        bias_correction=True,
        equalize=True,
        learning_rate=1e-4,
    )
    whole, info = load_model(fine_tune(trained, tmp_path / "a" / "twin", options))
    assert info["training"]["options"]["distill"] == 1.0 and info["training"]["options"]["ranges"] == "learned"
    assert set(whole.output) == set(load_model(trained)[0].output)
    learned = [layer for layer in whole.layers if isinstance(layer, FakeQuant) and layer.learned]
    assert learned and max(abs(float(layer.log_high)) for layer in learned) > 1e-6

    def calibrated_again(*_):
        raise AssertionError("a resumed twin must not be calibrated again")

    (tmp_path / "a" / "twin" / "qat.keras").unlink()
    monkeypatch.setattr(edgeface.convert.fine_tune, "prepare", calibrated_again)
    resumed, _ = load_model(fine_tune(trained, tmp_path / "a" / "twin", options))
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), err_msg=a.path)


def test_a_pupil_of_random_labels_follows_them_and_a_pupil_of_its_teacher_does_not(eager, trained):
    network, info = load_model(trained)
    x = {"image": np.random.default_rng(0).integers(0, 256, (8, *network.input_shape[1:])).astype("float32")}
    truth = {k: keras.ops.convert_to_numpy(v) for k, v in network(x["image"], training=False).items()}
    markups = [k[3:] for k in truth if k.startswith("s1_") and f"{k}_spread" in truth]
    y = {m: np.full_like(truth[f"s1_{m}"], 0.9) for m in markups} | {"pose": np.full_like(truth["s1_pose"], 60.0)}
    moved = {}
    for share in (0.0, 1.0):
        twin = edgeface.convert.fine_tune.quantized_of(network, OPTIONS)
        edgeface.convert.fine_tune.prepare(twin, OPTIONS, [x["image"]])
        student = with_maps(twin)
        trainer = DistillingTrainer(student, loss_for(student), with_maps(load_model(trained)[0]), share)
        trainer.compile(optimizer=keras.optimizers.Adam(3e-3))
        trainer.fit(x, y, epochs=6, batch_size=8, verbose=0)
        after = twin(x["image"], training=False)
        last = max(k for k in truth if k.endswith(markups[0]))
        moved[share] = np.abs(keras.ops.convert_to_numpy(after[last]) - truth[last]).mean()
    assert moved[1.0] < 0.3 * moved[0.0], moved


def test_a_fresh_start_that_is_killed_goes_on_to_its_own_twin(eager, trained, tuned, tmp_path, monkeypatch):
    """With nothing of the old one: neither its model nor a checkpoint from which it could go on unseen."""
    out = Path(shutil.copytree(tuned, tmp_path / "runs" / "twin"))
    (out / "model.keras").write_bytes(b"mine")
    other = replace(OPTIONS, calibration="minmax")  # not in the training config, which is all a checkpoint knows

    class Killed(Exception):
        pass

    def killed(*_):
        raise Killed

    for place in ((edgeface.convert.fine_tune, "prepare"), (Monitor, "on_epoch_end")):
        shutil.copy(tuned / "qat.keras", out)
        shutil.copy(tuned / "checkpoint.npz", out)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(*place, killed)
            fine_tune(trained, out, other, resume=False)
        assert not (out / "qat.keras").exists() and not (out / "checkpoint.npz").exists()
    with tiny.logged() as said:
        info = read_info(fine_tune(trained, out, other))
    source = read_json(out / "source.json")
    assert info["training"]["options"] == source["options"] and source["options"]["calibration"] == "minmax"
    assert not [line for line in said if "already" in line or "going on" in line]
    assert (out / "model.keras").read_bytes() == b"mine"


@pytest.mark.parametrize("resume", [True, False])
def test_the_folder_of_a_float_run_is_refused(trained, tmp_path, resume):
    own, another = (Path(shutil.copytree(trained.parent, tmp_path / name)) for name in ("own", "another"))
    before = {p.name: p.read_bytes() for p in own.iterdir()}
    with pytest.raises(InputError, match="out must be another folder than the float model's own. Received: .*own"):
        fine_tune(own / "model.keras", own, OPTIONS, resume=resume)
    with pytest.raises(InputError, match="another must be a new folder or this model's. Received: another training's"):
        fine_tune(own / "model.keras", another, OPTIONS, resume=resume)
    for folder in (own, another):
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_folder_takes_one_tuning_at_a_time(trained, tuned):
    with (
        run_lock(tuned),
        pytest.raises(InputError, match="must not be in use. Received: a folder that another process trains in"),
    ):
        fine_tune(trained, tuned, replace(OPTIONS, calibration="minmax"), resume=False)
    assert (tuned / "qat.keras").exists()


_WITHOUT_TENSORFLOW = """
import runpy, sys
sys.modules["tensorflow"] = None  # as on a machine with JAX alone
runpy.run_module("convert", run_name="__main__", alter_sys=True)
"""


def test_the_command_runs_on_jax_alone(jax_env, tmp_path):
    run = tiny.config(sources=[{"set": "synthetic", "limit": 8}], validation=None)
    config = network_config_of(run)
    save_model(build(config), tmp_path / "m.keras", model_info(config, training={"config": as_dict(run)}))
    command = ["qat", str(tmp_path / "m.keras"), "--out", str(tmp_path / "runs" / "twin"), "--steps", "2"]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TENSORFLOW, *command],
        cwd=Path(__file__).parents[2],
        env=jax_env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    twin, info = load_model(tmp_path / "runs" / "twin" / "qat.keras")
    assert info["training"]["versions"]["backend"] == "jax" and not uncalibrated(twin)


@pytest.mark.parametrize(("field", "value"), [("distill", 1.5), ("calibration", "magic"), ("ranges", "fixed")])
def test_options_say_what_they_take(field, value):
    with pytest.raises(InputError, match=f"{field} must be .* Received: {value!r}"):
        FineTune(**{field: value})


def test_a_model_that_cannot_be_tuned_is_refused(trained, tmp_path):
    model, info = load_model(trained)
    config = config_from_dict(info["network"], info["config"])
    save_model(model, tmp_path / "bare.keras", model_info(config))
    with pytest.raises(InputError, match="must carry its training config"):
        fine_tune(tmp_path / "bare.keras", tmp_path / "out", OPTIONS)
    save_model(model, tmp_path / "twin.keras", model_info(config, "qat"))
    with pytest.raises(InputError, match="must be a float model"):
        fine_tune(tmp_path / "twin.keras", tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists()


def test_the_float_runs_config_is_kept_but_for_what_tuning_changes(trained):
    info = load_model(trained)[1]
    run = tuning_config(info, OPTIONS, None, "here")
    assert run.sources == tiny.config().sources and run.augment == tiny.config().augment
    assert (run.steps, run.learning_rate, run.schedule, run.precision) == (6, 5e-5, "cosine", "float32")


def test_another_config_gives_its_faces_but_not_its_crops(trained):
    """The twin is saved with the float model's crop, so that is what it must be tuned on."""
    info = load_model(trained)[1] | {"crop": {"rule": "square", "scale": 1.5}}
    other = tiny.config(augment={"crop_scale": 1.1, "mirror": 0.25}, batch_size=2)
    run = tuning_config(info, OPTIONS, other, "here")
    assert run.augment == replace(other.augment, crop_scale=1.5) and run.batch_size == 2

"""Fine-tuning a twin from a trained run's own record."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

import convert.finetune
from convert.distil import DistillingTrainer, with_maps
from convert.finetune import FineTune, fine_tune, tuning_config
from convert.qat import FakeQuant, uncalibrated
from edgeface.errors import InputError
from edgeface.models.io import load_model, model_info, save_model
from edgeface.models.presets import config_from_dict
from edgeface.training.losses import loss_for
from edgeface.training.train import train
from tests.training import tiny

OPTIONS = FineTune(steps=6, epoch_steps=3, calibration_batches=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        tiny.use_tiny_faces(patch.setattr)
        yield train(tiny.config(steps=4), tmp_path_factory.mktemp("runs") / "float")


def test_a_twin_is_tuned_saved_and_used_again(trained, tmp_path, capsys):
    out = tmp_path / "runs" / "twin"
    path = fine_tune(trained, out, OPTIONS)
    twin, info = load_model(path)
    assert info["kind"] == "qat" and info["training"]["steps"] == 6
    assert info["training"]["config"]["seed"] == tiny.config().seed + 1
    assert info["crop"] == load_model(trained)[1]["crop"]
    assert not uncalibrated(twin)
    assert (out / "metrics.csv").read_text().count("\n") == 3
    before = path.read_bytes()
    assert fine_tune(trained, out, OPTIONS) == path
    assert path.read_bytes() == before and "tuned already" in capsys.readouterr().out
    for other in (replace(OPTIONS, learning_rate=1e-3), replace(OPTIONS, freeze_after=0.5)):
        with pytest.raises(
            InputError, match="must be a new folder or this twin's. Received: one with other .'options'"
        ):
            fine_tune(trained, out, other)
    retrained = tmp_path / "retrained.keras"
    model, info = load_model(trained)
    model.set_weights([w + 0.01 for w in model.get_weights()])
    save_model(model, retrained, info)
    with pytest.raises(InputError, match="float_sha256"):
        fine_tune(retrained, out, OPTIONS)


def test_a_killed_run_goes_on_to_the_same_twin(trained, tmp_path, monkeypatch):
    # Labels and moving ranges: what a checkpoint must bring along besides the weights.
    moving = replace(OPTIONS, distil=0.0, ranges="ema", calibration="minmax")
    whole, _ = load_model(fine_tune(trained, tmp_path / "a" / "twin", moving))

    class Killed(Exception):
        pass

    epochs = []

    def killed_after_an_epoch(self, epoch, logs=None):
        original(self, epoch, logs)
        epochs.append(epoch)
        raise Killed

    original = convert.finetune.fit_network.__globals__["Monitor"].on_epoch_end
    with monkeypatch.context() as patch:
        patch.setattr(convert.finetune.fit_network.__globals__["Monitor"], "on_epoch_end", killed_after_an_epoch)
        with pytest.raises(Killed):
            fine_tune(trained, tmp_path / "b" / "twin", moving)
    assert epochs == [0] and not (tmp_path / "b" / "twin" / "qat.keras").exists()
    resumed, _ = load_model(fine_tune(trained, tmp_path / "b" / "twin", moving))
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        # The same arithmetic in the same order: what differs is the order of float sums in threads.
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), atol=1e-5, err_msg=a.path
        )


def test_a_twin_learns_from_its_teacher_alone_with_every_option_on(trained, tmp_path, monkeypatch):
    """And a killed run of it goes on: what it learns besides the weights is in the checkpoint."""
    options = replace(
        OPTIONS,
        distil=1.0,
        ranges="learned",
        calibration="mse",
        bias_correction=True,
        equalise=True,
        learning_rate=1e-4,
    )
    whole, info = load_model(fine_tune(trained, tmp_path / "a" / "twin", options))
    assert info["training"]["options"]["distil"] == 1.0 and info["training"]["options"]["ranges"] == "learned"
    assert set(whole.output) == set(load_model(trained)[0].output)
    learned = [layer for layer in whole.layers if isinstance(layer, FakeQuant) and layer.learned]
    assert learned and max(abs(float(layer.log_high)) for layer in learned) > 1e-6

    def calibrated_again(*_):
        raise AssertionError("a resumed twin must not be calibrated again")

    (tmp_path / "a" / "twin" / "qat.keras").unlink()
    monkeypatch.setattr(convert.finetune, "prepare_twin", calibrated_again)
    resumed, _ = load_model(fine_tune(trained, tmp_path / "a" / "twin", options))
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), err_msg=a.path)


def test_a_pupil_of_random_labels_follows_them_and_a_pupil_of_its_teacher_does_not(trained):
    network, info = load_model(trained)
    x = {"image": np.random.default_rng(0).integers(0, 256, (8, *network.input_shape[1:])).astype("float32")}
    truth = {k: keras.ops.convert_to_numpy(v) for k, v in network(x["image"], training=False).items()}
    markups = [k[3:] for k in truth if k.startswith("s1_") and f"{k}_spread" in truth]
    y = {m: np.full_like(truth[f"s1_{m}"], 0.9) for m in markups} | {"pose": np.full_like(truth["s1_pose"], 60.0)}
    moved = {}
    for share in (0.0, 1.0):
        twin = convert.finetune.twin_of(network, OPTIONS)
        convert.finetune.prepare_twin(twin, OPTIONS, [x["image"]])
        student = with_maps(twin)
        trainer = DistillingTrainer(student, loss_for(student), with_maps(load_model(trained)[0]), share)
        trainer.compile(optimizer=keras.optimizers.Adam(3e-3))
        trainer.fit(x, y, epochs=6, batch_size=8, verbose=0)
        after = twin(x["image"], training=False)
        last = max(k for k in truth if k.endswith(markups[0]))
        moved[share] = np.abs(keras.ops.convert_to_numpy(after[last]) - truth[last]).mean()
    assert moved[1.0] < 0.3 * moved[0.0], moved


@pytest.mark.parametrize(("field", "value"), [("distil", 1.5), ("calibration", "magic"), ("ranges", "fixed")])
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

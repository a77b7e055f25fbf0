"""Training runs: what they leave behind, that a kill changes nothing, and how they refuse."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeface.datasets.cut_faces import cut_faces
from edgeface.datasets.profile_views import fit
from edgeface.errors import InputError
from edgeface.evaluation.evaluate import evaluate
from edgeface.evaluation.networks import load_network
from edgeface.evaluation.protocols import PROTOCOLS
from edgeface.files import read_json, write_json
from edgeface.models.io import load_model, save_model
from edgeface.models.presets import build
from edgeface.schema import as_dict
from edgeface.training.pipeline import LoadedSource
from edgeface.training.records import head_fit_facts
from edgeface.training.run import check_same
from edgeface.training.train import network_config_of, start_from, train, untrained_heads
from edgeface.training.trainer import Schedule
from tests.training import tiny

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def tiny_faces(monkeypatch):
    tiny.use_tiny_faces(monkeypatch.setattr)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, list[str]]:
    """One run that several tests look at, and what it logged."""
    out = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch, tiny.logged() as said:
        tiny.use_tiny_faces(patch.setattr)
        train(tiny.config(), out)
    return out, said


def test_a_killed_run_ends_like_an_uninterrupted_one(finished, tmp_path):
    found = tiny.compare_with_killed(finished[0], tmp_path / "parts")
    assert [row["step"] for row in found["killed"]] == ["4", "8"]  # the second row has no checkpoint: it must go
    assert_same_run(found)
    assert {p.name for p in (tmp_path / "parts").iterdir()} == {
        "checkpoint.npz",
        "config.json",
        "metrics.csv",
        "model.keras",
    }


def test_jax_alone_trains_resumes_and_agrees(jax_env, tmp_path):
    """In a process of its own, without tensorflow: the same checks, and the same losses as on this backend."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.tiny", str(tmp_path)],
        cwd=ROOT,
        env=jax_env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["backend"] == "jax"
    assert_same_run(found)
    for name, value in tiny.loss_values().items():
        # Sums of a few hundred float32 terms in another order.
        assert found["losses"][name] == pytest.approx(value, rel=1e-5)


def assert_same_run(found: dict) -> None:
    assert [row["step"] for row in found["whole"]] == [row["step"] for row in found["parts"]] == ["4", "8", "10"]
    for one, other in zip(found["whole"], found["parts"], strict=True):
        for key in one:
            # Threads may sum a convolution's gradient in another order: a few float32 ulps, which ten steps at this
            # rate do not let grow past 1e-4. A wrong batch, optimiser state or learning rate is off by more than 1e-2.
            assert float(one[key]) == pytest.approx(float(other[key]), rel=1e-4), key
    assert found["weights"] < 1e-4


def test_what_a_run_leaves_behind(finished):
    out, said = finished
    rows = tiny.curve(out)
    assert float(rows[-1]["learning_rate"]) == 0 and 0 < float(rows[0]["learning_rate"]) < 5e-3
    columns = ("loss", "landmarks", "pose", "val_nme", "val_pose_mae")
    assert np.isfinite([float(row[column]) for row in rows for column in columns]).all()
    record = read_json(out / "config.json")
    assert record["config"]["seed"] == 0 and record["versions"]["keras"] == keras.__version__
    _, info = load_model(out / "model.keras")
    assert info["network"] == "acdc" and info["crop"] == {"rule": "square", "scale": 1.3}
    assert info["training"]["steps"] == 10 and info["training"]["untrained"] == []
    assert any("faces/s" in line for line in said) and any("NME" in line and "pose MAE" in line for line in said)


def test_a_finished_run_is_reused_or_refused(finished, said):
    out, _ = finished
    before = (out / "model.keras").stat().st_mtime_ns
    assert train(tiny.config(), out) == out / "model.keras"
    assert (out / "model.keras").stat().st_mtime_ns == before and "already" in said[-1]
    with pytest.raises(InputError, match=r"this config's run. Received: a run with other \['seed'\]"):
        train(tiny.config(seed=1), out)


def test_a_config_of_tuples_is_the_one_that_was_written_as_lists(tmp_path):
    config = replace(tiny.config(), model={"widths": (8, 16), "stream_slices": None})
    write_json(tmp_path / "config.json", {"config": as_dict(config)})
    check_same(config, tmp_path)
    with pytest.raises(InputError, match=r"a run with other \['model'\]"):
        check_same(replace(config, model={"widths": (8, 32), "stream_slices": None}), tmp_path)


def test_a_run_of_before_a_key_was_added_is_this_configs_and_one_with_an_unknown_key_is_not(finished, tmp_path, said):
    out = shutil.copytree(finished[0], tmp_path / "run")
    record = read_json(out / "config.json")
    del record["config"]["precision"], record["config"]["sources"][0]["fitted_yaw"]
    write_json(out / "config.json", record)
    train(tiny.config(), out)
    assert "already" in said[-1]
    write_json(out / "config.json", record | {"config": record["config"] | {"of_tomorrow": 1}})
    with pytest.raises(InputError, match="a run with other .*'of_tomorrow'"):
        train(tiny.config(), out)


def test_the_averaged_weights_are_validated_and_saved(finished):
    """What the last line of metrics.csv says is what the saved model scores."""
    out, _ = finished
    scores = evaluate(load_network(out / "model.keras"), tiny.samples(5), PROTOCOLS["mtfl"])
    last = tiny.curve(out)[-1]
    assert scores.nme == pytest.approx(float(last["val_nme"]), rel=1e-5)
    assert scores.pose.mean == pytest.approx(float(last["val_pose_mae"]), rel=1e-4)


def test_ccr_learns(tmp_path):
    run = tiny.config(network="ccr_n", model=tiny.CCR, steps=40, epoch_steps=20, batch_size=8, validation=None)
    train(run, tmp_path / "run")
    rows = tiny.curve(tmp_path / "run")
    # Untrained attention sits in the middle of the crop; the dots are a few percent from their mean places.
    assert float(rows[-1]["landmarks"]) < 0.8 * float(rows[0]["landmarks"])
    assert float(rows[-1]["loss"]) < 0.8 * float(rows[0]["loss"])
    assert rows[0]["val_nme"] == "nan"


@pytest.mark.parametrize(
    "relu6, message",
    [
        (False, r"loss must be finite. Received: (nan|inf) at step \d+, batch \d+ of the input"),
        # Activations that end at 6 hide it from the loss.
        (True, r"weights must be finite to be saved. Received: NaN or infinity in .* at step \d+"),
    ],
)
def test_a_run_that_is_no_longer_finite_says_where(tmp_path, relu6, message):
    config = tiny.config(model={**tiny.ACDC, "relu6": relu6}, learning_rate=1e30, clip=0.0, schedule="constant")
    with pytest.raises(InputError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "model.keras").exists()


def test_a_face_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    import edgeface.training.pipeline as pipeline

    def refuse(*args, **options):
        raise ValueError("box must have a positive side")

    monkeypatch.setattr(pipeline, "augment", refuse)
    monkeypatch.setattr("edgeface.training.train.measure_throughput", lambda *args, **kwargs: 1.0)
    with pytest.raises(InputError, match="face tiny.* of source mtfl/train cannot be used: box must"):
        train(tiny.config(), tmp_path / "run")


def test_a_run_of_heads_laid_by_other_constants_is_not_gone_on_with(tmp_path, monkeypatch):
    laid = replace(tiny.config(), sources=(replace(tiny.config().sources[0], fit_3d=True),))
    assert head_fit_facts(tiny.config()) == {}
    write_json(tmp_path / "config.json", {"config": as_dict(laid)} | head_fit_facts(laid))
    check_same(laid, tmp_path)
    monkeypatch.setattr(fit, "PROFILE_PITCH_OFFSET_DEG", 9.0)
    with pytest.raises(InputError, match="a run whose heads were fitted by .*9.0.*Received: "):
        check_same(laid, tmp_path)
    # A record without the constants cannot be compared: the run goes on.
    write_json(tmp_path / "config.json", {"config": as_dict(laid)})
    check_same(laid, tmp_path)


def test_it_starts_from_another_model(finished):
    path = str(finished[0] / "model.keras")
    run = tiny.config()
    network = build(network_config_of(run))
    start_from(network, network_config_of(run), path)
    for a, b in zip(network.get_weights(), load_model(path)[0].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    narrower = network_config_of(tiny.config(model={**tiny.ACDC, "widths": [2]}))
    with pytest.raises(InputError, match="init must hold a network like acdc_n"):
        start_from(build(narrower), narrower, path)


@pytest.mark.parametrize("resume", [True, False])
def test_the_weights_it_starts_from_are_not_replaced(tmp_path, resume):
    weights = tmp_path / "run" / "model.keras"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    with pytest.raises(InputError, match=r"out must not replace a file that is read\. Received: .*model\.keras"):
        train(tiny.config(init=str(weights)), tmp_path / "run", resume=resume)
    assert weights.read_bytes() == b"weights"


def test_a_run_remembers_the_weights_it_began_with_when_others_lie_there_later(finished, tmp_path, monkeypatch):
    first = tmp_path / "first.keras"
    network, info = load_model(finished[0] / "model.keras")
    save_model(network, first, info | {"config": info["config"] | {"name": "an earlier one"}})
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    run = tiny.config(init=str(first))
    tiny.run_killed_at(run, tmp_path / "run", 8, monkeypatch.setattr)
    train(tiny.config(name="other"), tmp_path / "other")
    (tmp_path / "other" / "model.keras").replace(first)
    record = load_model(train(run, tmp_path / "run"))[1]["training"]
    assert record["begun_from_sha256"] == digest and record["begun_from"] == "an earlier one"


def test_mixed_precision_saves_a_float32_model(tmp_path):
    path = train(tiny.config(steps=2, precision="mixed_bfloat16", validation=None), tmp_path / "run")
    model, _ = load_model(path)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_heads_without_labels_are_told():
    network = build(network_config_of(tiny.config(model={**tiny.ACDC, "markups_2d": ["ibug68", "mtfl5"]})))
    faces = cut_faces(tiny.samples(3), 48)
    assert untrained_heads([LoadedSource(faces, 1.0, "tiny")], network) == ["ibug68"]
    assert untrained_heads([LoadedSource(faces, 1.0, "tiny", pose=False)], network) == [
        "ibug68",
        "yaw",
        "pitch",
        "roll",
    ]


def test_schedule():
    polynomial = Schedule(1.0, 100, "polynomial", warmup=10)
    assert float(polynomial(0)) == pytest.approx(0.1)
    assert float(polynomial(10)) == 1 and float(polynomial(100)) == 0
    assert float(polynomial(55)) == pytest.approx(0.5**0.9)
    assert float(Schedule(2.0, 100, "cosine")(50)) == pytest.approx(1.0)
    assert float(Schedule(2.0, 100, "constant")(99)) == 2
    assert Schedule.from_config(polynomial.get_config())(55) == polynomial(55)

"""Batches: the right faces in the right order, the same ones after a resume, and `fit` takes them on both backends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeface.box import Box
from edgeface.crop import square_crop
from edgeface.datasets.cut_faces import CutFaces
from edgeface.errors import InputError
from edgeface.markup import markup
from edgeface.training.augment import AugmentConfig
from edgeface.training.pipeline import (
    FaceBatches,
    LoadedSource,
    Views,
    _cycle,
    batches,
    measure_throughput,
)

ROOT = Path(__file__).parents[2]


def faces(count: int, markups=("ibug68",), seed: int = 0, pose: bool = True) -> CutFaces:
    """Random pictures of 48 px, every label known."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 48, 48, 3), np.uint8)
    return CutFaces(
        images=images,
        landmarks={m: rng.uniform(15, 33, (count, markup(m).size, 2)).astype(np.float32) for m in markups},
        visible={m: np.ones((count, markup(m).size), bool) for m in markups},
        pose_deg=rng.uniform(-20, 20, (count, 3)).astype(np.float32) if pose else np.full((count, 3), np.nan, "f4"),
        box_xyxy=np.tile(np.array([10, 9, 38, 38], np.float32), (count, 1)),
        ids=np.array([f"face{seed}_{i}" for i in range(count)]),
        dataset=f"set{seed}",
    )


def two_sources() -> tuple[LoadedSource, LoadedSource]:
    return LoadedSource(faces(7), 1.0, "a"), LoadedSource(
        faces(5, ("ibug68_3d", "mtfl5"), 1), 1.0, "b", ("ibug68_3d",), False
    )


def make(sources=None, markups=("ibug68", "ibug68_3d", "mtfl5"), **options):
    names = {field.name for field in fields(Views)}
    views = dict(side=32, channels=1, markups=markups, batch_size=4, seed=3) | {
        k: options.pop(k) for k in names & set(options)
    }
    return batches(sources or two_sources(), Views(**views), **options)


def plan_of(sources, markups=("ibug68",), batch_size=4, seed=0, channels=1, **options) -> FaceBatches:
    return FaceBatches(sources, Views(32, channels, markups, AugmentConfig.none(), seed, batch_size), **options)


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        for part in (0, 1):
            assert one[part].keys() == other[part].keys()
            for key in one[part]:
                np.testing.assert_array_equal(one[part][key], other[part][key])


def test_a_batch_is_as_promised():
    x, y = next(iter(make(channels=3)))
    assert x["image"].shape == (4, 32, 32, 3) and x["image"].dtype == np.float32
    assert x["image"].min() >= 0 and 1 < x["image"].max() <= 255
    shapes = {name: (array.shape, array.dtype.name) for name, array in y.items()}
    assert shapes == {
        "ibug68": ((4, 68, 2), "float32"),
        "ibug68_3d": ((4, 68, 2), "float32"),
        "mtfl5": ((4, 5, 2), "float32"),
        "pose": ((4, 3), "float32"),
    }


def test_each_face_carries_the_labels_of_its_source_and_no_other():
    plan = plan_of(two_sources(), ("ibug68", "ibug68_3d", "mtfl5"), seed=3)
    _, y = plan[0]
    owners = [plan.drawn(0, row)[0] for row in range(4)]
    assert set(owners) == {0, 1}
    for row, owner in enumerate(owners):
        known = {name: bool(np.isfinite(array[row]).all()) for name, array in y.items()}
        absent = {name: bool(np.isnan(array[row]).all()) for name, array in y.items()}
        has = {"ibug68", "pose"} if owner == 0 else {"ibug68_3d"}  # mtfl5 is there but not asked for; its pose neither
        assert {n for n, k in known.items() if k} == has
        assert {n for n, a in absent.items() if a} == set(y) - has


@pytest.mark.parametrize("mode", ["mixed", "alternate"])
def test_resuming_at_a_step_gives_the_very_same_batches(mode):
    whole = list(islice(make(mode=mode, threads=0), 9))
    assert_same(islice(make(mode=mode, start_step=6, threads=2, prefetch=3), 3), whole[6:])
    assert_same(islice(make(mode=mode, threads=3), 9), whole)
    other = next(iter(make(mode=mode, seed=4)))
    assert (other[0]["image"] != whole[0][0]["image"]).any()


def test_one_pass_shows_every_face_once_and_the_next_in_another_order():
    plan = plan_of((LoadedSource(faces(30), 1.0, "a"),), batch_size=7)
    drawn = [plan.drawn(step, row)[1] for step in range(20) for row in range(7)][:120]
    passes = [drawn[i : i + 30] for i in range(0, 120, 30)]
    assert all(sorted(p) == list(range(30)) for p in passes)
    assert len({tuple(p) for p in passes}) == 4


def test_a_face_looks_different_each_time():
    only = (LoadedSource(faces(1), 1.0, "a"),)
    x, _ = next(iter(make(only, ("ibug68",))))
    assert len({view.tobytes() for view in x["image"]}) == 4


def test_mixed_follows_the_weights_in_every_stretch():
    sources = (LoadedSource(faces(50), 3.0, "a"), LoadedSource(faces(9, seed=1), 1.0, "b"))
    plan = plan_of(sources, batch_size=8)
    for step in range(5):
        assert Counter(plan.drawn(step, row)[0] for row in range(8)) == {0: 6, 1: 2}


def test_alternate_takes_one_source_a_batch_in_turn():
    plan = plan_of(two_sources(), mode="alternate")
    owners = [{plan.drawn(step, row)[0] for row in range(4)} for step in range(6)]
    assert owners in ([{0}, {1}] * 3, [{1}, {0}] * 3)
    shown = [plan.drawn(step, row)[1] for step in range(0, 14, 2) for row in range(4)]
    count = 7 if owners[0] == {0} else 5
    assert all(sorted(shown[i : i + count]) == list(range(count)) for i in range(0, 28 - count + 1, count))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=5))
def test_a_cycle_keeps_the_shares_and_counts_its_turns(weights):
    turn, before, per_cycle = _cycle(tuple(weights))
    assert np.bincount(turn, minlength=len(weights)).tolist() == per_cycle.tolist()
    for source in range(len(weights)):
        assert before[turn == source].tolist() == list(range(per_cycle[source]))
    # One turn in a cycle of about 1000, for each source that was raised to it.
    np.testing.assert_allclose(per_cycle / len(turn), np.array(weights) / sum(weights), atol=0.006)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("box_xyxy", [20, 20, 20, 20]),
        ("box_xyxy", [30, 10, 20, 20]),
        ("box_xyxy", [np.nan, 10, 20, 20]),
        ("pose_deg", [np.inf, 0, 0]),
    ],
)
def test_an_odd_face_is_named_before_anything_runs(field, value):
    broken = faces(6)
    getattr(broken, field)[4] = value
    with pytest.raises(InputError, match="face face0_4 of source bad must have a box with a side above 0 and a pose"):
        LoadedSource(broken, 1.0, "bad")


@pytest.mark.parametrize("threads", [0, 2])
def test_a_face_that_fails_on_the_way_is_named(threads):
    source = LoadedSource(faces(6), 1.0, "bad")
    source.faces.box_xyxy[4] = 20
    with pytest.raises(InputError, match="face face0_4 of source bad cannot be used: box must have a positive side"):
        list(islice(make((source,), ("ibug68",), threads=threads), 2))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mode": "both"}, "mode must be mixed or alternate"),
        ({"channels": 2}, "channels must be 1 or 3"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"markups": ("ibug69",)}, "markup must be one of"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(wrong, message):
    with pytest.raises(ValueError, match=message):
        make(**wrong)


def test_bad_sources_are_refused():
    with pytest.raises(InputError, match="sources must be at least one"):
        plan_of(())
    with pytest.raises(InputError, match="weight of source a must be above 0"):
        LoadedSource(faces(2), 0.0, "a")
    with pytest.raises(InputError, match=r"markups of source a must be among \['ibug68'\]. Received: \['wflw98'\]"):
        LoadedSource(faces(2), 1.0, "a", ("wflw98",))
    with pytest.raises(InputError, match="source a must hold at least one face"):
        LoadedSource(faces(0), 1.0, "a")


def test_without_augmentation_a_batch_is_plain_crops():
    packed = faces(5)
    plain = plan_of((LoadedSource(packed, 1.0, "set0"),), ("ibug68", "mtfl5"), 5, channels=3)
    x, y = plain[0]
    drawn = [plain.drawn(0, row)[1] for row in range(5)]
    assert sorted(drawn) == [0, 1, 2, 3, 4]
    for row, face in enumerate(drawn):
        crop = square_crop(Box(*packed.box_xyxy[face].tolist()), 1.3)
        np.testing.assert_array_equal(x["image"][row], crop.extract(packed.images[face], 32))
        np.testing.assert_allclose(y["ibug68"][row], crop.to_crop(packed.landmarks["ibug68"][face]), atol=1e-5)
    np.testing.assert_array_equal(y["pose"], packed.pose_deg[drawn])
    assert np.isnan(y["mtfl5"]).all()


def test_throughput_counts_faces():
    assert 0 < measure_throughput(make(threads=0), steps=2, warmup=1) < float("inf")


def fit_takes_the_batches_in_order() -> None:
    """Two epochs of fit end in the very weights of train_on_batch over the same batches."""
    import keras

    def model() -> keras.Model:
        keras.utils.set_random_seed(0)
        image = keras.Input((32, 32, 1), name="image")
        flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 255)(image)))
        heads = {
            "ibug68": keras.layers.Reshape((68, 2))(keras.layers.Dense(136)(flat)),
            "pose": keras.layers.Dense(3)(flat),
        }
        net = keras.Model({"image": image}, heads)

        def masked(true, pred):
            known = keras.ops.isfinite(true)
            return keras.ops.mean(keras.ops.where(known, keras.ops.where(known, true, 0.0) - pred, 0.0) ** 2)

        net.compile(keras.optimizers.SGD(1e-3), loss={"ibug68": masked, "pose": masked})
        return net

    options = dict(sources=(LoadedSource(faces(9), 1.0, "a"),), markups=("ibug68",))
    fitted, stepped = model(), model()
    history = fitted.fit(make(**options), steps_per_epoch=3, epochs=2, shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for x, y in islice(make(**options), 6):
        stepped.train_on_batch(x, y)
    for one, other in zip(fitted.get_weights(), stepped.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(fitted.get_weights(), model().get_weights(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_fit_takes_the_batches(backend):
    import keras

    if keras.backend.backend() == backend:  # one process can hold one backend
        fit_takes_the_batches_in_order()
        return
    code = "import test_pipeline as t, keras; t.fit_takes_the_batches_in_order(); print(keras.backend.backend())"
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    env = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith(backend)

"""A checkpoint is whole or absent, and fits or is refused."""

from __future__ import annotations

import resource

import keras
import numpy as np
import pytest

from edgeface.errors import InputError
from edgeface.training.checkpoint import (
    append_row,
    checkpoint_step,
    load_checkpoint,
    read_rows,
    save_checkpoint,
    truncate_rows,
)


def made(width: int = 3, seed: int = 0):
    """A network with non-trainable state, and an optimiser that has moved."""
    keras.utils.set_random_seed(seed)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(width), keras.layers.BatchNormalization()])
    optimizer = keras.optimizers.Adam(0.1, use_ema=True)
    optimizer.build(network.trainable_variables)
    rng = np.random.default_rng(seed)
    gradients = [
        keras.ops.convert_to_tensor(rng.normal(size=v.shape).astype("f4")) for v in network.trainable_variables
    ]
    optimizer.apply(gradients)
    return network, optimizer


def state(network, optimizer) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(v)) for v in [*network.variables, *optimizer.variables]]


def test_round_trip_is_exact(tmp_path):
    one, other = made(seed=0), made(seed=1)
    save_checkpoint(tmp_path / "c.npz", *one, 12, "config")
    assert load_checkpoint(tmp_path / "c.npz", *other, "config") == 12
    for a, b in zip(state(*one), state(*other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path):
    path = tmp_path / "c.npz"
    save_checkpoint(path, *made(), 12, "config")
    other = made(width=5)
    before = state(*other)
    with pytest.raises(InputError, match="must fit this network"):
        load_checkpoint(path, *other, "config")
    for a, b in zip(before, state(*other), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(InputError, match="this run's config"):
        load_checkpoint(path, *made(), "another")


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_files(tmp_path, damage):
    path = tmp_path / "c.npz"
    save_checkpoint(path, *made(), 1)
    data = path.read_bytes()
    path.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(InputError, match="must be a checkpoint"):
        load_checkpoint(path, *made())


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "c.npz"
    one = made(seed=0)
    save_checkpoint(path, *one, 1)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))  # a write beyond it fails as on a full disk
    try:
        with pytest.raises(InputError, match=r"c\.npz must be writable"):
            save_checkpoint(path, *one, 2)
        with pytest.raises(InputError, match=r"new\.npz must be writable"):
            save_checkpoint(tmp_path / "new.npz", *one, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_weights_that_are_not_finite_never_replace_a_good_state(tmp_path):
    path, one = tmp_path / "c.npz", made()
    save_checkpoint(path, *one, 4, "config")
    good = path.read_bytes()
    weight = one[0].trainable_variables[0]
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(
        InputError, match=r"weights must be finite to be saved. Received: NaN or infinity in network/0000"
    ):
        save_checkpoint(path, *one, 8, "config")
    assert path.read_bytes() == good and checkpoint_step(path) == 4
    assert checkpoint_step(tmp_path / "none.npz") == 0


def test_rows(tmp_path):
    path = tmp_path / "m.csv"
    assert read_rows(path) == []
    for step in (2, 4, 6):
        append_row(path, {"step": step, "loss": 1 / step})
    with open(path, "a") as file:
        file.write("8,0.1")  # a line that a kill has cut
    assert [row["step"] for row in read_rows(path)] == ["2", "4", "6"]
    truncate_rows(path, 4)
    assert path.read_text() == "step,loss\n2,0.5\n4,0.25\n"
    truncate_rows(path, 0)
    assert not path.exists()

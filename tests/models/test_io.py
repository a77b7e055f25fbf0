"""A model's file with kernels in float16 is the same model, rounded, in under half the bytes."""

import hashlib
import zipfile

import numpy as np
import pytest

from edgeface.errors import InputError
from edgeface.models.io import MEMBER, halve_model, load_model, model_info, read_info, save_model
from tests.convert import tiny


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    save_model(tiny.trained_like(tiny.CCR), path, model_info(tiny.CCR, note="kept"))
    return path


def test_kernels_are_rounded_and_nothing_else_changes(saved, tmp_path):
    out = tmp_path / "half.keras"
    halve_model(saved, out)
    (before, told), (after, tells) = load_model(saved), load_model(out)
    assert tells == told | {"halved_from": hashlib.sha256(saved.read_bytes()).hexdigest()}
    rounded = 0
    for old, new in zip(before.variables, after.variables, strict=True):
        assert old.path == new.path and new.dtype == "float32"
        old, new = np.asarray(old), np.asarray(new)
        expected = old.astype(np.float16).astype(np.float32) if old.ndim > 1 else old
        np.testing.assert_array_equal(new, expected, strict=True)
        rounded += bool((new != old).any())
    assert rounded > 20


def test_the_file_is_smaller_and_halving_it_again_changes_nothing(saved, tmp_path):
    once, twice = tmp_path / "once.keras", tmp_path / "twice.keras"
    halve_model(saved, once)
    halve_model(once, twice)
    assert once.stat().st_size < 0.5 * saved.stat().st_size
    assert once.read_bytes() == twice.read_bytes()


def test_a_model_may_take_its_own_place(saved, tmp_path):
    here, there = tmp_path / "here.keras", tmp_path / "there.keras"
    here.write_bytes(saved.read_bytes())
    halve_model(saved, there)
    halve_model(here, here)
    assert here.read_bytes() == there.read_bytes()


def test_weights_that_float16_cannot_hold_are_refused(saved, tmp_path):
    model, info = load_model(saved)
    kernel = next(v for v in model.variables if len(v.shape) > 1)
    kernel.assign(np.full(kernel.shape, 1e5, np.float32))
    large, out = tmp_path / "large.keras", tmp_path / "half.keras"
    save_model(model, large, info)
    with pytest.raises(InputError, match="weights must fit float16. Received: 100000"):
        halve_model(large, out)
    assert not out.exists()


def test_a_damaged_or_missing_member_is_told(saved, tmp_path):
    data, path = bytearray(saved.read_bytes()), tmp_path / "model.keras"
    with zipfile.ZipFile(saved) as archive:
        start = archive.getinfo("model.weights.h5").header_offset + 2000
        others = {m.filename: archive.read(m) for m in archive.infolist() if m.filename != "model.weights.h5"}
    data[start : start + 100] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(InputError, match="must hold a Keras model's weights. Received: Bad CRC-32"):
        halve_model(path, path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in others.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match="must hold a Keras model's weights. Received: .*no item named"):
        halve_model(path, path)


@pytest.mark.parametrize(("name", "must"), [("half.h5", "must end in .keras"), ("half.keras", "must be a .keras file")])
def test_what_is_no_model_is_refused(tmp_path, name, must):
    (tmp_path / "model.keras").write_bytes(b"no archive")
    with pytest.raises(InputError, match=must):
        halve_model(tmp_path / "model.keras", tmp_path / name)


@pytest.mark.parametrize("info", ["[" * 100_000, b"\xff\xfe", "{", "[]", '{"network": 1}'])
def test_an_info_that_is_none_is_told_in_one_line(tmp_path, info):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr(MEMBER, info)
    with pytest.raises(InputError, match=r"model\.keras must be a \.keras file that edgeface wrote\. Received: "):
        read_info(tmp_path / "model.keras")

"""Manifests: what they say, that they hold, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import edgeface.convert.calibration_set as crops
from calibration.__main__ import main
from edgeface.convert.calibration_set import build, load_calibration, read_manifest, synthetic_crops
from edgeface.crop import square_crop
from edgeface.errors import InputError
from edgeface.files import write_json
from tests.calibration.test_select import face


@pytest.fixture
def some_faces(monkeypatch):
    faces = [face(i, (yaw, 0, 0)) for i, yaw in enumerate(np.linspace(-80, 80, 40))]
    monkeypatch.setattr(crops, "load_set", lambda name, split, limit=None, root=None: faces[:limit])
    return faces


@pytest.fixture
def manifest(some_faces, tmp_path):
    path = tmp_path / "manifest.json"
    write_json(path, build("300w", 12)[0].to_dict())
    return path


def test_a_manifest_says_what_was_chosen(manifest):
    found = read_manifest(manifest)
    assert (found.set, found.split, found.seed, found.pool) == ("300w", "train", 0, 40)
    assert len(found.ids) == 12 and sum(row["chosen"] for row in found.coverage) == 12
    assert sum(row["available"] for row in found.coverage) == 40
    filled = [row["chosen"] for row in found.coverage if row["available"]]
    assert max(filled) - min(filled) <= 1


def test_crops_are_the_chosen_faces(manifest):
    found = read_manifest(manifest)
    rgb = load_calibration(manifest, 24, 3)
    assert rgb.shape == (12, 24, 24, 3) and rgb.dtype == np.uint8
    assert rgb[:, 0, 0, 0].tolist() == [int(i.removeprefix("face")) for i in found.ids]
    assert load_calibration(manifest, 16, 1).shape == (12, 16, 16, 1)


def test_the_same_command_gives_the_same_manifest(some_faces):
    assert build("300w", 12, seed=3)[0] == build("300w", 12, seed=3)[0]
    assert build("300w", 12, seed=3)[0].ids != build("300w", 12, seed=4)[0].ids


def test_changed_faces_are_noticed(manifest, some_faces):
    name = read_manifest(manifest).ids[0]
    at = next(i for i, s in enumerate(some_faces) if s.id == name)
    kept = some_faces[at]
    some_faces[at] = replace(kept, load=lambda: np.full((40, 40, 3), 99, np.uint8))
    with pytest.raises(InputError, match="the crops must have sha256 .* build the manifest anew"):
        load_calibration(manifest, 24, 3)
    some_faces[at] = replace(kept, id="another")
    with pytest.raises(InputError, match=f"every face must be in 300w train. Received: none named '{name}'"):
        load_calibration(manifest, 24, 3)


@pytest.mark.parametrize(
    ("set_name", "split"), [("300w", "test"), ("aflw", "test"), ("aflw2000_3d", "train"), ("synthetic", "val")]
)
def test_evaluation_faces_are_refused(set_name, split, some_faces):
    with pytest.raises(InputError, match="must come from a training split"):
        build(set_name, 2, split)


def test_a_manifest_edited_to_a_test_split_is_refused(manifest):
    data = json.loads(manifest.read_text())
    write_json(manifest, data | {"split": "test"})
    with pytest.raises(InputError, match="must come from a training split. Received: 300w 'test'"):
        load_calibration(manifest, 24, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "calibration manifest .*: format must be 1. Received: 9"),
        ({"extra": 1}, "calibration manifest .*: key must be one of set, .* Received: 'extra'"),
        ({"ids": []}, "ids must be distinct and at least one"),
        ({"ids": ["a", "a"]}, "ids must be distinct and at least one"),
        ({"ids": "a"}, "ids must be a list of str. Received: 'a'"),
        ({"ids": ["a", 1]}, "ids.1 must be str. Received: 1"),
        ({"bins": {}}, "bins must hold yaw_deg and pitch_deg"),
        ({"bins": {"yaw_deg": [0, 1], "pitch_deg": 3}}, "bins.pitch_deg must be a list of float. Received: 3"),
        ({"set": "wider"}, "set must be one of"),
    ],
)
def test_bad_manifests(manifest, change, message):
    write_json(manifest, json.loads(manifest.read_text()) | change)
    with pytest.raises(InputError, match=message):
        read_manifest(manifest)


def test_command(some_faces, tmp_path, capsys):
    out = tmp_path / "m.json"
    assert main(["build", "--set", "300w", "--count", "12", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "12 of 40 faces of 300w train" in text and "pitch" in text
    assert main(["show", str(out)]) == 0
    assert main(["build", "--set", "300w", "--split", "test", "--out", str(tmp_path / "no.json")]) == 2
    assert capsys.readouterr().err.startswith("edgeface: a calibration set must come from a training split")
    assert not (tmp_path / "no.json").exists()
    assert main(["build", "--set", "300w", "--count", "41", "--out", str(tmp_path / "no.json")]) == 2


def test_crops_are_cut_as_a_network_wants_them(some_faces, tmp_path):
    """At any scale; the manifest's hash is over one, so that it serves them all."""
    ramp = np.tile(np.arange(40, dtype=np.uint8)[:, None, None], (1, 40, 3))
    some_faces[:] = [replace(f, load=lambda: ramp) for f in some_faces]
    write_json(tmp_path / "m.json", build("300w", 12)[0].to_dict())
    usual, wide = (square_crop(some_faces[0].box, scale).extract(ramp, 24) for scale in (1.3, 2.0))
    assert (usual != wide).any()
    np.testing.assert_array_equal(load_calibration(tmp_path / "m.json", 24, 3, 2.0)[0], wide)
    np.testing.assert_array_equal(load_calibration(tmp_path / "m.json", 24, 3)[0], usual)


def test_rendered_faces_need_no_files():
    found = synthetic_crops(4, 32, 1)
    assert found.shape == (4, 32, 32, 1) and found.std() > 10
    np.testing.assert_array_equal(found, synthetic_crops(4, 32, 1))


@pytest.mark.parametrize("scale", [1.3, 2.0])
def test_rendered_faces_are_chosen_and_cut_as_a_sets_faces_are(scale):
    samples = crops.load_set("synthetic", "train", limit=3 * crops.POOL_PER_FACE)
    chosen = [samples[i] for i in crops.select(samples, 3).indices]
    np.testing.assert_array_equal(synthetic_crops(3, 24, 3, scale), crops.cut(chosen, 24, 3, scale))

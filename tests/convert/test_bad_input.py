"""`python -m convert all` on what it cannot convert: one clear line, exit code 2, and nothing half-written."""

from __future__ import annotations

import errno
import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from convert.__main__ import main
from edgeface.models.io import MEMBER, model_info, save_model
from tests.convert import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def on_tensorflow():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter reads what Keras's TensorFlow backend exports")


def fails(capfd, out: Path, *args) -> str:
    """The error's line; the command must end with 2 and leave no file in ``out``."""
    assert main(["all", *map(str, args), "--out", str(out)]) == 2
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("edgeface: ") and ". Received: " in last, last
    assert not out.is_dir() or not list(out.iterdir())
    return last


def with_layer(path: Path, layer) -> Path:
    """A whole training graph with a foreign layer in its middle, saved as ours are."""
    image = keras.Input((32, 32, 1), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(image)
    x = layer(x)
    maps = layers.Conv2D(68, 1, name="gtn_ibug68")(x)
    from edgeface.models.layers import SpatialExpectation

    points, spread = SpatialExpectation(name="s1_ibug68")(maps)
    model = keras.Model(image, {"s1_ibug68": points, "s1_ibug68_spread": spread}, name="odd")
    save_model(model, path, model_info(tiny.ACDC))
    return path


class Recurrent(layers.Layer):
    """Rows as a sequence, an LSTM, rows again."""

    def build(self, shape):
        self.lstm = layers.LSTM(shape[2] * shape[3], return_sequences=True, name="lstm")
        self.lstm.build((None, shape[1], shape[2] * shape[3]))

    def call(self, x):
        _, height, width, channels = x.shape
        rows = keras.ops.reshape(x, (-1, height, width * channels))
        return keras.ops.reshape(self.lstm(rows), (-1, height, width, channels))


@pytest.mark.parametrize(
    ("layer", "variant", "message"),
    [
        # A recurrent layer becomes a loop; the gate names it and the layer.
        (lambda: Recurrent(name="recurrent"), "float32", "recurrent"),
        (lambda: layers.GroupNormalization(4, name="group_norm"), "float32", "layer group_norm) of more than 4 dim"),
        (lambda: layers.GroupNormalization(4, name="group_norm"), "int8_qat", "group_norm"),
    ],
)
def test_a_layer_that_cannot_be(tmp_path, capfd, monkeypatch, layer, variant, message):
    monkeypatch.setattr("edgeface.convert.calibration_set.synthetic_crops", lambda *a: tiny.crops(tiny.ACDC, 4))
    keras.saving.get_custom_objects()["Recurrent"] = Recurrent
    model = with_layer(tmp_path / "odd.keras", layer())
    assert message in fails(capfd, tmp_path / "out", model, "--variants", variant, "--outputs", "landmarks")


def test_a_custom_layer_that_is_not_known_here(tmp_path, capfd):
    class Foreign(layers.Layer):
        def call(self, x):
            return 2 * x

    model = with_layer(tmp_path / "odd.keras", Foreign(name="foreign"))
    assert "must load as a Keras model. Received: " in (line := fails(capfd, tmp_path / "out", model))
    assert "Foreign" in line


def test_models_of_others(tmp_path, capfd):
    """A sound Keras model that is no training graph of this project, with and without our member inside."""
    plain = keras.Sequential([keras.Input((8,)), layers.Dense(2)])
    plain.save(tmp_path / "plain.keras")
    line = fails(capfd, tmp_path / "out", tmp_path / "plain.keras")
    assert "must be a .keras file that edgeface wrote. Received: one without edgeface.json" in line
    save_model(plain, tmp_path / "dressed.keras", model_info(tiny.ACDC))
    line = fails(capfd, tmp_path / "out", tmp_path / "dressed.keras")
    assert "must be a training graph of edgeface.models: one input named image" in line
    for member in ('{"kind": "float"}', "[]", '{"network": "resnet", "config": {}}'):
        shutil.copy(tmp_path / "plain.keras", tmp_path / "odd.keras")
        with zipfile.ZipFile(tmp_path / "odd.keras", "a") as archive:
            archive.writestr(MEMBER, member)
        assert "must" in fails(capfd, tmp_path / "out", tmp_path / "odd.keras")


def test_damaged_files(tiny_files, tmp_path, capfd):
    whole = tiny_files.model.read_bytes()
    path = tmp_path / "model.keras"
    for content in (b"", b"not a model", whole[: len(whole) // 2], whole[:-40]):
        path.write_bytes(content)
        assert "must be a .keras file that edgeface wrote" in fails(capfd, tmp_path / "out", path)
    for member in ("config.json", "model.weights.h5"):
        _rewritten(tiny_files.model, path, member)
        assert f"{path} must load as a Keras model" in fails(capfd, tmp_path / "out", path)
    (tmp_path / "folder.keras").mkdir()
    assert "Received: a folder" in fails(capfd, tmp_path / "out", tmp_path / "folder.keras")


def _rewritten(source: Path, target: Path, spoilt: str) -> None:
    """A sound archive whose member ``spoilt`` is not."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info, data[: len(data) // 2] if info.filename == spoilt else data)


def test_a_calibration_set_whose_faces_are_gone(tiny_files, tmp_path, capfd, monkeypatch):
    from edgeface.convert.calibration_set import build
    from edgeface.files import write_json

    images = tmp_path / "faces" / "mtfl" / "images"
    images.mkdir(parents=True)
    points = [[20, 20], [44, 20], [32, 32], [24, 44], [40, 44]]
    records = []
    for i in range(4):
        cv2.imwrite(str(images / f"{i}.png"), np.full((64, 64, 3), 40 * i, np.uint8))
        records.append({"file": f"{i}.png", "split": "train", "landmarks": {"mtfl5": points}})
    (tmp_path / "faces" / "mtfl" / "annotations.json").write_text(json.dumps(records))
    monkeypatch.setenv("EDGEFACE_FACES", str(tmp_path / "faces"))
    manifest = tmp_path / "calibration.json"
    write_json(manifest, build("mtfl", 3, "train", 0)[0].to_dict())

    args = (tiny_files.model, "--variants", "int8_ptq", "--calibration", manifest)
    for path in images.iterdir():
        path.unlink()
    assert "images" in fails(capfd, tmp_path / "out", *args)
    (tmp_path / "faces" / "mtfl" / "annotations.json").write_text(json.dumps(records[:1]))
    assert "every face must be in mtfl train" in fails(capfd, tmp_path / "out", *args)
    assert "must be a JSON file. Received: no such file" in fails(
        capfd, tmp_path / "out", *args[:-1], tmp_path / "none.json"
    )
    manifest.write_text("{}")
    assert "calibration.json: must have set, split" in fails(capfd, tmp_path / "out", *args)


def test_folders_that_cannot_be_written_to(tiny_files, tmp_path, capfd, monkeypatch):
    """Asked before minutes of conversion. (Permission bits do not bind root, so the last case is a pretended one.)"""
    file = tmp_path / "file"
    file.write_text("here")
    for out in (file, file / "out"):
        assert "must be a folder that can be written to" in fails(capfd, out, tiny_files.model)
    assert file.read_text() == "here"

    def read_only(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("edgeface.files.tempfile", SimpleNamespace(TemporaryFile=read_only, mkstemp=read_only))
    line = fails(capfd, tmp_path / "out", tiny_files.model)
    assert line.endswith("must be a folder that can be written to. Received: Read-only file system")


@pytest.mark.parametrize("at", ["file", "card"])
def test_a_disk_that_fills_up(tiny_files, tmp_path, capfd, monkeypatch, at):
    """While the file is written, or its card: neither may lie there without the other."""

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if at == "file":
        monkeypatch.setattr("edgeface.files.Path.write_bytes", full)
    else:
        monkeypatch.setattr("edgeface.card.write_json", lambda path, value: full())
    args = (tiny_files.model, "--variants", "float32")
    assert fails(capfd, tmp_path / "out", *args).endswith("must be writable. Received: No space left on device")

"""The command: what it prints, and one line for everything a user can get wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeface import __version__, cli
from edgeface.images import read_image, write_image
from tests.runtime import tiny

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model() -> str:
    return str(tiny.float_model())


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.png"
    write_image(path, tiny.scene(128.0, 93.0))
    return path


def spawn(*argv: str, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "edgeface", *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL, **kwargs)


def fails(capsys, *argv) -> str:
    """The one line on stderr of a command that must fail with code 2."""
    assert cli.main([str(a) for a in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("edgeface: "), captured.err
    return lines[0]


def test_predict_prints_a_line(capsys, model, photo):
    assert cli.main(["predict", str(photo), "--model", model, "--box", "90", "50", "170", "130"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{photo}: box 90 50 170 130, yaw -") and "5 landmarks, mean spread 15.0 px" in out


def test_predict_prints_json_lines(capsys, model, photo):
    assert cli.main(["predict", str(photo), str(photo), "--model", model, "--json"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == second and first["markup"] == "mtfl5" and first["image"] == str(photo)
    (face,) = first["faces"]
    np.testing.assert_allclose(face["landmarks_px"], np.tile([128.0, 93.0], (5, 1)), atol=1.0)
    assert len(face["pose_deg"]) == 3 and len(face["box_xyxy"]) == 4 and len(face["spread_px"]) == 5


def test_predict_draws(tmp_path, model, photo):
    before = read_image(photo)
    drawn = tmp_path / "new" / "drawn.png"
    assert cli.main(["predict", str(photo), "--model", model, "--out", str(drawn)]) == 0
    after = read_image(drawn)
    assert after.shape == before.shape and (after != before).any()
    np.testing.assert_array_equal(read_image(photo), before)
    folder = tmp_path / "many"
    other = tmp_path / "other.png"
    write_image(other, before)
    assert cli.main(["predict", str(photo), str(other), "--model", model, "--out", str(folder)]) == 0
    assert sorted(f.name for f in folder.iterdir()) == ["other.png", "photo.png"]


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (None, "no such file"),
        (b"", "an empty file"),
        (b"just some text", "14 bytes of something else"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "16 bytes of something else"),
        ("folder", "a folder"),
    ],
)
def test_images_that_are_none(capsys, tmp_path, model, content, received):
    path = tmp_path / "bad.png"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    out = tmp_path / "drawn.png"
    line = fails(capsys, "predict", path, "--model", model, "--out", out)
    assert str(path) in line and "must be an image" in line and line.endswith(f"Received: {received}")
    assert not out.exists()


def test_a_truncated_photograph_does_not_crash(capsys, tmp_path, model):
    whole = tmp_path / "whole.jpg"
    write_image(whole, tiny.scene())
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:200])
    assert "must be an image" in fails(capsys, "predict", cut, "--model", model)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "no such file"),
        (b"", "0 bytes of something else"),
        (b"PK\x03\x04 not a model at all", "bytes of something else"),
        ("folder", "must be a .tflite file"),
        ("truncated", "must carry an edgeface card"),
        ("zip", "bytes of something else"),
    ],
)
def test_models_that_are_none(capsys, tmp_path, model, photo, content, rule):
    path = tmp_path / "bad.tflite"
    if content == "folder":
        path.mkdir()
    elif content == "truncated":
        path.write_bytes(Path(model).read_bytes()[:500])
    elif content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("edgeface.json", "{}")
    elif content is not None:
        path.write_bytes(content)
    for argv in (["predict", photo, "--model", path], ["zoo", "info", path]):
        line = fails(capsys, *argv)
        assert str(path) in line and rule in line and "Received: " in line


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        (["--box", "1", "2", "3"], "--box"),
        (["--box", "1", "2", "3", "x"], "invalid float value: 'x'"),
        (["--box", "9", "9", "9", "20"], "a width and a height"),
        (["--box", "999", "999", "1999", "1999"], "overlap the image of 240 x 180 px"),
        (["--detector", "no.onnx"], "detector must be a YuNet .onnx file"),
        (["--threads", "0"], "threads must be at least 1"),
        (["--out", "drawn.xyz"], "must end in an image suffix such as .png or .jpg. Received: .xyz"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_options_that_are_wrong(capsys, monkeypatch, tmp_path, model, photo, extra, rule):
    monkeypatch.chdir(tmp_path)
    if extra[0] == "--out":  # told after the prediction is printed
        assert cli.main(["predict", str(photo), "--model", model, *extra]) == 2
        assert rule in capsys.readouterr().err
    else:
        assert rule in fails(capsys, "predict", photo, "--model", model, *extra)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["photo.png"]


def test_an_input_is_never_replaced(capsys, model, photo):
    before = photo.read_bytes()
    assert "must not replace" in fails(capsys, "predict", photo, "--model", model, "--out", photo)
    assert "must not replace" in fails(capsys, "predict", photo, "--model", model, "--out", photo.parent)
    line = fails(capsys, "predict", photo, photo, "--model", model, "--out", photo.parent / "d")
    assert "different names" in line
    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    "argv",
    [
        ("predict", "PHOTO", "--model", "MODEL", "--csv", "PHOTO"),
        ("predict", "PHOTO", "--model", "MODEL", "--csv", "MODEL"),
        ("predict", "PHOTO", "--model", "MODEL", "--csv", "NEW", "--out", "NEW"),
        ("live", "PHOTO", "--model", "MODEL", "--full-frame", "--no-window", "--out", "PHOTO"),
        ("live", "DIR", "--model", "MODEL", "--full-frame", "--no-window", "--csv", "PHOTO"),
        ("bench", "--model", "MODEL", "--out", "MODEL"),
        ("evaluate", "MODEL", "--set", "mine", "--dir", "ROOT", "--ced", "MODEL"),
        ("evaluate", "MODEL", "--set", "mine", "--dir", "ROOT", "--json", "MARKS"),
        ("evaluate", "MODEL", "--set", "mine", "--dir", "ROOT", "--json", "NEW", "--ced", "NEW"),
        ("data", "inspect", "mine", "--dir", "ROOT", "--out", "PHOTO"),
        ("calibrate", "--set", "mine", "--dir", "ROOT", "--out", "MARKS"),
    ],
)
def test_no_command_replaces_what_it_reads_or_has_written(capsys, tmp_path, model, argv):
    folder = tmp_path / "mine" / "images"
    photo, marks = folder / "a.png", tmp_path / "mine" / "annotations.json"
    write_image(photo, tiny.scene(128.0, 93.0))
    marks.write_text("[]")
    copy = tmp_path / "model.tflite"
    copy.write_bytes(Path(model).read_bytes())
    places = {"PHOTO": photo, "DIR": folder, "MODEL": copy, "MARKS": marks, "ROOT": tmp_path, "NEW": tmp_path / "n.png"}
    before = [(path, path.read_bytes()) for path in (photo, marks, copy)]
    line = fails(capsys, *(places.get(word, word) for word in argv))
    assert "must not replace a file that is read" in line or "must be another file than" in line
    assert all(path.read_bytes() == content for path, content in before) and not places["NEW"].exists()


@pytest.mark.parametrize(
    ("argv", "rule"),
    [
        (["predict", "PHOTO", "--model", "no_such_model"], "Received: 'no_such_model'"),
        (["predict", "PHOTO", "--model", "acdc_ss"], "Received: 'acdc_ss'. Did you mean 'acdc_s'?"),
        (["zoo", "path", "acdc_s_int8qat"], "Did you mean 'acdc_s_int8_qat'?"),
        (
            ["predict", "PHOTO", "--modle", "acdc_s"],
            "arguments: --modle. Did you mean '--model'? (see edgeface predict",
        ),
        (["fly"], "command must be one of predict, live, bench, zoo, data, train, evaluate"),
        (["predit", "PHOTO"], "Received: 'predit'. Did you mean 'predict'? (see edgeface --help)"),
        (["zoo", "lists"], "command must be one of list, info, fetch, path. Received: 'lists'. Did you mean 'list'?"),
        ([], "required: COMMAND"),
        (["data", "inspect", "sinthetic"], "Did you mean 'synthetic'?"),
        (["data", "check", "no_such_set"], "set must be one of"),
        (["data", "check", "synthetic", "--split", "tests"], "Did you mean 'test'?"),
        (["evaluate", "m.keras", "--sett", "synthetic"], "Did you mean '--set'?"),
        (["evaluate", "MODEL", "--set", "300v"], "Did you mean '300w'?"),
        (["evaluate", "MODEL", "--set", "synthetic", "--limit", "1", "--markup", "mtlf5"], "Did you mean 'mtfl5'?"),
        (["gate", "MODEL", "--variant", "float_16"], "Did you mean 'float16'?"),
        (["train", "CONFIG", "--override", "stepps=3"], "Received: 'stepps'. Did you mean 'steps'?"),
        (["train", "CONFIG", "--override", "augment.miror=0"], "augment: key must be"),
        (["calibrate", "--set", "Synthetic", "--out", "m.json"], "Did you mean 'synthetic'?"),
        (["calibrate", "--set", "synthetic"], "one of the arguments --out --show is required"),
    ],
)
def test_a_misspelt_name_gets_the_nearest_right_one(capsys, tmp_path, model, photo, argv, rule):
    config = tmp_path / "config.toml"
    config.write_text('network = "acdc_n"\n[[sources]]\nset = "synthetic"\n')
    names = {"PHOTO": photo, "MODEL": model, "CONFIG": config}
    assert rule in fails(capsys, *[names.get(word, word) for word in argv])


def test_zoo(capsys, model, monkeypatch, tmp_path):
    assert cli.main(["zoo", "info", model]) == 0
    assert "preset tiny, variant float32" in capsys.readouterr().out
    assert cli.main(["zoo", "info", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["markup"] == "mtfl5"
    monkeypatch.setattr("edgeface.zoo.FOLDER", tmp_path)
    assert cli.main(["zoo", "list"]) == 0
    assert "packages no models" in capsys.readouterr().out
    (tmp_path / "light.tflite").write_bytes(Path(model).read_bytes())
    (tmp_path / ".light.ab12cd34.tflite").write_bytes(b"half")
    assert cli.main(["zoo", "list"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("light  ")


def test_interrupts_end_quietly(capsys, monkeypatch, model):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeface.cli.zoo.read_card", interrupt)
    assert cli.main(["zoo", "info", model]) == 130
    assert capsys.readouterr().err == "edgeface: interrupted\n"


def test_as_a_process(tmp_path, model):
    version = spawn("--version")
    assert (version.returncode, version.stdout.strip(), version.stderr) == (0, f"edgeface {__version__}", "")
    bad = spawn("predict", tmp_path / "none.jpg", "--model", tmp_path / "none.tflite")
    assert bad.returncode == 2 and bad.stdout == ""
    assert bad.stderr == f"edgeface: {tmp_path / 'none.tflite'} must be a .tflite file. Received: no such file\n"


@pytest.mark.skipif(os.name != "posix", reason="pipes that close are a POSIX matter")
def test_a_reader_that_leaves_early_is_no_error(model):
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "edgeface", "zoo", "info", model, "--json"]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, "")

"""Every block of docs/device.md is run as it stands, but for those that say which machine they need."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface import cli
from edgeface.datasets.packs import faces_root
from edgeface.datasets.synthetic import face_seed, render_face
from edgeface.images import write_image
from edgeface.runtime.download import YUNET_NAME

PAGE = Path(__file__).resolve().parents[1] / "docs" / "device.md"
BLOCK = re.compile(r"(?:<!-- (?P<note>[^>]*) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.S)


def blocks() -> list[tuple[str, str, str]]:
    return [(m["note"] or "", m["kind"], m["text"]) for m in BLOCK.finditer(PAGE.read_text())]


def runnable() -> list:
    return [
        pytest.param(note, kind, text, id=f"block{number}")
        for number, (note, kind, text) in enumerate(blocks())
        if not note.startswith("not run")
    ]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    face = render_face(face_seed(1, 3, "test"), 256).image
    canvas = np.full((360, 480, 3), 90, np.uint8)
    canvas[40:296, 60:316] = face
    write_image(folder / "photo.jpg", canvas)
    (folder / "photos").mkdir()
    write_image(folder / "photos" / "one.png", face)
    writer = cv2.VideoWriter(str(folder / "talk.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 30.0, (480, 360))
    for _ in range(6):
        writer.write(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
    writer.release()
    return folder


@pytest.mark.parametrize(("note", "kind", "text"), runnable())
def test_a_block_runs(note, kind, text, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "cache"))
    if "detector" in note:
        root = faces_root()
        file = root.parent / "models" / YUNET_NAME if root else None
        if file is None or not file.is_file():
            pytest.skip("no folder of real faces (EDGEFACE_FACES) with a YuNet file beside it")
        (tmp_path / "cache").mkdir()
        shutil.copy(file, tmp_path / "cache")
    shutil.copytree(pictures, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if kind == "python":
        exec(compile(text, str(PAGE), "exec"), {})
        assert capsys.readouterr().out or Path("drawn.png").is_file()
        return
    for line in text.splitlines():
        program, *argv = shlex.split(line, comments=True)
        assert program == "edgeface"
        assert cli.main(argv) == 0, capsys.readouterr().err
        assert capsys.readouterr().out or "--out" in argv


def test_only_what_needs_a_machine_is_left_out():
    left = [note for note, _, _ in blocks() if note.startswith("not run")]
    assert left == ["not run: needs a camera", "not run: needs a Raspberry Pi", "not run: needs a Raspberry Pi"]
    assert len(runnable()) == len(blocks()) - 3 >= 5


def test_the_camera_s_commands_parse():
    parser = cli._parser()
    lines = [line for note, _, text in blocks() if "camera" in note for line in text.splitlines()]
    lines += [line.split("bin/")[1] for note, _, text in blocks() if "Pi" in note for line in text.splitlines()[-1:]]
    assert len(lines) == 5
    for line in lines:
        program, *argv = shlex.split(line.partition("|")[0], comments=True)
        assert program == "edgeface" and parser.parse_args(argv).run

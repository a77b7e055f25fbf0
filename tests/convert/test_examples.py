"""Every example of every `--help`, parsed, and run where it takes seconds and needs nothing that is not here."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from convert.__main__ import EXAMPLES as CONVERT_EXAMPLES
from convert.__main__ import SECTIONS as CONVERT
from convert.__main__ import main as convert_main
from edgeface import cli, zoo
from edgeface.cli.command import build, every_command
from edgeface.datasets.synthetic import face_seed, render_face
from edgeface.images import write_image
from tests import own_set

HERE = {name: command for commands in cli.COMMANDS.values() for name, command in commands.items()}
COMMANDS = every_command(HERE)
MINUTES = ("train", "qat")
NOT_HERE = re.compile(
    r"--detect|--qat|--distribute|--runs 1000|--gpu|data import|zoo fetch|live( 0|  #| picamera| talk.mp4 --out)|"
    r"~/|\breal\b|runs/(acdc|ccr)|300w|aflw"
)
"""A camera, the Internet, a display, minutes, or faces and files that only a user has."""


def call_of(line: str) -> list[str]:
    """The words of the call of `edgeface` in a line of a shell, without its name."""
    inner = re.search(r"\$\((edgeface [^)]*)\)", line)
    words = shlex.split((inner[1] if inner else line).partition(" | ")[0], comments=True)
    while "=" in words[0]:
        words = words[1:]
    assert words[0] == "edgeface", line
    return words[1:]


@pytest.fixture(scope="module")
def desk(tiny_files, tmp_path_factory) -> Path:
    """What the examples name: a picture, a video, a model, a set of faces and a run of it."""
    folder = tmp_path_factory.mktemp("desk")
    face = render_face(face_seed(1, 3, "test"), 256).image
    canvas = np.full((360, 480, 3), 90, np.uint8)
    canvas[40:296, 60:316] = face
    write_image(folder / "photo.jpg", canvas)
    write_image(folder / "face.jpg", face)
    (folder / "photos").mkdir()
    write_image(folder / "photos" / "one.png", face)
    video = cv2.VideoWriter(str(folder / "talk.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 30.0, (480, 360))
    for _ in range(4):
        video.write(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
    video.release()
    shutil.copy(zoo.path("acdc_n"), folder / "my_model.tflite")
    own_set.write(folder / "faces" / "my_faces", train=4, test=2, side=64)
    (folder / "my_faces.toml").write_text(own_set.CONFIG.format(name="my_faces"))
    (folder / "runs" / "my_faces").mkdir(parents=True)
    shutil.copy(tiny_files.model, folder / "runs" / "my_faces" / "model.keras")
    shutil.copytree(tiny_files.folder, folder / "runs" / "my_faces_files")
    return folder


def test_every_help_has_an_example_that_is_read():
    parser = build("edgeface", "", cli.COMMANDS, examples=cli.EXAMPLES)
    for words, command in COMMANDS.items():
        assert command.examples, words
        for line in command.examples:
            assert parser.parse_args(call_of(line)).command is command, line
            assert " ".join(call_of(line)).startswith(words), line
    for line in cli.EXAMPLES:
        parser.parse_args(call_of(line))
    converter = build("python -m convert", "", CONVERT, examples=())
    own = [line for name in ("halve", "list") for line in CONVERT["for this repository"][name].examples]
    for line in (*CONVERT_EXAMPLES, *own):
        converter.parse_args(shlex.split(line)[3:])


@pytest.mark.parametrize("words", [words for words in COMMANDS if words not in MINUTES])
def test_examples_run(words, desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    lines = [line for line in COMMANDS[words].examples if not NOT_HERE.search(line)]
    assert lines or words in ("data import", "zoo fetch")
    for line in lines:
        code = cli.main(call_of(line))
        said = capsys.readouterr()
        # Untrained networks need not be within their tolerances.
        assert code == 0 or (words == "parity" and code == 1 and "FAIL" in said.out), f"{line}\n{said.err}"


def test_those_of_this_repository_run(desk, tiny_files, tmp_path, capsys):
    out = tmp_path / "half.keras"
    assert convert_main(["halve", str(tiny_files.model), "--out", str(out)]) == 0 and out.is_file()
    assert convert_main(["list"]) == 0
    assert "int8_qat" in capsys.readouterr().out
    assert convert_main(["hlave", str(tiny_files.model), "--out", str(out)]) == 2
    assert "Did you mean 'halve'?" in capsys.readouterr().err

"""Every code block of every page, run as it stands or read by what it is written for.

A comment above a fence says what a block would need that is not here: ``<!-- not run: needs a camera -->`` (its
commands are parsed all the same), ``<!-- needs the detector -->`` (skipped without the file).
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeface import cli
from edgeface.card import Card
from edgeface.datasets.load import load_set
from edgeface.datasets.packs import faces_root
from edgeface.datasets.synthetic import face_seed, render_face
from edgeface.files import read_json
from edgeface.runtime.download import YUNET_NAME
from edgeface.training.config import load_config
from tests.docs import shell, stand_ins
from tests.docs.pages import FENCE, PAGES, ROOT, blocks, text_of

LANGUAGES = ("sh", "python", "kotlin", "json", "toml", "text")
RUN = ("predict", "live", "bench", "zoo", "data")
"""Commands of `edgeface` that take seconds; the others are parsed."""
BY_ANOTHER_TEST = {"docs/qat.md": "tests/convert/test_qat_page.py"}
"""Pages whose Python is one long example, with tests of what it computes."""
NOT_RUN = ("a camera", "a Raspberry Pi", "the datasets", "npm and a browser", "Gradle", "Gradle and an Android SDK")
OFFICIAL = ROOT / "edgeface" / "datasets" / "official"


def cases(kind: str) -> list:
    return [pytest.param(block, id=block.name) for block in blocks(kind)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stand_ins")
    stand_ins.write(folder)
    return folder


@pytest.fixture
def desk(made, tmp_path, monkeypatch) -> Path:
    """A reader's folder, without a display, and a cache of its own."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "cache"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "here"


def test_every_block_says_what_it_is():
    for block in blocks():
        assert block.kind in LANGUAGES, f"{block.name}: {block.kind!r} is none of {LANGUAGES}"
        if block.note.startswith("not run"):
            assert block.note.removeprefix("not run: needs ") in NOT_RUN, f"{block.name}: {block.note}"
    assert {block.kind for block in blocks()} == set(LANGUAGES)


@pytest.mark.parametrize("page", PAGES)
def test_no_code_stands_outside_a_fence(page):
    text = text_of(page)
    assert len(re.findall(r"^ *(```|~~~)", text, re.M)) == 2 * len([b for b in blocks() if b.page == page])
    lines = FENCE.sub("", text).splitlines()
    for before, line in zip(lines, lines[1:], strict=False):
        assert before.strip() or not line.startswith(("    ", "\t")), f"{page}: indented code: {line.strip()}"


@pytest.mark.parametrize("block", cases("sh"))
def test_commands(block, desk, monkeypatch, capsys):
    ours = shell.commands(block.text)
    assert ours
    for command in ours:
        if not block.note.startswith("not run"):
            assert command.program not in shell.OUTSIDE, f"{block.name}: say what {command.program} needs"
        shell.check(command, monkeypatch)
    if block.note.startswith("not run"):
        return
    if "detector" in block.note:
        give_detector(desk)
    capsys.readouterr()
    for command in ours:
        for name, value in command.variables.items():
            monkeypatch.setenv(name, value)
        if command.program == "edgeface" and command.argv[0] in RUN:
            assert cli.main(list(command.argv)) == 0, capsys.readouterr().err
            assert capsys.readouterr().out or "--out" in command.argv


def give_detector(desk: Path) -> None:
    root = faces_root()
    file = root.parent / "models" / YUNET_NAME if root else None
    if file is None or not file.is_file():
        pytest.skip("no folder of real faces (EDGEFACE_FACES) with a YuNet file beside it")
    (desk.parent / "cache").mkdir()
    shutil.copy(file, desk.parent / "cache")


@pytest.mark.parametrize("block", [p for p in cases("python") if p.values[0].page not in BY_ANOTHER_TEST])
def test_python(block, desk, capsys):
    if "detector" in block.note:
        give_detector(desk)
    exec(compile(block.text, block.name, "exec"), {"__name__": "page"})
    assert capsys.readouterr().out or Path("drawn.png").is_file()


def test_the_other_pages_with_python_have_a_test_of_their_own():
    for page, test in BY_ANOTHER_TEST.items():
        assert Path(page).name in (ROOT / test).read_text()
        assert any(block.page == page for block in blocks("python"))


def test_the_contract_in_opencv_gives_what_the_predictor_gives(desk):
    from edgeface.images import read_image
    from edgeface.runtime import Predictor

    (block,) = (b for b in blocks("python") if b.page == "docs/contract.md")
    names: dict = {}
    exec(compile(block.text, block.name, "exec"), names)
    face = Predictor.load("acdc_s").predict(read_image("photo.jpg"), (120, 80, 260, 230))
    # Gray before the crop or after it: a level here and there, which int8 rounds to the next step somewhere. A crop
    # that is half a pixel aside would move all points by that.
    apart = names["points"] - face.landmarks_px
    assert np.linalg.norm(apart, axis=1).max() < 0.01 * face.crop.size
    assert np.abs(apart.mean(axis=0)).max() < 0.25
    np.testing.assert_allclose(names["out"]["pose"][0], face.pose.as_array(), atol=1)


def test_as_short_as_they_say():
    """Predictor in five lines, Kotlin in ten (the signature and the brace aside)."""
    (python,) = (b for b in blocks("python") if b.page == "README.md")
    assert len([line for line in python.text.splitlines() if line.strip()]) <= 5
    (kotlin,) = (b for b in blocks("kotlin") if b.page == "README.md")
    assert len([line for line in kotlin.text.splitlines() if line.startswith(" ")]) == 10


def test_kotlin_is_compiled_with_the_app():
    """By tests/android/test_kotlin.py, where a compiler is: it takes every Kotlin block of every page."""
    assert "kotlin_examples" in (ROOT / "tests/android/test_kotlin.py").read_text()
    assert {block.page for block in blocks("kotlin")} == {"README.md", "android_demo/README.md"}


@pytest.mark.parametrize("block", cases("json"))
def test_json(block, desk):
    if block.note == "a card":
        assert Card.from_dict(json.loads(block.text)).input.side == 128
        return
    assert block == stand_ins.annotations(), f"{block.name}: nothing reads it"
    faces = load_set("my_faces", None, root=desk / "faces")
    assert [face.split for face in faces] == ["train", "train", "test"]
    for face, (name, index) in zip(faces, stand_ins.RENDERED.items(), strict=True):
        rendered = render_face(face_seed(index, split="test"), stand_ins.SIDE)
        np.testing.assert_array_equal(face.load(), rendered.image, err_msg=name)
        for markup, points in face.landmarks_px.items():
            np.testing.assert_array_equal(points, rendered.landmarks_px[markup].round())
        known = np.isfinite(face.pose_deg)
        np.testing.assert_allclose(face.pose_deg[known], rendered.pose_deg[known], atol=0.051)


@pytest.mark.parametrize("block", cases("toml"))
def test_toml(block, desk, monkeypatch):
    """The config is taken, what it names exists, and its sets have these splits."""
    Path("my_faces.toml").write_text(block.text)
    config = load_config("my_faces.toml")
    assert config.network in {row["preset"] for row in read_json(ROOT / "results/presets.json")["rows"]}
    assert not config.init or (ROOT / config.init).is_file()
    monkeypatch.setenv("EDGEFACE_FACES", str(desk / "faces"))
    for source in (*config.sources, config.validation):
        assert load_set(source.set, source.split, 1)


@pytest.mark.parametrize("block", cases("text"))
def test_folders(block, desk):
    """Layouts: the files of one's own set are where the page says; the official ones' names are the readers'."""
    if block.page == "docs/own_faces.md":
        for line in block.text.splitlines():
            assert (desk / line.split()[0]).is_file(), line
        return
    assert block.page == "docs/data.md", f"{block.name}: nothing reads it"
    code = "\n".join(file.read_text() for file in [*OFFICIAL.glob("*.py"), *(ROOT / "tests/datasets").glob("*.py")])
    for path in re.findall(r"[\w{},*/]+/[\w{},*/.]*", re.sub(r"\(.*?\)", "", block.text)):
        for name in re.findall(r"[A-Za-z]\w{3,}", path):
            assert name.lower() in code.lower() or name in ("imageNNNNN", "NAME_pts"), f"{block.name}: {name}"


@pytest.mark.parametrize(
    "line",
    [
        "edgeface predict face.jpg --modle acdc_s",
        "edgeface train configs/no_such.toml",
        "edgeface train configs/acdc_n_demo.toml --sett steps=2",
        "NO_SUCH_VARIABLE=1 edgeface zoo list",
        "python -m convert all model.keras",
        "python -m convert parity model.keras folder --sets real",
        "python -m calibration build --sett synthetic",
        "python -m results.no_such",
        "python -m demo_web --writte runs/page",
        "make no-such-target",
        'pip install "edgeface[nothing]"',
        "frobnicate --all",
        "./gradlew :core:nothing",
    ],
)
def test_a_wrong_command_is_noticed(line, monkeypatch, capsys):
    (command,) = shell.commands(line)
    with pytest.raises((AssertionError, SystemExit)):
        shell.check(command, monkeypatch)
    capsys.readouterr()


def test_a_block_is_found_with_its_note_and_its_language(monkeypatch):
    text = "a\n<!-- needs the detector -->\n```sh\nmake demo\n```\n\n```\nbare\n```\n"
    monkeypatch.setattr("tests.docs.pages.text_of", lambda page: text)
    found = [b for b in blocks() if b.page == "README.md"]
    assert [(b.note, b.kind, b.text) for b in found] == [
        ("needs the detector", "sh", "make demo\n"),
        ("", "", "bare\n"),
    ]
    with pytest.raises(AssertionError, match="'' is none of"):
        test_every_block_says_what_it_is()

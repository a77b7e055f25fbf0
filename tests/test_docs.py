"""Every code block of every page, run as it is or read by what it is for; what pages say of objects in the code.

A comment above a fence says what a block would need that is not here: ``<!-- not run: needs a camera -->`` (its
commands are parsed all the same), ``<!-- needs the detector -->`` (skipped without the file).
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from edgeface import cli, zoo
from edgeface.box import Box
from edgeface.card import Card, CropRule
from edgeface.convert.variants import VARIANTS
from edgeface.crop import square_crop
from edgeface.datasets.load import load_set
from edgeface.datasets.packs import faces_root
from edgeface.datasets.synthetic import face_seed, render_face
from edgeface.files import read_json
from edgeface.runtime.download import YUNET_NAME
from edgeface.training.config_file import load_config
from tests.docs import shell, stand_ins
from tests.docs.pages import PAGES, ROOT, blocks, text_of

LANGUAGES = ("sh", "python", "kotlin", "json", "toml", "text")
RUN = ("predict", "live", "bench", "zoo", "data")
"""Commands of `edgeface` that take seconds; the others are parsed."""
BY_ANOTHER_TEST = {"docs/quantize.md": "tests/quantize/test_page.py"}
"""Pages whose Python is one long example, with tests of what it computes."""
NOT_RUN = (
    "a camera",
    "a Raspberry Pi",
    "an annotation tool's export",
    "the datasets",
    "npm and a browser",
    "Gradle",
    "Gradle and an Android SDK",
)
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


def test_the_opencv_example_gives_what_the_predictor_gives(desk):
    from edgeface.images import read_image
    from edgeface.runtime import Predictor

    (block,) = (b for b in blocks("python") if b.page == "docs/model_io.md")
    names: dict = {}
    exec(compile(block.text, block.name, "exec"), names)
    face = Predictor.load("acdc_s").predict(read_image("photo.jpg"), (120, 80, 260, 230))
    # Gray before the crop or after it: a level here and there, which int8 rounds to the next step somewhere. A crop
    # that is half a pixel aside would move all points by that.
    apart = names["points"] - face.landmarks_px
    assert np.linalg.norm(apart, axis=1).max() < 0.01 * face.crop.size
    assert np.abs(apart.mean(axis=0)).max() < 0.25
    np.testing.assert_allclose(names["out"]["pose"][0], face.pose.as_array(), atol=1)


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


def test_the_variants_are_all_there_with_their_purpose():
    section = text_of("docs/model_io.md").split("## Variants")[1]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.M))
    assert list(VARIANTS) == list(rows)
    for name, variant in VARIANTS.items():
        assert variant.weights in rows[name] or variant.trunk in rows[name]


def test_the_crop_rule_is_the_code_s():
    page = text_of("docs/model_io.md")
    scale = float(re.search(r"side = ([\d.]+) x the longer side", page).group(1))
    assert scale == CropRule().scale == square_crop(Box(0, 0, 10, 8)).size / 10
    assert square_crop(Box(0, 0, 10, 8)).to_image(np.array([0.75, 0.5])) == pytest.approx([5 + 0.25 * 13, 4])


def test_the_packaged_files_are_those_that_the_pages_name():
    """`int8_qat` and `float16` of every model but one, which docs/model_io.md names."""
    models = {name.removesuffix("_int8_qat") for name in zoo.available() if name.endswith("_int8_qat")}
    halves = {name.removesuffix("_float16") for name in zoo.available() if name.endswith("_float16")}
    assert models - halves == {"acdc_m_3d"} and not halves - models
    assert "every model except `acdc_m_3d`" in " ".join(text_of("docs/model_io.md").split())
    assert not list(zoo.FOLDER.glob("*.json"))


def test_the_demo_takes_as_long_as_the_readme_says():
    assert "under 15 minutes on 2 cores" in " ".join(text_of("README.md").split())
    measured = read_json(ROOT / "results/demo.json")
    assert measured["machine"]["cores"] == 2 and max(run["seconds"] for run in measured["runs"]) < 15 * 60


def test_versions_on_the_android_page_are_the_catalogue_s():
    page = " ".join(text_of("android_demo/README.md").split())
    versions = tomllib.loads((ROOT / "android_demo/gradle/libs.versions.toml").read_text())["versions"]
    wrapper = (ROOT / "android_demo/gradle/wrapper/gradle-wrapper.properties").read_text()
    plugin = re.search(r"Gradle plugin (\d+\.\d+)", page).group(1)
    gradle = re.search(r"with Gradle (\d+\.\d+)", page).group(1)
    assert versions["agp"].startswith(f"{plugin}.") and f"gradle-{gradle}." in wrapper
    assert f"--gradle-version {gradle}.0" in page and f"platform {versions['compileSdk']} installed" in page


def test_links_lead_somewhere():
    for page in PAGES:
        folder = (ROOT / page).parent
        for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
            file, _, anchor = target.partition("#")
            if "://" in target:
                continue
            assert (folder / file).exists(), f"{page}: {target}"
            if anchor:
                text = (folder / file).read_text() if file else text_of(page)
                heads = [
                    re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)", text, re.M)
                ]
                assert anchor in heads, f"{page}: {target}"


def test_every_page_of_docs_is_linked_from_somewhere():
    text = "".join(text_of(page) for page in PAGES)
    for page in PAGES:
        if page.startswith("docs/"):
            assert Path(page).name in text, page

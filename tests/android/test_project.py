"""The Gradle project as text: what can be held without Gradle, a JVM or a network."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from convert.android.constants import files
from convert.android.kotlin import CORE, DEMO
from convert.android.resources import APP
from convert.android.zoo import MANIFEST, manifest
from edgeface import zoo
from edgeface.runtime import drawing

ANDROID = "{http://schemas.android.com/apk/res/android}"
KOTLIN = sorted(DEMO.rglob("src/**/*.kt"))
GRADLE = sorted(DEMO.rglob("*.gradle.kts"))
RESOURCES = sorted((APP / "res").rglob("*.xml"))


def imports(path: Path) -> set[str]:
    return set(re.findall(r"^import ([\w.]+)", path.read_text(), re.M))


def catalogue() -> dict:
    return tomllib.loads((DEMO / "gradle" / "libs.versions.toml").read_text())


def test_the_manifest_of_models_agrees_with_the_zoo():
    """``python -m convert.android zoo`` writes it anew; Gradle's copyZoo refuses to build where it does not agree."""
    assert MANIFEST.read_text() == manifest()
    names = [line.split()[1] for line in manifest().splitlines()]
    assert [Path(name).stem for name in names] == list(zoo.available()) and names


def test_a_changed_and_a_missing_model_are_seen(tmp_path):
    for name in zoo.available():
        (tmp_path / f"{name}.tflite").write_bytes(zoo.path(name).read_bytes())
    assert manifest(tmp_path) == manifest()
    changed = next(tmp_path.glob("*.tflite"))
    content = changed.read_bytes()
    changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert manifest(tmp_path) != manifest()
    changed.unlink()
    assert len(manifest(tmp_path).splitlines()) == len(zoo.available()) - 1


def test_core_knows_nothing_of_android():
    files = sorted(CORE.rglob("*.kt"))
    assert files
    for file in files:
        foreign = {name for name in imports(file) if not name.startswith(("java.", "kotlin.", "edgeface.core."))}
        assert not foreign, f"{file.name}: {foreign}"
        assert not re.search(r"\bandroidx?\.\w+\.\w", file.read_text().replace("android.media.FaceDetector", "")), file


def test_versions_stand_in_the_catalogue_alone():
    """No number of a version in a build file, and every alias is used and known."""
    versions = catalogue()
    used = set()
    for file in GRADLE:
        text = re.sub(r"//.*", "", file.read_text())
        assert not re.search(r"\d+\.\d+", text), file
        assert not re.search(r"(compileSdk|minSdk|targetSdk|version)\s*(=|\()\s*[\"\d]", text), file
        used |= set(re.findall(r"libs\.([\w.]+?)(?:\.get\(\)|[)\s])", text))
    known = {f"versions.{name}" for name in versions["versions"]}
    known |= {f"plugins.{name.replace('-', '.')}" for name in versions["plugins"]}
    known |= {f"bundles.{name.replace('-', '.')}" for name in versions["bundles"]}
    known |= {name.replace("-", ".") for name in versions["libraries"]}
    assert used <= known, used - known
    for bundle in versions["bundles"].values():
        assert set(bundle) <= set(versions["libraries"])
    bundled = {name for bundle in versions["bundles"].values() for name in bundle}
    unused = {name for name in versions["libraries"] if name.replace("-", ".") not in used} - bundled
    assert not unused
    for part in (*versions["libraries"].values(), *versions["plugins"].values()):
        assert part["version"]["ref"] in versions["versions"]


def test_the_gpu_engine_is_there():
    """Without litert-gpu, CompiledModel runs on the CPU and says nothing."""
    assert {"litert", "litert-gpu"} <= set(catalogue()["bundles"]["litert"])


def test_gradle_is_one_that_the_android_plugin_takes():
    wrapper = (DEMO / "gradle" / "wrapper" / "gradle-wrapper.properties").read_text()
    assert re.search(r"gradle-9\.5\.\d+-bin\.zip", wrapper)
    assert catalogue()["versions"]["agp"].startswith("9.3.")


def test_the_manifest_asks_for_the_camera_and_nothing_else():
    """A library's wish for the network is taken back, so that the README's word holds whatever is merged in."""
    root = ElementTree.parse(APP / "AndroidManifest.xml").getroot()
    tools = "{http://schemas.android.com/tools}node"
    asked = {p.get(f"{ANDROID}name").rpartition(".")[2]: p.get(tools) for p in root.iter("uses-permission")}
    assert asked == {"CAMERA": None, "INTERNET": "remove", "ACCESS_NETWORK_STATE": "remove"}
    assert all(f.get(f"{ANDROID}required") == "false" for f in root.iter("uses-feature"))
    activity = next(root.iter("activity"))
    source = APP / "kotlin" / "edgeface" / "demo" / f"{activity.get(f'{ANDROID}name').lstrip('.')}.kt"
    assert source.is_file() and activity.get(f"{ANDROID}exported") == "true"


@pytest.mark.parametrize("file", RESOURCES, ids=lambda file: file.name)
def test_texts_and_colours_are_resources(file):
    if file.parent.name.startswith("values"):
        return
    for element in ElementTree.parse(file).iter():
        for key, value in element.attrib.items():
            if key in (f"{ANDROID}text", f"{ANDROID}contentDescription", f"{ANDROID}hint"):
                assert value.startswith("@string/"), value
            assert not value.startswith("#"), f"{file.name}: {key}"


def test_every_string_is_used_and_every_one_used_exists():
    strings = {e.get("name") for e in ElementTree.parse(APP / "res" / "values" / "strings.xml").getroot()}
    text = "".join(file.read_text() for file in (*KOTLIN, *RESOURCES, APP / "AndroidManifest.xml"))
    assert set(re.findall(r"(?:R\.string\.|@string/)(\w+)", text)) == strings


def test_the_layout_names_views_that_exist():
    layout = ElementTree.parse(APP / "res" / "layout" / "activity_main.xml")
    own = {element.tag for element in layout.iter() if element.tag.startswith("edgeface.")}
    assert own == {"edgeface.demo.OverlayView"}
    ids = {value.removeprefix("@+id/") for e in layout.iter() if (value := e.get(f"{ANDROID}id"))}
    text = (APP / "kotlin" / "edgeface" / "demo" / "MainActivity.kt").read_text()
    assert set(re.findall(r"R\.id\.(\w+)", text)) <= ids


@pytest.mark.parametrize("file", files(), ids=lambda file: file.name)
def test_generated_kotlin_is_what_python_would_write(file):
    """``python -m convert.android constants`` writes it anew; the golden vectors compare what it leads to."""
    assert file.read_text() == files()[file]


def test_a_changed_python_constant_shows_in_the_generated_kotlin(monkeypatch):
    before = files()
    monkeypatch.setattr("edgeface.runtime.tracker.LOST_RATIO", 1.5)
    monkeypatch.setattr("convert.android.constants.APART", ("ears",))
    after = files()
    assert {file.name for file in before if before[file] != after[file]} == {"Tuned.kt", "Markups.kt"}


def test_colours_are_those_of_the_python_drawing():
    found = {e.get("name"): e.text for e in ElementTree.parse(APP / "res" / "values" / "colors.xml").getroot()}
    drawn = drawing.GROUP_COLORS | dict(zip(("axis_x", "axis_y", "axis_z"), drawing.AXIS_COLORS, strict=True))
    overlay = (APP / "kotlin" / "edgeface" / "demo" / "OverlayView.kt").read_text()
    kinds = dict(re.findall(r'"(\w+)" to color\(R\.color\.(\w+)\)', overlay)) | {"jaw": "jaw"}
    assert kinds.keys() == drawing.GROUP_COLORS.keys() and drawing.GROUP_COLORS["jaw"] == drawing.OTHER_COLOR
    for name, (red, green, blue) in drawn.items():
        assert found[kinds.get(name, name)] == f"#FF{red:02X}{green:02X}{blue:02X}", name
    text = "".join(file.read_text() for file in (*KOTLIN, *RESOURCES))
    assert set(re.findall(r"(?:R\.color\.|@color/)(\w+)", text)) == set(found)


def test_the_box_of_an_eye_pair_is_measured_on_real_faces(faces_root):
    """The factors of EyePair.kt are medians over 300W train; what its comment says of 300W test."""
    from edgeface.box import Box, face_box
    from edgeface.datasets.packs import read_pack
    from edgeface.runtime.tracker import iou

    def sides(split: str) -> np.ndarray:
        """(N, 4): left, top, right, bottom of the tight box from the middle of the eyes, per eye distance."""
        rows = []
        for sample in read_pack("300w", split, faces_root):
            points = sample.landmarks_px["ibug68"]
            left, right = points[36:42].mean(0), points[42:48].mean(0)
            distance, (x, y) = np.hypot(*(right - left)), (left + right) / 2
            if abs(right[1] - left[1]) <= 0.3 * distance:
                box = face_box({"ibug68": points})
                rows.append(np.array([x - box.x0, y - box.y0, box.x1 - x, box.y1 - y]) / distance)
        return np.array(rows)

    text = (CORE / "main" / "kotlin" / "edgeface" / "core" / "EyePair.kt").read_text()
    across, above, below = (float(re.search(rf"{key} = ([\d.]+)", text)[1]) for key in ("ACROSS", "ABOVE", "BELOW"))
    train, test = sides("train"), sides("test")
    median = np.median(train, axis=0)
    np.testing.assert_allclose((across, above, below), (median[[0, 2]].mean(), median[1], median[3]), atol=1e-3)
    own = Box(-across, -above, across, below)
    overlap = np.mean([iou(own, Box(-left, -top, right, bottom)) for left, top, right, bottom in test])
    said = re.sub(r"\s*\n\s*\* ", " ", text)
    assert f"the {len(train)} faces of 300W train" in said and f"{len(test)} such faces" in said
    assert f"mean IoU of {overlap:.2f}" in said

"""The Kotlin of the demo on this machine: core against Python's golden vectors, the app against Android's declarations.

``make test-android`` installs what this needs; else it skips.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from convert.android import kotlin, resources
from convert.android.golden import write_golden
from convert.runtimes.base import RefusedError
from convert.runtimes.golden import golden_crops
from edgeface import zoo
from edgeface.runtime.interpreter import TFLiteModel, quantize
from tests.docs.pages import blocks

DECLARATIONS = Path(__file__).with_name("android_api.kt.txt")
RUNS = Path(__file__).parents[2] / "runs"


def need(reason: str | None) -> None:
    """make test-android sets EDGEFACE_ANDROID: there a skip would hide that nothing was tested."""
    if reason is None:
        return
    if os.environ.get("EDGEFACE_ANDROID"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def classes() -> Path:
    need(kotlin.missing())
    return kotlin.compile_core()


@pytest.fixture(scope="session")
def golden_folder(classes, tmp_path_factory) -> Path:
    """Vectors with every packaged model and files that are decoded on the host: those of runs/, and tiny ones."""
    folder = tmp_path_factory.mktemp("golden")
    converted = sorted(RUNS.glob("*/*_int8_logits.tflite"))
    if os.environ.get("EDGEFACE_ANDROID"):
        converted += tiny_files(tmp_path_factory.mktemp("tiny"))
    write_golden(folder, [*(zoo.path(name) for name in zoo.available()), *converted], faces=2)
    return folder


def tiny_files(folder: Path) -> list[Path]:
    """Untrained networks of both papers, converted to `int8_logits`: 20 s of one core."""
    import keras

    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter reads what Keras's TensorFlow backend exports")
    from edgeface.convert.convert_all import Job, convert_all
    from edgeface.convert.variants import VARIANTS
    from edgeface.models.io import model_info, save_model
    from tests.convert import tiny

    files = []
    for config in (tiny.ACDC, tiny.CCR):
        model = folder / f"{config.name}.keras"
        save_model(tiny.trained_like(config), model, model_info(config, training={"steps": 7}))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "edgeface.convert.calibration_set.synthetic_crops", lambda *_, config=config: tiny.crops(config, 16)
            )
            files += [done.path for done in convert_all(Job(model, folder), [VARIANTS["int8_logits"]])]
    return files


def test_core_agrees_with_python(classes, golden_folder):
    told = kotlin.golden(classes, golden_folder)
    compared = {line.split(":")[0].split(maxsplit=1)[1] for line in told.splitlines()}
    kinds = {"crops", "points of a crop", "pose axes", "smoothed landmarks", "tracked crops", "tracked landmarks"}
    kinds |= {f"{what} ({which})" for what in ("landmarks", "pose") for which in ("drawn", "models")}
    assert kinds <= compared
    assert "FAIL" not in told


def test_the_golden_test_can_fail(classes, golden_folder, tmp_path):
    """Every kind of vector moved by a little more than its bound."""
    document = json.loads((golden_folder / "golden.json").read_text())
    for file in golden_folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    crop = document["crops"][0]
    pixels = np.frombuffer((golden_folder / crop["expected"]).read_bytes(), np.uint8).copy()
    pixels[100] = int(pixels[100]) + (3 if pixels[100] < 128 else -3)
    (tmp_path / "moved.bin").write_bytes(pixels.tobytes())
    crop["expected"] = "moved.bin"
    drawn = document["drawn"][0]["faces"][0]
    drawn["landmarks_px"][5][0] += 0.06
    drawn["pose_deg"][2] -= 0.011
    document["drawn"][1]["fields"]["side"] += 1
    model = document["models"][0]["faces"][0]
    model["landmarks_px"][0][1] -= 0.06
    document["smoothing"][0]["frames"][20]["expected_px"][3][1] += 0.002
    call = next(frame["calls"][0] for frame in document["tracks"][0]["frames"][3:] if frame["calls"])
    call["center"] = [call["center"][0] + 0.01, call["center"][1]]
    document["tracks"][1]["frames"][10]["detections"].append([0, 0, 9, 9])
    document["axes"][1]["axes"][0][0] += 1e-4
    document["markups"]["ibug68"]["groups"]["jaw"][3] = 7
    document["markups"]["aflw21"]["lines"]["ears"] = document["markups"]["aflw21"]["groups"]["ears"]
    (tmp_path / "golden.json").unlink()
    (tmp_path / "golden.json").write_text(json.dumps(document))
    with pytest.raises(RefusedError) as refused:
        kotlin.golden(classes, tmp_path)
    told = str(refused.value)
    for kind in (
        "FAIL crops",
        "FAIL landmarks (drawn)",
        "FAIL pose (drawn)",
        "FAIL card drawn_features_float32",
        "FAIL landmarks (models)",
        "FAIL smoothed landmarks",
        "FAIL tracked crops",
        "frame 10: detections must be",
        "FAIL pose axes",
        "FAIL groups of ibug68",
        "FAIL lines of aflw21",
    ):
        assert kind in told, kind


def test_a_vector_that_is_not_there_is_no_success(classes, tmp_path):
    with pytest.raises(RefusedError, match="golden.json"):
        kotlin.golden(classes, tmp_path)


@pytest.fixture(scope="session")
def linked(tmp_path_factory) -> Path:
    need(resources.missing())
    return resources.link(tmp_path_factory.mktemp("aapt2"))


def test_resources_and_manifest_link(linked):
    text = next(linked.rglob("R.java")).read_text()
    for name in ("activity_main", "ic_launcher", "ic_switch_camera", "preview", "overlay", "state_no_face"):
        assert name in text
    assert "package edgeface.demo;" in text


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("layout/activity_main.xml", 'android:layout_gravity="bottom"', 'android:layout_gravity="buttom"'),
        ("layout/activity_main.xml", "@string/switch_camera", "@string/switch_kamera"),
        ("values/styles.xml", "Theme.Material.NoActionBar", "Theme.Material.NoSuchTheme"),
        ("drawable/ic_switch_camera.xml", "viewportWidth", "viewPortWidth"),
    ],
)
def test_wrong_resources_are_refused(tmp_path, file, right, wrong):
    need(resources.missing())
    for source in (resources.APP / "res").rglob("*.xml"):
        copy = tmp_path / "res" / source.relative_to(resources.APP / "res")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source.read_text())
    changed = tmp_path / "res" / file
    assert right in changed.read_text()
    changed.write_text(changed.read_text().replace(right, wrong))
    with pytest.raises(RefusedError, match="aapt2 must succeed"):
        resources.link(tmp_path / "out", tmp_path / "res")


def test_the_app_compiles_against_the_declared_api(linked, tmp_path):
    """Not Android itself: declarations of what the app uses, see `DECLARATIONS`."""
    need(kotlin.missing())
    resources.type_check(DECLARATIONS, linked, tmp_path, kotlin_examples(tmp_path))


def kotlin_examples(folder: Path) -> list[Path]:
    """Every page's Kotlin, a file and a package each; the imports are what an editor would add."""
    known = {"Context": "android.content.Context", "Accelerator": "com.google.ai.edge.litert.Accelerator"}
    known |= {"CompiledModel": "com.google.ai.edge.litert.CompiledModel"}
    files = []
    for number, block in enumerate(blocks("kotlin")):
        names = [full for short, full in known.items() if re.search(rf"\b{short}\b", block.text)]
        head = f"package edgeface.demo.page{number}\n\n"
        files.append(folder / f"Page{number}.kt")
        files[-1].write_text(head + "".join(f"import {n}\n" for n in (*names, "edgeface.core.*")) + block.text)
    assert len(files) >= 2
    return files


@pytest.mark.parametrize("name", ["acdc_n_int8_qat", "acdc_n_float16"])
def test_the_calls_that_the_app_makes(name):
    """LiteRT's CompiledModel by Python's binding: buffers by the card's names, uint8 pixels written as int8 bytes.

    Kotlin's binding has no uint8, and its buffers are made by name too.
    """
    from ai_edge_litert.compiled_model import CompiledModel

    model = TFLiteModel(zoo.path(name))
    card, crop = model.card, golden_crops(model.card, 1)[0]
    compiled = CompiledModel.from_file(str(zoo.path(name)))
    (signature,) = compiled.get_signature_list()
    image = compiled.create_input_buffer_by_name(signature, card.input.name)
    outputs = {s.name: compiled.create_output_buffer_by_name(signature, s.name) for s in card.outputs.values()}
    stored = quantize(crop, card.input)
    image.write(stored if stored.dtype == np.float32 else stored.view(np.int8))
    compiled.run_by_name(signature, {card.input.name: image}, outputs)
    expected = model.run(crop, raw=True)
    for role, spec in card.outputs.items():
        got = outputs[spec.name].read(int(np.prod(spec.shape)), np.dtype(spec.dtype)).reshape(spec.shape)
        np.testing.assert_array_equal(got, expected[role])

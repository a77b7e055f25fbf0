"""What ``import edgeface`` offers: every name, its example, and that nothing is loaded before it is used."""

import doctest
import inspect
import os
import subprocess
import sys

import numpy as np
import pytest

import edgeface
from edgeface.datasets.synthetic import face_seed, render_face
from edgeface.images import write_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """face.jpg, a rendered face, and talk.mp4, three frames of it."""
    import cv2

    folder = tmp_path_factory.mktemp("front_door")
    image = render_face(face_seed(0)).image
    write_image(folder / "face.jpg", image)
    video = cv2.VideoWriter(str(folder / "talk.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, image.shape[1::-1])
    for _ in range(3):
        video.write(image[..., ::-1].copy())
    video.release()
    return folder


def test_every_name_is_there_and_listed():
    for name in edgeface.__all__:
        assert getattr(edgeface, name) is not None
    assert set(edgeface.__all__) <= set(dir(edgeface))
    with pytest.raises(AttributeError, match="no attribute 'Predictr'"):
        edgeface.Predictr  # noqa: B018


def test_nothing_is_loaded_before_it_is_used():
    program = "import sys, edgeface; print(sorted({'cv2', 'numpy', 'keras'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", [n for n in edgeface.__all__ if n != "__version__"])
def test_each_name_has_an_example_that_runs(name, folder, monkeypatch):
    value = getattr(edgeface, name)
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(value) or "")
    assert examples, f"edgeface.{name} must have an example in its docstring"
    if name in ("FaceDetector", "FaceFinder", "Tracker", "find_faces"):
        monkeypatch.setattr("edgeface.runtime.detector.FaceDetector.__init__", lambda self, path=None: None)
        monkeypatch.setattr("edgeface.runtime.detector.FaceDetector.detect", lambda self, image: [])
        monkeypatch.setattr("edgeface.runtime.find._detector", lambda path: edgeface.FaceDetector())
    monkeypatch.chdir(folder)
    scope = {"edgeface": edgeface}
    for example in examples:
        exec(compile(example.source, f"edgeface.{name}", "single"), scope)


def test_a_path_an_rgb_array_and_opencvs_array_give_the_same_face(folder):
    predictor = edgeface.Predictor.load("acdc_s")
    image = edgeface.read_image(folder / "face.jpg")
    box = (20, 20, 100, 100)
    faces = [
        predictor.predict(os.fspath(folder / "face.jpg"), box),
        predictor.predict(image, box),
        predictor.predict(image[..., ::-1].copy(), box, bgr=True),
        predictor.predict_many(folder / "face.jpg", [box])[0],
    ]
    for face in faces[1:]:
        np.testing.assert_array_equal(face.landmarks_px, faces[0].landmarks_px)
    with pytest.raises(edgeface.InputError, match="bgr must be left out for an image file"):
        predictor.predict(folder / "face.jpg", bgr=True)


def test_a_predictor_says_what_it_is():
    text = repr(edgeface.Predictor.load("acdc_s"))
    assert "acdc_s_int8_qat" in text and "ibug68" in text and "(1, 128, 128, 1) uint8" in text


def test_the_packaged_models_are_listed():
    models = edgeface.list_models()
    assert {"acdc_n_int8_qat", "acdc_s_int8_qat", "ccr_s_int8_qat"} <= {m.name for m in models}
    assert all(m.bytes == m.path.stat().st_size and m.side == 128 for m in models if m.name.startswith("acdc_s"))

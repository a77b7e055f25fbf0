"""Whatever is fed to an entry point: a clear error or a right answer, never a crash and never quietly a wrong one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface import cli, zoo
from edgeface.box import Box
from edgeface.card import read_card, split_card
from edgeface.crop import Crop
from edgeface.datasets.packs import faces_root
from edgeface.datasets.synthetic import face_seed, render_face
from edgeface.errors import InputError
from edgeface.images import rgb_copy, rgb_view, write_image
from edgeface.runtime.detector import FaceDetector
from edgeface.runtime.predictor import Face, Predictor, cut
from edgeface.runtime.show import draw_face
from edgeface.runtime.tracker import FixedBox, Tracker, TrackerConfig

ROOT = Path(__file__).resolve().parents[2]
STRESS_S = float(os.environ.get("EDGEFACE_STRESS_S", 2))
"""How long the threads run; a minute: EDGEFACE_STRESS_S=60."""


def _yunet() -> Path | None:
    root = faces_root()
    files = sorted((root.parent / "models").glob("face_detection_yunet*.onnx")) if root else []
    return files[0] if files else None


YUNET = _yunet()


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load("acdc_n")


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    if YUNET is None:
        pytest.skip("no folder of real faces (EDGEFACE_FACES) with a YuNet file beside it")
    return FaceDetector(YUNET)


@pytest.fixture(scope="module")
def rendered():
    return [render_face(face_seed(index, 17, "test"), 128) for index in range(8)]


SHAPES = [(1, 1), (1, 300), (20, 20_000), (20_000, 20), (2, 2), (7, 5000)]


@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_of_any_shape_are_predicted(predictor, shape):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    height, width = shape
    for box in (None, Box(-5, -5, 5, 5), Box(-1e6, -1e6, 1e6, 1e6), Box(width - 1.5, height - 1.5, width, height)):
        face = predictor.predict(image, box)
        assert np.isfinite(face.landmarks_px).all() and np.isfinite(face.pose.as_array()).all()
    tracker = Tracker(predictor, FixedBox(None))
    assert isinstance(tracker.update(image), list)


@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_of_any_shape_are_searched(detector, shape):
    assert isinstance(detector.detect(np.full((*shape, 3), 128, np.uint8)), list)


def test_views_and_read_only_arrays_are_pictures(predictor, rendered):
    image, box = rendered[0].image, rendered[0].box
    right = predictor.predict(image, box)
    frozen = image.copy()
    frozen.flags.writeable = False
    wide = np.zeros((128, 256, 3), np.uint8)
    wide[:, ::2] = image
    four = np.dstack([image, image[..., 0]])
    backwards = np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1]
    video = rgb_view(np.ascontiguousarray(image[..., ::-1]))
    for same in (video, frozen, wide[:, ::2], four[..., :3], backwards, image[..., ::-1].copy()[..., ::-1]):
        np.testing.assert_array_equal(predictor.predict(same, box).landmarks_px, right.landmarks_px)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_video_s_frame_is_cut_as_its_copy(rendered, channels):
    bgr = np.ascontiguousarray(cv2.resize(rendered[0].image, (300, 200))[..., ::-1])
    view = rgb_view(bgr)
    copy = rgb_copy(view)
    assert copy.flags.writeable and copy.flags.c_contiguous and not view.flags.writeable
    np.testing.assert_array_equal(copy, bgr[..., ::-1])
    for crop in (Crop((150, 90), 120.0), Crop((10, 190), 90.0, 30.0), Crop((150, 100), 900.0)):
        np.testing.assert_array_equal(cut(view, crop, 64, channels), cut(copy, crop, 64, channels))


def test_a_video_s_frame_is_searched_as_its_copy(detector, rendered):
    for side in (128, 900):  # as it is, and shrunk first
        bgr = cv2.resize(rendered[0].image, (side, side))[..., ::-1].copy()
        seen, same = detector.detect(rgb_view(bgr)), detector.detect(bgr[..., ::-1].copy())
        assert [found.box for found in seen] == [found.box for found in same] and seen


def test_a_video_s_frame_cannot_be_drawn_on_by_mistake(predictor, rendered):
    view = rgb_view(rendered[0].image[..., ::-1].copy())
    face = predictor.predict(view, rendered[0].box)
    with pytest.raises(InputError, match="must be writable"):
        draw_face(view, face, predictor.markup)
    draw_face(rgb_copy(view), face, predictor.markup)


def test_the_picture_is_never_written_to(predictor, rendered):
    image = rendered[0].image.copy()
    predictor.predict(image, rendered[0].box)
    Tracker(predictor, FixedBox(rendered[0].box)).update(image)
    np.testing.assert_array_equal(image, rendered[0].image)


BAD_BOXES = [
    (np.nan, 0, 9, 9),
    (0, 0, np.inf, 9),
    (-1e200, -1e200, 1e200, 1e200),
    (-1e12, 3, 9, 9),
    (9, 9, 1, 1),
    (5, 5, 5, 5),
    (900, 900, 950, 950),
    (-90, -90, -50, -50),
    (1, 2, 3),
    (1, 2, 3, 4, 5),
    "0 0 9 9",
    7,
    None,
    ((1, 2), (3, 4)),
    (1, 2, 3, "x"),
]


@pytest.mark.parametrize("box", BAD_BOXES)
def test_boxes_that_are_none_are_told_before_anything_is_predicted(predictor, box):
    with pytest.raises(InputError, match="box must"):
        predictor.predict_many(np.zeros((50, 50, 3), np.uint8), [(5, 5, 20, 20), box])


def test_a_tracker_outlives_a_detector_s_nonsense(predictor):
    class Nonsense:
        def detect(self, image):
            return [FixedBox(Box(900, 900, 950, 950)), FixedBox(Box(5, 5, 5, 5)), FixedBox(Box(-1e9, -1e9, 1e9, 1e9))]

    tracker = Tracker(predictor, Nonsense(), TrackerConfig(detect_every=1))
    for index in range(4):
        for seen in tracker.update(np.full((50, 60, 3), 40 * index, np.uint8)):
            assert np.isfinite(seen.face.landmarks_px).all()


def test_no_face_and_fifty(predictor, detector, rendered):
    assert predictor.predict_many(np.zeros((50, 50, 3), np.uint8), []) == []
    assert detector.detect(np.zeros((480, 640, 3), np.uint8)) == []
    models = [face for face in rendered if detector.detect(face.image)]
    places = [(128 * (i % 10), 128 * (i // 10), models[i % len(models)]) for i in range(50)]
    crowd = np.zeros((640, 1280, 3), np.uint8)
    boxes = []
    for x, y, face in places:
        crowd[y : y + 128, x : x + 128] = face.image
        boxes.append(Box(face.box.x0 + x, face.box.y0 + y, face.box.x1 + x, face.box.y1 + y))
    faces = predictor.predict_many(crowd, boxes)
    assert len(faces) == 50
    for face, box in zip(faces, boxes, strict=True):
        alone = predictor.predict(crowd, box)
        np.testing.assert_array_equal(face.landmarks_px, alone.landmarks_px)
    sharp = FaceDetector(YUNET, longest=1280)
    # Next to one another, a few are taken for a part of their neighbour.
    assert len(sharp.detect(crowd)) > 25
    assert len(Tracker(predictor, sharp, TrackerConfig(max_faces=50)).update(crowd)) > 25


def test_one_bad_picture_among_several_does_not_stop_the_others(tmp_path, capsys):
    for name in "ac":
        write_image(tmp_path / f"{name}.png", np.full((40, 60, 3), 90, np.uint8))
    (tmp_path / "b.png").write_bytes(b"broken")
    argv = ["predict", str(tmp_path), "--model", "acdc_n", "--csv", str(tmp_path / "faces.csv")]
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2 and "b.png must be an image" in captured.err
    assert [row.split(",")[0][-5:] for row in (tmp_path / "faces.csv").read_text().splitlines()[1:]] == [
        "a.png",
        "c.png",
    ]


def flip(model: Path, positions: np.ndarray) -> dict[int, str]:
    command = [sys.executable, str(Path(__file__).with_name("flips.py")), str(model), *map(str, positions.tolist())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
    assert done.returncode == 0, f"{done.stdout[-200:]} {done.stderr[-2000:]}"
    return {int(line.split()[0]): line.split()[1] for line in done.stdout.splitlines()}


def test_a_byte_flipped_anywhere_is_refused_or_harmless():
    model = zoo.path("acdc_n")
    data = model.read_bytes()
    inside = len(split_card(data)[0])
    rng = np.random.default_rng(5)
    body = np.concatenate([np.arange(16), rng.integers(16, inside, 60)])
    # The card is a zip archive: its every header and directory field counts.
    tail = np.concatenate([np.arange(inside, inside + 48), np.arange(len(data) - 90, len(data))])
    packed = rng.integers(inside, len(data), 40)
    positions = np.unique(np.concatenate([body, tail, packed]))
    found = flip(model, positions)
    assert found.keys() == set(positions.tolist())
    assert "WRONG" not in found.values()
    assert all(found[p] == "refused" for p in found if p < inside), "the model's own bytes are hashed"


def test_a_model_cut_anywhere_is_refused(tmp_path):
    data = zoo.path("acdc_n").read_bytes()
    path = tmp_path / "cut.tflite"
    for length in np.linspace(0, len(data) - 1, 60).astype(int):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="cut.tflite"):
            Predictor.load(path)


def test_a_card_without_a_hash_is_refused(tmp_path):
    path = tmp_path / "bare.tflite"
    shutil.copy(zoo.path("acdc_n"), path)
    card = read_card(path).to_dict() | {"flatbuffer_sha256": None}
    path.write_bytes(split_card(path.read_bytes())[0])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("edgeface.json", json.dumps(card))
    with pytest.raises(InputError, match="must hold flatbuffer_sha256"):
        Predictor.load(path)


def _with_card(path: Path, change: Callable[[dict], None]) -> Path:
    """acdc_n with another card, written past the checks that a card's class makes."""
    flatbuffer, card = split_card(zoo.path("acdc_n").read_bytes())
    data = json.loads(card)
    change(data)
    path.write_bytes(flatbuffer)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("edgeface.json", json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda card: card["input"].update(scale=2.0), "must have the scale and zero point of its card, 2.0 and 0"),
        (lambda card: card["input"].update(zero_point=3), "its card, 1.0 and 3. Received: 1.0 and 0"),
        (lambda card: card["input"].update(zero_point=10**400), "0 <= zero_point <= 255"),
        (lambda card: card["input"].update(scale=float("inf")), "scale > 0"),
        (lambda card: card["outputs"].update(pose_features=card["outputs"].pop("pose")), "pose must be features"),
        (lambda card: card["outputs"].update(pose_logits=card["outputs"].pop("pose")), "decode.pose must be bins"),
        (lambda card: card["outputs"]["pose"].update(name="none", index=-(10**9)), "must have the output 'none'"),
    ],
)
def test_a_card_that_does_not_fit_its_file_is_refused(tmp_path, change, rule):
    with pytest.raises(InputError, match=re.escape(rule)):
        Predictor.load(_with_card(tmp_path / "lies.tflite", change))


def test_a_card_nested_too_deeply_is_told(tmp_path):
    path = tmp_path / "deep.tflite"
    path.write_bytes(split_card(zoo.path("acdc_n").read_bytes())[0])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("edgeface.json", "[" * 100_000)
    with pytest.raises(InputError, match="deep.tflite must be JSON. Received: one nested too deeply"):
        Predictor.load(path)


@pytest.mark.parametrize("threads", [-1, 0, 257, 200_000, 2**70])
def test_threads_that_no_system_starts_are_refused(threads):
    with pytest.raises(InputError, match="threads must be at least 1 and at most 256"):
        Predictor.load("acdc_n", threads)


def test_eight_threads_share_one_predictor(predictor, rendered):
    """Every answer is bit for bit the one that a single thread gets; every tenth call is nonsense, and told so."""
    alone: list[Face] = [predictor.predict(face.image, face.box) for face in rendered]

    def call(number: int, count: int) -> str | None:
        face, right = rendered[number], alone[number]
        if count % 10 == 9:
            with pytest.raises(InputError, match="box must"):
                predictor.predict(face.image, (900, 900, 950, 950))
            return None
        got = predictor.predict(face.image, face.box)
        same = (got.landmarks_px == right.landmarks_px).all() and got.pose == right.pose
        return None if same else "another thread's answer"

    _together(call, STRESS_S)


def test_eight_threads_share_one_detector(detector, rendered):
    sizes = [96, 128, 160, 192, 224, 256, 288, 320]  # every thread another size: it is a setting of the detector
    images = [cv2.resize(rendered[i].image, (size, size)) for i, size in enumerate(sizes)]
    alone = [[found.box.as_xyxy() for found in detector.detect(image)] for image in images]
    assert any(alone)

    def call(number: int, count: int) -> str | None:
        found = [found.box.as_xyxy() for found in detector.detect(images[number])]
        return None if found == alone[number] else f"another thread's faces: {found}"

    _together(call, STRESS_S / 2)


def test_eight_trackers_share_a_predictor_and_a_detector(predictor, detector, rendered):
    """Eight videos at once, each the answers that it has when it is alone."""
    videos = [[np.roll(face.image, 2 * step, axis=1) for step in range(4)] for face in rendered]

    def follow(number: int) -> list:
        tracker = Tracker(predictor, detector, TrackerConfig(detect_every=2))
        return [[seen.face.landmarks_px.tolist() for seen in tracker.update(frame)] for frame in videos[number]]

    alone = [follow(number) for number in range(8)]
    assert any(any(frames) for frames in alone)
    _together(lambda number, count: None if follow(number) == alone[number] else "another video's faces", STRESS_S / 2)


def _together(call: Callable[[int, int], str | None], seconds: float) -> None:
    """Eight threads call until the time is up; whatever is raised, or said to be wrong, fails the test."""
    until, wrong, counts = time.monotonic() + seconds, [], [0] * 8

    def work(number: int) -> None:
        while time.monotonic() < until:
            try:
                said = call(number, counts[number])
            except BaseException as error:  # pytest's own failure is none of Exception
                said = repr(error)
            if said is not None:
                wrong.append(f"thread {number}, call {counts[number]}: {said}")
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{sum(counts)} calls of 8 threads in {seconds:g} s ({counts}), {len(wrong)} wrong")
    assert not wrong, wrong[:3]
    assert min(counts) > 0

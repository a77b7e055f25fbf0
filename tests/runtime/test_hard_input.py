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
from edgeface.image_header import announced_size
from edgeface.images import read_image, rgb_copy, rgb_view
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


def written(path: Path, image: np.ndarray, *parameters: int) -> Path:
    """Through OpenCV, channels in its own order."""
    assert cv2.imwrite(str(path), image, list(parameters))
    return path


PICTURE = np.zeros((40, 60, 3), np.uint8)
PICTURE[:20, :30] = 200, 40, 20
PICTURE[:20, 30:] = 20, 200, 40
PICTURE[20:, :30] = 40, 20, 200
BGR = PICTURE[..., ::-1]


def test_sixteen_bits_are_brought_to_eight(tmp_path):
    path = written(tmp_path / "deep.png", BGR.astype(np.uint16) * 257)
    np.testing.assert_allclose(read_image(path).astype(int), PICTURE, atol=1)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_in_sixteen_are_scaled_by_their_own_range(tmp_path, caplog, bits):
    deep = np.round(BGR / 255 * (2**bits - 1)).astype(np.uint16)
    deep[0, 0] = 2**bits - 1
    caplog.set_level("INFO")
    image = read_image(written(tmp_path / "deep.png", deep))
    np.testing.assert_allclose(image[1:].astype(int), PICTURE[1:], atol=1)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'deep.png'}: {bits} bits are stored in 16; they are brought to 8"
    ]
    gray = read_image(written(tmp_path / "gray.png", deep[..., 0]))
    np.testing.assert_allclose(gray[1:].astype(int), np.repeat(BGR[1:, :, :1], 3, 2), atol=1)


def test_gray_becomes_three_equal_channels(tmp_path):
    image = read_image(written(tmp_path / "gray.png", PICTURE[..., 0]))
    assert image.shape == (40, 60, 3) and (image == PICTURE[..., :1]).all()


def test_alpha_is_left_out(tmp_path):
    alpha = np.dstack([BGR, np.full((40, 60), 100, np.uint8)])
    np.testing.assert_array_equal(read_image(written(tmp_path / "alpha.png", alpha)), PICTURE)
    deep = np.dstack([BGR.astype(np.uint16) * 257, np.full((40, 60), 9, np.uint16)])
    np.testing.assert_allclose(read_image(written(tmp_path / "deep.png", deep)).astype(int), PICTURE, atol=1)


def test_cmyk_photographs_keep_their_colours(tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes the CMYK photograph")
    path = tmp_path / "cmyk.jpg"
    pillow.fromarray(PICTURE).convert("CMYK").save(path, quality=95)
    image = read_image(path)
    for corner in (np.s_[5:15, 5:25], np.s_[5:15, 35:55], np.s_[25:35, 5:25]):
        # No profile is applied on either side; JPEG moves a flat patch by a few levels.
        np.testing.assert_allclose(image[corner].mean((0, 1)), PICTURE[corner].mean((0, 1)), atol=8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photographs_come_out_upright(tmp_path, orientation):
    stored = {
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.transpose(1, 0, 2),
        6: np.rot90(PICTURE),
        7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PICTURE, -1),
    }[orientation]
    path = written(tmp_path / "turned.jpg", np.ascontiguousarray(stored[..., ::-1]), cv2.IMWRITE_JPEG_QUALITY, 100)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation]) + bytes(7)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    image = read_image(path)
    assert image.shape == PICTURE.shape
    # Away from the patches' edges, which JPEG blurs.
    np.testing.assert_allclose(image[8, 12].astype(int), PICTURE[8, 12], atol=12)
    np.testing.assert_allclose(image[8, 48].astype(int), PICTURE[8, 48], atol=12)
    np.testing.assert_allclose(image[32, 12].astype(int), PICTURE[32, 12], atol=12)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_a_file_cut_anywhere_is_an_error_or_a_picture(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    data = written(tmp_path / f"whole{suffix}", noise).read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in np.linspace(0, len(data) - 1, 40).astype(int):
        path.write_bytes(data[:length])
        try:
            assert read_image(path).shape == (40, 60, 3)
        except InputError as error:
            assert str(path) in str(error)


def test_a_picture_that_claims_to_be_vast_is_refused(tmp_path):
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    path = tmp_path / "vast.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))))
    with pytest.raises(InputError, match="must be an image"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".bmp", ".ppm", ".gif"])
def test_the_size_is_known_before_anything_is_decoded(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), np.zeros((30, 47, 3), np.uint8))
    data = path.read_bytes()
    assert announced_size(data) == announced_size(memoryview(data)) == (47, 30)
    for length in range(0, len(data), 7):
        assert announced_size(data[:length]) in (None, (47, 30))
    monkeypatch.setattr("edgeface.images.MAX_PIXELS", 47 * 30 - 1)
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(InputError, match=r"must be an image of at most 0 million pixels\. Received: 47 x 30"):
        read_image(path)


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
        written(tmp_path / f"{name}.png", BGR)
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

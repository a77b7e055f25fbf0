"""The page's modules in node, held against the Python that they follow."""

from __future__ import annotations

import base64
import dataclasses

import numpy as np
import pytest

from demo_web.site import markups
from edgeface import box as boxes
from edgeface import zoo
from edgeface.box import Box
from edgeface.card import read_card
from edgeface.codecs import BinnedAngles, IntegralHeatmap, LinearPose
from edgeface.crop import Crop, square_crop
from edgeface.head_pose import HeadPose, from_matrix, to_matrix, turn_pose
from edgeface.markup import MARKUPS
from edgeface.runtime.drawing import APART, GROUP_COLORS, axes_on_screen
from edgeface.runtime.interpreter import quantize
from edgeface.runtime.predictor import Face, cut
from edgeface.runtime.smoothing import FaceSmoother, OneEuro
from edgeface.runtime.tracker import next_frame
from tests.web.modules import evaluate, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def crop_words(crop: Crop) -> dict:
    return {"center": crop.center, "size": crop.size, "angleDeg": crop.angle_deg}


@pytest.mark.parametrize("size", [(731, 977), (720, 720), (40, 60)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_crop_has_opencvs_pixels(rng, size, channels):
    """Noise is the hardest picture. A pixel in a thousand may round the other way; none by two levels."""
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    x, y = size[1] * 0.52, size[0] * 0.47
    crops = [
        Crop((x, y), s, a) for s, a in [(0.3 * x, 0), (128, 0), (250, 0), (290, 0), (300.5, 25), (700, 0), (800, -40)]
    ]
    crops.append(Crop((2.0, size[0] - 5.0), 200, 10))
    rgba = np.dstack([image, np.full(size, 255, np.uint8)])
    given = {
        "data": base64.b64encode(rgba.tobytes()).decode(),
        "width": size[1],
        "height": size[0],
        "crops": [crop_words(crop) for crop in crops],
        "channels": channels,
    }
    body = """const picture = {...given, data: Buffer.from(given.data, "base64")};
    const cut = (crop) => Buffer.from(m.extract(picture, crop, 128, given.channels)).toString("base64");
    return given.crops.map(cut);"""
    for crop, text in zip(crops, evaluate("crop.js", body, given), strict=True):
        ours = np.frombuffer(base64.b64decode(text), np.uint8).reshape(128, 128, channels).astype(int)
        gap = np.abs(ours - cut(image, crop, 128, channels))
        assert gap.max() <= 1 and (gap > 0).mean() < 2e-3, crop


def test_boxes_crops_and_points_are_those_of_geometry(rng):
    box = Box(31.5, 20.25, 141.0, 170.5)
    crop = square_crop(box, 1.3, 12.0)
    points = rng.random((68, 2)).astype(np.float32)
    body = """const crop = m.squareCrop(given.box, 1.3, 12);
    return [crop, Array.from(m.toImage(crop, given.points.flat())), m.cropMatrix(crop, 128)];"""
    got, image_points, matrix = evaluate("crop.js", body, {"box": box.as_xyxy(), "points": points.tolist()})
    assert got == {"size": crop.size, "angleDeg": 12, "center": list(crop.center)}
    np.testing.assert_allclose(np.reshape(image_points, (-1, 2)), crop.to_image(points), atol=1e-4)
    np.testing.assert_allclose(np.reshape(matrix, (2, 3)), crop.matrix(128), atol=1e-10)


def test_inputs_are_quantised_as_the_card_says(rng):
    values = np.arange(256, dtype=np.uint8)
    spec = read_card(zoo.path(zoo.available()[0])).input
    for dtype, scale, zero in [("float32", None, None), ("uint8", 1.0, 0), ("uint8", 2.0, 3), ("int8", 1.0, -128)]:
        spec = dataclasses.replace(spec, dtype=dtype, scale=scale, zero_point=zero)
        body = "return Array.from(m.quantize(given.values, given.spec));"
        got = evaluate("crop.js", body, {"values": values.tolist(), "spec": dataclasses.asdict(spec)})
        np.testing.assert_array_equal(got, quantize(values, spec))


def test_what_a_file_leaves_to_the_host_is_decoded_as_codecs_do(rng):
    maps = (3 * rng.standard_normal((16, 12, 5))).astype(np.float32)
    logits = (4 * rng.standard_normal((3, 66))).astype(np.float32)
    features = rng.standard_normal((4, 4, 6)).astype(np.float32)
    kernel, bias = rng.standard_normal((6, 3)), rng.standard_normal(3)
    given = {
        "maps": maps.ravel().tolist(),
        "logits": logits.ravel().tolist(),
        "features": features.ravel().tolist(),
        "kernel": kernel.tolist(),
        "bias": bias.tolist(),
    }
    body = """const {landmarks, spread} = m.integral(Float32Array.from(given.maps), 16, 12, 20);
    const angles = m.binned(Float32Array.from(given.logits), 66, -99, 99);
    const pose = m.linear(Float32Array.from(given.features), given.kernel, given.bias);
    return [landmarks, spread, angles, pose].map((values) => Array.from(values));"""
    landmarks, spread, angles, pose = evaluate("decode.js", body, given)
    points, wide = IntegralHeatmap(16, 12).decode(20 * maps)
    np.testing.assert_allclose(np.reshape(landmarks, (-1, 2)), points, atol=1e-5)
    # The variance is a difference of squares in float32 there: its root loses half the digits.
    np.testing.assert_allclose(spread, wide, atol=1e-3)
    np.testing.assert_allclose(angles, BinnedAngles().decode(logits), atol=1e-3)
    np.testing.assert_allclose(pose, LinearPose(tuple(map(tuple, kernel)), tuple(bias)).decode(features), atol=1e-4)


def test_an_integer_file_is_dequantised_and_decoded(rng):
    stored = rng.integers(-128, 128, (8, 8, 3))
    outputs = {"maps": {"scale": 0.1, "zero_point": -5}}
    rule = {"map_height": 8, "map_width": 8, "sharpness": 2.0}
    body = """const answer = m.decode({maps: Int8Array.from(given.stored)}, given.card);
    return Array.from(answer.landmarks);"""
    given = {"stored": stored.ravel().tolist(), "card": {"outputs": outputs, "decode": rule}}
    expected, _ = IntegralHeatmap(8, 8).decode(2.0 * 0.1 * (stored + 5).astype(np.float32))
    np.testing.assert_allclose(np.reshape(evaluate("decode.js", body, given), (-1, 2)), expected, atol=1e-5)


def test_poses_turn_and_their_axes_point_as_in_python():
    poses = [[0, 0, 0], [30, -20, 15], [-80, 40, -35], [90, 10, 0], [12, 3, 50]]
    body = """return given.map((pose) => [m.toMatrix(pose), m.fromMatrix(m.toMatrix(pose)), m.turnPose(pose, 25),
      m.axesOnScreen(pose)]);"""
    for pose, (matrix, back, turned, axes) in zip(poses, evaluate("pose.js", body, poses), strict=True):
        np.testing.assert_allclose(matrix, to_matrix(pose), atol=1e-9)
        np.testing.assert_allclose(to_matrix(back), to_matrix(from_matrix(to_matrix(pose))), atol=1e-9)
        np.testing.assert_allclose(to_matrix(turned), to_matrix(turn_pose(pose, 25)), atol=1e-6)
        np.testing.assert_allclose(axes, axes_on_screen(np.array(pose, float)), atol=1e-9)


@pytest.mark.parametrize("name", ["ibug68", "ibug68_3d", "aflw21", "mtfl5", "wflw98"])
def test_the_next_box_is_that_of_the_landmarks(rng, name):
    points = (100 + 80 * rng.random((MARKUPS[name].size, 2))).astype(np.float64)
    facts = markups()
    body = "return m.landmarksBox(given.points.flat(), given.markup, given.rule);"
    given = {"points": points.tolist(), "markup": facts["markups"][name], "rule": facts["box_rule"]}
    expected = boxes.face_box({name: points})
    np.testing.assert_allclose(evaluate("track.js", body, given), expected.as_xyxy(), atol=1e-6)


@pytest.mark.parametrize("hidden", [(), (6, 7, 8), (17,), (8, 11), (18, 19), (14,), (9, 10, 11, 14, 19), (17, 18, 19)])
def test_points_that_a_turned_head_hides_are_left_out_as_in_python(rng, hidden):
    """aflw21 with the maps of some points three times as wide: eyes, mouth corners, nose; last, too much for a box."""
    points = np.float32([[x, y] for y in (100, 120, 150, 180) for x in range(100, 220, 20)])[:21]
    points += rng.normal(scale=3, size=points.shape).astype(np.float32)
    spread = np.full(21, 0.05, np.float32)
    spread[list(hidden)] = 0.15
    around = Box.around(points)
    python = next_frame(Face(points, None, spread, around, square_crop(around, 1.3)), "aflw21")
    facts = markups()
    given = {"points": points.ravel().tolist(), "spread": spread.tolist(), "rule": facts["box_rule"]}
    body = "return m.landmarksBox(given.points, given.markup, given.rule, given.spread);"
    got = evaluate("track.js", body, given | {"markup": facts["markups"]["aflw21"]})
    assert (got is None) == (python is None) == (hidden == (17, 18, 19))
    if python is not None:
        np.testing.assert_allclose(got, python[0].as_xyxy(), atol=1e-3)


@pytest.mark.parametrize("name", MARKUPS)
def test_groups_are_drawn_as_python_draws_them(name):
    """Every point has a colour, and no line joins what Python leaves apart."""
    markup = MARKUPS[name]
    body = "const look = m.scheme(given); return [look.colors, look.haze, look.lines.map((line) => line.points)];"
    colors, haze, lines = evaluate("draw.js", body, markups()["markups"][name])
    assert len(colors) == len(haze) == markup.size and all(colors) and all(haze)
    assert lines == [list(points) for group, points in markup.groups.items() if group not in APART]
    if name == "aflw21":
        assert colors[14] == "#{:02x}{:02x}{:02x}".format(*GROUP_COLORS["nose"]) and [12, 16] not in lines


def test_a_face_is_copied_in_the_pixels_of_its_own_file():
    """A picture shown at 2/5 of its size; pixel centres are at integers."""
    face = {"box": [9.5, 19.5, 29.5, 39.5], "pose": [1, 2, 3.00049], "landmarks": [9.5, 19.5], "spreadPx": [2]}
    got = evaluate("panel.js", "return m.asJson({...given, spreadPx: Float32Array.from(given.spreadPx)});",
                   face | {"scale": 0.4})  # fmt: skip
    assert got["box_xyxy"] == [24.5, 49.5, 74.5, 99.5] and got["landmarks_px"] == [[24.5, 49.5]]
    assert got["spread_px"] == [5] and got["pose_deg"] == [1, 2, 3]


def test_a_leaning_head_is_followed_in_a_crop_that_leans_with_it(rng):
    """An upright face of 100 x 120 px, turned clockwise by 30 degrees about its middle."""
    upright = np.array([[-50, -60], [50, -60], [50, 60], [-50, 60], [0, 0]], float)
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = upright @ turn.T + (200, 300)
    face = {"landmarks": points.ravel().tolist(), "landmarksBox": Box.around(points).as_xyxy(), "pose": [5, 0, 30]}
    body = "return m.uprightPlace({...given, markup: {full: true}});"
    place = evaluate("track.js", body, face)
    assert place["angleDeg"] == 30
    np.testing.assert_allclose(place["box"], [140, 240, 260, 360], atol=1e-6)


def test_a_search_looks_everywhere_and_finds_the_box_that_agrees_with_itself():
    """A model that sees a face at (300, 200), the narrower the nearer the window is."""
    body = """const truth = [240, 130, 360, 270];
    const level = {face: 0.1, blank: 0.3};
    let runs = 0;
    const predict = async (box) => {
      runs++;
      const near = m.overlap(box, truth);
      const landmarksBox = near > 0.1 ? truth : box.map((v, i) => v + (i < 2 ? 30 : -30));
      return {box, landmarksBox, spread: Float32Array.of(0.3 - 0.2 * near)};
    };
    const search = (more) => m.findFace({width: 640, height: 480}, predict, {budgetMs: 1e4, level, ...more});
    const found = await search({});
    const none = await search({pause: async () => true});
    return [found.box, m.looksLikeFace(found, level), none, runs];"""
    box, sure, none, runs = evaluate("track.js", body)
    assert box == [240, 130, 360, 270] and sure and none is None and 20 < runs < 500


def test_steadying_is_that_of_the_package(rng):
    """A face that stands, moves, and turns through the back; a time that stands still."""
    smoother, frames, expected, time_s = FaceSmoother(OneEuro()), [], [], 10.0
    for n in range(40):
        time_s += 0.0 if n == 17 else float(rng.uniform(0.01, 0.06))
        shift = 0.0 if n < 12 else 9.0 * (n - 11)
        points = (100 + 30 * rng.random((10, 2)) + shift).astype(np.float32)
        angles = (float(rng.normal()) + 2 * n, -30.0 + n, (150 + 4 * n + 180) % 360 - 180.0)
        box = Box(80 + shift, 80 + shift, 150 + shift, 160 + shift)
        smooth = smoother(Face(points, HeadPose(*angles), None, box, square_crop(box, 1.3)), time_s)
        expected.append([*smooth.landmarks_px.ravel(), *smooth.pose.as_array()])
        frames.append({"landmarks": points.ravel().tolist(), "pose": angles, "box": box.as_xyxy(), "timeS": time_s})
    body = """const smoother = new m.FaceSmoother();
    return given.map((frame) => {
      const {landmarks, pose} = smoother.smooth(frame, frame.timeS);
      return [...landmarks, ...pose];
    });"""
    np.testing.assert_allclose(evaluate("smooth.js", body, frames), expected, atol=1e-3)


def read(*files: bytes) -> list[dict]:
    """What readModel says of each."""
    given = {"files": [base64.b64encode(data).decode() for data in files], "markups": markups()["markups"]}
    body = """const one = async (file) => {
      try {
        const {flatbuffer, card} = await m.readModel(new Uint8Array(Buffer.from(file, "base64")), given.markups);
        return {card, bytes: flatbuffer.length};
      } catch (error) {
        return {error: error.message, kind: error.constructor.name};
      }
    };
    const answers = [];
    for (const file of given.files) answers.push(await one(file));
    return answers;"""
    return evaluate("card.js", body, given)


def test_the_card_inside_every_packaged_file_is_read():
    paths = [zoo.path(name) for name in zoo.available()]
    for path, got in zip(paths, read(*(path.read_bytes() for path in paths)), strict=True):
        card = read_card(path)
        assert got == {"card": card.to_dict(), "bytes": card.flatbuffer_bytes}


def test_a_damaged_file_is_told_in_words():
    path = min((zoo.path(name) for name in zoo.available()), key=lambda path: path.stat().st_size)
    data, start = path.read_bytes(), read_card(path).flatbuffer_bytes

    def flipped(at: int) -> bytes:
        return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]

    wrong = {"sha256": flipped(start // 2), "without one": data[:start], ".tflite": b"GIF89a" + b"\0" * 50}
    for word, got in zip(wrong, read(*wrong.values()), strict=True):
        assert got["kind"] == "CardError" and word in got["error"], got
    assert read(data[:-9])[0]["kind"] == "CardError"
    # A flipped byte anywhere in the archive: told, or harmless (a time stamp, a name in a note).
    (whole,) = read(data)
    for got in read(*(flipped(at) for at in range(start, len(data), 13))):
        assert got.get("kind") == "CardError" or got == whole, got

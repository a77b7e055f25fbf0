from __future__ import annotations

import json
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgeface.crop import square_crop
from edgeface.datasets import synthetic
from edgeface.datasets.packs import faces_root
from edgeface.datasets.synthetic import (
    PoseRanges,
    face_seed,
    render_face,
    render_params,
    sample_labels,
    sample_params,
    synthetic_samples,
    write_contact_sheet,
)
from edgeface.datasets.synthetic.params import FaceParams, Light, Look, Shape
from edgeface.datasets.synthetic.scene import build_scene
from edgeface.errors import InputError
from edgeface.head_pose import to_matrix
from edgeface.markup import MARKUPS

NAMES = ("ibug68", "ibug68_3d", "wflw98", "aflw21", "mtfl5")
PLAIN = FaceParams(seed=0, pose_deg=(0.0, 0.0, 0.0), look=Look(hair_style="bald"), distance_cm=1e6)


def posed(yaw=0.0, pitch=0.0, roll=0.0, **changes) -> FaceParams:
    return replace(PLAIN, pose_deg=(yaw, pitch, roll), **changes)


def points_3d(params: FaceParams) -> np.ndarray:
    """(68, 3) turned points of ibug68_3d in cm."""
    scene = build_scene(params, 128)
    names = ("jaw", "brows68", "bridge", "base", "eye68", "outer", "inner")
    return np.concatenate([scene.points[scene.runs[k]] for k in names])


def test_same_seed_same_bytes():
    first, again, other = render_face(5), render_face(5), render_face(6)
    np.testing.assert_array_equal(first.image, again.image)
    assert (first.image != other.image).any()
    for name in NAMES:
        np.testing.assert_array_equal(first.landmarks_px[name], again.landmarks_px[name])


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_labels_without_painting_are_the_picture_s(seed):
    face, labels = render_face(seed, 96), sample_labels(seed, 96)
    for name in NAMES:
        np.testing.assert_array_equal(face.landmarks_px[name], labels.landmarks_px[name])
        np.testing.assert_array_equal(face.visible[name], labels.visible[name])
    np.testing.assert_array_equal(face.pose_deg, labels.pose_deg)
    assert face.box == labels.box


@pytest.mark.parametrize("size", [64, 128])
def test_shapes_types_and_framing(size):
    for seed in range(8):
        face = render_face(seed, size)
        assert face.image.shape == (size, size, 3) and face.image.dtype == np.uint8
        assert set(face.landmarks_px) == set(face.visible) == set(NAMES)
        for name in NAMES:
            assert face.landmarks_px[name].shape == (MARKUPS[name].size, 2)
            assert face.landmarks_px[name].dtype == np.float32
            assert face.visible[name].shape == (MARKUPS[name].size,) and face.visible[name].dtype == bool
        assert np.isfinite(face.landmarks_px["wflw98"]).all()
        points = face.landmarks_px["ibug68"]
        np.testing.assert_allclose(face.box.as_xyxy(), [*points.min(0), *points.max(0)])
        crop = square_crop(face.box, 1.3)
        # The box fills 0.56 to 0.74 of the picture, off centre by 0.055 at most: the crop passes the edge by < 5 %.
        low, high = np.array(crop.center) - crop.size / 2, np.array(crop.center) + crop.size / 2
        assert low.min() > -0.1 * size and high.max() < 1.1 * size
        assert 0.55 * size < crop.size / 1.3 < 0.75 * size


def test_a_face_is_the_same_at_every_size():
    small, large = render_face(9, 64), render_face(9, 192)
    # One pixel of the small picture is three of the large: centres at integers.
    expected = (large.landmarks_px["wflw98"] + 0.5) / 3 - 0.5
    np.testing.assert_allclose(small.landmarks_px["wflw98"], expected, atol=1e-3)
    shrunk = cv2.resize(large.image, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    assert np.corrcoef(shrunk.ravel(), small.image.astype(float).ravel())[0, 1] > 0.3


@pytest.mark.parametrize("pose", [(35, -20, 15), (-80, 30, -40), (10, 55, 5)])
def test_points_turned_back_are_the_frontal_face(pose):
    turned, frontal = points_3d(posed(*pose)), points_3d(posed())
    # The head is turned by the transpose of the pose matrix (y up): row vectors times the matrix's transpose undo it.
    np.testing.assert_allclose(turned @ to_matrix(np.array(pose)).T, frontal, atol=1e-9)


@pytest.mark.parametrize("angle", [20.0, 70.0])
def test_signs_of_the_angles(angle):
    frontal = points_3d(posed())
    tip, chin, nose_root = 30, 8, 27
    yawed, pitched, rolled = (points_3d(posed(*np.roll([angle, 0, 0], i))) for i in range(3))
    assert yawed[tip, 0] < frontal[tip, 0] - 1, "yaw > 0 turns the nose to the image's left"
    # 300W-LP: Rx with +sin above the diagonal, y up: the nose rises with pitch.
    matrix = to_matrix(np.array([0, angle, 0]))
    np.testing.assert_allclose(pitched[tip], matrix.T @ frontal[tip], atol=1e-9)
    assert pitched[tip, 1] - pitched[8, 1] != 0
    np.testing.assert_allclose(np.rad2deg(np.arctan2(*(rolled[nose_root] - rolled[chin])[:2])), angle, atol=1e-6)


def test_mirrored_pose_gives_the_mirrored_points():
    for pose in ((40, 10, 20), (-75, -25, 5), (0, 30, -30)):
        one = build_points(posed(*pose))
        other = build_points(posed(-pose[0], pose[1], -pose[2]))
        for name in NAMES:
            mirrored = one[0][name][list(MARKUPS[name].mirror)] * [-1, 1] + [127, 0]
            np.testing.assert_allclose(mirrored, other[0][name], atol=0.02, err_msg=name)
            # Visibility reads a pixel: a point on the very edge of what hides it may differ.
            differ = one[1][name][list(MARKUPS[name].mirror)] != other[1][name]
            assert differ.sum() <= 0.03 * len(differ), (name, pose, np.flatnonzero(differ))


def build_points(params: FaceParams):
    face = render_params(params)
    return face.landmarks_px, face.visible


def test_jaw_slides_to_the_outline_only_where_it_is_hidden():
    frontal, turned = render_params(posed()), render_params(posed(45))
    np.testing.assert_allclose(frontal.landmarks_px["ibug68"], frontal.landmarks_px["ibug68_3d"], atol=0.6)
    drawn, real = turned.landmarks_px["ibug68"], turned.landmarks_px["ibug68_3d"]
    np.testing.assert_allclose(drawn[17:], real[17:], atol=1e-4)
    # yaw > 0: the image's left side of the face turns away; its jaw points move out, to the left.
    assert (drawn[:5, 0] < real[:5, 0] - 1.0).all()
    np.testing.assert_allclose(drawn[9:17], real[9:17], atol=0.05)
    assert not turned.visible["ibug68_3d"][:4].any() and turned.visible["ibug68"][:17].all()
    np.testing.assert_allclose(turned.landmarks_px["wflw98"][:33:2], drawn[:17], atol=1e-4)


def test_jaw_of_a_turned_face_lies_on_the_picture_s_outline():
    plain_light = replace(PLAIN.light, ambient=(1.0, 1.0, 1.0), colour=(0.0, 0.0, 0.0))
    params = posed(50, look=Look(hair_style="bald", skin=(250, 250, 250)), light=plain_light)
    scene = build_scene(params, 128)
    seen = scene.fragments(256).depth > -1e8
    # On the far side, a step outwards of a drawn jaw point leaves the head, a step inwards stays on it.
    for x, y in render_params(params).landmarks_px["ibug68"][1:5]:
        row = seen[round(2 * y + 0.5)]
        edge = (np.flatnonzero(row)[0] - 0.5) / 2
        assert abs(x - edge) < 2.0, (x, edge)


def test_visibility():
    frontal = render_params(posed())
    for name in ("ibug68", "wflw98", "mtfl5"):
        assert frontal.visible[name].all(), name
    profile = render_params(posed(80)).visible
    # The face looks to the image's left: its image-left eye is behind the nose, the other is seen.
    assert not profile["ibug68"][36:42].any() and profile["ibug68"][42:48].all()
    assert not profile["aflw21"][[6, 7, 8, 12]].any() and profile["aflw21"][[9, 10, 11, 16]].all()
    assert not profile["mtfl5"][0] and profile["mtfl5"][1]
    dark = render_params(posed(look=Look(hair_style="bald", glasses=True), occluder="sunglasses")).visible
    assert not dark["aflw21"][[7, 10]].any(), "sunglasses cover the eyes"
    assert dark["ibug68"].all(), "a point before which something hangs keeps its place"


def test_landmarks_sit_on_what_is_painted():
    look = Look(hair_style="bald", skin=(230, 190, 170), lips=(190, 30, 60), iris=(20, 20, 20), lashes=0.3)
    light = Light(ambient=(1.0, 1.0, 1.0), colour=(0.0, 0.0, 0.0), specular=0.0)
    for pose in ((0, 0, 0), (30, 10, 20), (-40, -15, -10)):
        params = posed(*pose, look=look, light=light)
        image = render_params(params, 256).image.astype(float)
        points = render_params(params, 256).landmarks_px["ibug68"]
        pupils = render_params(params, 256).landmarks_px["mtfl5"][:2]

        def around(xy, image=image):
            x, y = np.round(xy).astype(int)
            return image[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1))

        def redness(xy, around=around):
            red, green, _ = around(xy)
            return red / (green + 1)

        lower, upper = (points[57] + points[66]) / 2, (points[51] + points[62]) / 2
        below, above = points[57] + (points[57] - points[66]) * 0.4, points[51] + (points[51] - points[62]) * 0.6
        assert min(redness(lower), redness(upper)) > 1.5 * max(redness(below), redness(above)), pose
        for pupil, corner in zip(pupils, points[[36, 45]], strict=True):
            beyond = corner + (corner - pupil) * 0.5
            # The glint may lie beside the pupil's centre: dark, not black.
            assert around(pupil).mean() < 0.6 * around(beyond).mean(), pose


def test_splits_are_disjoint_and_samples_stable():
    sets = {split: synthetic_samples(5, seed=3, split=split) for split in synthetic.SPLIT_SEEDS}
    ids = [sample.id for samples in sets.values() for sample in samples]
    assert len(set(ids)) == 15
    assert [s.split for s in sets["val"]] == ["val"] * 5
    sample = synthetic_samples(5, seed=3, split="val")[4]
    assert sample.id == sets["val"][4].id
    face = render_face(face_seed(4, 3, "val"))
    np.testing.assert_array_equal(sample.load(), face.image)
    np.testing.assert_array_equal(sample.landmarks_px["ibug68"], face.landmarks_px["ibug68"])
    low = {split: face_seed(0, 0, split) for split in synthetic.SPLIT_SEEDS}
    high = {split: face_seed(10**9 - 1, 0, split) for split in synthetic.SPLIT_SEEDS}
    assert high["train"] < low["val"] and high["val"] < low["test"]


def test_poses_cover_their_range():
    poses = np.array([sample_params(i).pose_deg for i in range(600)])
    assert (np.abs(poses) <= [90, 60, 45]).all()
    assert (np.abs(poses).max(0) > [80, 50, 38]).all()
    share = (np.abs(poses[:, 0]) > 60).mean()
    # 45 % uniform over +-90 puts 15 % beyond 60 degrees; 600 draws: +-4.4 % is three sigma.
    assert 0.10 < share < 0.21
    narrow = np.array([sample_params(i, PoseRanges(10, 5, 0)).pose_deg for i in range(100)])
    assert (np.abs(narrow) <= [10, 5, 0]).all()
    assert sample_params(3, PoseRanges(10, 5, 0)).shape == sample_params(3).shape, "ranges change the pose alone"


def test_bad_input():
    for call in (
        lambda: render_face(-1),
        lambda: render_face(1.5),
        lambda: render_face(0, size=8),
        lambda: PoseRanges(yaw_deg=120),
        lambda: synthetic_samples(-1),
        lambda: face_seed(0, 0, "dev"),
    ):
        with pytest.raises(InputError, match=r"must be .* Received: "):
            call()


def test_contact_sheet(tmp_path):
    write_contact_sheet(tmp_path / "sheet.png", rows=2, cols=3, landmarks=True, size=64)
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (2 * 132, 3 * 132, 3)


def test_speed():
    """Prints faces a second; asserts nothing (the machine may be busy)."""
    render_face(0)
    start = time.process_time()
    for seed in range(20):
        render_face(seed)
    print(f"\nsynthetic faces: {20 / (time.process_time() - start):.0f} a second of processor time at 128 px")


def aflw2000() -> list[dict]:
    root = faces_root()
    path = root / "aflw2000_3d" / "annotations.json" if root else None
    if path is None or not path.is_file():
        pytest.skip("the aflw2000_3d pack is not on this machine")
    return json.loads(path.read_text())


def fit_error(shape: np.ndarray, poses: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N,) mean distance, in shares of the points' box, after the best scale and shift (no rotation)."""
    errors = []
    for pose, points in zip(poses, truth, strict=True):
        flat = (shape @ to_matrix(pose))[:, :2] * [1, -1]
        a, b = flat - flat.mean(0), points - points.mean(0)
        scale = (a * b).sum() / (a * a).sum()
        errors.append(np.linalg.norm(scale * a - b, axis=1).mean() / np.sqrt(np.prod(np.ptp(points, axis=0))))
    return np.array(errors)


def test_pose_convention_against_real_annotations():
    """Our mean head under each annotated pose must fall on the annotated points, and only with the right signs."""
    records = [r for r in aflw2000() if r["landmarks"].get("ibug68_3d") and r["pose"] is not None]
    truth = np.array([[p[:2] for p in r["landmarks"]["ibug68_3d"]] for r in records], float)
    poses = np.array([[r["pose"][k] for k in ("yaw", "pitch", "roll")] if isinstance(r["pose"], dict) else r["pose"]
                      for r in records], float)  # fmt: skip
    shape = points_3d(posed(shape=Shape()))
    right = fit_error(shape, poses, truth)
    print(f"\nmean residual {right.mean():.4f} of the box over {len(right)} faces")
    # One mean shape, no expression: a few percent of the box.
    assert right.mean() < 0.06
    for i, angle in enumerate(("yaw", "pitch", "roll")):
        flipped = poses.copy()
        flipped[:, i] *= -1
        large = np.abs(poses[:, i]) > 15
        assert large.sum() > 20
        wrong = fit_error(shape, flipped[large], truth[large])
        assert right[large].mean() < 0.6 * wrong.mean(), (angle, right[large].mean(), wrong.mean())

"""Following faces: identities kept, the detector asked only when it must be, and nothing followed that is not there."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from edgeface.box import Box
from edgeface.crop import Crop, square_crop
from edgeface.datasets.synthetic import PoseRanges, face_seed, sample_labels
from edgeface.errors import InputError
from edgeface.head_pose import HeadPose, turn_pose
from edgeface.runtime.predictor import Face, Predictor
from edgeface.runtime.smoothing import OneEuro
from edgeface.runtime.tracker import FixedBox, Tracker, TrackerConfig, iou, matched, next_frame
from tests.runtime import acting


def walk(index: int) -> tuple[int, int, int, int]:
    x = 20 + 4 * index
    return x, 60, x + 60, 140


def tracker(**config) -> Tracker:
    return Tracker(acting.Predictor(), acting.Detector(), TrackerConfig(**config))


def test_a_moving_face_is_followed_by_its_landmarks_alone():
    tracking = tracker(detect_every=20)
    for index in range(50):
        (seen,) = tracking.update(acting.stage(walk(index)))
        assert seen.id == 1 and seen.frames == index + 1
        np.testing.assert_allclose(Box.around(seen.face.landmarks_px).as_xyxy(), walk(index), atol=1e-3)
    assert tracking.detections_run == 3, "at the start, after 20 and after 40 frames"
    assert tracking.begun == 1


def test_a_face_that_jumps_is_looked_at_again_where_it_is():
    tracking = tracker()
    calls = []
    predict = tracking.predictor.predict_crop
    tracking.predictor.predict_crop = lambda image, crop, box: calls.append(crop) or predict(image, crop, box)
    for x in (100, 100, 101, 121):  # its box is 60 px wide
        calls.clear()
        (seen,) = tracking.update(acting.stage((x, 60, x + 60, 140)))
        assert len(calls) == (2 if x == 121 else 1)
    assert seen.face.crop.center == (151, 100) and seen.id == 1


def test_several_faces_keep_their_identities():
    tracking = tracker(detect_every=7)
    for index in range(40):
        left, right = (10 + 2 * index, 20, 60 + 2 * index, 80), (250 - 4 * index, 120, 300 - 4 * index, 200)
        seen = tracking.update(acting.stage(left, right))
        tops = {one.id: one.face.landmarks_px[0, 1] for one in seen}
        assert len(tops) == 2
        if index == 0:
            first = tops
        assert tops == first, "they pass each other; each stays at its own height"
    assert tracking.begun == 2


def test_a_face_that_has_gone_is_given_up_and_the_next_one_is_another():
    tracking = tracker(patience=5)
    for index in range(5):
        assert len(tracking.update(acting.stage(walk(index)))) == 1
    for _ in range(8):
        assert tracking.update(acting.stage()) == []
    assert tracking.detector.asked == 9, "once for the face, then in every empty frame"
    (seen,) = tracking.update(acting.stage(walk(5)))
    assert seen.id == 2


def test_a_face_behind_a_hand_comes_back_as_itself():
    tracking = tracker(patience=5)
    tracking.update(acting.stage(walk(0)))
    for _ in range(4):
        assert tracking.update(acting.stage()) == []
    (seen,) = tracking.update(acting.stage(walk(1)))
    assert seen.id == 1


def test_a_new_face_is_noticed_within_the_interval():
    tracking = tracker(detect_every=10)
    other = 220, 150, 280, 220
    for index in range(4):
        assert len(tracking.update(acting.stage(walk(index)))) == 1
    waited = 0
    while len(seen := tracking.update(acting.stage(walk(4), other))) < 2:
        waited += 1
    assert waited < 10 and [one.id for one in seen] == [1, 2]


def test_what_no_look_confirms_is_given_up():
    tracking = tracker(detect_every=4, max_missed=3)
    tracking.update(acting.stage(walk(0)))
    tracking.detector.blind = True
    followed = 0
    while tracking.update(acting.stage(walk(0))):
        followed += 1
    # The landmarks are as sure as ever: only the detector can tell that they are no face.
    assert 3 * 4 - 2 <= followed <= 3 * 4 + 1


def test_two_tracks_on_one_face_become_one():
    tracking = tracker(detect_every=5)
    apart = acting.stage((20, 60, 80, 140), (180, 60, 240, 140))
    assert [one.id for one in tracking.update(apart)] == [1, 2]
    for x in range(120, 20, -5):  # the second face slides over the first: what is seen is one rectangle
        seen = tracking.update(acting.stage((20, 60, 80, 140), (max(20, x), 60, max(80, x + 60), 140)))
    assert len(seen) == 1


def test_fifty_faces_and_none():
    boxes = [(4 + 32 * c, 4 + 47 * r, 24 + 32 * c, 30 + 47 * r) for r in range(5) for c in range(10)]
    tracking = tracker(max_faces=50)
    for _ in range(3):
        seen = tracking.update(acting.stage(*boxes))
        assert [one.id for one in seen] == list(range(1, 51))
    few = tracker(max_faces=3)
    assert len(few.update(acting.stage(*boxes))) == 3
    assert tracker().update(np.zeros((1, 1, 3), np.uint8)) == []


def test_a_model_without_landmarks_is_searched_for_in_every_frame():
    tracking = Tracker(acting.Predictor(("pose",)), acting.Detector())
    for index in range(6):
        (seen,) = tracking.update(acting.stage(walk(index)))
        assert seen.id == 1 and seen.face.landmarks_px is None and np.isnan(seen.lost_score)
        np.testing.assert_allclose(seen.face.box.as_xyxy(), walk(index))
    assert tracking.detections_run == 6


def test_without_spread_the_looks_still_end_a_track():
    tracking = Tracker(acting.Predictor(("landmarks",)), acting.Detector(), TrackerConfig(detect_every=3, max_missed=2))
    (seen,) = tracking.update(acting.stage(walk(0)))
    assert np.isnan(seen.lost_score)
    for _ in range(12):
        seen = tracking.update(acting.stage())
    assert seen == []


def test_a_fixed_box_begins_and_begins_again():
    start = Box(*walk(0))
    tracking = Tracker(acting.Predictor(), FixedBox(start), TrackerConfig(detect_every=None, patience=2))
    for index in range(30):
        (seen,) = tracking.update(acting.stage(walk(index)))
    assert (seen.id, tracking.detections_run) == (1, 1)
    for _ in range(6):
        tracking.update(acting.stage())
    (seen,) = tracking.update(acting.stage(walk(0)))[-1:]
    np.testing.assert_allclose(Box.around(seen.face.landmarks_px).as_xyxy(), walk(0), atol=1e-3)
    (whole,) = FixedBox(None, 1.25).detect(np.zeros((100, 200, 3), np.uint8))
    assert whole.box.center == (99.5, 49.5) and whole.box.height == pytest.approx(80)


def test_smoothing_is_per_face_and_off_by_default():
    plain, smooth = tracker(), tracker(smoothing=OneEuro(0.5, 0.0))
    frames = [acting.stage(walk(0), (200, 100, 260, 180)), acting.stage(walk(2), (200, 100, 260, 180))]
    for frame in frames:
        raw, filtered = plain.update(frame), smooth.update(frame)
    moved = [float(np.abs(f.face.landmarks_px - r.face.landmarks_px).max()) for f, r in zip(filtered, raw, strict=True)]
    assert moved[0] > 2 and moved[1] < 1e-3


@pytest.mark.parametrize("name", ["detect_every", "patience", "max_missed", "max_faces"])
def test_settings_are_checked(name):
    with pytest.raises(InputError, match=f"{name} must be at least 1. Received: 0"):
        TrackerConfig(**{name: 0})


def test_images_are_checked():
    with pytest.raises(InputError, match="image must be a uint8 array"):
        tracker().update(np.zeros((9, 9), np.uint8))


def face_of(points: np.ndarray, box: Box) -> Face:
    return Face(np.float32(points), None, None, box, square_crop(box))


@pytest.mark.parametrize("markup", ["ibug68", "wflw98", "aflw21"])
def test_the_next_box_is_the_one_that_training_starts_from(markup):
    overlaps = []
    for index in range(20):
        labels = sample_labels(face_seed(index, 11, "test"), 256)
        box, angle = next_frame(face_of(labels.landmarks_px[markup], labels.box), markup)
        assert angle == 0
        overlaps.append(iou(box, labels.box))
    # 68 points: the box itself. 98: the same region. 21: an estimate, 0.8 on average (see edgeface.box).
    assert np.mean(overlaps) > {"ibug68": 0.999, "wflw98": 0.85, "aflw21": 0.7}[markup]


def test_hidden_points_do_not_drag_the_next_box():
    ranges = PoseRanges(yaw_deg=80, pitch_deg=5, roll_deg=5, wide=1.0)
    plain, masked = [], []
    for index in range(40):
        labels = sample_labels(face_seed(index, 12, "test"), 256, ranges)
        visible = labels.visible["aflw21"]
        if abs(labels.pose_deg[0]) < 50 or visible.mean() < 0.5:
            continue
        points = np.where(visible[:, None], labels.landmarks_px["aflw21"], np.array(labels.box.center))
        face = face_of(points, labels.box)
        wide = replace(face, spread=np.where(visible, 0.05, 0.4).astype(np.float32))
        plain.append(iou(next_frame(face, "aflw21")[0], labels.box))
        masked.append(iou(next_frame(wide, "aflw21")[0], labels.box))
    assert len(masked) > 5 and np.mean(masked) > np.mean(plain) + 0.05


def test_a_leaning_head_stands_upright_in_its_crop():
    labels = sample_labels(face_seed(3, 11, "test"), 256)
    points = labels.landmarks_px["ibug68"].astype(np.float64)
    corners = points[45] - points[36]
    lean = np.degrees(np.arctan2(corners[1], corners[0]))
    flat = Crop((128.0, 128.0), 256.0, lean).to_crop(points) * 256
    box = Box.around(flat)
    for angle in (-35.0, 20.0, 40.0):
        leaning = Crop((128.0, 128.0), 256.0, angle).to_image(flat / 256)
        found, turned = next_frame(face_of(leaning, Box.around(leaning)), "ibug68", upright=True)
        assert turned == pytest.approx(angle, abs=1e-3)
        inside = square_crop(found, 1.3, turned).to_crop(leaning)
        np.testing.assert_allclose(inside, square_crop(box, 1.3).to_crop(flat), atol=1e-4)


def test_the_pose_of_a_turned_crop_is_the_head_s_in_the_image():
    in_crop = HeadPose(10, 5, -2).as_array()
    spec = SimpleNamespace(side=24, channels=3)
    model = SimpleNamespace(card=SimpleNamespace(input=spec), infer=lambda crop: {"pose": in_crop})
    box = Box(30, 30, 60, 60)
    image = np.zeros((90, 90, 3), np.uint8)
    seen = Predictor(model).predict_crop(image, square_crop(box, 1.5, 30.0), box).pose.as_array()
    np.testing.assert_allclose(seen, turn_pose(in_crop, -30.0), atol=1e-3)
    assert seen[2] == pytest.approx(28, abs=4), "the crop leans by 30 degrees, so does the head"


@pytest.mark.parametrize(
    "points", [np.full((68, 2), np.nan), np.full((68, 2), 5.0), np.linspace(0, 900, 136).reshape(68, 2)]
)
def test_landmarks_that_are_no_face_lead_nowhere(points):
    assert next_frame(face_of(points, Box(0, 0, 100, 100)), "ibug68") is None


def test_matching_takes_the_best_overlap_first():
    known = [Box(0, 0, 10, 10), Box(4, 0, 14, 10)]
    assert matched(known, [Box(3, 0, 13, 10)]) == {1: 0}
    assert matched(known, [Box(50, 50, 60, 60)]) == {}
    assert iou(known[0], known[0]) == 1 and iou(known[0], Box(20, 0, 30, 10)) == 0

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeface.errors import InputError
from edgeface.markup import MARKUPS
from studies import tables as studies
from studies.aflw_yaw import study as yaw_reach


def faces(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A feature that tells a bent line, and two that tell nothing; the mirror images' features; the yaw."""
    x = np.random.default_rng(seed).normal(size=(count, 3))
    return x, x * (-1, 1, 1), 10 * x[:, 0] + 2 * x[:, 0] ** 3


def test_the_regression_learns_what_the_features_tell():
    x, mirrored, yaw = faces(300, 0)
    more, more_mirrored, truth = faces(200, 1)
    learned = yaw_reach.learn(x, mirrored, yaw, 0.01)
    assert np.abs(learned(more) - truth).mean() < 1
    # The mirror images taught it to answer them by the negative.
    np.testing.assert_allclose(learned(more_mirrored), -learned(more), atol=0.01)


def test_no_face_answers_for_itself_or_its_mirror_image():
    x, mirrored, yaw = faces(300, 0)
    noise = np.random.default_rng(2).normal(size=300)
    by_others = yaw_reach.in_turn(x, mirrored, yaw + 5 * noise, 0.001) - yaw
    by_itself = yaw_reach.learn(x, mirrored, yaw + 5 * noise, 0.001)(x) - yaw
    follows = [np.corrcoef(off, noise)[0, 1] for off in (by_others, by_itself)]
    assert abs(follows[0]) < 0.1 < follows[1]


def test_shapes_forget_place_and_size_and_say_what_is_unknown():
    points = np.random.default_rng(0).normal(size=(2, 5, 2))
    points[1, 3] = np.nan
    first = yaw_reach.shapes(points)
    assert first.shape == (2, 15) and np.isfinite(first).all()
    np.testing.assert_allclose(yaw_reach.shapes(3 * points + 40), first, atol=1e-9)
    assert first[1, 6:8].tolist() == [0, 0] and first[1, 10:].tolist() == [1, 1, 1, 0, 1]


def test_mirrored_features_are_those_of_the_mirrored_face():
    points, pose = np.random.default_rng(0).normal(size=(3, 21, 2)), np.array([[10.0, 5.0, -3.0]] * 3)
    points[0, 2] = np.nan
    _, mirrored = yaw_reach.both_ways({"aflw21": points}, pose)
    turned = (points * (-1, 1))[:, list(MARKUPS["aflw21"].mirror)]
    again, back = yaw_reach.both_ways({"aflw21": turned}, pose * (-1, 1, -1))
    np.testing.assert_allclose(mirrored, again, atol=1e-9)
    np.testing.assert_allclose(back, yaw_reach.both_ways({"aflw21": points}, pose)[0], atol=1e-9)


def test_an_interval_holds_the_mean():
    found = yaw_reach.mean_and_interval(np.arange(50.0))
    low, high = found["interval"]
    assert found["mean_deg"] == 24.5 and 18 < low < 24.5 < high < 31


def test_the_ridge_and_what_is_added_come_from_the_training_faces(tmp_path, monkeypatch):
    (x, mirrored, yaw), (more, more_mirrored, truth) = faces(200, 0), faces(50, 1)
    features = {"train": (x, mirrored), "test": (more, more_mirrored)}
    found = yaw_reach.answers("a way", features, {"train": yaw - 3, "test": truth - 3})
    worst = yaw_reach.answers("a way", features, {"train": yaw - 3, "test": truth[::-1] - 3})
    np.testing.assert_array_equal(found.yaw_deg, worst.yaw_deg)
    assert {k: v for k, v in found.figures.items() if k != "test"} == {
        k: v for k, v in worst.figures.items() if k != "test"
    }
    assert found.figures["labels_aside_deg"] == pytest.approx(-3, abs=0.3)
    assert found.figures["test"]["mean_deg"] == pytest.approx(np.abs(found.yaw_deg - truth + 3).mean())
    assert found.figures["test"]["mean_deg"] < 1.5 < worst.figures["test"]["mean_deg"]
    monkeypatch.setattr(studies, "HERE", tmp_path)
    assert studies.yaw_reach() == studies.NOT_YET
    counts = {s: {"n": n, "left_out": {"without points": 3, "few": 2}} for s, n in (("train", 1200), ("test", 50))}
    near = found.figures | yaw_reach.beside(found.yaw_deg + 1, found, truth - 3)
    rows = [{"way": "itself", "test": near["test"]}, near]
    (tmp_path / "yaw_reach.json").write_text(json.dumps({"rows": rows, "faces": counts, "trained": "ccr_s"}))
    drawn = studies.yaw_reach()
    assert "1,200 of 1,205 train faces" in drawn and "| itself | - | " in drawn and "`ccr_s` less this one" in drawn
    assert drawn.splitlines()[-1].endswith("| 1.00 | 1.00 |")


def test_two_that_err_alike_are_told_from_two_that_do_not():
    labels, noise = np.zeros(500), np.random.default_rng(0).normal(size=(2, 500))
    one = yaw_reach.Answers(5 * noise[0], {})
    alike, apart = (yaw_reach.beside(yaw, one, labels) for yaw in (5 * noise[0] + 1, 6 * noise[1]))
    assert alike["errors_correlate"] > 0.99 and alike["apart_deg"] == pytest.approx(1)
    assert abs(apart["errors_correlate"]) < 0.1 and apart["apart_deg"] > 5 and apart["less"]["interval"][0] > 0


def test_a_mirror_image_found_as_the_picture_is_changes_nothing():
    class Network:
        """Finds the brightest pixel of each picture, and the points of a lopsided face around it."""

        shape = np.random.default_rng(0).normal(size=(21, 2))

        def predict(self, crops, **_):
            bright = crops[..., 0].reshape(len(crops), -1).argmax(axis=1)
            y, x = np.divmod(bright, crops.shape[2])
            # What is left of the middle lies, in a mirror image, right of it and has the other side's name.
            turned = (self.shape * (-1, 1))[list(MARKUPS["aflw21"].mirror)]
            points = np.stack([x, y], axis=-1)[:, None] + np.where((x < 4)[:, None, None], self.shape, turned)
            return {"s1_aflw21": points.astype(np.float32), "s1_pose": np.stack([x - 3.5, y, x - 3.5], axis=-1)}

    crops = np.zeros((2, 8, 8, 1), np.uint8)
    crops[0, 2, 1], crops[1, 5, 6] = 255, 255
    network = Network()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeface.models.deploy.landmark_markups", lambda _: ("aflw21",))
        patch.setattr("edgeface.models.deploy.stage_count", lambda _: 1)
        (once, pose), (twice, pose_twice) = (f(network, crops) for f in (yaw_reach.found_by, yaw_reach.found_twice))
    np.testing.assert_allclose(pose_twice, pose)
    np.testing.assert_allclose(twice["aflw21"] - once["aflw21"], np.broadcast_to((-3.5, 0), (2, 21, 2)))


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="nowhere.keras must be a .keras file"):
        yaw_reach.main(["--points", str(tmp_path / "nowhere.keras")])

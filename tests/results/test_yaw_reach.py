from __future__ import annotations

import json

import numpy as np
import pytest

from edgeface.errors import InputError
from edgeface.markup import MARKUPS
from results import studies, yaw_reach


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


def test_the_ridge_is_chosen_on_the_training_faces(tmp_path, monkeypatch):
    (x, mirrored, yaw), (more, more_mirrored, truth) = faces(200, 0), faces(50, 1)
    features = {"train": (x, mirrored), "test": (more, more_mirrored)}
    found, off = yaw_reach.row("a way", features, {"train": yaw, "test": truth})
    worst, _ = yaw_reach.row("a way", features, {"train": yaw, "test": truth[::-1]})
    assert found["ridge"] == worst["ridge"] and found["train"] == worst["train"] and off.shape == (50,)
    assert found["test"]["mean_deg"] == pytest.approx(off.mean()) and off.mean() < 1.5 < worst["test"]["mean_deg"]
    monkeypatch.setattr(studies, "HERE", tmp_path)
    assert studies.yaw_reach() == studies.NOT_YET
    counts = {s: {"n": n, "left_out": {"without points": 3, "few": 2}} for s, n in (("train", 1200), ("test", 50))}
    rows = [{"way": "itself", "test": found["test"]}, found | {"ccr_s less": found["test"]}]
    text = json.dumps({"rows": rows, "faces": counts, "trained": "ccr_s"})
    (tmp_path / "yaw_reach.json").write_text(text)
    drawn = studies.yaw_reach()
    assert "1,200 of 1,205 train faces" in drawn and "| itself | - | " in drawn and "`ccr_s` less this one" in drawn


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="nowhere.keras must be a .keras file"):
        yaw_reach.main(["--points", str(tmp_path / "nowhere.keras")])

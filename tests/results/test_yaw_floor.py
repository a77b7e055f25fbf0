from __future__ import annotations

import json

import numpy as np
import pytest

from results import studies, yaw_floor


def faces(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A feature that tells a bent line, and two that tell nothing."""
    x = np.random.default_rng(seed).normal(size=(count, 3))
    return x, 10 * x[:, 0] + 4 * np.abs(x[:, 0]) + 7


def test_the_regression_learns_what_the_features_tell_and_no_noise():
    x, y = faces(300, 0)
    more, truth = faces(200, 1)
    assert np.abs(yaw_floor.KernelRidge(x, y, 0.01)(more) - truth).mean() < 0.6
    noise = np.random.default_rng(2).normal(size=300)
    answers = yaw_floor.in_turn(x, y + 5 * noise, 0.3)
    # A face that had answered for itself would follow its own noise.
    assert abs(np.corrcoef(answers - y, noise)[0, 1]) < 0.15
    follows = yaw_floor.KernelRidge(x, y + 5 * noise, 0.01)(x)
    assert np.corrcoef(follows - y, noise)[0, 1] > 0.2


def test_shapes_forget_place_and_size_and_say_what_is_unknown():
    points = np.random.default_rng(0).normal(size=(2, 5, 2))
    points[1, 3] = np.nan
    first = yaw_floor.shapes(points)
    assert first.shape == (2, 15) and np.isfinite(first).all()
    np.testing.assert_allclose(yaw_floor.shapes(3 * points + 40), first, atol=1e-9)
    assert first[1, 6:8].tolist() == [0, 0] and first[1, 10:].tolist() == [1, 1, 1, 0, 1]


def test_an_interval_holds_the_mean():
    off = yaw_floor.away(np.arange(50.0), np.zeros(50))
    assert off["mae_deg"] == off["median_deg"] == 24.5 and off["n"] == 50
    low, high = off["interval"]
    assert 18 < low < 24.5 < high < 31


def test_the_ridge_is_chosen_on_the_training_faces(tmp_path, monkeypatch):
    (x, y), (more, truth) = faces(200, 0), faces(50, 1)
    found = yaw_floor.row("a way", {"train": x, "test": more}, {"train": y, "test": truth}, 3)
    worst = yaw_floor.row("a way", {"train": x, "test": more}, {"train": y, "test": truth[::-1]})
    assert found["ridge"] == worst["ridge"] and found["left_out"] == 3
    assert found["scores"]["train"] == worst["scores"]["train"]
    assert found["scores"]["test"]["mae_deg"] < 1 < worst["scores"]["test"]["mae_deg"]
    monkeypatch.setattr(studies, "HERE", tmp_path)
    assert studies.yaw_floor() == studies.NOT_YET
    network = {"file": "ccr_s.keras", "score": found["scores"]["test"]}
    (tmp_path / "yaw_floor.json").write_text(json.dumps({"rows": [found], "network": network}))
    drawn = studies.yaw_floor()
    assert "| a way | 200 | " in drawn and "| `ccr_s.keras` itself | - | - | - | 50 | " in drawn


def test_a_network_without_a_row_is_an_error(tmp_path):
    with pytest.raises(Exception, match="nowhere"):
        yaw_floor.main(["--points", str(tmp_path / "nowhere.keras")])

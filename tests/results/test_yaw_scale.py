from __future__ import annotations

import json

import numpy as np
import pytest

from studies import tables as studies
from studies.aflw_yaw_scale import study as yaw_scale


def test_distances_from_a_line_by_the_laid_heads_yaw():
    fitted = np.linspace(-50, 50, 201)
    row = yaw_scale.distances(fitted, 1.1 * fitted - 0.5 + np.resize([3.0, -2.0], 201), (1.1, -0.5))
    assert row["mae_deg"] == pytest.approx(2.5, abs=0.01) and row["median_deg"] == pytest.approx(3)
    assert [b["n"] for b in row["by_yaw"]] == [59, 60, 60, 22] and row["n"] == 201
    none = yaw_scale.distances(fitted[:1], fitted[:1], (1.0, 0.0))
    assert [b["mae_deg"] for b in none["by_yaw"]] == [None, None, None, 0.0]


def test_the_line_is_that_of_the_training_faces(tmp_path, monkeypatch):
    fitted = np.linspace(-40, 40, 101)
    labelled = {"train": 1.1 * fitted + 0.5, "test": 1.2 * fitted + 0.5}
    monkeypatch.setattr(yaw_scale, "yaws", lambda split: (150, fitted, labelled[split]))
    monkeypatch.setattr(yaw_scale, "OUT", tmp_path / "yaw_scale.json")
    monkeypatch.setattr(studies, "HERE", tmp_path)
    assert studies.yaw_scale() == studies.NOT_YET
    assert yaw_scale.main([]) == 0
    found = json.loads((tmp_path / "yaw_scale.json").read_text())
    train, test = found["rows"]
    assert found["slope"] == pytest.approx(1.1) and train["mae_deg"] == pytest.approx(0, abs=1e-6)
    assert test["mae_deg"] == pytest.approx(0.1 * np.abs(fitted).mean(), rel=1e-4)
    drawn = studies.yaw_scale()
    assert "1.100 ×" in drawn and "| train | 101 of 150 | 0.00 |" in drawn

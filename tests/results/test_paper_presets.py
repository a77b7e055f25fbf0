from __future__ import annotations

import json

import pytest

from edgeface.errors import InputError
from studies import tables as studies
from studies.paper_presets import study as paper_presets

HEAD = "step,loss,landmarks,pose,learning_rate,val_nme,val_pose_mae,step_seconds,seconds"


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "acdc_paper"
    folder.mkdir()
    lines = [HEAD, *(f"{50 * i},{4 / i},{20 / i},,5e-4,{30 / i},{15 / i},3.6,{180 * i}" for i in range(1, 21))]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    config = {"batch_size": 8, "epoch_steps": 50, "precision": "float32", "validation": {"set": "aflw2000_3d"}}
    record = {"config": config, "machine": {"system": "Linux", "cpus": 2}, "versions": {"keras": "3"}}
    (folder / "config.json").write_text(json.dumps(record))
    return tmp_path


def test_an_unfinished_run_says_how_far_it_is(runs, monkeypatch):
    monkeypatch.setattr(paper_presets, "OUT", runs / "paper_presets.json")
    monkeypatch.setattr(studies, "HERE", runs)
    assert studies.paper_presets() == studies.NOT_YET
    assert paper_presets.main(["--runs", str(runs)]) == 0
    (row,) = json.loads((runs / "paper_presets.json").read_text())["rows"]
    assert (row["steps"], row["batch_size"], row["planned_steps"]) == (1000, 8, 100000)
    assert row["share_of_faces"] == pytest.approx(0.0025) and row["hours"] == pytest.approx(1.0)
    assert row["macs"] > 15e9 and len(row["curve"]) == 20
    # What is not known is not there, never 0.
    assert row["curve"][0] == {"step": 50, "loss": 4.0, "landmarks": 20.0, "val_nme": 30.0, "val_pose_mae": 15.0}
    drawn = studies.paper_presets()
    assert "1,000 steps of 8 faces in 1.0 hours" in drawn and "0.25 % of the faces" in drawn
    assert "| 1,000 | 0.20 | 1.00 | - | 1.50 | 0.75 |" in drawn and len(drawn.splitlines()) < 16


def test_a_run_without_validation_has_no_scores_of_it(runs, monkeypatch):
    monkeypatch.setattr(paper_presets, "OUT", runs / "paper_presets.json")
    monkeypatch.setattr(studies, "HERE", runs)
    folder = (runs / "acdc_paper").rename(runs / "ccr_paper")
    (folder / "metrics.csv").write_text(f"{HEAD}\n10,4.5,23.5,21.3,2.5e-4,nan,nan,24,340\n")
    record = json.loads((folder / "config.json").read_text())
    del record["config"]["validation"]
    (folder / "config.json").write_text(json.dumps(record))
    assert paper_presets.main(["--runs", str(runs)]) == 0
    (row,) = json.loads((runs / "paper_presets.json").read_text())["rows"]
    assert row["curve"] == [{"step": 10, "loss": 4.5, "landmarks": 23.5, "pose": 21.3}] and row["validation"] is None
    drawn = studies.paper_presets()
    assert "0.0042 % of the faces" in drawn and "NME" not in drawn and "| 10 | 4.50 | 23.50 | 21.30 |" in drawn


def test_no_run_is_told(tmp_path):
    with pytest.raises(InputError, match="must hold a run of acdc_paper or ccr_paper. Received: none"):
        paper_presets.main(["--runs", str(tmp_path)])

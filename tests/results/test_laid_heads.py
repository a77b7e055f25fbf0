"""Heads laid over a network's 2D points: figures of known errors; both studies of labels run from file to row."""

import numpy as np
import pytest

from convert.release import scoring
from edgeface.datasets.load import load_set
from edgeface.datasets.profile_views import fit
from edgeface.evaluation.evaluate import prepare, protocol_for
from edgeface.models.io import model_info, save_model
from edgeface.models.presets import build, preset
from studies.head_fit import study as laid_heads
from studies.labels import study as labels


def test_figures_tell_a_flattened_pitch_from_a_constant_one():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 12, (200, 3))
    found = laid_heads.figures(true * (1, 0.75, 1) + (0, 2, 0), true)
    assert found["slope"]["pitch"] == pytest.approx(-0.25) and found["slope"]["yaw"] == pytest.approx(0)
    assert found["median_signed"]["pitch"] == pytest.approx(2, abs=0.5)
    assert found["mae"]["roll"] == 0 and found["n"] == 200


def test_the_constants_are_put_back():
    before = fit.ALONG, fit.RAISED_DEG
    with pytest.raises(RuntimeError), laid_heads.constants({"ALONG": 1.0, "RAISED_DEG": 0.0}):
        assert (fit.ALONG, fit.RAISED_DEG) == (1.0, 0.0)
        raise RuntimeError
    assert before == (fit.ALONG, fit.RAISED_DEG)


def test_a_row_from_weights_and_faces(tmp_path, monkeypatch):
    def rendered(name, split, markup, side, channels):
        samples = load_set("synthetic", "val", 40)
        return prepare(samples, protocol_for("synthetic", samples, (markup,))[0], side, channels)

    monkeypatch.setattr(scoring, "faces_of", rendered)
    path = tmp_path / "acdc_n.keras"
    save_model(build("acdc_n"), path, model_info(preset("acdc_n"), "float"))
    row = laid_heads.row_of(path)
    assert list(row["ways"]) == list(laid_heads.ways()) and row["model"] == "acdc_n"
    assert all(sum(b["n"] for b in bins) + row["skipped"] <= 40 for bins in row["ways"].values())
    shifts = labels.row_of(path)
    assert shifts["n"] == 40 and shifts["as_it_is"]["mean_of_bins"] > 0

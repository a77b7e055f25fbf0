"""The study of a ceiling on activations: what it changes, what it leaves, and from weights to rows."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from convert.release import scoring
from edgeface.errors import InputError
from edgeface.models.io import model_info, save_model
from edgeface.models.presets import build, preset
from studies.ceiling import study as ceiling

UNCAPPED = replace(preset("acdc_n"), relu6=False, stem=(8, 8), widths=(8,), markups_2d=("ibug68",))


def images(count=3):
    return np.random.default_rng(0).uniform(0, 255, (count, 128, 128, UNCAPPED.channels)).astype("float32")


@pytest.fixture
def network():
    keras.utils.set_random_seed(0)
    made = build(UNCAPPED)
    for layer in made.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([4 * np.ones_like(layer.gamma), *layer.get_weights()[1:]])
    return made


def test_a_ceiling_cuts_activations_and_keeps_weights(network):
    groups = {"frontal": np.array([True, True, False]), "profile": np.array([False, False, True])}
    before = ceiling.largest(network, images(), groups)
    lower = ceiling.with_ceiling(network, 6.0)
    after = ceiling.largest(lower, images(), groups)
    assert min(before.values()) > 6 and set(after.values()) == {6.0}
    for one, other in zip(network.get_weights(), lower.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert ceiling.with_ceiling(network, None) is network
    with pytest.raises(InputError, match="must have no ceiling yet. Received: one of stem1_relu"):
        ceiling.with_ceiling(lower, 8.0)


def test_distances_are_of_all_angles_and_points():
    exact = {"pose": np.zeros((4, 3)), "landmarks": np.zeros((4, 2, 2))}
    other = {"pose": np.full((4, 3), 2.0), "landmarks": np.tile([0.003, 0.004], (4, 2, 1))}
    found = ceiling.distances(exact, other)
    assert found == {"pose_rms_deg": 2.0, "landmarks_percent": pytest.approx(0.5)}


def test_rows_from_weights_and_faces(network, tmp_path, monkeypatch):
    from edgeface.datasets.load import load_set
    from edgeface.evaluation.evaluate import prepare, protocol_for

    def rendered(name, split, markup, side, channels):
        samples = load_set("synthetic", "val", 30)
        return prepare(samples, protocol_for("synthetic", samples, (markup,))[0], side, channels)

    monkeypatch.setattr(scoring, "faces_of", rendered)
    monkeypatch.setattr(ceiling, "CALIBRATED_ON", ("synthetic", "train"))
    monkeypatch.setattr("convert.release.measure.CALIBRATION_FACES", 24)
    monkeypatch.setattr("edgeface.convert.convert_all.SYNTHETIC_CROPS", 8)
    monkeypatch.setattr(ceiling, "CEILINGS", (None, 6.0, 4.0))
    save_model(network, tmp_path / "wide.keras", model_info(UNCAPPED))
    whole, six, four = ceiling.rows_of(tmp_path / "wide.keras")
    assert [r["ceiling"] for r in (whole, six, four)] == [None, 6.0, 4.0]
    assert "int8" in whole and "int8" in six and "int8" not in four
    assert max(six["largest"].values()) == 6.0 < max(whole["largest"].values())

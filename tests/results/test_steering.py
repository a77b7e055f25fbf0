"""Networks of AC-DC steered by another pose than their own."""

import numpy as np
import pytest

from edgeface.errors import InputError
from studies.conditioning import study as steering


def network(**changes):
    from dataclasses import replace

    import keras

    from edgeface.models.presets import build, preset

    keras.utils.set_random_seed(0)
    base = preset("acdc_n")
    return build(replace(base, stages=3, stem=(8, 8), widths=(8,), markups_2d=("mtfl5",), **changes))


@pytest.mark.parametrize("unit", [90.0, 15.0])
def test_steered_by_its_own_poses_a_network_answers_what_it_does(unit):
    built = network(excite_unit_deg=unit)
    image = np.random.default_rng(0).uniform(0, 255, (4, 128, 128, built.input_shape[3])).astype("float32")
    lay_open, answers = steering.steered(built, "mtfl5")
    own, whole = lay_open.predict(image, verbose=0), built.predict(image, verbose=0)
    for i, laid in enumerate(own, 1):
        worked_out = steering.by_pose(built, whole[f"s{i}_pose"])[i - 1]
        np.testing.assert_allclose(laid, worked_out, rtol=1e-3, atol=1e-3)
    found = answers.predict([image, *own], verbose=0)
    np.testing.assert_allclose(found["landmarks"], whole["s3_mtfl5"], atol=1e-5)
    np.testing.assert_allclose(found["pose"], whole["s3_pose"], atol=1e-3)
    straight = answers.predict([image, *steering.by_pose(built, np.zeros((4, 3)))], verbose=0)
    assert (straight["open1"] == 0.5).all() and (straight["open2"] == 0.5).all()
    aside = answers.predict([image, *steering.by_pose(built, np.full((4, 3), 27.0))], verbose=0)
    assert np.abs(aside["landmarks"] - straight["landmarks"]).max() > 1e-5
    # A smaller unit opens and closes more by the same 27 degrees.
    assert (np.abs(aside["open1"] - 0.5).mean() > 0.1) == (unit == 15.0)


def test_a_second_block_is_steered_by_the_first_ones_pose_features():
    from dataclasses import replace

    import keras

    from edgeface.models.presets import build, preset

    keras.utils.set_random_seed(0)
    small = replace(preset("ccr_n"), stages=2, stem=(8, 8), width=8, pose_widths=(8, 8, 8), bins=10)
    built = build(small)
    image = np.random.default_rng(0).uniform(0, 255, (4, 128, 128, 3)).astype("float32")
    lay_open, answers = steering.steered(built, "aflw21")
    own, whole = lay_open.predict(image, verbose=0), built.predict(image, verbose=0)
    assert [v.shape[1:] for v in own] == [(16, 16, 8)] * 2
    found = answers.predict([image, *own], verbose=0)
    np.testing.assert_allclose(found["pose"], whole["s2_pose"], atol=1e-3)
    np.testing.assert_allclose(found["landmarks"], whole["s2_aflw21"], atol=1e-5)
    assert steering.by_pose(built, np.zeros((4, 3))) == []
    ways = steering.ways_to_steer(own, [])
    assert steering.TRUE not in ways and ways[steering.AVERAGE][1].shape == own[1].shape
    moved = answers.predict([image, *(v + 1 for v in own)], verbose=0)
    assert np.abs(moved["pose"] - whole["s2_pose"]).max() > 1e-3
    with pytest.raises(InputError, match="must have stages that a pose steers"):
        steering.steered(build(replace(small, cross=False)), "aflw21")


def test_what_steers_is_another_face_the_average_or_the_truth_where_it_is_known():
    own = [np.arange(12, dtype=np.float32).reshape(4, 3), np.ones((4, 3), np.float32)]
    true = [np.array([[1.0, 0, 0], [np.nan] * 3, [0, 0.5, 0], [0, 0, -1]])] * 2
    ways = steering.ways_to_steer(own, true)
    assert list(ways) == [steering.OWN, steering.AVERAGE, steering.OTHER, steering.TRUE]
    assert (ways[steering.AVERAGE][0] == [4.5, 5.5, 6.5]).all()
    other = ways[steering.OTHER][0]
    assert sorted(other[:, 0]) == sorted(own[0][:, 0]) and (other != own[0]).all()
    np.testing.assert_array_equal(ways[steering.TRUE][0], [[1, 0, 0], own[0][1], [0, 0.5, 0], [0, 0, -1]])
    assert steering.TRUE not in steering.ways_to_steer(own, [np.full((4, 3), np.nan)] * 2)


def test_a_network_that_no_pose_steers_is_refused():
    with pytest.raises(InputError, match="must have stages that a pose steers"):
        steering.steered(network(excitation=False), "mtfl5")


def test_the_unit_of_what_steers_must_be_positive():
    with pytest.raises(ValueError, match="excite_unit_deg must be > 0. Received: 0"):
        network(excite_unit_deg=0)

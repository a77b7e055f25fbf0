"""Networks of AC-DC steered by another pose than their own."""

import numpy as np
import pytest

from edgeface.errors import InputError
from results import steering


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
    poses, answers = steering.steered(built, "mtfl5")
    own, whole = poses.predict(image, verbose=0), built.predict(image, verbose=0)
    assert len(own) == 2
    for i, pose in enumerate(own, 1):
        np.testing.assert_allclose(pose * 90, whole[f"s{i}_pose"], atol=1e-4)
    points, *_ = answers.predict([image, *own], verbose=0)
    np.testing.assert_allclose(points, whole["s3_mtfl5"], atol=1e-5)
    frontal = [np.zeros_like(p) for p in own]
    straight, *half_open = answers.predict([image, *frontal], verbose=0)
    assert all((o == 0.5).all() for o in half_open)
    aside, *opened = answers.predict([image, *(p + 0.3 for p in frontal)], verbose=0)
    assert np.abs(aside - straight).max() > 1e-5
    # A smaller unit opens and closes more by the same 27 degrees.
    assert (np.abs(opened[0] - 0.5).mean() > 0.1) == (unit == 15.0)


def test_what_steers_is_another_face_the_average_or_the_truth_where_it_is_known():
    own = [np.arange(12, dtype=np.float32).reshape(4, 3), np.ones((4, 3), np.float32)]
    true_deg = np.array([[90.0, 0, 0], [np.nan] * 3, [0, 45, 0], [0, 0, -90]])
    ways = steering.ways_to_steer(own, true_deg)
    assert list(ways) == [steering.OWN, steering.AVERAGE, steering.OTHER, steering.TRUE]
    assert (ways[steering.AVERAGE][0] == [4.5, 5.5, 6.5]).all()
    other = ways[steering.OTHER][0]
    assert sorted(other[:, 0]) == sorted(own[0][:, 0]) and (other != own[0]).all()
    np.testing.assert_array_equal(ways[steering.TRUE][0], [[1, 0, 0], own[0][1], [0, 0.5, 0], [0, 0, -1]])
    assert steering.TRUE not in steering.ways_to_steer(own, np.full((4, 3), np.nan))


def test_a_network_that_no_pose_steers_is_refused():
    with pytest.raises(InputError, match="must have stages that a pose steers"):
        steering.steered(network(excitation=False), "mtfl5")


def test_the_unit_of_what_steers_must_be_positive():
    with pytest.raises(ValueError, match="excite_unit_deg must be > 0. Received: 0"):
        network(excite_unit_deg=0)

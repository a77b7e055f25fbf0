"""The one-euro filter: steady at rest, quick in motion, and exactly the paper's recurrence."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeface.box import Box
from edgeface.crop import square_crop
from edgeface.errors import InputError
from edgeface.head_pose import HeadPose
from edgeface.runtime.predictor import Face
from edgeface.runtime.smoothing import FaceSmoother, OneEuro, OneEuroFilter


def by_the_paper(values, times, min_cutoff, beta, unit):
    """Algorithm 1 and 2 of Casiez et al. on scalars."""

    def alpha(cutoff, rate):
        return 1 / (1 + (1 / (2 * math.pi * cutoff)) * rate)

    filtered, speed, out = values[0], 0.0, [values[0]]
    for before, now, value in zip(times, times[1:], values[1:], strict=False):
        rate = 1 / (now - before)
        change = (value - filtered) * rate / unit
        a = alpha(1.0, rate)
        speed = a * change + (1 - a) * speed
        a = alpha(min_cutoff + beta * abs(speed), rate)
        filtered = a * value + (1 - a) * filtered
        out.append(filtered)
    return out


def test_it_is_the_paper_s_recurrence():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.05, 50)).tolist()
    values = np.cumsum(rng.normal(0, 3, 50)).tolist()
    smooth = OneEuroFilter(OneEuro(1.2, 0.7))
    got = [float(smooth(np.array([v]), t, 20.0)[0]) for v, t in zip(values, times, strict=True)]
    np.testing.assert_allclose(got, by_the_paper(values, times, 1.2, 0.7, 20.0), rtol=1e-9)


def test_noise_at_rest_is_calmed_and_motion_is_followed():
    rng = np.random.default_rng(1)
    times = np.arange(120) / 30
    noise = rng.normal(0, 0.005, (120, 68, 2))
    smooth = OneEuroFilter(OneEuro())
    calm = np.array([smooth(v, t) for v, t in zip(noise, times, strict=True)])[30:]
    # Noise of half a percent of the face is a lot; its own speed opens the filter a little.
    assert calm.std() < 0.6 * noise.std()
    fast = np.broadcast_to((times * 2.0)[:, None, None], (120, 68, 2))  # two face sizes a second
    smooth = OneEuroFilter(OneEuro())
    behind = (fast - np.array([smooth(v, t) for v, t in zip(fast, times, strict=True)]))[60:]
    assert behind.max() / 2.0 < 1 / 30, "less than a frame behind"


def test_one_point_s_motion_leaves_the_others_alone():
    smooth = OneEuroFilter(OneEuro(0.1, 5.0))
    values = np.zeros((2, 2))
    smooth(values, 0.0)
    values = np.array([[1.0, 0.0], [0.01, 0.0]])
    moved = smooth(values, 1 / 30)
    assert moved[0, 0] / 1.0 > 2 * moved[1, 0] / 0.01


def test_odd_times_and_values_do_no_harm():
    smooth = OneEuroFilter(OneEuro())
    first = smooth(np.ones(3), 5.0)
    np.testing.assert_array_equal(smooth(np.zeros(3), 5.0), first)
    assert np.isnan(smooth(np.full(3, np.nan), 5.1)).all()
    np.testing.assert_array_equal(smooth(np.zeros(3), 5.2), np.zeros(3))
    np.testing.assert_array_equal(smooth(np.ones(5), 6.0), np.ones(5), "another shape begins anew")


def test_a_clock_that_steps_back_begins_anew():
    smooth, fresh = OneEuroFilter(OneEuro()), OneEuroFilter(OneEuro())
    for index in range(3):
        smooth(np.array([float(index)]), 3600 + index / 30)
    for index in range(3, 8):
        values = np.array([float(index)])
        np.testing.assert_array_equal(smooth(values, index / 30), fresh(values, index / 30))


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -math.inf, "1", None])
def test_a_time_that_is_no_number_is_told_and_forgotten(time_s):
    smooth = OneEuroFilter(OneEuro())
    smooth(np.zeros(2), 0.0)
    with pytest.raises(InputError, match="time_s must be a finite number of seconds"):
        smooth(np.ones(2), time_s)
    assert (smooth(np.ones(2), 1 / 30) > 0).all()


def test_angles_take_the_short_way_round():
    box = Box(0, 0, 10, 10)
    smoother = FaceSmoother(OneEuro(1.0, 0.0))
    for index, roll in enumerate([179.0, -179.0, 179.0, -179.0]):
        face = smoother(Face(None, HeadPose(0.0, 0.0, roll), None, box, square_crop(box)), index / 30)
        assert abs(abs(face.pose.roll_deg) - 180) < 1.01
    assert face.landmarks_px is None


@pytest.mark.parametrize(("hz", "beta"), [(0, 1), (-1, 1), (1, -0.1), (math.nan, 1), (1, math.inf)])
def test_parameters_are_checked(hz, beta):
    with pytest.raises(InputError, match="min_cutoff_hz > 0 and beta >= 0"):
        OneEuro(hz, beta)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeface.codecs import BinnedAngles, IntegralHeatmap, LinearPose, softmax

CROP_PX = 128

maps = st.builds(
    IntegralHeatmap,
    height=st.sampled_from([32, 64]),
    width=st.sampled_from([32, 48, 64]),
    sigma=st.floats(0.8, 1.5),
)
# Six cells of a 32-cell map from the border: 4 sigma of the widest Gaussian stay inside.
inner = st.floats(6 / 32, 26 / 32)
points = st.lists(st.tuples(inner, inner), min_size=1, max_size=6).map(lambda p: np.array(p, np.float32))
angles = st.builds(
    BinnedAngles,
    low_deg=st.sampled_from([-99.0, -120.0]),
    high_deg=st.sampled_from([99.0, 120.0]),
    bins=st.integers(20, 90),
)


@given(maps, points)
def test_landmarks_round_trip_through_logits(codec, landmarks):
    decoded, spread = codec.decode(codec.encode_logits(landmarks))
    assert np.abs(decoded - landmarks).max() * CROP_PX < 0.1
    # Var x + Var y of a Gaussian, each in its own cell width; sampling and truncation cost under 2 %.
    expected = codec.sigma * np.hypot(1 / codec.width, 1 / codec.height)
    assert spread == pytest.approx(np.full(len(landmarks), expected), rel=0.02)


@given(maps, points)
def test_landmarks_round_trip_through_target_maps(codec, landmarks):
    decoded, _ = codec.decode(np.log(np.maximum(codec.encode(landmarks), 1e-12)))
    assert np.abs(decoded - landmarks).max() * CROP_PX < 0.1


@given(angles, st.floats(-90, 90))
def test_angles_round_trip(codec, angle_deg):
    with np.errstate(divide="ignore"):
        logits = np.log(codec.encode(angle_deg))
    assert codec.decode(logits) == pytest.approx(angle_deg, abs=1e-3)  # float32 centres of 120 degrees: 1e-5 each
    assert codec.encode(angle_deg).sum() == pytest.approx(1, abs=1e-5)


def test_map_by_hand():
    """A point on a cell's centre: peak 1 there, exp(-1/2) one cell off, zero for nobody's point."""
    codec = IntegralHeatmap(8, 8)
    target = codec.encode(np.array([[3.5 / 8, 2.5 / 8], [np.nan, 0.5], [0.5, 0.5]]), np.array([True, True, False]))
    assert target.shape == (8, 8, 3)
    assert np.unravel_index(target[..., 0].argmax(), (8, 8)) == (2, 3)
    assert target[2, 3, 0] == pytest.approx(1) and target[2, 4, 0] == pytest.approx(np.exp(-0.5))
    assert not target[..., 1:].any()


def test_decode_is_the_expectation_worked_by_hand():
    codec = IntegralHeatmap(2, 4)
    logits = np.full((2, 4, 1), -1e9)
    logits[0, 0], logits[1, 3] = np.log(3), np.log(1)  # 3/4 at (1/8, 1/4), 1/4 at (7/8, 3/4)
    mean, spread = codec.decode(logits)
    assert mean == pytest.approx(np.array([[0.3125, 0.375]]))
    variance = 0.75 * 0.25 * (0.75**2 + 0.5**2)
    assert spread == pytest.approx([np.sqrt(variance)], rel=1e-5)


def test_batches_keep_their_order():
    codec = IntegralHeatmap(32, 48)
    landmarks = np.random.default_rng(0).uniform(0.25, 0.75, (2, 3, 5, 2)).astype(np.float32)
    logits = codec.encode_logits(landmarks)
    assert logits.shape == (2, 3, 32, 48, 5)
    assert codec.decode(logits)[0] == pytest.approx(landmarks, abs=1e-4)


def test_bins_by_hand():
    codec = BinnedAngles()
    assert codec.step_deg == 3 and codec.centers_deg()[[0, 32, 33, -1]].tolist() == [-97.5, -1.5, 1.5, 97.5]
    assert codec.encode(0.0)[[32, 33]].tolist() == [0.5, 0.5]
    assert codec.encode(1.5)[33] == 1
    assert codec.encode(-150.0)[0] == 1 and codec.encode(150.0)[-1] == 1
    assert np.isnan(codec.encode(np.array([np.nan, 0.0]))).all(axis=1).tolist() == [True, False]
    assert codec.decode(np.zeros(66)) == pytest.approx(0, abs=1e-5)


def test_softmax_survives_huge_logits():
    assert softmax(np.array([1e4, 1e4, -1e4])) == pytest.approx([0.5, 0.5, 0])


def test_linear_pose_by_hand():
    codec = LinearPose(((10.0, 0.0, 0.0), (0.0, -20.0, 1.0)), (1.0, 2.0, 3.0))
    features = np.stack([np.full((2, 3), 0.5), np.arange(6).reshape(2, 3)], axis=-1)
    assert codec.decode(features) == pytest.approx([6.0, -48.0, 5.5])
    assert codec.decode(np.stack([features, 0 * features])) == pytest.approx(np.array([[6.0, -48.0, 5.5], [1, 2, 3]]))
    with pytest.raises(ValueError, match="2 channels. Received: "):
        codec.decode(features[..., :1])
    with pytest.raises(ValueError, match="rows of 3 angles"):
        LinearPose(((1.0, 2.0),), (0.0, 0.0, 0.0))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"must be \(..., 8, 8, K\). Received: \(8, 4, 1\)"):
        IntegralHeatmap(8, 8).decode(np.zeros((8, 4, 1)))
    with pytest.raises(ValueError, match=r"66 bins. Received: \(3,\)"):
        BinnedAngles().decode(np.zeros(3))

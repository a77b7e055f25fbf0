import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from edgeface.head_pose import HeadPose, from_matrix, geodesic_deg, mirror, to_matrix

angle = st.floats(-179, 179)
poses = st.tuples(st.floats(-89, 89), angle, angle).map(np.array)
any_poses = st.tuples(angle, angle, angle).map(np.array)


def scipy_rotation(pose):
    yaw, pitch, roll = pose
    return Rotation.from_euler("xyz", [pitch, yaw, roll], degrees=True)


@given(any_poses)
def test_matrix_is_scipys(pose):
    assert np.allclose(to_matrix(pose), scipy_rotation(pose).as_matrix(), atol=1e-12)


@given(any_poses)
def test_matrix_is_the_transpose_of_the_300w_lp_one(pose):
    yaw, pitch, roll = np.deg2rad(pose)
    c, s = np.cos, np.sin
    rx = np.array([[1, 0, 0], [0, c(pitch), s(pitch)], [0, -s(pitch), c(pitch)]])
    ry = np.array([[c(yaw), 0, -s(yaw)], [0, 1, 0], [s(yaw), 0, c(yaw)]])
    rz = np.array([[c(roll), s(roll), 0], [-s(roll), c(roll), 0], [0, 0, 1]])
    assert np.allclose(to_matrix(pose), (rx @ ry @ rz).T, atol=1e-12)


@given(poses)
def test_angles_round_trip(pose):
    assert np.allclose(from_matrix(to_matrix(pose)), pose, atol=1e-6)


@pytest.mark.parametrize("yaw", [90.0, -90.0])
def test_at_profile_the_angles_still_give_the_same_rotation(yaw):
    pose = np.array([yaw, 20.0, 35.0])
    found = from_matrix(to_matrix(pose))
    assert found[2] == 0
    assert np.allclose(to_matrix(found), to_matrix(pose), atol=1e-6)


@given(any_poses)
def test_mirror_reflects_the_rotation_and_twice_is_identity(pose):
    flip = np.diag([-1.0, 1, 1])
    assert np.allclose(to_matrix(mirror(pose)), flip @ to_matrix(pose) @ flip, atol=1e-12)
    assert (mirror(mirror(pose)) == pose).all()
    assert HeadPose(*pose).mirrored().mirrored() == HeadPose(*pose)


@given(any_poses, any_poses)
def test_geodesic_is_scipys_magnitude(first, second):
    expected = np.rad2deg((scipy_rotation(first) * scipy_rotation(second).inv()).magnitude())
    # arccos of a trace loses half the digits near 0 and 180 degrees.
    assert geodesic_deg(first, second) == pytest.approx(expected, abs=1e-4)


def test_geodesic_by_hand():
    assert geodesic_deg(np.array([30.0, 0, 0]), np.array([-15.0, 0, 0])) == pytest.approx(45)
    assert geodesic_deg(np.array([10.0, 5, 3]), np.array([10.0, 5, 3])) == pytest.approx(0, abs=1e-5)


def test_batches_and_values_agree():
    pose = np.array([[10.0, 20, 30], [-40, 5, -6]])
    assert np.allclose(to_matrix(pose)[1], HeadPose(-40, 5, -6).matrix())
    assert HeadPose.from_matrix(to_matrix(pose[0])).as_array() == pytest.approx(pose[0])


def test_nan_is_nan_not_zero():
    assert np.isnan(to_matrix(np.array([np.nan, 0, 0]))).any()
    assert np.isnan(mirror(np.array([5.0, np.nan, np.nan]))).tolist() == [False, True, True]


def test_positive_yaw_turns_the_nose_to_the_images_left(faces_root):
    """The sign of every pose in the packs, read off the landmarks: yaw > 0 moves the nose to smaller x."""
    from edgeface.box import five_points
    from edgeface.datasets.packs import read_pack

    for pack, markup in (("aflw", "mtfl5"), ("aflw2000_3d", "ibug68_3d")):
        yaw, offset = [], []
        for sample in read_pack(pack, root=faces_root):
            leaning = abs(np.nan_to_num(sample.pose_deg[2])) > 45
            if np.isfinite(sample.pose_deg[0]) and not leaning:
                left, right, nose, *mouth = five_points(sample.landmarks_px[markup], markup)
                middle = (left + right + np.sum(mouth, axis=0)) / 4
                yaw.append(sample.pose_deg[0])
                offset.append((nose - middle)[0] / sample.box.size)
        assert len(yaw) > 150
        assert np.corrcoef(yaw, offset)[0, 1] < -0.8, pack

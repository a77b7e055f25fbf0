"""The device's augmentation against `edgeface.training.augment`, given the same affine."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from convert.gpu_training import augment
from edgeface.crop import Crop, warp
from edgeface.datasets.synthetic import PoseRanges, render_face, sample_labels
from edgeface.markup import markup
from edgeface.training import augment as reference
from edgeface.training.augment import AugmentConfig
from edgeface.training.photometric import tone_table

SIDE, PACKED, COUNT = 96, 128, 12


def numpy(tensor) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


@pytest.fixture(scope="module")
def crops() -> list[tuple[Crop, bool]]:
    rng = np.random.default_rng(0)
    drawn = []
    for i in range(COUNT):
        angle = 0.0 if i < 2 else float(rng.uniform(-40, 40))
        drawn.append((Crop(tuple(rng.uniform(50, 78, 2)), float(rng.uniform(80, 130)), angle), bool(i % 2)))
    return drawn


def matrices(crops) -> np.ndarray:
    center, size, angle = (np.array([getattr(c, k) for c, _ in crops], "f4") for k in ("center", "size", "angle_deg"))
    mirrored = np.array([m for _, m in crops])
    return numpy(augment.affine(center, size, angle, mirrored, SIDE))


def test_the_affine_is_the_crops(crops):
    expected = np.stack([crop.matrix(SIDE, mirrored) for crop, mirrored in crops])
    np.testing.assert_allclose(matrices(crops), expected, atol=1e-4)  # px of float32 over a crop of 96


def test_points_are_the_references(crops):
    labels = [sample_labels(seed, PACKED, PoseRanges()).landmarks_px["ibug68"] for seed in range(COUNT)]
    points = np.stack(labels).astype("f4")
    points[3, 5] = np.nan
    mirrored = np.array([m for _, m in crops])
    moved = numpy(augment.move_points(points, matrices(crops), mirrored, np.array(markup("ibug68").mirror), SIDE))
    outside = 0
    for i, (crop, mirror) in enumerate(crops):
        expected = reference.move_points(points[i], None, "ibug68", crop.matrix(SIDE, mirror), SIDE, mirror)
        # A point on the very border may fall on either side of it.
        border = np.isnan(moved[i]) != np.isnan(expected)
        assert border.sum() == 0
        np.testing.assert_allclose(moved[i], expected, atol=1e-5)  # a thousandth of a pixel
        outside += np.isnan(expected).any()
    assert outside > 1


def test_the_pose_is_the_references():
    rng = np.random.default_rng(1)
    count = 400
    pose = np.stack([rng.uniform(-89, 89, count), rng.uniform(-60, 60, count), rng.uniform(-60, 60, count)], 1)
    angle = rng.uniform(-40, 40, count)
    angle[:20] = 0
    pose[20:60, 1:] = np.nan  # a yaw alone
    pose[60:70] = np.nan
    pose[10:20, 2] = np.nan
    mirrored = rng.random(count) < 0.5
    pose, angle = pose.astype("f4"), angle.astype("f4")
    moved = numpy(augment.move_pose(pose, angle, mirrored, 99.0))
    masked = 0
    for i in range(count):
        expected = reference.move_pose(pose[i], float(angle[i]), bool(mirrored[i]))
        masked += bool(np.isnan(expected).all()) and i >= 70
        if np.isnan(expected).any() or np.isnan(moved[i]).any():
            np.testing.assert_array_equal(np.isnan(moved[i]), np.isnan(expected), err_msg=str(i))
        known = np.isfinite(expected)
        # Near 90 degrees of yaw pitch and roll are ill-conditioned: float32 there keeps a hundredth of a degree.
        np.testing.assert_allclose(moved[i][known], expected[known], atol=0.02, err_msg=str(i))
    assert masked > 3


def test_the_picture_is_close_to_opencvs(crops):
    faces = np.stack([render_face(seed, PACKED).image for seed in range(COUNT)])
    moved = numpy(augment.warp(faces.astype("f4"), matrices(crops), SIDE))
    for i, (crop, mirror) in enumerate(crops):
        expected = warp(faces[i], crop.matrix(SIDE, mirror), SIDE).astype("f4")
        difference = np.abs(moved[i] - expected)
        # OpenCV's weights are in 1/32 px: half a step of the steepest edge, 255 / 64, and rounding.
        assert difference.max() <= 6 and difference.mean() < 0.5
    # Half a pixel's slip would be seen.
    slipped = np.abs(moved[:, :, 1:] - moved[:, :, :-1]).mean() / 2
    assert slipped > 1


def test_tone_is_the_tables():
    image = np.tile(np.arange(256, dtype="f4").reshape(1, 16, 16, 1), (3, 1, 1, 1))
    gamma, contrast, brightness = (np.array(v, "f4") for v in ([1, 0.75, 1.3], [1, 1.2, 0.8], [0, 0.1, -0.1]))
    toned = numpy(augment.tone(image, gamma, contrast, brightness)).reshape(3, 256)
    np.testing.assert_array_equal(toned[0], np.arange(256))

    class Fixed:
        """Gives tone_table the very factors."""

        def __init__(self, *values):
            self.values = list(values)

        def random(self):
            return self.values.pop(0)

    for i in (1, 2):
        config = AugmentConfig(gamma=1.0, contrast=1.0, brightness=0.2)
        # factor(rng, 1) is 2 ** (2 u - 1); brightness -0.2 + 0.4 u.
        rng = Fixed(*((np.log2(v[i]) + 1) / 2 for v in (gamma, contrast)), (brightness[i] + 0.2) / 0.4)
        expected = tone_table(config, rng, 1)
        assert np.abs(toned[i] - expected).max() <= 1  # a rounding to the other side


def test_blur_is_opencvs_and_noise_has_its_sigma():
    import cv2

    face = render_face(3, SIDE).image[..., 1]
    blurred = numpy(augment.blur(np.stack([face, face]).astype("f4")[..., None], np.array([0.0, 1.2], "f4")))
    np.testing.assert_allclose(blurred[0, ..., 0], face, atol=1e-3)
    expected = cv2.GaussianBlur(face, (0, 0), 1.2).astype("f4")
    assert np.abs(blurred[1, 8:-8, 8:-8, 0] - expected[8:-8, 8:-8]).max() < 1.5
    normal = np.random.default_rng(0).standard_normal((2, SIDE, SIDE, 1)).astype("f4")
    noisy = numpy(augment.add_noise(np.full((2, SIDE, SIDE, 1), 128, "f4"), normal, np.array([0.0, 9.0], "f4")))
    assert (noisy[0] == 128).all() and noisy[1].std() == pytest.approx(9, rel=0.05)


def test_occluders_lie_where_they_are_put():
    images, texture = np.zeros((3, 64, 64, 1), "f4"), np.full((3, 64, 64, 1), 200, "f4")
    center, size = np.array([[20, 30]] * 3, "f4"), np.array([[20, 10]] * 3, "f4")
    put = numpy(
        augment.occlude(
            images,
            center,
            size,
            np.array([0, np.pi / 2, 0], "f4"),
            np.array([False, True, False]),
            texture,
            np.array([True, True, False]),
        )
    )
    y, x = np.nonzero(put[0, ..., 0])
    assert (x.min(), x.max(), y.min(), y.max()) == (10, 30, 25, 35)
    y, x = np.nonzero(put[1, ..., 0])  # an ellipse, turned
    assert (x.min(), x.max(), y.min(), y.max()) == (15, 25, 20, 40) and put[1, 20, 15, 0] == 0
    assert not put[2].any()

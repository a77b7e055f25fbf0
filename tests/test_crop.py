import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeface.box import Box
from edgeface.crop import Crop, apply_affine, square_crop, warp

crops = st.builds(
    Crop,
    center=st.tuples(st.floats(-500, 2500), st.floats(-500, 2500)),
    size=st.floats(8, 2000),
    angle_deg=st.floats(-180, 180),
)
unit_points = st.lists(st.tuples(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5)), min_size=1, max_size=8).map(np.array)


@given(crops, unit_points)
def test_crop_round_trip(crop, points):
    # float32 at 4500 px has a step of 5e-4 px; on the smallest crop (8 px) that is 6e-5 of its side.
    back = crop.to_crop(crop.to_image(points))
    assert np.abs(back - points).max() < 1e-6 + 1e-3 / crop.size


@given(crops, unit_points)
def test_pixels_and_unit_coordinates_agree(crop, points):
    """Pixel u of a crop of 128 stands at (u + .5) / 128."""
    image = crop.to_image(points).astype(np.float64)
    pixels = apply_affine(crop.matrix(128), image)
    assert np.abs((pixels + 0.5) / 128 - crop.to_crop(image)).max() < 1e-6 + 1e-3 / crop.size


@given(crops)
def test_mirroring_twice_is_identity(crop):
    """The mirrored crop is the crop read from right to left; reading it so again gives the crop back."""
    flip = np.array([[-1, 0, 127], [0, 1, 0], [0, 0, 1.0]])
    mirrored = np.vstack([crop.matrix(128, mirror=True), [0, 0, 1]])
    assert np.allclose((flip @ mirrored)[:2], crop.matrix(128), rtol=1e-9, atol=1e-6)


def test_crop_corners_worked_by_hand():
    crop = Crop((10, 20), 8)
    assert crop.to_image(np.array([[0, 0], [1, 1], [0.5, 0.5]])) == pytest.approx(
        np.array([[6, 16], [14, 24], [10, 20]])
    )
    # A quarter turn clockwise: the crop's right-hand direction is the image's downward one.
    assert Crop((10, 20), 8, 90).to_image(np.array([[1, 0.5]])) == pytest.approx(np.array([[10, 24]]), abs=1e-5)


def test_nan_points_stay_nan_and_spare_the_others():
    points = np.array([[np.nan, np.nan], [10, 20]])
    moved = Crop((10, 20), 8).to_crop(points)
    assert np.isnan(moved[0]).all() and moved[1] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("side", [8, 12, 20, 32, 50, 100])
@pytest.mark.parametrize("angle", [0, 33])
def test_pixels_come_from_where_the_matrix_says(side, angle):
    """The image's colour is its own coordinate, two levels a pixel; so at every scale, block-averaged ones included."""
    y, x = np.mgrid[:121, :127]
    image = np.stack([2 * x, 2 * y, 0 * x], axis=-1).astype(np.uint8)
    crop = Crop((60, 55), 50, angle)
    v, u = np.mgrid[:side, :side]
    source = crop.to_image((np.stack([u, v], axis=-1) + 0.5) / side)
    off = crop.extract(image, side)[..., :2] / 2.0 - source
    # Rounded to a level (0.25 px) once in the average and once in the warp, whose own grid is 1/32 px.
    assert np.abs(off).max() < 0.6
    assert np.abs(off.mean(axis=(0, 1))).max() < 0.06  # and no constant shift hides below the rounding


def test_whole_image_crop_is_the_image():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert (Crop((15.5, 15.5), 32).extract(image, 32) == image).all()


def test_shrinking_averages_instead_of_picking():
    checker = ((np.indices((256, 256)).sum(0) % 2) * 255).astype(np.uint8)[..., None]
    small = Crop((127.5, 127.5), 256).extract(checker, 32)
    assert small.shape == (32, 32, 1) and np.abs(small.astype(int) - 127).max() <= 2


def test_beyond_the_edge_the_border_is_repeated():
    image = np.zeros((10, 10, 3), np.uint8)
    image[:, -1] = 200
    assert (warp(image, Crop((14.5, 4.5), 10).matrix(10), 10) == 200).all()


def test_square_crop_by_hand():
    crop = square_crop(Box(10, 20, 30, 60), scale=1.5)
    assert crop.center == (20, 40) and crop.size == 60 and crop.angle_deg == 0


def test_box_by_hand():
    box = Box.around(np.array([[3, 4], [np.nan, 0], [1, 13], [5, 8]]))
    assert box.as_xyxy() == (1, 4, 5, 13)
    assert (box.width, box.height, box.size, box.center) == (4, 9, 6, (3, 8.5))


@pytest.mark.parametrize("corners", [(1, 0, 0, 1), (0, 1, 1, 0), (0, 0, np.nan, 1), (0, 0, np.inf, 1)])
def test_impossible_boxes_are_refused(corners):
    with pytest.raises(ValueError, match="box must be finite"):
        Box(*corners)


def test_degenerate_input_is_refused():
    with pytest.raises(ValueError, match="at least one finite point"):
        Box.around(np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="positive side"):
        square_crop(Box(3, 3, 3, 3))
    with pytest.raises(ValueError, match="size > 0"):
        Crop((0, 0), 0)
    with pytest.raises(ValueError, match="finite"):
        Crop((np.nan, 0), 10)


@pytest.mark.parametrize("shape", [(480, 640, 3), (480, 640, 1), (480, 640), (240, 961, 3), (97, 89, 3), (600, 20, 3)])
def test_shrinking_the_part_that_is_seen_changes_no_byte(shape, monkeypatch):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    crops = [
        Crop(tuple(rng.uniform(-100, 700, 2)), float(np.exp(rng.uniform(3, 7))), float(rng.uniform(-180, 180)))
        for _ in range(60)
    ]
    part = [crop.extract(image, 32) for crop in crops]
    whole = lambda image, shrunk, seen: cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)  # noqa: E731
    monkeypatch.setattr("edgeface.crop._shrunk", whole)
    for seen, crop in zip(part, crops, strict=True):
        np.testing.assert_array_equal(seen, crop.extract(image, 32))


@pytest.mark.parametrize("shape", [(480, 640, 3), (1, 1, 3), (1, 300, 3), (37, 5000, 3), (333, 777, 3)])
def test_the_camera_loop_s_crop_is_the_same_but_for_rounding(shape):
    """A value on the edge between two levels may fall to either side: float32 has 24 bits for a coordinate."""
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.integers(0, 256, shape, dtype=np.uint8), (5, 5), 0)
    differing = 0
    for _ in range(40):
        place = rng.uniform(-0.3, 1.3, 2) * (shape[1], shape[0])
        crop = Crop(tuple(place), float(np.exp(rng.uniform(3, 8))), float(rng.choice([0, rng.uniform(-180, 180)])))
        fast = crop.extract_rgba(image, 64)
        assert fast.shape == (64, 64, 4) and (fast[..., 3] == 255).all()
        gap = np.abs(fast[..., :3].astype(int) - crop.extract(image, 64))
        assert gap.max() <= 1
        differing += np.count_nonzero(gap)
    assert differing < 0.001 * 40 * 64 * 64 * 3


def test_points_of_an_upright_crop_come_back_as_of_a_turned_one():
    points = np.random.default_rng(2).random((68, 2)).astype(np.float32)
    upright, turned = Crop((300.3, 200.7), 153.1), Crop((300.3, 200.7), 153.1, 360.0)
    np.testing.assert_allclose(upright.to_image(points), turned.to_image(points), atol=1e-4)
    np.testing.assert_allclose(upright.to_crop(upright.to_image(points)), points, atol=1e-6)

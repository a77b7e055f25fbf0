"""Drawing: the right colour in the right place, and nothing drawn for what is unknown."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface.box import Box
from edgeface.errors import InputError
from edgeface.head_pose import HeadPose
from edgeface.markup import MARKUPS, MTFL5
from edgeface.runtime.drawing import AXIS_COLORS, HIDDEN_COLOR, axes_on_screen, draw_axes, draw_box, draw_landmarks


def blank(side: int = 200) -> np.ndarray:
    return np.zeros((side, side, 3), np.uint8)


def centroid(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(x, y) of the pixels of exactly that colour (a line's core; its antialiased rim differs)."""
    rows, columns = np.nonzero((image == color).all(axis=-1))
    return np.array([columns.mean(), rows.mean()])


def test_axes_at_rest_are_the_screen_s():
    np.testing.assert_allclose(axes_on_screen(np.zeros(3)), np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("pose", "expected"),
    [
        (HeadPose(40, 0, 0), (-1, 0)),  # yaw > 0: the face turns to the image's left
        (HeadPose(-40, 0, 0), (1, 0)),
        (HeadPose(0, 40, 0), (0, -1)),  # pitch > 0: the face looks up
        (HeadPose(0, -40, 0), (0, 1)),
    ],
)
def test_the_blue_axis_points_where_the_face_looks(pose, expected):
    image = blank()
    draw_axes(image, pose, (100, 100), 80)
    offset = centroid(image, AXIS_COLORS[2]) - 100
    # Half of 80 sin 40 = 26 px; a 3 px thick line's centroid lies within 2 px of its axis.
    np.testing.assert_allclose(offset, 26 * np.array(expected), atol=2)


def test_roll_turns_the_red_axis_clockwise():
    image = blank()
    draw_axes(image, np.array([0, 0, 30]), (100, 100), 80)
    x, y = centroid(image, AXIS_COLORS[0]) - 100
    assert np.rad2deg(np.arctan2(y, x)) == pytest.approx(30, abs=2)


def test_axes_agree_with_hopenet_s_formulas():
    yaw, pitch, roll = pose = np.array([35.0, -20.0, 15.0])
    y, p, r = np.deg2rad([-yaw, pitch, roll])  # Hopenet's drawing negates yaw first
    expected = [
        [np.cos(y) * np.cos(r), np.cos(p) * np.sin(r) + np.cos(r) * np.sin(p) * np.sin(y)],
        [-np.cos(y) * np.sin(r), np.cos(p) * np.cos(r) - np.sin(p) * np.sin(y) * np.sin(r)],
        [np.sin(y), -np.cos(y) * np.sin(p)],
    ]
    np.testing.assert_allclose(axes_on_screen(pose)[:, :2], expected, atol=1e-12)


@pytest.mark.parametrize("name", list(MARKUPS))
def test_every_point_of_every_markup_is_drawn_where_it_is(name):
    size = MARKUPS[name].size
    angle = np.linspace(0, 2 * np.pi, size, endpoint=False)
    points = 100 + 80 * np.column_stack([np.cos(angle), np.sin(angle)])
    image = blank()
    draw_landmarks(image, points, name)
    nearest = np.rint(points).astype(int)
    assert (image[nearest[:, 1], nearest[:, 0]].max(axis=-1) > 100).all()


def test_unknown_points_are_left_out_and_hidden_ones_are_gray():
    points = np.full((5, 2), np.nan)
    image = blank()
    draw_landmarks(image, points, MTFL5)
    assert not image.any()
    points[2] = 50, 60
    draw_landmarks(image, points, MTFL5, visible=np.zeros(5, bool))
    drawn = image[image.any(axis=-1)]
    assert len(drawn) and (np.ptp(drawn.astype(int), axis=1) == 0).all(), "gray only"
    assert drawn.max() <= HIDDEN_COLOR[0]


def test_spread_is_a_circle_of_that_radius():
    points = np.full((5, 2), np.nan)
    points[2] = 100, 100
    image = blank()
    draw_landmarks(image, points, "mtfl5", spread_px=np.full(5, 40.0))
    assert image[100, 140].any() and image[60, 100].any() and not image[100, 120].any()


def test_far_points_and_boxes_do_not_wrap_around():
    image = blank()
    draw_landmarks(image, np.full((5, 2), 1e9), "mtfl5")
    draw_axes(image, np.zeros(3), (1e9, 0), 10)
    draw_axes(image, np.full(3, np.nan), (100, 100), 10)
    draw_box(image, Box(-1e9, -1e9, 1e9, 1e9))
    assert not image.any()


def test_box_outline():
    image = blank()
    draw_box(image, Box(20, 30, 120, 150))
    turned = image.copy()
    draw_box(turned, Box(20, 30, 120, 150), angle_deg=90.0)
    assert turned[40, 70].any() and not image[40, 70].any()  # a side that only the turned box has
    assert image[30, 70].any() and image[150, 70].any() and image[90, 20].any() and not image[90, 70].any()


def test_bad_arguments_are_named():
    with pytest.raises(InputError, match=r"landmarks must have shape \(5, 2\). Received: \(4, 2\)"):
        draw_landmarks(blank(), np.zeros((4, 2)), "mtfl5")
    with pytest.raises(InputError, match="image must be a uint8 array"):
        draw_box(np.zeros((9, 9)), Box(0, 0, 1, 1))
    with pytest.raises(InputError, match="read-only"):
        draw_box(np.broadcast_to(np.uint8(0), (9, 9, 3)), Box(0, 0, 1, 1))


@pytest.mark.parametrize(("name", "pair"), [("aflw21", (12, 16)), ("mtfl5", (0, 1))])
def test_no_line_crosses_the_face_between_its_sides(name, pair):
    points = np.full((MARKUPS[name].size, 2), np.nan, np.float32)
    points[list(pair)] = (40, 100), (160, 100)
    image = blank()
    draw_landmarks(image, points, name)
    assert image[100, 40].any() and image[100, 160].any() and not image[:, 80:120].any()

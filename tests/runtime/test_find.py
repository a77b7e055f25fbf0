"""Faces of a photograph, at any turn in the picture."""

from types import SimpleNamespace

import numpy as np
import pytest

import edgeface
from edgeface.box import Box
from edgeface.datasets.synthetic import face_seed, render_face
from edgeface.errors import InputError
from edgeface.head_pose import geodesic_deg, turn_pose
from edgeface.runtime.find import FaceFinder, _turned_back
from tests.runtime import acting


@pytest.mark.parametrize("quarter", range(4))
def test_a_place_in_the_turned_image_is_found_in_the_image(quarter):
    image = np.zeros((30, 50, 3), np.uint8)
    image[7, 41] = 255
    turned = np.rot90(image, -quarter)
    y, x = np.argwhere(turned[..., 0])[0].tolist()
    box = _turned_back(Box(x - 3, y - 2, x + 3, y + 2), quarter, turned.shape)
    assert box == Box(38, 5, 44, 9)


def test_each_face_is_given_once_the_largest_first():
    finder = FaceFinder(acting.Predictor(), acting.Detector())
    faces = finder.find(acting.stage((20, 20, 59, 59), (150, 60, 239, 149)))
    assert [round(face.landmarks_px[:, 0].min()) for face in faces] == [150, 20]


def test_a_picture_is_searched_four_times_or_once():
    for any_turn, searches in ((True, 4), (False, 1)):
        detector = acting.Detector()
        FaceFinder(acting.Predictor(), detector, any_turn=any_turn).find(acting.stage((20, 20, 59, 59)))
        assert detector.asked == searches
    with pytest.raises(InputError, match="passes must be at least 1. Received: 0"):
        FaceFinder(acting.Predictor(), acting.Detector(), passes=0)


class Known:
    """A detector that knows where the rendered face stands upright, and finds a wrong one at every other turn."""

    def __init__(self, upright: np.ndarray, box: Box) -> None:
        self.upright, self.box = upright, box

    def detect(self, image: np.ndarray) -> list:
        if image.shape == self.upright.shape and (image == self.upright).all():
            return [SimpleNamespace(box=self.box)]
        height, width = image.shape[:2]
        return [SimpleNamespace(box=Box(width * 0.2, height * 0.2, width * 0.8, height * 0.8), angle_deg=10.0)]


@pytest.mark.parametrize("quarter", range(4))
def test_a_face_on_its_side_is_predicted_as_well_as_upright(quarter):
    made = render_face(face_seed(4), 160)
    turned = np.ascontiguousarray(np.rot90(made.image, -quarter))
    predictor = edgeface.Predictor.load("acdc_s")
    (face,) = FaceFinder(predictor, Known(made.image, made.box), any_turn=True).find(turned)
    truth = made.landmarks_px["ibug68"]
    side = made.image.shape[0]
    for _ in range(quarter):
        truth = np.column_stack([side - 1 - truth[:, 1], truth[:, 0]])
    error = np.linalg.norm(face.landmarks_px - truth, axis=1).mean() / made.box.size
    assert error < 0.05  # upside down it is above 0.5
    pose = turn_pose(made.pose_deg, -90.0 * quarter)
    assert geodesic_deg(face.pose.as_array(), pose) < 20

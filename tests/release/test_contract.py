"""docs/contract.png: everything in it can be read, and what it says is what the code does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from convert.release import contract
from edgeface.head_pose import ANGLES
from edgeface.runtime.drawing import axes_on_screen

MODEL = "acdc_n_int8_qat"


@pytest.fixture(scope="module")
def drawn():
    figure = contract.figure(MODEL)
    figure.canvas.draw()
    return figure


def texts(figure) -> list:
    found = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return [text for text in found if text.get_text()]


def test_no_text_is_cut_and_none_lies_on_another(drawn):
    page = drawn.bbox
    boxes = {text.get_text(): text.get_window_extent() for text in texts(drawn)}
    assert len(boxes) > 20
    for words, box in boxes.items():
        assert box.x0 > 10 and box.y0 > 10 and box.x1 < page.x1 - 10 and box.y1 < page.y1 - 10, words
    # The labels inside a picture lie on it by intent; none may lie on another text.
    for words, box in boxes.items():
        for other, second in boxes.items():
            if words < other:
                apart = box.x1 <= second.x0 or second.x1 <= box.x0 or box.y1 <= second.y0 or second.y1 <= box.y0
                assert apart, f"{words!r} lies on {other!r}"


def test_captions_stay_under_their_own_picture(drawn):
    """A panel's line may not reach into the next panel."""
    for axes in drawn.axes:
        limit = axes.get_window_extent().x1 + contract.GAP_IN * contract.DPI
        for text in axes.texts:
            assert text.get_window_extent().x1 < limit, text.get_text()


def test_letters_are_large_enough_at_800_px(drawn):
    for text in texts(drawn):
        pixels = text.get_fontsize() / 72 * 800 / contract.WIDTH_IN
        assert pixels >= 10, f"{text.get_text()}: {pixels:.1f} px"


@pytest.mark.parametrize("angle", ANGLES)
def test_the_words_of_an_angle_are_what_the_axes_do(angle):
    """z, out of the face, goes left and up on the screen for yaw and pitch > 0; x turns clockwise for roll > 0."""
    turn = np.array([contract.TURN_DEG if name == angle else 0.0 for name in ANGLES])
    x, _, z = axes_on_screen(turn)
    seen = {
        "yaw": "the image's left" if z[0] < 0 else "the image's right",
        "pitch": "up" if z[1] < 0 else "down",
        "roll": "clockwise" if x[1] > 0 else "counter-clockwise",
    }
    assert contract.MEANS[angle][1] == seen[angle]


def test_the_png_is_a_picture_and_the_page_has_it():
    written = cv2.imread(str(contract.PATH))
    assert written.shape[1] == contract.WIDTH_IN * contract.DPI
    assert written.shape[0] == int(contract.HEIGHT_IN * contract.DPI)

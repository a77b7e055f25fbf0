import numpy as np
import pytest

from edgeface.box import Box
from edgeface.datasets.inspect import CAPTION, CROP_COLOR, TILE, contact_sheet, inspect, tile
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError
from edgeface.images import read_image
from edgeface.runtime.drawing import AXIS_COLORS, BOX_COLOR
from tests.datasets.conftest import record

BLACK = np.zeros((200, 200, 3), np.uint8)


def face(pose=(np.nan,) * 3, landmarks=None):
    landmarks = landmarks or {}
    visible = {name: np.ones(len(p), bool) for name, p in landmarks.items()}
    pose = np.array(pose, np.float32)
    return FaceSample("a_face", "made", "train", lambda: BLACK.copy(), Box(60, 60, 140, 140), landmarks, visible, pose)


def where(picture, color):
    """(n, 2) x, y of the pixels of that colour, dimmed by antialiasing or not."""
    pixels = picture[:TILE].astype(float)
    length = np.linalg.norm(pixels, axis=-1)
    cosine = pixels @ color / (np.maximum(length, 1) * np.linalg.norm(color))
    return np.argwhere((length > 60) & (cosine > 0.99))[:, ::-1]


def test_box_and_crop_square_stand_where_the_rule_says():
    picture = tile(face())
    # The tile spans 1.8 boxes: the box is TILE / 1.8 wide, the square 1.3 times that.
    for color, width in ((BOX_COLOR, TILE / 1.8), (CROP_COLOR, 1.3 * TILE / 1.8)):
        drawn = where(picture, color)
        assert np.ptp(drawn, axis=0) == pytest.approx([width, width], abs=2)
        assert drawn.mean(axis=0) == pytest.approx([TILE / 2 - 0.5] * 2, abs=1)


@pytest.mark.parametrize(("yaw", "side"), [(40, -1), (-40, 1)])
def test_the_face_axis_points_where_the_face_looks(yaw, side):
    """Yaw > 0: to the image's left."""
    forward = where(tile(face((yaw, 0, 0))), AXIS_COLORS[2])
    assert side * (forward[:, 0].mean() - TILE / 2) > 5


def test_no_axes_without_a_full_pose():
    assert len(where(tile(face((20, np.nan, np.nan))), AXIS_COLORS[0])) == 0


def test_the_finest_markup_is_drawn_unless_one_is_named():
    five = np.full((5, 2), 70, np.float32)
    many = np.full((68, 2), 130, np.float32)
    sample = face(landmarks={"mtfl5": five, "ibug68": many})
    plain = tile(face())[:TILE]
    finest, named = tile(sample)[:TILE], tile(sample, "mtfl5")[:TILE]
    half = TILE // 2
    assert (finest[half:] != plain[half:]).any() and (finest[:half] == plain[:half]).all()
    assert (named[:half] != plain[:half]).any() and (named[half:] == plain[half:]).all()


def test_the_sheet_is_a_grid():
    sheet = contact_sheet([face()] * 5, columns=3)
    assert sheet.shape == (2 * (TILE + CAPTION), 3 * TILE, 3)
    assert (sheet[: TILE + CAPTION, TILE : 2 * TILE] == tile(face())).all()
    assert not sheet[TILE + CAPTION :, 2 * TILE :].any()
    assert contact_sheet([face()], columns=3).shape[1] == TILE


def test_inspect_writes_a_picture(make_pack, tmp_path):
    root = make_pack([record(), record()])
    out = inspect("aflw", "train", tmp_path / "sheet.png", limit=1, root=root)
    assert read_image(out).shape == (TILE + CAPTION, TILE, 3)
    first = out.read_bytes()
    assert inspect("aflw", "train", out, limit=1, root=root).read_bytes() == first
    assert not [p.name for p in tmp_path.iterdir() if "sheet" in p.name and p.name != "sheet.png"]


def test_bad_input(make_pack, tmp_path):
    root = make_pack([record()])
    with pytest.raises(InputError, match="at least one face"):
        contact_sheet([])
    with pytest.raises(InputError, match="columns must be >= 1"):
        contact_sheet([face()], 0)
    with pytest.raises(InputError, match="limit must be >= 1"):
        inspect("aflw", None, tmp_path / "a.png", limit=0, root=root)
    with pytest.raises(InputError, match="suffix"):
        inspect("aflw", None, tmp_path / "a.what", root=root)
    assert [p.name for p in tmp_path.iterdir()] == ["aflw"]

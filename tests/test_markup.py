import numpy as np
import pytest

from edgeface.evaluation.protocols import PROTOCOLS, normalization
from edgeface.markup import MARKUPS, Markup, markup

ALL = pytest.mark.parametrize("scheme", MARKUPS.values(), ids=list(MARKUPS))


@ALL
def test_mirror_twice_is_identity(scheme):
    order = np.array(scheme.mirror)
    assert (order[order] == np.arange(scheme.size)).all()


@ALL
def test_mirror_swaps_left_groups_with_right_ones(scheme):
    for name, group in scheme.groups.items():
        swap = {"left": "right", "right": "left"}
        partner = "_".join(swap.get(word, word) for word in name.split("_"))
        assert {scheme.mirror[i] for i in group} == set(scheme.groups[partner]), name


@pytest.mark.parametrize("scheme", [m for m in MARKUPS.values() if m.eye_corners], ids=lambda m: m.name)
def test_eye_corners_mirror_into_each_other_and_lie_in_the_eyes(scheme):
    left, right = scheme.eye_corners
    assert scheme.mirror[left] == right
    assert left in scheme.groups["eye_left"] and right in scheme.groups["eye_right"]


@ALL
def test_groups_cover_every_point(scheme):
    assert {i for group in scheme.groups.values() for i in group} == set(range(scheme.size))


@pytest.mark.parametrize(
    ("pack", "split", "name", "tolerance"),
    [
        ("300w", "test", "ibug68", 0.02),
        ("aflw", "test", "aflw21", 0.05),  # ears and nostrils are marked only on faces that show them
        ("aflw", "test", "mtfl5", 0.02),
        ("mtfl", "train", "lfw10", 0.02),
    ],
)
def test_the_mean_face_is_its_own_mirror_image(faces_root, pack, split, name, tolerance):
    """Up to the affine map that a mean yaw and roll leave.

    Swapped neighbours are farther apart: 0.06 on an eyelid of ibug68, 0.1 in an eye or brow of aflw21.
    """
    from edgeface.datasets.packs import read_pack

    shapes = []
    for sample in read_pack(pack, split, faces_root)[:1500]:
        if name in sample.landmarks_px:
            shapes.append((sample.landmarks_px[name] - sample.box.center) / sample.box.size)
    mean = np.nanmean(shapes, axis=0)
    mirrored = (mean * (-1, 1))[list(MARKUPS[name].mirror)]
    extended = np.column_stack([mirrored, np.ones(len(mirrored))])
    affine, *_ = np.linalg.lstsq(extended, mean, rcond=None)
    assert np.allclose(affine[:2], np.eye(2), atol=0.2), "no reflection may hide in the affine map"
    assert np.linalg.norm(extended @ affine - mean, axis=1).max() < tolerance


def test_wrong_mirror_is_refused():
    with pytest.raises(ValueError, match="must permute"):
        Markup("broken", 3, (0, 1, 1))


def test_unknown_markup_names_the_known_ones():
    with pytest.raises(ValueError, match="ibug68.*Received: 'ibug86'"):
        markup("ibug86")


def test_inter_ocular_is_measured_between_outer_corners():
    points = np.full((1, 68, 2), 50.0)
    points[0, 36], points[0, 45] = (10, 20), (40, 60)  # 30 and 40 apart: 50
    points[0, 39], points[0, 42] = (20, 20), (30, 60)
    assert normalization(PROTOCOLS["300w"], points, np.array([7.0])) == pytest.approx([50.0])


def test_box_protocols_use_the_box():
    assert normalization(PROTOCOLS["aflw2000_3d"], np.zeros((1, 68, 2)), np.array([7.0])) == pytest.approx([7.0])


def test_every_inter_ocular_protocol_has_eye_corners():
    for protocol in PROTOCOLS.values():
        assert protocol.normalizer == "box" or protocol.markup.eye_corners is not None, protocol.name

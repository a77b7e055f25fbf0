import numpy as np
import pytest

from edgeface.box import Box
from edgeface.datasets.cut_faces import CutFaces, concat, cut_faces
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError


def ramp():
    """Red = 2 x, green = 2 y."""
    y, x = np.mgrid[:100, :120]
    return np.stack([2 * x, 2 * y, 0 * x], axis=-1).astype(np.uint8)


def face(index=0, markups=("mtfl5",), dataset="made"):
    points = {
        "mtfl5": np.array([[40, 30], [60, 30], [50, 40], [np.nan, np.nan], [58, 52]], np.float32) + index,
        "ibug68": np.column_stack([np.linspace(30, 70, 68), np.linspace(25, 65, 68)]).astype(np.float32) + index,
    }
    points = {name: points[name] for name in markups}
    visible = {name: np.isfinite(p).all(1) for name, p in points.items()}
    box = Box(30 + index, 20 + index, 70 + index, 60 + index)
    return FaceSample(f"f{index}", dataset, "train", ramp, box, points, visible, np.array([5, np.nan, 0], np.float32))


@pytest.fixture(scope="module")
def packed():
    return cut_faces([face(0), face(3, ("mtfl5", "ibug68"))], size=64)


def test_shapes_and_types(packed):
    assert len(packed) == 2 and packed.side == 64
    assert packed.images.shape == (2, 64, 64, 3) and packed.images.dtype == np.uint8
    assert packed.landmarks["ibug68"].shape == (2, 68, 2) and packed.landmarks["ibug68"].dtype == np.float32
    assert packed.ids.tolist() == ["f0", "f3"] and packed.dataset == "made"
    assert packed.pose_deg[0, 0] == 5 and np.isnan(packed.pose_deg[0, 1])


def test_labels_lie_where_the_pixels_are(packed):
    """The crop's colour at a landmark is the landmark's own place in the image: crop 64 px wide, bilinear, rounded."""
    for i, original in enumerate((face(0), face(3))):
        for u, source in zip(packed.landmarks["mtfl5"][i], original.landmarks_px["mtfl5"], strict=True):
            if np.isfinite(u).all():
                column, row = np.rint(u).astype(int)
                # a crop pixel is one image pixel wide (64 / 64): at most half of it, and half a level, off
                assert packed.images[i, row, column, :2] / 2 == pytest.approx(source, abs=0.8)


def test_box_by_hand(packed):
    """Crop of side 1.6 * 40 = 64 px around (50, 40): image pixel x lies at crop pixel x - 50 + 31.5."""
    assert packed.box_xyxy[0] == pytest.approx([11.5, 11.5, 51.5, 51.5])
    assert packed.landmarks["mtfl5"][0, 0] == pytest.approx([21.5, 21.5])


def test_unknown_is_nan_and_not_visible(packed):
    assert np.isnan(packed.landmarks["mtfl5"][0, 3]).all() and not packed.visible["mtfl5"][0, 3]
    assert np.isnan(packed.landmarks["ibug68"][0]).all() and not packed.visible["ibug68"][0].any()
    assert packed.visible["ibug68"][1].all()


def same(a, b):
    return a.fingerprint() == b.fingerprint()


def test_save_and_load(packed, tmp_path):
    packed.save(tmp_path / "a.npz")
    back = CutFaces.load(tmp_path / "a.npz")
    assert same(back, packed) and back.dataset == "made" and back.scale == 1.6
    assert (back.images == packed.images).all() and set(back.landmarks) == {"mtfl5", "ibug68"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_the_same_faces_give_the_same_bytes(packed, tmp_path):
    packed.save(tmp_path / "a.npz")
    cut_faces([face(0), face(3, ("mtfl5", "ibug68"))], size=64).save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_fingerprint_sees_one_pixel(packed):
    images = packed.images.copy()
    images[0, 0, 0, 0] ^= 1
    changed = CutFaces(
        images, packed.landmarks, packed.visible, packed.pose_deg, packed.box_xyxy, packed.ids, packed.dataset
    )
    assert not same(changed, packed)


def test_take_and_concat(packed):
    assert same(concat([packed.take([0]), packed.take([1])]), packed)
    assert packed.take(np.array([False, True])).ids.tolist() == ["f3"]
    joined = concat([cut_faces([face(0)], 64), cut_faces([face(1, ("ibug68",), "other")], 64)])
    assert joined.dataset == "made+other" and len(joined) == 2
    assert np.isnan(joined.landmarks["mtfl5"][1]).all() and not joined.visible["mtfl5"][1].any()


def test_what_cannot_be_packed_is_refused(packed):
    with pytest.raises(InputError, match="at least one face"):
        cut_faces([])
    with pytest.raises(InputError, match="size must be >= 1"):
        cut_faces([face()], 0)
    with pytest.raises(InputError, match="at least one"):
        concat([])
    with pytest.raises(InputError, match="share side and scale"):
        concat([packed, cut_faces([face()], 32)])
    with pytest.raises(InputError, match=r"pose_deg must be float32 \(1, 3\). Received: float32 \(2, 3\)"):
        one = packed.take([0])
        CutFaces(one.images, one.landmarks, one.visible, packed.pose_deg, one.box_xyxy, one.ids, "made")


def test_bad_files_are_named(packed, tmp_path):
    packed.save(tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF  # in the middle of the images
    array = tmp_path / "array.npy"
    np.save(array, np.zeros(3))
    for content in (b"", whole[: len(whole) // 2], b"not a zip at all", bytes(flipped), array.read_bytes()):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.npz must"):
            CutFaces.load(tmp_path / "bad.npz")
    with pytest.raises(InputError, match="no such file"):
        CutFaces.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    with pytest.raises(InputError, match="must hold box_xyxy, dataset, format, .*images"):
        CutFaces.load(tmp_path / "other.npz")


def test_changed_labels_do_not_match_their_sha256(packed, tmp_path):
    packed.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        data = dict(file)
    data["pose_deg"][0, 0] = 6
    np.savez(tmp_path / "a.npz", **data)
    with pytest.raises(InputError, match="must match its sha256"):
        CutFaces.load(tmp_path / "a.npz")


def test_a_real_pack(faces_root):
    from edgeface.datasets.packs import read_pack

    packed = cut_faces(read_pack("300w", "test", faces_root)[:20])
    assert packed.side == 160
    inside = (packed.landmarks["ibug68"] > 0) & (packed.landmarks["ibug68"] < 159)
    assert inside.all()  # 1.6 times the tight box leaves a margin on every side
    longer = (packed.box_xyxy[:, 2:] - packed.box_xyxy[:, :2]).max(axis=1)
    assert longer == pytest.approx(np.full(20, 100), rel=1e-4)

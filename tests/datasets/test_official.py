"""What was written in a dataset's official layout comes back in the package's conventions."""

import pickle

import cv2
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from edgeface.datasets.load import SETS, evaluation_split, is_pack, load_set
from edgeface.datasets.official import LAYOUTS, OFFICIAL, aflw, aflw_full, celeba, find, fingerprint, w300, wflw
from edgeface.datasets.packs import PACKS
from edgeface.errors import InputError
from edgeface.evaluation.protocols import PROTOCOLS
from edgeface.markup import MARKUPS
from tests.datasets import official_folders as folders
from tests.datasets.conftest import record
from tests.datasets.official_folders import NO_EARS, SIDE

FACES = 7


@pytest.fixture(scope="module")
def faces():
    return folders.rendered(FACES)


@pytest.fixture(scope="module")
def root(faces, tmp_path_factory):
    """Every dataset, unpacked below one folder."""
    root = tmp_path_factory.mktemp("datasets")
    folders.write_300w(root / "300W", faces)
    folders.write_300w_lp(root / "300W-LP" / "300W_LP", faces[:3])
    folders.write_aflw2000_3d(root / "AFLW2000", faces)
    folders.write_aflw_full(folders.write_aflw(root / "aflw", faces), faces)
    folders.write_wflw(root / "WFLW", faces)
    folders.write_celeba(root / "CelebA", faces)
    folders.write_celeba_aligned(root / "celeba_flat", faces)
    return root


def same_points(sample, face, name, dx=0.0):
    """Written with 6 digits, and read as float32."""
    assert sample.landmarks_px[name] == pytest.approx(face.points[name] + (dx, 0), abs=1e-4), (sample.id, name)


def same_image(sample, face):
    """A JPEG of quality 100, or a PNG."""
    image = sample.load()
    assert image.dtype == np.uint8 and image.shape == face.image.shape
    assert np.abs(image.astype(int) - face.image).mean() < 2


def test_every_layout_is_found_once_below_one_folder(root):
    assert sorted(layout.name for layout, _ in find(root, LAYOUTS)) == sorted(OFFICIAL)


def test_300w(root, faces):
    samples = load_set("300w", None, root=root)
    assert [s.split for s in samples] == ["train", "train", "train", "common", "common", "challenging"]
    for sample, face in zip(samples, faces, strict=False):
        same_points(sample, face, "ibug68")
        same_image(sample, face)
        assert sample.dataset == "300w" and np.isnan(sample.pose_deg).all()
        assert sample.box.as_xyxy() == pytest.approx((*face.points["ibug68"].min(0), *face.points["ibug68"].max(0)))
    counts = {s: len(load_set("300w", s, root=root)) for s in ("train", "common", "challenging", "full", "test")}
    assert counts == {"train": 3, "common": 2, "challenging": 1, "full": 3, "test": 2}
    assert len({s.id for s in samples}) == 6
    assert [s.id for s in load_set("300w", "train", limit=2, root=root)] == [s.id for s in samples[:2]]


def test_a_pts_file_counts_pixels_from_one(tmp_path):
    """A dot in the image, its place in a .pts file as MATLAB would give it: the reader must land on the dot."""
    image, points = np.zeros((40, 50), np.uint8), np.column_stack([np.arange(68) % 30 + 5, np.arange(68) // 3 + 5])
    x, y = points[30]
    image[y, x] = 255
    folder = tmp_path / "ibug"
    folder.mkdir()
    cv2.imwrite(str(folder / "a b.png"), image)
    (folder / "a b.pts").write_text(folders.pts_text(points + 1))
    (sample,) = load_set("300w", "challenging", root=tmp_path)
    column, row = sample.landmarks_px["ibug68"][30].astype(int)
    assert sample.load()[row, column].tolist() == [255, 255, 255]


def test_upper_case_folders_and_the_challenges_own_images(tmp_path, faces):
    folders.write_300w(tmp_path / "a", faces[:1])
    (tmp_path / "a" / "afw").rename(tmp_path / "a" / "AFW")
    (tmp_path / "a" / "300W").mkdir()
    folders.write_300w(tmp_path / "b", faces[:1])
    (tmp_path / "b" / "afw").rename(tmp_path / "a" / "300W" / "01_Indoor")
    assert [s.split for s in load_set("300w", None, root=tmp_path / "a")] == ["train", "private"]


def test_300w_lp(root, faces):
    samples = load_set("300w_lp", "train", root=root)
    # As shipped, HELEN_Flip has images and poses, and no landmarks.
    assert [s.id for s in samples] == [f"HELEN/HELEN_{i}_1_0" for i in range(3)]
    assert len(load_set("300w_lp", "helen", root=root)) == 3
    for sample, face in zip(samples, faces, strict=False):
        same_points(sample, face, "ibug68_3d")
    with pytest.raises(InputError, match="split of 300w_lp must be one of train, afw.*Received: 'test'"):
        load_set("300w_lp", "test", root=root)


def test_300w_lp_with_landmarks_of_the_mirrored_faces(tmp_path, faces):
    folders.write_300w_lp(tmp_path, faces[:3], flip_landmarks=True)
    samples = {s.id: s for s in load_set("300w_lp", "train", root=tmp_path)}
    assert len(samples) == 6 and len(load_set("300w_lp", "helen", root=tmp_path)) == 6
    for i, face in enumerate(faces[:3]):
        for folder, seen in (("HELEN", face), ("HELEN_Flip", face.mirrored())):
            sample = samples[f"{folder}/HELEN_{i}_1_0"]
            same_points(sample, seen, "ibug68")
            same_points(sample, seen, "ibug68_3d")
            same_image(sample, seen)
            assert sample.pose_deg == pytest.approx(seen.pose_deg, abs=1e-3)
        yaw, pitch, roll = samples[f"HELEN/HELEN_{i}_1_0"].pose_deg
        assert samples[f"HELEN_Flip/HELEN_{i}_1_0"].pose_deg == pytest.approx([-yaw, pitch, -roll], abs=1e-3)


def test_aflw2000_3d(root, faces):
    samples = load_set("aflw2000_3d", evaluation_split("aflw2000_3d"), root=root)
    assert [s.id for s in samples] == [f"image{2 * i + 2:05d}" for i in range(FACES)]
    for sample, face in zip(samples, faces, strict=True):
        same_points(sample, face, "ibug68_3d")
        assert sample.pose_deg == pytest.approx(face.pose_deg, abs=1e-3)
        seen = face.visible["aflw21"]
        assert (sample.visible["aflw21"] == seen).all() and not seen.all()
        assert sample.landmarks_px["aflw21"][seen] == pytest.approx(face.points["aflw21"][seen], abs=1e-4)
        assert np.isnan(sample.landmarks_px["aflw21"][~seen]).all()


def test_aflw2000_3d_files_with_another_number_of_2d_points(tmp_path, faces):
    folders.write_aflw2000_3d(tmp_path, faces[:2])
    path = tmp_path / "image00002.mat"
    savemat(path, {k: v for k, v in loadmat(path).items() if k[0] != "_"} | {"pt2d": np.ones((2, 68))})
    first, second = load_set("aflw2000_3d", None, root=tmp_path)
    assert set(first.landmarks_px) == {"ibug68_3d"} and set(second.landmarks_px) == {"ibug68_3d", "aflw21"}


def test_poses_turn_the_nose_as_the_package_says(root):
    """yaw > 0: the nose lies left of the middle between the eyes; roll is the tilt of the line between them."""
    for name in ("aflw2000_3d", "300w_lp", "aflw"):
        offsets, yaws = [], []
        for sample in load_set(name, None, root=root):
            points = sample.landmarks_px["aflw21" if name == "aflw" else "ibug68_3d"]
            left, right, nose = (7, 10, 14) if name == "aflw" else (36, 45, 30)
            eyes = points[right] - points[left]
            if not np.isfinite(eyes).all() or abs(sample.pose_deg[0]) > 30:
                continue
            across = eyes / np.linalg.norm(eyes)
            offsets.append((points[nose] - (points[left] + points[right]) / 2) @ across / np.linalg.norm(eyes))
            yaws.append(sample.pose_deg[0])
            # In-plane, as seen: x right, y down.
            tilt = np.degrees(np.arctan2(eyes[1], eyes[0]))
            assert tilt == pytest.approx(sample.pose_deg[2], abs=15), (name, sample.id)
        assert np.corrcoef(offsets, yaws)[0, 1] < -0.9, name


def test_aflw(root, faces):
    samples = load_set("aflw", None, root=root / "aflw")
    assert [s.id for s in samples] == [str(39341 + i) for i in range(FACES)]
    for sample, face, dx in zip(samples, faces, [0, SIDE, *[0] * (FACES - 2)], strict=True):
        seen = face.visible["aflw21"]
        assert (sample.visible["aflw21"] == seen).all()
        assert sample.landmarks_px["aflw21"][seen] == pytest.approx(face.points["aflw21"][seen] + (dx, 0), abs=1e-4)
        assert np.isnan(sample.landmarks_px["aflw21"][~seen]).all()
        assert sample.pose_deg == pytest.approx(face.pose_deg, abs=1e-3)
    assert samples[1].load().shape == (SIDE, 2 * SIDE, 3)
    same_image(samples[3], faces[3])
    with pytest.raises(InputError, match="split of aflw must be one of all. Received: 'test'"):
        load_set("aflw", "test", root=root / "aflw")


def test_an_aflw_face_without_eyes_is_framed_by_its_rectangle():
    points = np.full((21, 2), np.nan)
    points[14] = 40, 50
    row = aflw.Row(1, "0/a.jpg", None, np.full(3, np.nan), (10.0, 20.0, 60.0, 60.0), points)
    assert aflw._sample(row, "0/a.jpg").box.as_xyxy() == (10, 20, 70, 80)


def test_aflw_full(root, faces, monkeypatch):
    monkeypatch.setattr(aflw_full, "TRAIN_FACES", 2)  # of 7, where the dataset has 20000 of 24386
    split_of = {s.id: s.split for s in load_set("aflw_full", None, root=root)}
    assert split_of == {"1": "train", "2": "test", "3": "test", "4": "test", "5": "test", "6": "test", "7": "train"}
    samples = {s.id: s for s in load_set("aflw_full", None, root=root)}
    for i, (face, dx) in enumerate(zip(faces, [0, SIDE, *[0] * (FACES - 2)], strict=True)):
        sample = samples[str(i + 1)]
        expected = face.points["aflw21"][NO_EARS] + (dx, 0)  # the hidden ones too
        assert sample.landmarks_px["aflw21"][NO_EARS] == pytest.approx(expected, abs=1e-4)
        assert np.isnan(sample.landmarks_px["aflw21"][[12, 16]]).all()
        assert (sample.visible["aflw21"][NO_EARS] == face.visible["aflw21"][NO_EARS]).all()
        # Two faces share the first image: each gets its own pose.
        assert sample.pose_deg == pytest.approx(face.pose_deg, abs=1e-3)
    whole = [i for i in range(1, 6) if faces[i].visible["aflw21"][NO_EARS].all()]
    assert [s.id for s in load_set("aflw_full", "frontal", root=root)] == [str(i + 1) for i in whole] and whole


def test_aflw_full_needs_no_database(tmp_path, faces):
    folders.write_aflw_full(folders.write_aflw(tmp_path, faces), faces)
    (tmp_path / "data" / "aflw.sqlite").unlink()
    assert all(np.isnan(s.pose_deg).all() for s in load_set("aflw_full", None, root=tmp_path))


def test_wflw(root, faces):
    test, train = load_set("wflw", "test", root=root), load_set("wflw", "train", root=root)
    assert len(test) == FACES - 1 and len(train) == 1
    for sample, face in zip([*test, *train], faces, strict=True):
        same_points(sample, face, "wflw98")
        same_image(sample, face)
    subsets = {name: [s.id for s in load_set("wflw", name, root=root)] for name in wflw.SUBSETS}
    assert subsets == {
        "pose": ["test/1"],
        "expression": ["test/2"],
        "illumination": ["test/3"],
        "makeup": ["test/4"],
        "occlusion": ["test/5"],
        "blur": ["test/1", "test/6"],
    }


def test_no_wflw_subset_loses_a_broken_line_in_silence(tmp_path, faces):
    """Its attributes cannot be read, so it may belong to any of them; the other list is untouched."""
    folders.write_wflw(tmp_path, faces)
    path = tmp_path / wflw.LISTS / "list_98pt_rect_attr_test.txt"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first.split(maxsplit=3)[-1], *rest]) + "\n")
    for split in ("test", *wflw.SUBSETS):
        with pytest.raises(InputError, match="line 1: a line must have 207 fields. Received: 204"):
            load_set("wflw", split, root=tmp_path)
    assert len(load_set("wflw", "train", root=tmp_path)) == 1


@pytest.mark.parametrize("name", ["celeba", "celeba_aligned"])
def test_celeba(root, faces, name):
    samples = load_set(name, None, root=root)
    assert [s.split for s in samples] == [("train", "val", "test")[i % 3] for i in range(FACES)]
    for sample, face in zip(samples, faces, strict=True):
        assert sample.landmarks_px["mtfl5"] == pytest.approx(face.points["mtfl5"].round(), abs=1e-6)
        same_image(sample, face)
    assert [s.id for s in load_set(name, "val", root=root)] == ["000002", "000005"]


def test_no_celeba_split_is_smaller_than_the_others_in_silence(tmp_path, faces):
    """A partition that was cut off: nobody knows whose the remaining faces are."""
    folders.write_celeba(tmp_path, faces)
    path = tmp_path / "Eval/list_eval_partition.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    for split in ("train", "val", "test", None):
        with pytest.raises(InputError, match="must put 000007.jpg into 0, 1 or 2. Received: nothing of the kind"):
            load_set("celeba", split, root=tmp_path)


def test_half_an_image_is_no_image(tmp_path, faces):
    """OpenCV makes the missing half grey, and a network would learn points in it."""
    folders.write_300w(tmp_path, faces[:1])
    path = tmp_path / "afw/image_000.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert cv2.imread(str(path)) is not None  # the trap is set
    (sample,) = load_set("300w", "train", root=tmp_path)
    with pytest.raises(InputError, match="image_000.jpg must be a whole image file. Received: .* cut off"):
        sample.load()


def test_images_are_read_as_they_are_stored(tmp_path, faces):
    """EXIF says turn me; the annotators' tools did not."""
    wide = folders.Face(faces[0].image[:60], faces[0].points, faces[0].visible, faces[0].pose_deg)
    path = folders.write_image(tmp_path / "afw" / "a.jpg", wide)
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    exif = b"Exif\x00\x00" + tiff
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    path.with_suffix(".pts").write_text(folders.pts_text(wide.points["ibug68"] + 1))
    assert cv2.imread(str(path)).shape == (SIDE, 60, 3)  # the trap is set
    (sample,) = load_set("300w", "train", root=tmp_path)
    assert sample.load().shape == (60, SIDE, 3)


def test_samples_travel_to_other_processes(root):
    for name in OFFICIAL:
        sample = load_set(name, None, limit=1, root=root)[0]
        assert pickle.loads(pickle.dumps(sample)).load().shape == sample.load().shape


def test_where_sets_are_looked_for(root, make_pack, monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEFACE_DATA", raising=False)
    monkeypatch.setenv("EDGEFACE_FACES", str(tmp_path))
    with pytest.raises(InputError, match=r"EDGEFACE_DATA must name the folder that holds wflw.*Received: not set"):
        load_set("wflw", "test")
    with pytest.raises(InputError, match="must be the folder of pack aflw"):
        load_set("aflw", "train")
    monkeypatch.setenv("EDGEFACE_DATA", str(root))
    assert len(load_set("wflw", "train")) == 1
    assert len(load_set("aflw", "all")) == FACES  # no pack there, so the dataset
    make_pack([record()])
    assert is_pack("aflw") and len(load_set("aflw", None)) == 1
    assert not is_pack("aflw", root) and len(load_set("aflw", None, root=root)) == FACES
    with pytest.raises(InputError, match=r"must hold wflw .* once. Received: nothing of that layout"):
        load_set("wflw", None, root=root / "CelebA")
    with pytest.raises(InputError, match="Received: no such folder"):
        load_set("wflw", None, root=root / "nowhere")


def test_two_copies_are_refused(tmp_path, faces):
    folders.write_wflw(tmp_path / "a", faces[:2])
    folders.write_wflw(tmp_path / "b", faces[:2])
    with pytest.raises(InputError, match=r"must hold wflw .* once. Received: .*a and .*b"):
        load_set("wflw", "test", root=tmp_path)
    assert len(load_set("wflw", "test", root=tmp_path / "a")) == 1


def test_a_fingerprint_changes_with_the_annotations(tmp_path, faces):
    folders.write_300w(tmp_path, faces[:2])
    first = fingerprint("300w", tmp_path)
    assert fingerprint("300w", tmp_path) == first
    folders.write_image(tmp_path / "afw" / "more.jpg", faces[2])
    assert fingerprint("300w", tmp_path) == first
    (tmp_path / "afw" / "more.pts").write_text("")
    assert fingerprint("300w", tmp_path) != first


def test_names_and_protocols():
    assert set(SETS) == {*PACKS, *OFFICIAL, "synthetic"}
    for name in OFFICIAL:
        assert name in PROTOCOLS and PROTOCOLS[name].markup.name in MARKUPS
    assert celeba.SPLITS == {"0": "train", "1": "val", "2": "test"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a text file. Received: an empty file"),
        ("version: 1\nn_points: 68\n{\n1 2\n", "must end its points with a brace. Received: '1 2'"),
        ("version: 1\nn_points: 68\n{\n1 2\n}\n", "must have 68 points. Received: n_points 68, 1 lines"),
        ("version: 1\nn_points: 1\n{\n1 2\n}\n", "must have 68 points. Received: n_points 1, 1 lines"),
        (
            folders.pts_text(np.ones((68, 2))).replace("1.000000", "nan", 1),
            "must be finite. Received: .*nan.* at point 0",
        ),
        (folders.pts_text(np.ones((68, 2))).replace("1.0", "one", 1), "must be numbers. Received: 'one"),
        (folders.pts_text(np.ones((68, 2))).replace("000 1", "000 1 1", 1), "a point must be x and y"),
        (folders.pts_text(np.ones((68, 2))), "must be larger than a pixel. Received: a box of 0 x 0 px"),
    ],
)
def test_a_broken_pts_file_is_named(tmp_path, text, message):
    path = tmp_path / "afw" / "a.pts"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_set("300w", "train", root=tmp_path)
    assert str(caught.value).startswith(str(path)) and str(caught.value).count(str(path)) == 1
    if "larger" not in message:
        with pytest.raises(InputError):
            w300.read_pts(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ra": np.array([[1, 1, 2]])}, "ra must order the 3 faces of nameList. Received: 3 other numbers"),
        ({"data": np.zeros((3, 37))}, r"data must be numbers of shape \(3, 38\). Received: \(3, 37\)"),
        ({"mask_new": None}, "must hold mask_new. Received: bbox, data, nameList, ra"),
    ],
)
def test_a_broken_aflw_info(tmp_path, faces, change, message):
    folders.write_aflw_full(tmp_path, faces[:3])
    path = tmp_path / "AFLWinfo_release.mat"
    found = {k: v for k, v in (loadmat(path) | change).items() if not k.startswith("__") and v is not None}
    savemat(path, found)
    with pytest.raises(InputError, match=message):
        load_set("aflw_full", None, root=tmp_path)

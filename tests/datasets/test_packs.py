import numpy as np
import pytest

from edgeface.datasets import packs
from edgeface.datasets.packs import read_pack
from edgeface.errors import InputError
from tests.datasets.conftest import FIVE, SIXTY_EIGHT, record


def test_a_record_becomes_a_sample(make_pack):
    (sample,) = read_pack("aflw", "train", make_pack([record()]))
    assert (sample.id, sample.dataset, sample.split) == ("a", "aflw", "train")
    assert sample.landmarks_px["mtfl5"] == pytest.approx(np.array(FIVE, np.float32))
    assert np.isnan(sample.landmarks_px["ibug68"][0]).all()
    assert sample.landmarks_px["ibug68"][1:] == pytest.approx(np.array(SIXTY_EIGHT[1:], np.float32))
    assert sample.visible["mtfl5"].all()
    assert sample.visible["ibug68"].tolist() == [False] + [True] * 67  # 0 = behind the face; 1 = occluded: still there
    assert sample.pose_deg[0] == -20.5 and np.isnan(sample.pose_deg[1:]).all()
    assert sample.box.as_xyxy() == (8, 6, 32, 34)


def test_the_image_is_read_on_demand_as_rgb(make_pack):
    (sample,) = read_pack("aflw", root=make_pack([record()]))
    image = sample.load()
    assert image.shape == (40, 40, 3) and image.dtype == np.uint8
    assert image[10, 20].tolist() == [120, 60, 0]


def test_a_missing_image_is_named_when_it_is_asked_for(make_pack):
    (sample,) = read_pack("aflw", root=make_pack([record(file="gone.png")]))
    with pytest.raises(InputError, match=r"gone\.png.*no such file"):
        sample.load()


def test_excluded_faces_are_left_out_unless_asked_for(make_pack):
    root = make_pack([record(), record(file="b.png", exclude=True)])
    assert [s.id for s in read_pack("aflw", root=root)] == ["a"]
    assert [s.id for s in read_pack("aflw", root=root, include_excluded=True)] == ["a", "b"]


def test_splits(make_pack):
    root = make_pack([record(), record(file="b.png", split="test")])
    assert [s.id for s in read_pack("aflw", "test", root)] == ["b"]
    assert len(read_pack("aflw", None, root)) == 2
    with pytest.raises(InputError, match="split of aflw must be one of test, train. Received: 'val'"):
        read_pack("aflw", "val", root)


def test_a_fifth_of_the_train_faces_is_held_out(make_pack):
    files = [f"{i}.png" for i in range(60)]
    root = make_pack([record(file=file) for file in files] + [record(file="t.png", split="test")])
    fit, held_out = ([s.id for s in read_pack("aflw", split, root)] for split in packs.HELD_OUT)
    assert sorted(fit + held_out) == sorted(s.id for s in read_pack("aflw", "train", root))
    assert 6 <= len(held_out) <= 18
    # A face stays on its side whatever faces are added.
    fewer = make_pack([record(file=file) for file in files[:30]], "300w")
    assert [s.id for s in read_pack("300w", "train_held_out", fewer)] == [i for i in held_out if int(i) < 30]
    assert {s.split for s in read_pack("300w", "train_held_out", fewer)} == {"train"}


def test_markups_left_out_have_a_reason(make_pack):
    marked = {"ibug68_3d": SIXTY_EIGHT, "ibug68_reannotated": SIXTY_EIGHT}
    root = make_pack([record(landmarks=marked, visible={})], "aflw2000_3d")
    (sample,) = read_pack("aflw2000_3d", root=root)
    assert set(sample.landmarks_px) == {"ibug68_3d"}
    assert all(len(reason) > 20 for reason in packs.SKIPPED_MARKUPS.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"landmarks": {"mtfl5": FIVE[:4]}}, "mtfl5 must have 5 points. Received: 4 points"),
        ({"landmarks": {"mtfl5": None}}, "mtfl5 must have 5 points. Received: NoneType"),
        (
            {"landmarks": {"mtfl5": [*FIVE[:4], [1, 2, 3]]}},
            r"must be \[x, y\] or null. Received: \[1, 2, 3\] at point 4",
        ),
        ({"landmarks": {"mtfl5": [*FIVE[:4], "x"]}}, "must be .* Received: 'x' at point 4"),
        ({"landmarks": {"ibug86": FIVE}}, "markup must be one of .* Received: 'ibug86'"),
        ({"landmarks": {}}, "landmarks must be"),
        ({"landmarks": {"mtfl5": [None] * 5}}, "an eye and a mouth corner"),
        ({"visible": {"ibug68": [1, 2]}}, "visible of ibug68 must be 68 whole numbers. Received: 2 entries"),
        ({"visible": {"ibug68": ["x"] * 68}}, "visible of ibug68 must be"),
        ({"visible": [1]}, "visible must be"),
        ({"pose": {"yaw": "left"}}, "pose must be numbers"),
        ({"pose": {"jaw": 3}}, "pose must be"),
        ({"pose": [1, 2, 3]}, "pose must be"),
    ],
)
def test_a_broken_record_is_named(make_pack, change, message):
    root = make_pack([record(), record(file="bad.png", **change)])
    with pytest.raises(InputError, match=message) as caught:
        read_pack("aflw", root=root)
    text = str(caught.value)
    assert "annotations.json, record 1 (bad.png)" in text and "\n" not in text


@pytest.mark.parametrize("file", [None, "", 3])
def test_a_record_needs_a_file_name(make_pack, file):
    with pytest.raises(InputError, match="record 0: file must be"):
        read_pack("aflw", root=make_pack([record(file=file)]))


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "JSON"), ("[{", "JSON"), ("{}", "list of records"), ("[3]", "record 0"), ('[{"file": "a"}]', "'split'")],
)
def test_broken_annotations(make_pack, text, message):
    with pytest.raises(InputError, match=message):
        read_pack("aflw", root=make_pack(text))


def test_missing_folders(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"aflw must be the folder of pack aflw. Received: no such folder"):
        read_pack("aflw", root=tmp_path)
    (tmp_path / "aflw").mkdir()
    with pytest.raises(InputError, match=r"annotations\.json .* no such file"):
        read_pack("aflw", root=tmp_path)
    monkeypatch.setenv("EDGEFACE_FACES", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="EDGEFACE_FACES must name .*nowhere"):
        read_pack("aflw")
    with pytest.raises(InputError, match="pack must be one of 300w.* Received: '300W'"):
        read_pack("300W")


def test_the_environment_names_the_root(make_pack, monkeypatch):
    monkeypatch.setenv("EDGEFACE_FACES", str(make_pack([record()])))
    assert len(read_pack("aflw")) == 1


@pytest.mark.parametrize(
    ("name", "split", "count", "markup"),
    [
        ("300w", "train", 2008, "ibug68"),
        ("300w", "test", 554, "ibug68"),
        ("aflw", "train", 2175, "mtfl5"),
        ("aflw", "test", 466, "mtfl5"),
        ("youtube_faces", "train_b", 770, "ibug68"),
        ("facesynthetics", "train", 100, "ibug68"),
        ("aflw2000_3d", "val", 199, "ibug68_3d"),
    ],
)
def test_real_packs(faces_root, name, split, count, markup):
    samples = read_pack(name, split, faces_root)
    assert len(samples) == count
    assert all(markup in s.landmarks_px for s in samples)
    assert all(5 < s.box.size < 2000 for s in samples)
    image = samples[-1].load()
    x, y = samples[-1].box.center
    assert 0 < x < image.shape[1] and 0 < y < image.shape[0]


def test_aflw_codes(faces_root):
    """Behind the face = not annotated; occluded by something else = annotated and visible by our rule."""
    samples = [s for s in read_pack("aflw", root=faces_root) if "ibug68" in s.landmarks_px]
    visible = np.stack([s.visible["ibug68"] for s in samples])
    known = np.stack([np.isfinite(s.landmarks_px["ibug68"]).all(1) for s in samples])
    assert (visible == known).all() and 0.97 < visible.mean() < 0.99

"""`edgeface data check`: what is there, what is missing, what is broken, through the command."""

import json
import sqlite3
import struct

import cv2
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from edgeface.cli import main
from edgeface.datasets import check as check_module
from edgeface.datasets.imagefile import image_size
from edgeface.files import write_json
from edgeface.images import read_image
from tests.datasets import official_folders as folders
from tests.datasets.conftest import record

FACES = 6


@pytest.fixture(scope="module")
def faces():
    return folders.rendered(FACES)


@pytest.fixture
def run(capsys):
    """run(*arguments) -> (exit code, what it printed, what it said is wrong)."""

    def call(*arguments):
        code = main(["data", "check", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def broken_of(run, folder, *arguments):
    """(exit code, the one set that --json tells of)."""
    code, out, _ = run(folder, "--json", *arguments)
    found = json.loads(out)
    assert found["ok"] == (code == 0)
    (only,) = found["sets"]
    return code, only


WRITERS = {
    "300w": (folders.write_300w, 6, {"train": 3, "common": 2, "full": 3, "test": 2, "challenging": 1}),
    "300w_lp": (folders.write_300w_lp, 6, {"train": 6, "helen": 6}),
    "aflw2000_3d": (folders.write_aflw2000_3d, 6, {"test": 6, "val": 6}),
    "aflw": (folders.write_aflw, 6, {"all": 6}),
    "wflw": (
        folders.write_wflw,
        6,
        {
            "train": 1,
            "test": 5,
            "blur": 1,
            **{k: 1 for k in ("pose", "expression", "illumination", "makeup", "occlusion")},
        },
    ),
    "celeba": (folders.write_celeba, 6, {"train": 2, "val": 2, "test": 2}),
    "celeba_aligned": (folders.write_celeba_aligned, 6, {"train": 2, "val": 2, "test": 2}),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("options", [(), ("--quick",)])
def test_a_whole_dataset(name, options, tmp_path, faces, run):
    write, count, splits = WRITERS[name]
    write(tmp_path, faces)
    code, found = broken_of(run, tmp_path, *options)
    assert code == 0, found["broken"]
    assert (found["name"], found["faces"], found["usable"]) == (name, count, count)
    assert found["splits"] == splits
    assert found["images"] == count - (name == "aflw")  # two faces share an image
    assert found["not_annotated"] == found["without_image"] == found["broken"] == []


def test_it_prints_what_it_found(tmp_path, faces, run):
    folders.write_300w_lp(tmp_path / "300W_LP", faces[:2])
    folders.write_wflw(tmp_path / "WFLW", faces)
    code, out, err = run(tmp_path, "--quick")
    assert code == 0 and err == ""
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in ("faces 2", "landmarks ibug68_3d 2", "pose: all angles 2", "split helen 2", "landmarks wflw98 6"):
        assert line in lines
    assert lines[-1] == "300w_lp, wflw: 8 of 8 faces can be used, nothing broken (images not decoded)"


def cut(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


BREAKS_300W = {
    "afw/image_000.pts": (lambda p: p.write_text(""), "an empty file"),
    "helen/trainset/image_001.pts": (
        lambda p: p.write_text("\n".join(p.read_text().splitlines()[:40]) + "\n}\n"),
        "must have 68 points. Received: n_points 68, 37 lines",
    ),
    "helen/testset/image_003.pts": (
        lambda p: p.write_text(folders.pts_text(np.full((68, 2), np.nan))),
        "points must be finite",
    ),
    "ibug/image_005.pts": (
        lambda p: p.write_text(folders.pts_text(np.linspace(1, 900, 136).reshape(68, 2))),
        "ibug68 must lie in or near the image of 96 x 96 px. Received: (1",
    ),
}
BREAKS_IMAGES = {
    "helen/testset/image_003.jpg": (cut, "must be a whole image file"),
    "lfpw/trainset/image_002.png": (cut, "must be a whole image file"),
    "afw/image_000.jpg": (lambda p: p.write_bytes(b""), "an empty file"),
    "ibug/image_005.jpg": (lambda p: p.write_text("no image"), "must be an image that OpenCV reads"),
}


@pytest.mark.parametrize("breaks", [BREAKS_300W, BREAKS_IMAGES])
def test_broken_300w_files_are_named_one_by_one(breaks, tmp_path, faces, run):
    folders.write_300w(tmp_path, faces)
    for file, (spoil, _) in breaks.items():
        spoil(tmp_path / file)
    code, found = broken_of(run, tmp_path)
    assert code == 1 and found["usable"] == FACES - len(breaks)
    for file, (_, message) in breaks.items():
        (reason,) = [why for where, why in found["broken"] if where == str(tmp_path / file.rsplit(".", 1)[0]) + ".pts"]
        assert message in reason
    code, out, err = run(tmp_path)
    assert code == 1 and err.count("edgeface: broken: ") == len(breaks)
    assert f"300w: {FACES - len(breaks)} of {FACES} faces can be used, {len(breaks)} broken" in out


def test_missing_either_way(tmp_path, faces, run):
    folders.write_300w(tmp_path, faces)
    (tmp_path / "afw/image_000.jpg").unlink()
    (tmp_path / "ibug/image_005.pts").unlink()
    code, found = broken_of(run, tmp_path)
    assert code == 1 and found["broken"] == []
    assert found["without_image"] == [f"{tmp_path / 'afw/image_000.pts'}: {tmp_path / 'afw/image_000.jpg'}"]
    assert found["not_annotated"] == [str(tmp_path / "ibug/image_005.jpg")]
    (tmp_path / "afw/image_000.pts").unlink()
    code, out, err = run(tmp_path)
    assert (
        code == 0 and err == f"edgeface: not annotated: {tmp_path / 'ibug/image_005.jpg'}\n"
    )  # nobody stumbles over it


def test_many_problems_are_counted(tmp_path, faces, run, monkeypatch):
    monkeypatch.setattr(check_module, "SHOWN", 2)
    for path in folders.write_300w(tmp_path, faces).rglob("*.pts"):
        path.write_text("")
    code, out, err = run(tmp_path, "--quick")
    assert code == 1 and err.splitlines()[-1] == "edgeface: broken: and 4 more (--json lists all)"
    assert len(broken_of(run, tmp_path)[1]["broken"]) == FACES


def test_300w_lp(tmp_path, faces, run):
    folders.write_300w_lp(tmp_path, faces[:5], flip_landmarks=True)
    helen, points = tmp_path / "HELEN", tmp_path / "landmarks" / "HELEN"
    cut(helen / "HELEN_0_1_0.mat", 0.8)
    savemat(helen / "HELEN_1_1_0.mat", {"pt2d": np.zeros((2, 68))})
    (points / "HELEN_2_1_0_pts.mat").unlink()
    savemat(points / "HELEN_3_1_0_pts.mat", {"pts_2d": np.zeros((67, 2)), "pts_3d": np.zeros((68, 2))})
    turned = loadmat(helen / "HELEN_4_1_0.mat")["Pose_Para"]
    turned[0, 1] = np.nan
    savemat(helen / "HELEN_4_1_0.mat", {"Pose_Para": turned})
    code, found = broken_of(run, tmp_path)
    assert code == 1 and found["usable"] == 5  # the mirrored ones
    for i, message in enumerate(
        [
            "must be a whole MATLAB file. Received: ",
            "must hold Pose_Para. Received: pt2d",
            "HELEN_2_1_0_pts.mat must be a MATLAB file. Received: no such file",
            "pts_2d must be numbers of shape (68, 2). Received: float64 (67, 2)",
            "Pose_Para must start with three finite angles. Received: [",
        ]
    ):
        (reason,) = [why for where, why in found["broken"] if where.endswith(f"HELEN_{i}_1_0.mat")]
        assert message in reason


def test_a_mat_file_cut_between_variables_is_found(tmp_path, faces, run):
    """scipy reads what comes before the cut without a word."""
    folders.write_aflw2000_3d(tmp_path, faces[:2])
    path = tmp_path / "image00002.mat"
    whole = path.read_bytes()
    savemat(path, {"Pose_Para": np.zeros((1, 7)), "pt3d_68": loadmat(path)["pt3d_68"], "Tex_Para": np.zeros(999)})
    path.write_bytes(path.read_bytes()[:-16])
    assert loadmat(path, variable_names=["Pose_Para"])["Pose_Para"].shape == (1, 7)
    _, found = broken_of(run, tmp_path)
    assert [why for _, why in found["broken"] if "must be a whole MATLAB file" in why]
    path.write_bytes(whole)
    assert broken_of(run, tmp_path)[0] == 0


def test_aflw(tmp_path, faces, run):
    folders.write_aflw(tmp_path, faces)
    path = tmp_path / "data" / "aflw.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("UPDATE FaceImages SET width = 640 WHERE filepath = '2/image00002.jpg'")
        database.execute("DELETE FROM FeatureCoords WHERE face_id = 39344")
        database.execute("UPDATE Faces SET file_id = 'gone' WHERE face_id = 39345")
    database.close()
    _, found = broken_of(run, tmp_path)
    assert [why.split(": ", 1)[1].replace(str(tmp_path), "") for _, why in found["broken"][1:]] == [
        "a face must have a row in FeatureCoords. Received: none",
        "a face must have an image in FaceImages. Received: none",
    ]
    assert "image00002.jpg must be 640 x 96 px as its annotation says. Received: 96 x 96 px" in found["broken"][0][1]
    assert found["not_annotated"] == [str(tmp_path / "data/flickr/2/image00004.jpg")]

    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE FacePose")
    database.close()
    code, found = broken_of(run, tmp_path)
    assert code == 1
    assert "aflw.sqlite must have a table FacePose. Received: FaceImages, FaceRect, Faces" in found["broken"][0][1]
    path.write_bytes(path.read_bytes()[:5000])
    code, found = broken_of(run, tmp_path)
    assert code == 1 and "must be a whole SQLite database" in found["broken"][0][1]
    path.write_bytes(b"")
    assert "Received: an empty file" in broken_of(run, tmp_path)[1]["broken"][0][1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "UPDATE FeatureCoords SET x = '12,5' WHERE face_id = 39343",
            "FeatureCoords.x must be a number. Received: '12,5'",
        ),
        ("UPDATE FaceRect SET w = '' WHERE face_id = 39343", "FaceRect.w must be a number. Received: ''"),
        ("UPDATE FacePose SET roll = x'00ff' WHERE face_id = 39343", "FacePose.roll must be a number. Received: b'"),
        (
            "UPDATE FaceImages SET width = '96 px' WHERE filepath = '2/image00002.jpg'",
            "FaceImages.width must be a number. Received: '96 px'",
        ),
        (
            "UPDATE FaceImages SET filepath = CAST(filepath AS BLOB) WHERE filepath = '2/image00002.jpg'",
            "FaceImages.filepath must be text. Received: b'2/image00002.jpg'",
        ),
    ],
)
def test_a_value_of_another_type_in_aflw_s_database_breaks_its_face_alone(change, reason, tmp_path, faces, run):
    folders.write_aflw(tmp_path, faces)
    with sqlite3.connect(tmp_path / "data" / "aflw.sqlite") as database:
        assert database.execute(change).rowcount >= 1
    database.close()
    code, found = broken_of(run, tmp_path, "--quick")
    ((where, why),) = found["broken"]
    assert code == 1 and found["usable"] == FACES - 1 and where.endswith("face 39343") and reason in why


def test_aflw_and_its_other_annotation_are_two_sets(tmp_path, faces, run):
    folders.write_aflw_full(folders.write_aflw(tmp_path, faces), faces)
    code, out, _ = run(tmp_path, "--json")
    assert code == 0
    assert {s["name"]: (s["faces"], s["pose"]) for s in json.loads(out)["sets"]} == {
        "aflw_full": (6, {"all angles": 6}),
        "aflw": (6, {"all angles": 6}),
    }


def test_wflw(tmp_path, faces, run):
    folders.write_wflw(tmp_path, faces)
    lists = tmp_path / "WFLW_annotations/list_98pt_rect_attr_train_test"
    lines = (lists / "list_98pt_rect_attr_test.txt").read_text().splitlines()
    lines[0] = lines[0].split(maxsplit=3)[-1]
    lines[1] = "nan " + lines[1].split(maxsplit=1)[1]
    lines[2] = lines[2].replace(" 0 0 1 0 0 0 ", " 0 0 2 0 0 0 ")
    (lists / "list_98pt_rect_attr_test.txt").write_text("\n".join(lines) + "\n")
    (lists / "list_98pt_rect_attr_train.txt").unlink()
    code, found = broken_of(run, tmp_path)
    assert code == 1 and found["usable"] == 2
    reasons = [why for _, why in found["broken"]]
    assert "list_98pt_rect_attr_train.txt must be a text file. Received: no such file" in reasons[0]
    assert "list_98pt_rect_attr_test.txt, line 1: a line must have 207 fields. Received: 204" in reasons[1]
    assert "line 2: points must be finite. Received: [nan" in reasons[2]
    assert "line 3: the six attributes must be 0 or 1. Received: 0 0 2 0 0 0" in reasons[3]
    # Two lines without readable attributes may belong to any subset.
    code, found = broken_of(run, tmp_path, "--split", "occlusion")
    assert code == 1 and [(where.rsplit(", ", 1)[1], found["usable"]) for where, _ in found["broken"]] == [
        ("line 1", 1),
        ("line 3", 1),
    ]


@pytest.mark.parametrize("write", [folders.write_300w, folders.write_wflw, folders.write_celeba])
def test_lists_with_a_byte_order_mark_are_read(write, tmp_path, faces, run):
    write(tmp_path, faces)
    for path in (p for p in tmp_path.rglob("*") if p.suffix in (".txt", ".pts")):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    code, found = broken_of(run, tmp_path, "--quick")
    assert code == 0 and found["usable"] == len(faces), found["broken"]


def test_celeba(tmp_path, faces, run):
    folders.write_celeba(tmp_path, faces)
    points, partition = tmp_path / "Anno/list_landmarks_celeba.txt", tmp_path / "Eval/list_eval_partition.txt"
    boxes, whole = tmp_path / "Anno/list_bbox_celeba.txt", points.read_text()
    partition.write_text("\n".join(partition.read_text().splitlines()[:-1]) + "\n000006.jpg 7\n")
    boxes.write_text(boxes.read_text().replace("000005.jpg", "000099.jpg"))
    points.write_text(whole.replace("000001.jpg ", "000001.jpg 3 "))
    _, found = broken_of(run, tmp_path)
    reasons = [why.split(": ", 1)[1] for _, why in found["broken"]]
    assert reasons[0] == "a line must have 10 coordinates. Received: 11"
    assert reasons[1] == "list_bbox_celeba.txt must have a line for 000005.jpg. Received: none"
    assert "must put 000006.jpg into 0, 1 or 2" in reasons[2]
    points.write_text("\n".join(whole.splitlines()[:-1]) + "\n")
    assert "must have as many lines as it says, 6. Received: 5" in broken_of(run, tmp_path)[1]["broken"][0][1]
    points.unlink()
    assert "list_landmarks_celeba.txt must be a text file" in broken_of(run, tmp_path)[1]["broken"][0][1]
    points.write_text(whole)
    partition.unlink()
    code, found = broken_of(run, tmp_path)
    assert code == 1 and "list_eval_partition.txt must be a text file" in found["broken"][0][1]


def test_quick_decodes_nothing(tmp_path, faces, run, monkeypatch):
    folders.write_300w(tmp_path, faces)
    path = tmp_path / "helen/testset/image_003.jpg"
    cut(path)

    def decode(path, oriented=True):
        raise AssertionError("decoded")

    monkeypatch.setattr("edgeface.datasets.official.layout.read_whole", decode)
    code, found = broken_of(run, tmp_path, "--quick")
    assert code == 1 and len(found["broken"]) == 1
    assert f"{path} must be a whole image file" in found["broken"][0][1]


def test_the_packs_and_the_rendered_faces(make_pack, run):
    root = make_pack([record(), record(file="b.png")])
    code, found = broken_of(run, root)
    assert code == 1 and (found["name"], found["faces"], found["usable"]) == ("aflw", 2, 1)
    assert found["without_image"][0].endswith("b.png") and found["not_annotated"] is None
    assert broken_of(run, "aflw", "--dir", root)[1]["faces"] == 2
    # Every broken record is named, and the near-duplicates that no reader gives are counted.
    records = [record(), record(pose=[1]), record(landmarks={"mtfl5": [None] * 5}), record(exclude=True)]
    (root / "aflw" / "annotations.json").write_text(json.dumps(records))
    for arguments in ([root], ["aflw", "--dir", root]):
        code, found = broken_of(run, *arguments)
        assert code == 1 and (found["faces"], found["usable"], found["excluded"]) == (3, 1, 1)
        (pose, why), (points, lacks) = found["broken"]
        assert pose.endswith("record 1") and "pose must be" in why
        assert points.endswith("record 2") and "an eye and a mouth corner" in lacks
    (root / "aflw" / "annotations.json").write_text("[{")
    code, found = broken_of(run, root)
    assert code == 1 and "must be a JSON file" in found["broken"][0][1]
    code, out, err = run("aflw", "--dir", root)
    assert code == 2 and out == "" and "must be a JSON file" in err


def test_rendered_faces(run, monkeypatch):
    monkeypatch.setattr("edgeface.datasets.load.SYNTHETIC_DEFAULT", 3)
    code, out, _ = run("synthetic", "--split", "val")
    assert code == 0 and "synthetic: 3 of 3 faces can be used" in out


def test_nothing_to_check(tmp_path, run, faces):
    code, _, err = run(tmp_path / "nowhere")
    assert code == 2 and "set must be one of 300w" in err and ", a folder. Received:" in err
    (tmp_path / "holiday.txt").write_text("")
    code, _, err = run(tmp_path)
    assert code == 2 and "must hold a dataset as its authors ship it" in err and err.endswith("Received: holiday.txt\n")
    folders.write_300w(tmp_path, faces[:2])
    code, _, err = run(tmp_path, "--split", "val")
    assert code == 2 and "split of 300w must be one of train. Received: 'val'" in err
    code, _, err = run("wflw", "--dir", tmp_path)
    assert code == 2 and "must hold wflw" in err and "nothing of that layout" in err


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_quick_takes_a_photograph_s_turn_into_account_as_the_full_check_does(tmp_path, run, order, orientation):
    exif = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IHHHIHH", 8, 1, 0x0112, 3, 1, orientation, 0)
    marker = b"Exif\0\0" + exif + bytes(4)
    image = np.random.default_rng(0).integers(0, 255, (30, 90, 3), np.uint8)
    photograph = cv2.imencode(".jpg", image)[1].tobytes()
    path = tmp_path / "mine" / "images" / "a.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(photograph[:2] + b"\xff\xe1" + struct.pack(">H", len(marker) + 2) + marker + photograph[2:])
    height, width = read_image(path).shape[:2]
    assert image_size(path, oriented=True) == (width, height) and image_size(path) == (90, 30)
    points = [[width * share, height * share] for share in (0.2, 0.4, 0.5, 0.6, 0.8)]
    faces = [{"file": "a.jpg", "split": "train", "landmarks": {"mtfl5": points}}]
    write_json(tmp_path / "mine" / "annotations.json", faces)
    assert [broken_of(run, tmp_path, *quick)[0] for quick in ([], ["--quick"])] == [0, 0]

"""Annotations as other tools write them become a set of the project's own form."""

import json

import numpy as np
import pytest

from edgeface.datasets.importers import FORMATS, import_faces
from edgeface.datasets.own import read_own
from edgeface.errors import InputError
from edgeface.images import write_image

POINTS = np.array([[10.0, 12.0], [30.0, 12.5], [20.0, 22.0], [13.0, 30.0], [27.0, 31.0]])
NAMES = ("a.png", "b.png")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        write_image(folder / name, np.full((40, 44, 3), 60 + number, np.uint8))
    return folder


def coco(folder):
    images = [{"id": 7 + i, "file_name": name} for i, name in enumerate(NAMES)]
    keypoints = [v for x, y in POINTS for v in (x, y, 2)]
    marks = [{"image_id": 7 + i, "keypoints": keypoints} for i in range(2)]
    (folder / "people.json").write_text(json.dumps({"images": images, "annotations": marks}))
    return folder / "people.json"


def cvat(folder):
    whole = ";".join(f"{x + 0.5},{y + 0.5}" for x, y in POINTS)
    single = "".join(f'<points label="{i + 1}" points="{x + 0.5},{y + 0.5}"/>' for i, (x, y) in enumerate(POINTS))
    (folder / "annotations.xml").write_text(
        f'<annotations><image name="a.png"><points label="face" points="{whole}"/></image>'
        f'<image name="b.png"><skeleton label="face">{single}</skeleton></image></annotations>'
    )
    return folder / "annotations.xml"


def labelme(folder):
    whole = [{"label": "face", "shape_type": "linestrip", "points": (POINTS + 0.5).tolist()}]
    single = [
        {"label": str(i), "shape_type": "point", "points": [p], "group_id": 1}
        for i, p in enumerate((POINTS + 0.5).tolist())
    ]
    for name, shapes in zip(NAMES, (whole, single), strict=True):
        text = json.dumps({"imagePath": name, "shapes": shapes, "imageData": None})
        (folder / name).with_suffix(".json").write_text(text, encoding="utf-8")
    return folder


def labelstudio(folder):
    def result(i, x, y):
        value = {"x": (x + 0.5) / 44 * 100, "y": (y + 0.5) / 40 * 100, "keypointlabels": [f"p{i}"]}
        return {"type": "keypointlabels", "original_width": 44, "original_height": 40, "value": value}

    tasks = [
        {"data": {"img": f"/data/upload/3/{name}"},
         "annotations": [{"result": [result(i, x, y) for i, (x, y) in enumerate(POINTS)]}]}
        for name in NAMES
    ]  # fmt: skip
    (folder / "export.json").write_text(json.dumps(tasks))
    return folder / "export.json"


def dlib(folder):
    parts = "".join(f'<part name="{i:02d}" x="{x}" y="{y}"/>' for i, (x, y) in enumerate(POINTS))
    images = "".join(
        f'<image file="{name}"><box top="1" left="1" width="9" height="9">{parts}</box>'
        '<box top="1" left="1" width="9" height="9" ignore="1"/></image>'
        for name in NAMES
    )
    (folder / "faces.xml").write_text(f"<dataset><images>{images}</images></dataset>")
    return folder / "faces.xml"


def pts(folder):
    rows = "\n".join(f"{x + 1} {y + 1}" for x, y in POINTS)
    for name in NAMES:
        (folder / name).with_suffix(".pts").write_text(f"\ufeffversion: 1\nn_points: 5\n{{\n{rows}\n}}\n", "utf-8")
    return folder


WRITERS = {f.__name__: f for f in (coco, cvat, labelme, labelstudio, dlib, pts)}


@pytest.mark.parametrize("format", FORMATS)
def test_points_and_images_come_through(source, tmp_path, format):
    done = import_faces(format, WRITERS[format](source), tmp_path / "mine", markup_name="mtfl5")
    assert (done.faces, done.images, done.skipped) == (2, 2, ())
    faces = read_own("mine", root=tmp_path)
    assert [face.split for face in faces] == ["train", "train"]
    for number, face in enumerate(faces):
        np.testing.assert_allclose(face.landmarks_px["mtfl5"], POINTS, atol=2e-3)  # written with three decimals
        assert (face.load() == 60 + number).all()


def test_what_cannot_be_used_is_counted_with_its_reason(source, tmp_path):
    path = coco(source)
    data = json.loads(path.read_text())
    short, gone = dict(data["annotations"][0]), dict(data["annotations"][0])
    short["keypoints"] = short["keypoints"][:9]
    gone["image_id"] = 99
    data["annotations"] += [short, gone]
    path.write_text(json.dumps(data))
    done = import_faces("coco", path, tmp_path / "mine", markup_name="mtfl5")
    assert done.faces == 2
    assert [s.partition(": ")[2] for s in done.skipped] == [
        "keypoints must be x, y, v of the markup's 5 points. Received: 3 points",
        "its image_id must be that of an image",
    ]


def test_a_missing_point_stays_missing_and_a_hidden_one_is_told(source, tmp_path):
    path = coco(source)
    data = json.loads(path.read_text())
    data["annotations"][0]["keypoints"][2] = 0
    data["annotations"][0]["keypoints"][5] = 1
    path.write_text(json.dumps(data))
    import_faces("coco", path, tmp_path / "mine", markup_name="mtfl5")
    face = read_own("mine", root=tmp_path)[0]
    assert np.isnan(face.landmarks_px["mtfl5"][0]).all()
    assert face.visible["mtfl5"].tolist() == [False, False, True, True, True]


def test_a_share_of_the_images_is_kept_for_testing(source, tmp_path):
    for number in range(60):
        write_image(source / f"{number}.png", np.zeros((40, 44, 3), np.uint8))
        rows = "\n".join(f"{x + 1} {y + 1}" for x, y in POINTS)
        (source / f"{number}.pts").write_text(f"{{\n{rows}\n}}\n")
    import_faces("pts", source, tmp_path / "mine", markup_name="mtfl5", test_share=0.25)
    splits = [face.split for face in read_own("mine", root=tmp_path)]
    assert 5 <= splits.count("test") <= 27  # a binomial of 60 and a quarter lies outside with odds below 1e-4
    assert set(splits) == {"train", "test"}


def test_nothing_is_replaced(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept").write_text("x")
    with pytest.raises(InputError, match="must be a new or an empty folder"):
        import_faces("pts", pts(source), tmp_path / "mine", markup_name="mtfl5")


@pytest.mark.parametrize(
    ("format", "text", "message"),
    [
        ("coco", "[]", "must be COCO"),
        ("labelstudio", "{}", "must be Label Studio's export"),
        ("cvat", "<a", "must be an XML file"),
        ("dlib", "<!DOCTYPE d [<!ENTITY e 'x'>]><d>&e;</d>", "must not declare entities"),
    ],
)
def test_a_file_of_something_else_is_one_line(tmp_path, format, text, message):
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        import_faces(format, path, tmp_path / "mine", markup_name="mtfl5")
    assert not (tmp_path / "mine" / "annotations.json").exists()


def test_the_command_imports_and_tells_what_it_skipped(source, tmp_path, capsys):
    from edgeface.cli import data, main

    assert set(data.FORMATS) == set(FORMATS)
    path = coco(source)
    command = ["data", "import", "coco", str(path), "--markup", "mtfl5"]
    assert main([*command, "--out", str(tmp_path / "mine")]) == 0
    assert "2 faces in 2 images" in capsys.readouterr().out
    broken = json.loads(path.read_text())
    broken["annotations"][0]["image_id"] = 99
    path.write_text(json.dumps(broken))
    assert main([*command, "--out", str(tmp_path / "rest")]) == 1
    assert "1 of 2 records skipped" in capsys.readouterr().out

"""Faces that cannot be used, and labels that are not there: counted, named and recorded, never silent."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface import cli
from edgeface.box import Box
from edgeface.datasets.cut_faces import cut_faces
from edgeface.errors import InputError
from edgeface.files import read_json
from edgeface.models.io import load_model
from edgeface.training.train import train
from edgeface.training.usable_faces import cut_usable_faces, faces_without_label, unknown_labels
from tests.training import tiny

FACES = 24


def pack(root: Path, broken: dict[int, str] | None = None, points: dict[int, dict[int, object]] | None = None) -> None:
    """A pack named mtfl as users have it: images and annotations.json. broken: {face: what its file holds instead}.

    points: {face: {point: value}} in place of the right one.
    """
    folder = root / "mtfl" / "images"
    folder.mkdir(parents=True)
    records = []
    for i, sample in enumerate(tiny.samples(FACES)):
        data = cv2.imencode(".jpg", sample.load())[1].tobytes()
        what = (broken or {}).get(i)
        if what != "missing":
            held = {"text": b"hello", "cut": data[:20], "half": data[: len(data) // 2], "empty": b""}
            (folder / f"face{i}.jpg").write_bytes(held[what] if what else data)
        marks = sample.landmarks_px["mtfl5"].tolist()
        for point, value in (points or {}).get(i, {}).items():
            marks[point] = value
        record = {"file": f"face{i}.jpg", "split": "train", "landmarks": {"mtfl5": marks}}
        records.append(record | {"pose": {"yaw": float(sample.pose_deg[0])}})
    (root / "mtfl" / "annotations.json").write_text(json.dumps(records))  # NaN as Python writes it


def run_config():
    return tiny.config(steps=4, epoch_steps=2, validation=None)


@pytest.mark.slow
def test_corrupt_images_are_left_out_counted_and_recorded(tmp_path, monkeypatch, said):
    monkeypatch.setenv("EDGEFACE_FACES", str(tmp_path / "faces"))
    pack(tmp_path / "faces", broken={3: "text", 17: "missing", 20: "half"})
    out = tmp_path / "runs" / "run"
    train(run_config(), out)
    at = said.index("source mtfl/train: 3 of 24 faces cannot be used and are left out:")
    assert said[at + 1].startswith("  face3: ") and "face3.jpg must be an image that OpenCV reads" in said[at + 1]
    assert (
        said[at + 2].startswith("  face17: ") and "face17.jpg must be an image file. Received: no such" in said[at + 2]
    )
    for facts in (read_json(out / "config.json")["sources"], load_model(out / "model.keras")[1]["training"]["sources"]):
        assert facts[0]["faces"] == 21
        assert [reason.split(":")[0] for reason in facts[0]["skipped"]] == ["face3", "face17", "face20"]
    # OpenCV reads half a JPEG, the rest of it grey.
    assert "face20.jpg must be a whole image file. Received: " in said[at + 3]
    # From the cache too: the second run of these faces says and records the same.
    before = len(said)
    train(run_config(), tmp_path / "runs" / "again")
    again = said[before:]
    assert said[at : at + 4] == again[at : at + 4]
    assert (
        read_json(tmp_path / "runs" / "again" / "config.json")["sources"] == read_json(out / "config.json")["sources"]
    )


@pytest.mark.slow
def test_a_run_that_goes_on_with_other_faces_says_so(tmp_path, monkeypatch, said):
    monkeypatch.setenv("EDGEFACE_FACES", str(tmp_path / "faces"))
    pack(tmp_path / "faces", broken={3: "text"})
    out = tmp_path / "runs" / "run"
    tiny.run_killed_at(run_config(), out, 4, monkeypatch.setattr)
    shutil.rmtree(tmp_path / "faces")
    pack(tmp_path / "faces")
    for path in (tmp_path / "runs" / "cache").iterdir():
        path.unlink()
    train(run_config(), out)
    line = next(line for line in said if "not the faces that this run began with" in line)
    assert "mtfl/train 23 then, mtfl/train 24 now" in line


@pytest.mark.slow
def test_nan_labels_are_masked_counted_and_recorded(tmp_path, monkeypatch, said):
    monkeypatch.setenv("EDGEFACE_FACES", str(tmp_path / "faces"))
    nan = [float("nan"), 12.0]
    pack(tmp_path / "faces", points={2: {0: nan, 2: None}, 5: {2: nan}})
    out = tmp_path / "runs" / "run"
    train(run_config(), out)
    line = next(line for line in said if "unknown labels" in line)
    assert (
        "3 of mtfl5 on 2 faces" in line and "48 of pose on 24 faces" in line and "every face has a usable label" in line
    )
    unknown = read_json(out / "config.json")["sources"][0]["unknown"]
    assert unknown["mtfl5"] == {"unknown": 3, "on faces": 2, "faces without any": 0}
    assert unknown["pose"] == {"unknown": 48, "on faces": 24, "faces without any": 0}
    assert np.isfinite([float(row["loss"]) for row in tiny.curve(out)]).all()


def test_a_face_with_no_label_ends_at_the_start_with_its_record(tmp_path, monkeypatch, capsys):
    """Its box comes from its points: there is nothing to cut out. `edgeface data check` lists them all beforehand."""
    monkeypatch.setenv("EDGEFACE_FACES", str(tmp_path / "faces"))
    pack(tmp_path / "faces", points={7: dict.fromkeys(range(5), [float("nan")] * 2)})
    path = tmp_path / "run.toml"
    source = '[[sources]]\nset = "mtfl"\nsplit = "train"\n'
    path.write_text(f'network = "acdc_n"\nsteps = 2\n{source}')
    assert cli.main(["train", str(path), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "annotations.json, record 7 (face7.jpg)" in error and "eye and a mouth corner" in error


def test_a_corrupt_validation_image_is_refused(tmp_path, monkeypatch):
    """A score on fewer faces is another score: nothing is left out there."""
    monkeypatch.setenv("EDGEFACE_FACES", str(tmp_path / "faces"))
    pack(tmp_path / "faces", broken={2: "empty"})
    with pytest.raises(InputError, match=r"face2\.jpg must be an image file. Received: an empty file"):
        train(tiny.config(steps=4), tmp_path / "run")


def test_every_kind_of_unusable_face_has_its_reason():
    faces = tiny.samples(60)
    faces[1] = replace(faces[1], box=Box(10, 10, 10, 10))
    faces[2] = replace(faces[2], pose_deg=np.array([np.inf, 0, 0], np.float32))
    none = {"landmarks_px": {"mtfl5": np.full((5, 2), np.nan, np.float32)}, "pose_deg": np.full(3, np.nan, np.float32)}
    faces[3] = replace(faces[3], **none)
    faces[4] = replace(faces[4], load=lambda: np.zeros((64, 64), np.uint8))
    packed, skipped = cut_usable_faces(faces, 48, 1.6)
    assert len(packed) == 56 and [reason.split(":")[0] for reason in skipped] == ["tiny1", "tiny2", "tiny3", "tiny4"]
    for reason, part in zip(skipped, ("positive side", "must be finite or NaN", "must be known", "uint8"), strict=True):
        assert part in reason
    # Those that are left are packed as without the others.
    assert packed.fingerprint() == cut_faces([faces[0], *faces[5:]], 48, 1.6).fingerprint()


def test_too_many_unusable_faces_are_refused():
    def fail():
        raise InputError("x.jpg must be an image. Received: nothing")

    faces = tiny.samples(30)
    few = [replace(f, load=fail) if i < 3 else f for i, f in enumerate(faces)]
    assert len(cut_usable_faces(few, 48, 1.6)[1]) == 3
    many = [replace(f, load=fail) if i < 4 else f for i, f in enumerate(faces)]
    with pytest.raises(
        InputError, match="at most 10% of a set's faces may be unusable. Received: 4 of 30: tiny0: x.jpg"
    ):
        cut_usable_faces(many, 48, 1.6)
    with pytest.raises(InputError, match="Received: 1 of 1"):
        cut_usable_faces([replace(faces[0], load=fail)], 48, 1.6)


def test_counts_of_unknown_labels():
    packed = cut_faces(tiny.samples(6), 48)
    packed.landmarks["mtfl5"][0] = np.nan
    packed.landmarks["mtfl5"][1, 3, 0] = np.nan
    packed.pose_deg[0] = np.nan
    counts = unknown_labels(packed, ["mtfl5", "ibug68"])
    assert counts["mtfl5"] == {"unknown": 6, "on faces": 2, "faces without any": 1}
    assert counts["pose"] == {"unknown": 3 + 1, "on faces": 2, "faces without any": 1}  # the fourth face has no roll
    assert faces_without_label(packed, ["mtfl5"]) == 1
    assert faces_without_label(packed, ["ibug68"], pose=False) == 6
    assert "pose" not in unknown_labels(packed, ["mtfl5"], pose=False)

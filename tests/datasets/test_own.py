"""Faces of one's own, under any name: read, checked, packed for training, scored, and chosen from for calibration."""

import json

import pytest

from edgeface import cli
from edgeface.convert.calibration_set import refuse_evaluation
from edgeface.convert.parity_sets import chosen_sets
from edgeface.datasets.load import evaluation_split, is_own, load_set
from edgeface.datasets.own import read_own
from edgeface.errors import InputError
from edgeface.evaluation.evaluate import protocol_for
from edgeface.training.config import SourceConfig
from edgeface.training.source_faces import faces_of_source
from tests.datasets.conftest import record


@pytest.fixture
def mine(make_pack):
    """The folder that holds the set ``mine``: one face to train on, one to score."""
    return make_pack([record(), record(split="test")], "mine")


def test_any_name_is_a_set_where_it_has_annotations(mine, monkeypatch):
    assert [s.split for s in load_set("mine", None, root=mine)] == ["train", "test"]
    (face,) = load_set("mine", evaluation_split("mine"), root=mine)
    assert face.dataset == "mine" and face.load().shape == (40, 40, 3)
    assert not is_own("mine")
    monkeypatch.setenv("EDGEFACE_FACES", str(mine))
    assert is_own("mine") and len(load_set("mine", None)) == 2
    assert chosen_sets("mine,synthetic") == ("mine", "synthetic")
    refuse_evaluation("mine", "train")
    with pytest.raises(InputError, match="calibration set must come from a training split"):
        refuse_evaluation("mine", "test")


@pytest.mark.parametrize("name", ["yours", "../mine", "mine/images", ""])
def test_other_names_are_no_sets(mine, name):
    assert not is_own(name, mine)
    with pytest.raises(InputError, match="set must be one of"):
        load_set(name, None, root=mine)
    with pytest.raises(InputError, match="must be a folder with annotations.json"):
        read_own(name, root=mine)


def test_every_face_has_an_id_of_its_own(make_pack):
    """Calibration manifests, pictures of the worst faces and turned views tell faces by it."""
    files = ["anna/1.png", "ben/1.png", "ben/1.png", "1.png"]
    root = make_pack([record(file=f, split="test" if i else "train") for i, f in enumerate(files)], "mine")
    assert [s.id for s in load_set("mine", None, root=root)] == ["anna_1", "ben_1", "ben_1#2", "1"]
    assert [s.id for s in load_set("mine", "test", root=root)] == ["ben_1", "ben_1#2", "1"]


def test_a_known_name_stays_what_it_is(make_pack):
    assert not is_own("aflw", make_pack([record()], "aflw"))


def test_a_wrong_split_and_a_broken_record_are_named(mine):
    with pytest.raises(InputError, match="split of mine must be one of test, train. Received: 'val'"):
        load_set("mine", "val", root=mine)
    (mine / "mine" / "annotations.json").write_text(json.dumps([record(landmarks={"mine9": [[1, 2]]})]))
    with pytest.raises(InputError, match="record 0 .*markup must be one of"):
        load_set("mine", None, root=mine)


def test_they_are_packed_anew_when_their_annotations_change(mine, tmp_path):
    source = SourceConfig("mine", "train", dir=str(mine))
    first = faces_of_source(source, 64, 1.6, tmp_path / "cache")
    assert len(first) == 1
    (mine / "mine" / "annotations.json").write_text(json.dumps([record(), record(), record(split="test")]))
    assert len(faces_of_source(source, 64, 1.6, tmp_path / "cache")) == 2


def test_they_are_scored_by_their_box(mine):
    protocol, predicted = protocol_for("mine", load_set("mine", None, root=mine), ("ibug68",))
    assert (protocol.name, protocol.normalizer, predicted) == ("mine", "box", "ibug68")


def test_data_check_finds_them_by_folder_and_by_name(mine, monkeypatch, capsys):
    for argv in ([str(mine)], [str(mine / "mine")], ["mine", "--dir", str(mine)]):
        assert cli.main(["data", "check", *argv, "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)["sets"]
        assert found["name"] == "mine" and found["usable"] == 2
    monkeypatch.chdir(mine / "mine")
    assert cli.main(["data", "check", "."]) == 0
    (mine / "mine" / "images" / "a.png").write_bytes(b"no image")
    assert cli.main(["data", "check", str(mine)]) == 1

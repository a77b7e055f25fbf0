"""A dataset as its authors ship it, as a source of training and as a set to be scored."""

import pytest

from edgeface.errors import InputError
from edgeface.schema import as_dict, from_dict
from edgeface.training.config import SourceConfig, TrainConfig
from edgeface.training.config_file import load_config
from edgeface.training.source_faces import faces_of_source
from tests.datasets import official_folders as folders

FACES = 4


@pytest.fixture(scope="module")
def faces():
    return folders.rendered(FACES)


def test_a_source_names_its_folder(tmp_path, faces):
    folders.write_wflw(tmp_path / "WFLW", faces)
    source = SourceConfig("wflw", "test", dir=str(tmp_path))
    packed = faces_of_source(source, 64, 1.6, tmp_path / "cache")
    assert len(packed) == FACES - 1 and set(packed.landmarks) == {"wflw98"}


def test_packed_faces_are_made_again_when_the_annotations_change(tmp_path, faces):
    cache = tmp_path / "cache"
    source = SourceConfig("300w", "train", dir=str(tmp_path / "300W"))
    folders.write_300w(tmp_path / "300W", faces[:1])
    assert len(faces_of_source(source, 64, 1.6, cache)) == 1
    assert len(list(cache.glob("*.npz"))) == 1
    faces_of_source(source, 64, 1.6, cache)
    assert len(list(cache.glob("*.npz"))) == 1
    folders.write_300w(tmp_path / "300W", faces[:3])
    assert len(faces_of_source(source, 64, 1.6, cache)) == 3


def test_two_folders_are_two_sources(tmp_path, faces):
    for name, count in (("a", 1), ("b", 2)):
        folders.write_aflw2000_3d(tmp_path / name, faces[:count])
        source = SourceConfig("aflw2000_3d", "test", dir=str(tmp_path / name))
        assert len(faces_of_source(source, 64, 1.6, tmp_path / "cache")) == count


def test_the_environment_names_it_too(tmp_path, faces, monkeypatch):
    folders.write_celeba(tmp_path / "CelebA", faces)
    monkeypatch.setenv("EDGEFACE_DATA", str(tmp_path))
    assert len(faces_of_source(SourceConfig("celeba", "train"), 64, 1.6, tmp_path / "cache")) == 2


def test_a_config_file_names_it(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('network = "acdc_n"\n[[sources]]\nset = "wflw"\nsplit = "train"\ndir = "/data/WFLW"\n')
    config = load_config(path)
    assert config.sources[0].dir == "/data/WFLW"
    assert from_dict(TrainConfig, as_dict(config), "again") == config
    # A run that was begun before sources had folders goes on: without one its config reads as it did.
    assert "dir" not in as_dict(TrainConfig("acdc_n", (SourceConfig("300w"),)))["sources"][0]


def test_a_folder_without_the_set(tmp_path):
    with pytest.raises(InputError, match="must hold wflw .* once. Received: nothing of that layout"):
        faces_of_source(SourceConfig("wflw", "train", dir=str(tmp_path)), 64, 1.6, tmp_path / "cache")

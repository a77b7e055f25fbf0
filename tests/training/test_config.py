"""A config is refused with the key and what it may be, or it is exactly what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeface.datasets.load import SETS
from edgeface.errors import InputError
from edgeface.models.presets import build
from edgeface.schema import as_dict, from_dict, non_default_fields
from edgeface.training.config import SourceConfig, TrainConfig, recorded_config, with_old_keys
from edgeface.training.config_file import load_config
from edgeface.training.losses import loss_for
from edgeface.training.source_faces import seen_by_validation
from edgeface.training.train import network_config_of

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
PLAIN = 'network = "acdc_n"\n[[sources]]\nset = "synthetic"\nlimit = 10\n'


@pytest.fixture
def plain(tmp_path) -> Path:
    path = tmp_path / "plain.toml"
    path.write_text(PLAIN)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_of_the_project_holds(path):
    config = load_config(path)
    assert config.name == path.stem
    assert {s.set for s in config.sources} <= set(SETS)
    loss_for(build(network_config_of(config)), config.loss)


def test_there_are_configs():
    assert {"acdc_n_demo", "ccr_n_demo", "acdc_s_300w", "ccr_s_aflw"} <= {p.stem for p in CONFIGS}


def test_defaults_and_overrides(plain):
    config = load_config(plain, ["steps=7", "augment.mirror=0", "sources.0.limit=3", "schedule=cosine", "loss.pose=2"])
    assert (config.steps, config.augment.mirror, config.schedule, config.loss) == (7, 0.0, "cosine", {"pose": 2})
    assert config.sources == (SourceConfig("synthetic", limit=3),)
    assert config.name == "plain"


def test_a_validation_that_would_be_taken_for_another_is_refused(plain):
    """Its faces are scored as they are: what would be left out of account is refused."""
    for more in ("profile_views = 2", "fit_3d = true", "weight = 2.0", 'markups = ["ibug68", "mtfl5"]'):
        with pytest.raises(InputError, match="validation must be a set, split, limit, dir and at most one markup"):
            load_config(plain, [f'validation={{ set = "synthetic", limit = 2, {more} }}'])
    load_config(plain, ['validation={ set = "300w", dir = "faces", split = "test", markups = ["ibug68"] }'])


@pytest.mark.parametrize(
    ("source", "validation", "seen"),
    [
        ({"set": "300w", "split": "train"}, {"set": "300w", "split": "test"}, False),
        ({"set": "300w"}, {"set": "300w", "split": "test"}, True),
        ({"set": "300w", "split": "test", "profile_views": 2}, {"set": "300w", "split": "test"}, True),
        ({"set": "mtfl", "split": "train"}, {"set": "mtfl"}, True),
        ({"set": "300w", "split": "train"}, {"set": "300w", "split": "train_held_out"}, True),
        ({"set": "300w", "split": "train_fit"}, {"set": "300w", "split": "train_held_out"}, False),
        ({"set": "synthetic"}, {"set": "synthetic", "split": "val"}, False),
        ({"set": "synthetic"}, {"set": "synthetic", "split": "train"}, True),
        ({"set": "300w_lp"}, {"set": "300w", "split": "test"}, True),
        ({"set": "aflw_full", "split": "train"}, {"set": "aflw2000_3d", "split": "val"}, True),
        ({"set": "aflw", "split": "train"}, {"set": "aflw2000_3d", "split": "val"}, False),
    ],
)
def test_a_validation_with_faces_of_the_training_is_told(source, validation, seen, monkeypatch):
    monkeypatch.delenv("EDGEFACE_DATA", raising=False)  # aflw is the pack
    data = {"network": "acdc_n", "sources": [source], "validation": validation}
    lines = seen_by_validation(from_dict(TrainConfig, data, "test"))
    assert [("has faces of sources.0" in line) for line in lines] == [True] * seen


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_no_config_of_the_project_trains_on_its_validation(path):
    assert seen_by_validation(load_config(path)) == []


def test_a_config_extends_another(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "b.toml").write_text(PLAIN + "[augment]\nmirror = 0.25\nshift = 0.01\n[loss]\npose = 2\n")
    path = tmp_path / "own.toml"
    path.write_text('extends = "base/b.toml"\nsteps = 7\n[augment]\nshift = 0.02\n[[sources]]\nset = "mtfl"\n')
    config = load_config(path, ["augment.scale=0.5"])
    assert (config.name, config.network, config.steps, config.loss) == ("own", "acdc_n", 7, {"pose": 2})
    assert config.sources == (SourceConfig("mtfl"),)  # a list is replaced
    augment = config.augment
    assert (augment.mirror, augment.shift, augment.scale) == (0.25, 0.02, 0.5)  # a table is merged
    for extends, message in (
        ("none.toml", "none.toml must be a TOML file. Received: no such file"),
        ("own.toml", "extends must name a file that extends none itself. Received: 'own.toml'"),
    ):
        (tmp_path / "bad.toml").write_text(f'extends = "{extends}"\n')
        with pytest.raises(InputError, match=message):
            load_config(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_text("extends = 3\n")
    with pytest.raises(InputError, match="extends must be a file's name. Received: 3"):
        load_config(tmp_path / "bad.toml")


OLD = """
network = "acdc_n"
pack_size = 100
[augment]
colour = 0.2
[[sources]]
set = "300w"
turned = 3
turned_yaw = [0, 40]
turned_nod = 20
evenness = 0.5
"""


def test_former_names_of_keys_are_read_with_one_warning(tmp_path, caplog):
    path = tmp_path / "old.toml"
    path.write_text(OLD)
    config = load_config(path, ["sources.0.evenness=1"])
    assert config.sources == (
        SourceConfig("300w", profile_views=3, view_yaw=(0.0, 40.0), view_pitch_std=20.0, pose_balance=1.0),
    )
    assert (config.cut_size, config.augment.color) == (100, 0.2)
    (warning,) = caplog.records
    assert "pack_size is now cut_size" in warning.message and "evenness is now pose_balance" in warning.message
    caplog.clear()
    recorded = with_old_keys(as_dict(config))
    assert recorded["sources"][0]["turned"] == 3 and "colour" in recorded["augment"]
    assert recorded_config(json.loads(json.dumps(recorded)), "model.keras") == config
    assert not caplog.records  # nobody can edit what a file recorded
    with pytest.raises(InputError, match="color must be given once. Received: colour, its former name, as well"):
        load_config(path, ["augment.color=0.1"])


def test_round_trip_through_json(plain):
    config = load_config(plain, ['validation={ set = "synthetic", limit = 2 }', "model={ stages = 1 }"])
    assert from_dict(TrainConfig, json.loads(json.dumps(as_dict(config))), "json") == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=7", "key must be one of network, sources, .*Received: 'stepz'"),
        ("augment.mirrow=1", r"augment: key must be one of .*mirror.*Received: 'mirrow'. Did you mean 'mirror'"),
        ("sources.0.sett=1", "sources.0: key must be one of set, .*Received: 'sett'"),
        ("sources.4.limit=1", "index below 1.*sources.4"),
        ("steps=seven", "steps must be int. Received: 'seven'"),
        ("steps=true", "steps must be int. Received: True"),
        ("sources.0.yaw_scale=1.1", "yaw_scale must be 1 without fit_3d or profile_views. Received: 1.1"),
        ("sources.0.fitted_yaw=0.5", "fitted_yaw must be 0 without fit_3d. Received: 0.5"),
        ("sources.0.fitted_yaw=1.5", "fitted_yaw must be between 0 and 1. Received: 1.5"),
        ("steps=0", "steps must be > 0. Received: 0"),
        ("ema=1", r"ema must be in \[0, 1\). Received: 1"),
        ("schedule=linear", "schedule must be one of polynomial, cosine, constant. Received: 'linear'"),
        ("augment.mirror=2", "augment: mirror must be in"),
        ("sources=[]", "sources must be at least one set"),
        ("warmup=1000", "warmup must be below steps"),
        ("cut_scale=1.2", "cut_scale must be >= augment.crop_scale"),
        ("steps", "--override must be key=value. Received: 'steps'"),
        ("steps.x=1", "steps must be int"),
        ("network.x=1", "must name a key"),
    ],
)
def test_what_is_refused(plain, override, message):
    with pytest.raises(InputError, match=message):
        load_config(plain, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network = ", "must be a TOML file"),
        ('network = "acdc_n"\n', "must have sources"),
        ("", "must have network, sources. Received: name"),
    ],
)
def test_files_that_are_not_configs(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_config(tmp_path / "none.toml")


def test_networks(plain):
    assert network_config_of(load_config(plain, ["model.stages=1"])).stages == 1
    with pytest.raises(InputError, match="preset must be one of .*acdc_n.*Received: 'acdc_x'"):
        network_config_of(load_config(plain, ["network=acdc_x"]))
    with pytest.raises(InputError, match="model: key must be one of .*stages.*Received: 'stagez'"):
        network_config_of(load_config(plain, ["model.stagez=1"]))
    with pytest.raises(InputError, match="side must be a multiple"):
        network_config_of(load_config(plain, ["model.side=33"]))


def test_what_is_chosen_does_not_change_with_fields_that_keep_their_defaults():
    config = from_dict(TrainConfig, {"network": "acdc_n", "sources": [{"set": "300w", "weight": 2}], "seed": 3}, "x")
    assert non_default_fields(config) == {"network": "acdc_n", "sources": [{"set": "300w", "weight": 2.0}], "seed": 3}
    augmented = replace(config, augment=replace(config.augment, shift=0.5))
    assert non_default_fields(augmented)["augment"] == {"shift": 0.5}

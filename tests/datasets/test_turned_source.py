from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeface.errors import InputError
from edgeface.training import sources
from edgeface.training.config import SourceConfig, TrainConfig, from_dict
from edgeface.training.sources import load_sources, packed_source

SET = {"set": "synthetic", "split": "train", "limit": 4}


def config(**source) -> TrainConfig:
    return from_dict(TrainConfig, {"network": "acdc_n", "sources": [SET | source]}, "test")


def load(made: TrainConfig, cache):
    said: list[str] = []
    return load_sources(made, ("ibug68", "ibug68_3d"), cache, said.append), said


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_a_source_of_turned_views(cache):
    (source,), said = load(config(turned=2), cache)
    assert len(source.packed) == 8
    assert np.isfinite(source.packed.landmarks["ibug68_3d"]).all() and np.isfinite(source.packed.pose_deg).all()
    assert "ibug68" not in source.packed.landmarks
    assert any("synthetic/train turned x2: 8 faces" in line for line in said)


def test_turned_views_are_kept_apart_by_their_number_and_made_once(cache, monkeypatch):
    first = packed_source(SourceConfig(**SET, turned=1), 160, 1.6, cache)
    other = packed_source(SourceConfig(**SET, turned=2), 160, 1.6, cache)
    assert (len(first), len(other)) == (4, 8)
    monkeypatch.setattr(sources, "turned_faces", lambda *_: pytest.fail("made again"))
    again = packed_source(SourceConfig(**SET, turned=1), 160, 1.6, cache)
    assert again.fingerprint() == first.fingerprint()
    # The same set without turning is another file, with the faces themselves.
    assert "ibug68" in packed_source(SourceConfig(**SET), 160, 1.6, cache).landmarks


def test_turned_views_are_made_again_where_the_code_changed(cache, monkeypatch):
    size = (160, 1.6)
    key = sources._key(SourceConfig(**SET, turned=1), *size)
    assert key == sources._key(SourceConfig(**SET, turned=1), *size)
    assert key != sources._key(SourceConfig(**SET, turned=2), *size)
    monkeypatch.setattr(sources, "TURN_SEED", 1)
    assert key != sources._key(SourceConfig(**SET, turned=1), *size)


def test_3d_labels_of_a_source(cache, monkeypatch):
    rendered = packed_source(SourceConfig(**SET), 160, 1.6, cache)
    flat = replace(
        rendered,
        landmarks={"ibug68": rendered.landmarks["ibug68"]},
        visible={"ibug68": rendered.visible["ibug68"]},
        pose_deg=np.full((len(rendered), 3), np.nan, np.float32),
    )
    monkeypatch.setattr(sources, "packed_and_skipped", lambda *_: (flat, ()))
    (plain,), _ = load(config(), cache)
    (source,), _ = load(config(fit_3d=True), cache)
    assert set(plain.packed.landmarks) == {"ibug68"}
    assert np.isfinite(source.packed.landmarks["ibug68_3d"]).all() and np.isfinite(source.packed.pose_deg).all()
    np.testing.assert_array_equal(source.packed.landmarks["ibug68"], flat.landmarks["ibug68"])


@pytest.mark.parametrize("wrong", [{"turned": -1}, {"turned": 1.5}, {"turned": 2, "fit_3d": True}])
def test_wrong_requests(wrong):
    with pytest.raises(InputError, match="turned"):
        config(**wrong)

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeface.box import face_box
from edgeface.crop import square_crop
from edgeface.datasets.cut_faces import cut_faces
from edgeface.datasets.imagefile import read_whole
from edgeface.datasets.official import read_official
from edgeface.datasets.packs import read_pack, sample_of
from edgeface.datasets.posefit import fit_pose
from edgeface.datasets.profile_views import turned_faces
from edgeface.datasets.profile_views.fit import fit_heads
from edgeface.datasets.synthetic import render_face
from edgeface.errors import InputError
from edgeface.head_pose import to_matrix
from edgeface.images import read_image
from edgeface.schema import from_dict
from edgeface.training import source_faces as sources
from edgeface.training.config import SourceConfig, TrainConfig
from edgeface.training.source_faces import faces_of_source, load_sources
from edgeface.training.usable_faces import cut_usable_faces
from tests.training import tiny

SET = {"set": "synthetic", "split": "train", "limit": 4}


def config(**source) -> TrainConfig:
    return from_dict(TrainConfig, {"network": "acdc_n", "sources": [SET | source]}, "test")


def load(made: TrainConfig, cache):
    """The sources and what was logged of them."""
    with tiny.logged() as said:
        return load_sources(made, ("ibug68", "ibug68_3d"), cache), said


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_a_source_of_turned_views(cache):
    (source,), said = load(config(profile_views=2), cache)
    assert len(source.faces) == 8
    assert np.isfinite(source.faces.landmarks["ibug68_3d"]).all() and np.isfinite(source.faces.pose_deg).all()
    assert "ibug68" not in source.faces.landmarks
    assert any("synthetic/train turned x2: 8 faces" in line for line in said)


def test_a_source_of_nodded_views_has_a_cache_of_its_own(cache):
    (aside,), _ = load(config(profile_views=2), cache)
    (nodded,), _ = load(config(profile_views=2, view_yaw=[0, 30], view_pitch_std=20), cache)
    assert np.ptp(nodded.faces.pose_deg[:, 1]) > np.ptp(aside.faces.pose_deg[:, 1])
    (again,), _ = load(config(profile_views=2), cache)
    assert again.faces.fingerprint() == aside.faces.fingerprint() != nodded.faces.fingerprint()


@pytest.mark.parametrize(
    ("fields", "must"),
    [
        ({"view_pitch_std": 20.0}, "profile_views must be set where view_yaw or view_pitch_std is. Received: 0"),
        ({"profile_views": 2, "view_pitch_std": 30.0}, "view_pitch_std must be in 0 to 25. Received: 30"),
        ({"profile_views": 2, "view_yaw": [40, 20]}, "view_yaw must be two rising angles in 0 to 90. Received"),
    ],
)
def test_a_view_that_cannot_be_is_refused_before_any_work(fields, must):
    with pytest.raises(InputError, match=must):
        config(**fields)


def test_an_even_source_draws_rare_poses_more_often(cache, monkeypatch):
    poses = np.float32([[0, 0, 0], [0, 0, 0], [60, 0, 0], [0, 0, 0]])
    known = replace(faces_of_source(SourceConfig(**SET), 160, 1.6, cache), pose_deg=poses)
    monkeypatch.setattr(sources, "faces_and_skipped", lambda *_: (known, ()))
    (even,), said = load(config(pose_balance=1.0), cache)
    np.testing.assert_array_equal(even.faces.ids, known.ids[[0, 1, 2, 2, 2, 3]])
    assert any("4 faces, 6 with copies of rare poses, weight" in line for line in said)
    (plain,), _ = load(config(), cache)
    assert plain.faces is known


def test_the_yaw_of_a_source_is_scaled_and_nothing_else(cache, tmp_path):
    (plain,), _ = load(config(profile_views=2), cache)
    (scaled,), _ = load(config(profile_views=2, yaw_scale=1.1), tmp_path)  # where nothing is packed yet
    np.testing.assert_allclose(scaled.faces.pose_deg, plain.faces.pose_deg * [1.1, 1, 1], rtol=1e-5)


def test_a_laid_heads_yaw_has_its_share_of_a_known_yaw(cache):
    (own,), _ = load(config(), cache)
    (laid,), _ = load(config(pose=False, fit_3d=True), cache)
    (mixed,), _ = load(config(fit_3d=True, yaw_scale=1.1, fitted_yaw=0.25), cache)
    known, fitted = own.faces.pose_deg, laid.faces.pose_deg
    assert np.abs(known - fitted).max() > 0.1
    wanted = np.c_[0.75 * known[:, 0] + 0.25 * 1.1 * fitted[:, 0], known[:, 1:]]
    np.testing.assert_allclose(mixed.faces.pose_deg, wanted, rtol=1e-5, atol=1e-4)


def test_a_laid_heads_yaw_stands_where_none_is_known_and_a_known_one_where_no_head_can_be_laid(cache, monkeypatch):
    nan = np.float32(np.nan)
    monkeypatch.setattr(
        sources,
        "fit_3d_labels",
        lambda packed: replace(packed, pose_deg=np.float32([[10, 1, 2], [nan, nan, nan], [20, 3, 4], [nan, nan, nan]])),
    )
    known = np.float32([[nan, 5, nan], [30, nan, nan], [40, 6, 7], [nan, nan, nan]])
    packed = replace(faces_of_source(SourceConfig(**SET), 160, 1.6, cache), pose_deg=known)
    pose = sources._with_fitted_heads(packed, 2.0, 0.5).pose_deg
    np.testing.assert_allclose(pose, [[20, 5, 2], [30, nan, nan], [40, 6, 7], [nan, nan, nan]])


def test_turned_views_are_kept_apart_by_their_number_and_made_once(cache, monkeypatch):
    first = faces_of_source(SourceConfig(**SET, profile_views=1), 160, 1.6, cache)
    other = faces_of_source(SourceConfig(**SET, profile_views=2), 160, 1.6, cache)
    assert (len(first), len(other)) == (4, 8)
    monkeypatch.setattr(sources, "turned_faces", lambda *_: pytest.fail("made again"))
    again = faces_of_source(SourceConfig(**SET, profile_views=1), 160, 1.6, cache)
    assert again.fingerprint() == first.fingerprint()
    # The same set without turning is another file, with the faces themselves.
    assert "ibug68" in faces_of_source(SourceConfig(**SET), 160, 1.6, cache).landmarks


def test_turned_views_are_made_again_where_the_code_changed(cache, monkeypatch):
    size = (160, 1.6)
    key = sources._key(SourceConfig(**SET, profile_views=1), *size)
    assert key == sources._key(SourceConfig(**SET, profile_views=1), *size)
    assert key != sources._key(SourceConfig(**SET, profile_views=2), *size)
    monkeypatch.setattr(sources, "TURN_SEED", 1)
    assert key != sources._key(SourceConfig(**SET, profile_views=1), *size)


def test_the_code_that_decides_is_in_the_key():
    """A module that has moved once dropped out of the key in silence, and old boxes came out of the cache."""
    reads = {face_box, square_crop, read_pack, sample_of, read_image, read_whole, cut_usable_faces, cut_faces}
    turns = {face_box, fit_heads, fit_pose, turned_faces, render_face, to_matrix, cut_faces}
    for source, functions in ((SourceConfig("300w"), reads), (SourceConfig("300w", profile_views=2), reads | turns)):
        code = sources._code(source)
        assert all(path.is_file() for path in code) and len(set(code)) == len(code)
        assert {Path(inspect.getsourcefile(f)).resolve() for f in functions} <= set(code)
    assert Path(inspect.getsourcefile(render_face)).resolve() in sources._code(SourceConfig("synthetic"))
    official = sources._code(SourceConfig("wflw"))
    assert Path(inspect.getsourcefile(read_official)).resolve() in official


def flat_faces(cache, yaw: float = np.nan):
    """Rendered faces as a set of photographs labels them: 68 points, and a yaw that is not the head's."""
    rendered = faces_of_source(SourceConfig(**SET), 160, 1.6, cache)
    pose = np.full((len(rendered), 3), np.nan, np.float32)
    pose[:, 0] = yaw
    landmarks, visible = ({"ibug68": part["ibug68"]} for part in (rendered.landmarks, rendered.visible))
    return replace(rendered, landmarks=landmarks, visible=visible, pose_deg=pose)


def test_3d_labels_of_a_source(cache, monkeypatch):
    flat = flat_faces(cache)
    monkeypatch.setattr(sources, "faces_and_skipped", lambda *_: (flat, ()))
    (plain,), _ = load(config(), cache)
    (source,), _ = load(config(fit_3d=True), cache)
    assert set(plain.faces.landmarks) == {"ibug68"}
    assert np.isfinite(source.faces.landmarks["ibug68_3d"]).all() and np.isfinite(source.faces.pose_deg).all()
    np.testing.assert_array_equal(source.faces.landmarks["ibug68"], flat.landmarks["ibug68"])


@pytest.mark.parametrize("fit", ["fit_3d", "fit_pose"])
def test_a_fit_keeps_the_angles_that_a_set_labels_unless_they_are_left_out(cache, monkeypatch, fit):
    flat = flat_faces(cache, yaw=77.0)
    monkeypatch.setattr(sources, "faces_and_skipped", lambda *_: (flat, ()))
    (kept,), _ = load(config(**{fit: True}), cache)
    (fitted,), _ = load(config(**{fit: True}, pose=False), cache)
    (without,), _ = load(config(pose=False), cache)
    assert (kept.faces.pose_deg[:, 0] == 77).all() and np.isfinite(kept.faces.pose_deg).all()
    assert np.isfinite(fitted.faces.pose_deg).all() and (fitted.faces.pose_deg[:, 0] != 77).all()
    assert kept.pose and fitted.pose and not without.pose


@pytest.mark.parametrize("wrong", [{"profile_views": -1}, {"profile_views": 1.5}, {"profile_views": 2, "fit_3d": True}])
def test_wrong_requests(wrong):
    with pytest.raises(InputError, match="profile_views"):
        config(**wrong)

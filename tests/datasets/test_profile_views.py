from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from edgeface.datasets.cut_faces import CutFaces, cut_faces
from edgeface.datasets.profile_views import fit, fit_3d_labels, model, turned_faces
from edgeface.datasets.profile_views.fit import fit_heads
from edgeface.datasets.sample import FaceSample
from edgeface.datasets.synthetic import render_params, sample_params
from edgeface.datasets.synthetic.params import FaceParams, Look
from edgeface.errors import InputError
from edgeface.head_pose import geodesic_deg, mirror, to_matrix
from edgeface.markup import IBUG68

POSES = ((0.0, 0.0, 0.0), (14.0, 8.0, -6.0), (-25.0, -10.0, 12.0), (32.0, 5.0, 4.0))
VIEWS = 3
INNER = slice(17, 68)


def rendered(pose: tuple[float, float, float], seed: int) -> FaceParams:
    """A random head without hair or gear, from so far that perspective does not count."""
    plain = Look(hair_style="bald")
    return replace(sample_params(seed), pose_deg=pose, look=plain, occluder="none", distance_cm=2000.0)


def packed(faces: list[FaceParams]) -> CutFaces:
    samples = []
    for i, params in enumerate(faces):
        face = render_params(params, 160)
        samples.append(
            FaceSample(
                id=f"face-{i}",
                dataset="rendered",
                split="train",
                load=partial(np.asarray, face.image),
                box=face.box,
                landmarks_px=face.landmarks_px,
                visible=face.visible,
                pose_deg=face.pose_deg,
            )
        )
    return cut_faces(samples, 160, 1.6)


def only(faces: CutFaces, *names: str) -> CutFaces:
    return replace(
        faces,
        landmarks={n: faces.landmarks[n] for n in names},
        visible={n: faces.visible[n] for n in names},
        pose_deg=np.full((len(faces), 3), np.nan, np.float32),
    )


@pytest.fixture(scope="module")
def params() -> list[FaceParams]:
    return [rendered(pose, 40 + i) for i, pose in enumerate(POSES)]


@pytest.fixture(scope="module")
def faces(params) -> CutFaces:
    return packed(params)


@pytest.fixture(scope="module")
def same_heads():
    """The linear head as the rendered ones are, not brought to 300W-LP's: their labels are then the truth."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JAW_BACK_CM", "CHIN_BACK_CM", "ZERO_PITCH_DEG"):
            patch.setattr(model, name, 0.0)
        patch.setattr(model, "RELIEF", 1.0)
        patch.setattr(model, "LABEL_SHIFTS_CM", ())
        patch.setattr(fit, "FRONTAL_PITCH_BIAS_DEG", 0.0)
        patch.setattr(fit, "PROFILE_PITCH_OFFSET_DEG", 0.0)
        model.head_model.cache_clear()
        yield
    model.head_model.cache_clear()


@pytest.fixture(scope="module")
def turned(faces, same_heads) -> CutFaces:
    return turned_faces(only(faces, "ibug68", "aflw21"), VIEWS, 3)


def in_box(points: np.ndarray) -> np.ndarray:
    """(..., K, 2) as shares of the tight box's longer side, from its centre."""
    low, high = points.min(-2, keepdims=True), points.max(-2, keepdims=True)
    return (points - (low + high) / 2) / (high - low).max(-1, keepdims=True)


def test_fitted_pose_is_the_heads(faces, same_heads):
    heads = fit_heads(faces.landmarks["ibug68"])
    assert heads.fitted.all()
    assert geodesic_deg(heads.pose_deg, faces.pose_deg).max() < 4.0
    exact = fit_heads(faces.landmarks["ibug68_3d"], slide=False)
    assert geodesic_deg(exact.pose_deg, faces.pose_deg).max() < 4.0


def test_where_along_the_outline_the_jaw_is_marked_hardly_nods_the_head(faces, same_heads, monkeypatch):
    points = faces.landmarks["ibug68"]
    # The ends of the contour drawn 4 % of the face's height further down, as on a head that is raised.
    lower = points.copy()
    height = np.ptp(points[..., 1], axis=1)[:, None]
    lower[:, 0:5, 1] += 0.04 * height
    lower[:, 12:17, 1] += 0.04 * height

    def nod():
        return np.abs(fit_heads(lower).pose_deg[:, 1] - fit_heads(points).pose_deg[:, 1]).mean()

    little = nod()
    monkeypatch.setattr(fit, "CONTOUR_TANGENT_WEIGHT", 1.0)
    assert little < 0.6 * nod()


def test_a_frontal_heads_raised_fit_is_taken_back_and_a_turned_ones_less(faces, same_heads, monkeypatch):
    plain = fit_heads(faces.landmarks["ibug68"])
    monkeypatch.setattr(fit, "FRONTAL_PITCH_BIAS_DEG", 5.0)
    bowed = fit_heads(faces.landmarks["ibug68"])
    away = geodesic_deg(plain.pose_deg, bowed.pose_deg)
    np.testing.assert_allclose(away, 5 * np.cos(np.deg2rad(plain.pose_deg[:, 0])) ** 2, atol=0.05)
    assert bowed.pose_deg[0, 1] < plain.pose_deg[0, 1]
    # The face stays where it is in the picture.
    centres = [h.origin[:, :2] + h.scale[:, None] * (h.rotation @ [0, -2, 8])[:, :2] for h in (plain, bowed)]
    assert np.abs(centres[0] - centres[1]).max() < 4
    exact = fit_heads(faces.landmarks["ibug68_3d"], slide=False)
    monkeypatch.setattr(fit, "FRONTAL_PITCH_BIAS_DEG", 0.0)
    np.testing.assert_array_equal(exact.pose_deg, fit_heads(faces.landmarks["ibug68_3d"], slide=False).pose_deg)


def test_profiles_are_labelled_with_a_nod_about_the_heads_own_axis_and_frontal_faces_without():
    poses = np.float32([[0, 12, 5], [45, 0, 0], [-78, 10, -8], [78, 10, 8], [89.9, 3, 4], [80, 0, 0]])
    labelled = fit.as_labelled(poses, 4.0)
    assert labelled.dtype == np.float32
    np.testing.assert_allclose(labelled[0], poses[0], atol=1e-4)
    away = geodesic_deg(labelled, poses)
    np.testing.assert_allclose(away[1:4], 4 * np.sin(np.deg2rad([45, 78, 78])) ** 2, atol=0.01)
    # Transposed, for what turns the head; the change comes first, on the head: its axis is x, whatever the yaw.
    before, after = (np.swapaxes(to_matrix(p), 1, 2) for p in (poses, labelled))
    change = Rotation.from_matrix(np.swapaxes(before, 1, 2) @ after).as_rotvec()[1:]
    np.testing.assert_allclose(change / np.linalg.norm(change, axis=1, keepdims=True), [[-1, 0, 0]] * 5, atol=1e-3)
    # A nod in profile is a turn in the picture, which pitch and roll only tell together.
    np.testing.assert_allclose(labelled[5], [79.3, 21.3, 21.0], atol=0.1)
    # Mirrored faces have mirrored labels; where pitch and roll are hardly told apart they do not run away.
    np.testing.assert_allclose(labelled[2], mirror(labelled[3]), atol=1e-3)
    assert np.abs(labelled[4] - poses[4]).max() < 4 / np.cos(np.deg2rad(80)) + 1
    beyond = np.float32([[100, 5, -3], [-95, 170, 175], [85, 179, 0]])
    np.testing.assert_allclose(fit.as_labelled(beyond, 0.0), beyond, atol=1e-3)
    assert fit.as_labelled(beyond[:1], 1.0)[0, 0] > 95 and fit.as_labelled(beyond[2:], 4.0)[0, 0] < 90


def test_laid_and_turned_faces_get_that_label_and_keep_picture_and_points(faces, same_heads, monkeypatch):
    bare = only(faces, "ibug68")
    bare = replace(bare, pose_deg=np.full_like(bare.pose_deg, np.nan))
    plain = fit_3d_labels(bare), turned_faces(bare, 2, 3)
    monkeypatch.setattr(fit, "PROFILE_PITCH_OFFSET_DEG", 3.0)
    nodded = fit_3d_labels(bare), turned_faces(bare, 2, 3)
    for before, after in zip(plain, nodded, strict=True):
        np.testing.assert_allclose(after.pose_deg, fit.as_labelled(before.pose_deg, 3.0), atol=1e-3)
        np.testing.assert_array_equal(after.images, before.images)
        np.testing.assert_array_equal(after.landmarks["ibug68_3d"], before.landmarks["ibug68_3d"])
    assert geodesic_deg(nodded[1].pose_deg, plain[1].pose_deg).max() > 1


def test_turned_labels_are_those_of_the_head_rendered_at_the_turned_pose(params, turned):
    errors = []
    for i in range(len(turned)):
        again = render_params(replace(params[i // VIEWS], pose_deg=tuple(turned.pose_deg[i].tolist())), 160)
        away = in_box(turned.landmarks["ibug68_3d"][i]) - in_box(again.landmarks_px["ibug68_3d"])
        errors.append(100 * np.linalg.norm(away, axis=-1).mean())
    assert np.mean(errors) < 2.5
    assert np.max(errors) < 5.0


def test_views_are_spread_to_profile_on_the_side_the_face_looks_to(turned):
    yaw = turned.pose_deg[:, 0].reshape(len(POSES), VIEWS)
    assert (np.abs(yaw) >= 20).all() and (np.abs(yaw) <= 90.01).all()
    assert (np.sign(yaw[1:]) == np.sign([p[0] for p in POSES[1:]])[:, None]).all()
    # One view a strip: from a near-frontal face the third is beyond 66 degrees.
    assert (np.diff(np.abs(yaw[0])) > 0).all() and abs(yaw[0, 2]) > 66


def test_turned_pose_is_found_again_from_the_turned_points(turned):
    again = fit_heads(turned.landmarks["ibug68_3d"], slide=False)
    assert geodesic_deg(again.pose_deg, turned.pose_deg).max() < 4.0


def test_picture_and_points_move_together(faces, same_heads):
    """A picture whose colours say where they come from: at every visible point, the point's own old place."""
    y, x = np.mgrid[:160, :160].astype(np.uint8)
    coded = replace(
        only(faces, "ibug68", "mtfl5"), images=np.repeat(np.stack([x, y, 0 * x], -1)[None], len(faces), axis=0)
    )
    views = turned_faces(coded, VIEWS, 1)
    before = fit_3d_labels(coded).landmarks["ibug68_3d"]
    assert views.images.dtype == np.uint8 and views.images[..., :2].reshape(len(views), -1).any(1).all()
    away = []
    for i in range(len(views)):
        for name, old in (("ibug68_3d", before), ("mtfl5", coded.landmarks["mtfl5"])):
            seen = views.visible[name][i]
            if name == "ibug68_3d":
                seen = seen & (np.arange(68) > 16)
            at = np.round(views.landmarks[name][i][seen]).astype(int)
            found = views.images[i][at[:, 1], at[:, 0], :2].astype(float)
            away += np.linalg.norm(found - old[i // VIEWS][seen], axis=1).tolist()
    assert np.median(away) < 1.5  # px of 160: rounding to a pixel takes up to 0.7
    assert np.quantile(away, 0.9) < 4


def test_hidden_side_is_not_visible(turned):
    wide = np.abs(turned.pose_deg[:, 0]) > 65
    assert wide.any()
    hidden = []
    for i in np.flatnonzero(wide):
        left, right = turned.visible["ibug68_3d"][i, 36:42], turned.visible["ibug68_3d"][i, 42:48]
        near, far = (right, left) if turned.pose_deg[i, 0] > 0 else (left, right)
        assert near.mean() > 0.6 and far.mean() < near.mean()
        hidden.append(1 - far.mean())
    assert np.mean(hidden) > 0.6
    assert np.isfinite(turned.landmarks["ibug68_3d"]).all()


def test_box_is_the_tight_box_of_the_points_and_the_crop_is_centred_on_it(turned):
    points = turned.landmarks["ibug68_3d"]
    np.testing.assert_allclose(turned.box_xyxy, np.concatenate([points.min(1), points.max(1)], axis=1), atol=1e-3)
    center = (turned.box_xyxy[:, :2] + turned.box_xyxy[:, 2:]) / 2
    np.testing.assert_allclose(center, 79.5, atol=0.05)
    np.testing.assert_allclose((turned.box_xyxy[:, 2:] - turned.box_xyxy[:, :2]).max(1), 100, atol=0.1)


def test_a_face_turns_the_same_whatever_is_beside_it(faces, turned):
    source = only(faces, "ibug68", "aflw21")
    alone = turned_faces(source.take([2]), VIEWS, 3)
    beside = turned.take(np.arange(2 * VIEWS, 3 * VIEWS))
    assert turned_faces(source, VIEWS, 3).fingerprint() == turned.fingerprint()
    np.testing.assert_array_equal(alone.ids, beside.ids)
    np.testing.assert_allclose(alone.landmarks["ibug68_3d"], beside.landmarks["ibug68_3d"], atol=1e-2)
    assert turned_faces(source.take([2]), VIEWS, 4).fingerprint() != alone.fingerprint()


def test_a_mirrored_face_turns_to_the_mirrored_side(faces, same_heads):
    source = only(faces, "ibug68").take([2])
    mirror = list(IBUG68.mirror)
    flipped = replace(
        source,
        images=np.ascontiguousarray(source.images[:, :, ::-1]),
        landmarks={"ibug68": ((source.landmarks["ibug68"] - (159, 0)) * (-1, 1))[:, mirror].astype(np.float32)},
        visible={"ibug68": source.visible["ibug68"][:, mirror]},
    )
    one, other = turned_faces(source, 2, 0), turned_faces(flipped, 2, 0)
    back = ((other.landmarks["ibug68_3d"] - (159, 0)) * (-1, 1))[:, mirror]
    # Eyes that open differently are the only thing that the model cannot mirror exactly.
    assert np.linalg.norm(one.landmarks["ibug68_3d"] - back, axis=-1).mean() < 1.5
    np.testing.assert_allclose(one.pose_deg * (-1, 1, -1), other.pose_deg, atol=2)


def test_3d_labels_of_faces_as_they_are(faces, same_heads):
    labelled = fit_3d_labels(only(faces, "ibug68"))
    truth = faces.landmarks["ibug68_3d"]
    away = np.linalg.norm(labelled.landmarks["ibug68_3d"] - truth, axis=-1)
    assert away[:, INNER].mean() < 0.5  # the annotated points themselves
    assert away[:, :17].mean() < 3.0  # px of a 100 px box
    assert away[:, :17].mean() < 0.6 * np.linalg.norm(faces.landmarks["ibug68"] - truth, axis=-1)[:, :17].mean()
    assert geodesic_deg(labelled.pose_deg, faces.pose_deg).max() < 4.0
    np.testing.assert_array_equal(labelled.landmarks["ibug68"], faces.landmarks["ibug68"])


def test_faces_that_no_head_fits_stay_without_labels_and_known_ones_stay(faces, same_heads):
    points = faces.landmarks["ibug68"].copy()
    points[0] = np.random.default_rng(0).uniform(30, 130, (68, 2))  # no face
    points[1, :40] = np.nan  # too few
    scrambled = replace(only(faces, "ibug68"), landmarks={"ibug68": points})
    labelled = fit_3d_labels(scrambled)
    assert np.isnan(labelled.landmarks["ibug68_3d"][:2]).all() and np.isnan(labelled.pose_deg[:2]).all()
    assert np.isfinite(labelled.landmarks["ibug68_3d"][2:]).all()
    assert {k.split("-turned")[0] for k in turned_faces(scrambled, 1, 0).ids} == {"face-2", "face-3"}
    # A known yaw stays, with or without a head to give the other angles.
    yaw_alone = np.column_stack([np.full(len(faces), 7.0), np.full((len(faces), 2), np.nan)]).astype(np.float32)
    partly = fit_3d_labels(replace(scrambled, pose_deg=yaw_alone)).pose_deg
    np.testing.assert_array_equal(partly[:, 0], yaw_alone[:, 0])
    np.testing.assert_array_equal(partly[2:, 1:], labelled.pose_deg[2:, 1:])
    assert np.isnan(partly[:2, 1:]).all()
    kept = fit_3d_labels(faces)
    np.testing.assert_array_equal(kept.pose_deg, faces.pose_deg)
    np.testing.assert_array_equal(kept.landmarks["ibug68_3d"], faces.landmarks["ibug68_3d"])


def test_a_few_unknown_points_do_no_harm(faces, same_heads):
    points = faces.landmarks["ibug68"].copy()
    points[3, [9, 10, 11, 12]] = np.nan
    labelled = fit_3d_labels(replace(only(faces, "ibug68"), landmarks={"ibug68": points}))
    away = np.linalg.norm(labelled.landmarks["ibug68_3d"][3] - faces.landmarks["ibug68_3d"][3], axis=-1)
    assert away.mean() < 2.0


def test_nodded_views_are_raised_and_bowed_without_turning_further(params, faces, same_heads):
    source = only(faces, "ibug68")
    views = turned_faces(source, 6, 3, yaw_deg=(0, 30), nod_deg=20)
    yaw, pitch = (views.pose_deg[:, i].reshape(len(POSES), 6) for i in range(2))
    own = np.array(POSES)
    # Never back to where the face is not seen; up to 2 degrees are the fit's.
    assert (np.abs(yaw[:3]) < 30.1).all() and (np.abs(yaw[1:]) > np.minimum(np.abs(own[1:, :1]), 30) - 2).all()
    assert np.ptp(pitch, axis=1).min() > 20 and np.abs(pitch - own[:, 1:2]).max() < 2 * 20 + 4
    usual = turned_faces(source, 6, 3).pose_deg[:, 1].reshape(len(POSES), 6)
    assert np.abs(usual - own[:, 1:2]).max() < 2 * 6 + 4
    # The labels are those of the head rendered so, as of the views turned aside.
    for i in range(0, len(views), 5):
        again = render_params(replace(params[i // 6], pose_deg=tuple(views.pose_deg[i].tolist())), 160)
        away = in_box(views.landmarks["ibug68_3d"][i]) - in_box(again.landmarks_px["ibug68_3d"])
        assert 100 * np.linalg.norm(away, axis=-1).mean() < 5


@pytest.mark.parametrize("yaw", [(30, 20), (-5, 20), (20, 91), (20, 20)])
def test_range_of_yaw_must_rise(faces, yaw):
    with pytest.raises(InputError, match="yaw_deg must be two rising angles in 0 to 90. Received"):
        turned_faces(faces, 1, 0, yaw_deg=yaw)


@pytest.mark.parametrize("nod", [-1, 26, float("nan")])
def test_nod_must_leave_the_face_in_sight(faces, nod):
    with pytest.raises(InputError, match="nod_deg must be in 0 to 25. Received"):
        turned_faces(faces, 1, 0, nod_deg=nod)


@pytest.mark.parametrize("per_face", [0, -1, 1.5, True, None])
def test_per_face_must_be_a_count(faces, per_face):
    with pytest.raises(InputError, match="per_face must be"):
        turned_faces(faces, per_face, 0)


@pytest.mark.parametrize("seed", [-1, 0.5, None, True])
def test_seed_must_be_a_whole_number(faces, seed):
    with pytest.raises(InputError, match="seed must be"):
        turned_faces(faces, 1, seed)


def test_faces_must_have_the_68_points(faces):
    for work in (fit_3d_labels, partial(turned_faces, per_face=1, seed=0)):
        with pytest.raises(InputError, match="must have ibug68 points. Received: mtfl5"):
            work(only(faces, "mtfl5"))


def test_some_face_must_fit(faces, same_heads):
    nothing = replace(only(faces, "ibug68"), landmarks={"ibug68": np.full_like(faces.landmarks["ibug68"], np.nan)})
    with pytest.raises(InputError, match="must fit at least one face. Received: 4 faces"):
        turned_faces(nothing, 1, 0)

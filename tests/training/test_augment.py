"""One affine moves image, points and pose; photometric changes move nothing."""

from __future__ import annotations

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from edgeface import head_pose as headpose
from edgeface.box import Box
from edgeface.crop import square_crop, warp
from edgeface.datasets.cut_faces import CutFace
from edgeface.datasets.synthetic import render_params, sample_params
from edgeface.errors import InputError
from edgeface.markup import IBUG68_3D, MTFL5, markup
from edgeface.training.augment import AugmentConfig, augment, move_points, move_pose, random_crop, turn_pose
from edgeface.training.photometric import add_noise, motion_kernel

BOX = np.array([35, 30, 125, 130], np.float32)
GEOMETRY_ONLY = replace(AugmentConfig.none(), shift=0.06, scale=0.15, rotation_deg=40.0, mirror=0.5)
CHANGES = [f.name for f in fields(AugmentConfig) if f.name.startswith("p_") and f.name != "p_turn"]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def one(image, landmarks, config, seed=0, side=128, channels=1, visible=None, pose=(0, 0, 0), box=BOX):
    visible = visible or {name: np.ones(len(xy), bool) for name, xy in landmarks.items()}
    face = CutFace(image, landmarks, visible, np.array(pose, np.float32), box)
    return augment(face, config, rng(seed), side=side, channels=channels)


def noise_image() -> np.ndarray:
    return rng(3).integers(0, 256, (160, 160, 3), np.uint8)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("side", "channels"), [(128, 1), (64, 3), (48, 1), (256, 3)])
def test_points_follow_the_image(seed, side, channels):
    points = np.array([[60, 60], [100, 62], [80, 80], [64, 105], [96, 103]], np.float32)
    grid = np.stack(np.meshgrid(np.arange(160), np.arange(160)), -1)
    for index in range(5):  # one dot a picture: the point of the mirror image is the dot of its partner
        dot = 255 * np.exp(-((grid - points[index]) ** 2).sum(-1) / (2 * 3.0**2))
        image = np.repeat(dot.round().astype(np.uint8)[..., None], 3, axis=-1)
        view, moved, _ = one(image, {"mtfl5": points}, GEOMETRY_ONLY, seed, side, channels)
        mirrored = rng_mirrors(seed)
        light = view[..., 0].astype(np.float64)
        rows, cols = np.mgrid[:side, :side]
        found = np.array([(light * cols).sum(), (light * rows).sum()]) / light.sum()
        expected = moved["mtfl5"][MTFL5.mirror[index] if mirrored else index] * side - 0.5
        # The warp samples on a 1/32 px grid and rounds to whole grey levels; a half-pixel slip would be 0.5.
        np.testing.assert_allclose(found, expected, atol=0.12)


def rng_mirrors(seed: int) -> bool:
    """Whether GEOMETRY_ONLY mirrors with this seed, seen from the pose alone."""
    _, _, pose = one(noise_image(), {}, GEOMETRY_ONLY, seed, pose=(30, 0, 0))
    return bool(pose[0] < 0)


def test_some_views_are_mirrored_and_some_not():
    assert {rng_mirrors(seed) for seed in range(8)} == {True, False}


def head() -> np.ndarray:
    """(68, 3) a made-up head, x right, y up, z towards the viewer, mirror-symmetric as ibug68_3d is."""
    cloud = rng(5).normal(size=(68, 3)) * 25
    return (cloud + cloud[list(IBUG68_3D.mirror)] * [-1, 1, 1]) / 2


def picture_of(cloud: np.ndarray, pose_deg) -> np.ndarray:
    """(68, 2) px, y down: the 300W-LP rotation (the transpose of the pose's matrix), then orthography."""
    turned = cloud @ headpose.to_matrix(np.array(pose_deg, float))  # rows: (M.T @ x).T
    return (turned[:, :2] * [1, -1] + [80, 80]).astype(np.float32)


def pose_of(points: np.ndarray, cloud: np.ndarray) -> np.ndarray:
    """The pose that puts the cloud on those points: least squares, orthography, any scale and shift."""
    flat = (points - points.mean(0)) * [1, -1]
    rows = np.linalg.lstsq(cloud - cloud.mean(0), flat, rcond=None)[0].T
    u, _, v = np.linalg.svd(rows, full_matrices=False)
    rows = u @ v
    return headpose.from_matrix(np.vstack([rows, np.cross(rows[0], rows[1])]).T)


@pytest.mark.parametrize("pose", [(0, 0, 0), (0, 0, 20), (40, -15, 10), (-55, 25, -30), (20, 30, 5), (-70, -10, 12)])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_pose_is_the_one_that_the_moved_points_show(pose, mirrored, seed):
    config = replace(GEOMETRY_ONLY, mirror=float(mirrored), crop_scale=3.0, damp_profile=False, pose_limit_deg=180.0)
    points = picture_of(head(), pose)
    _, moved, told = one(noise_image(), {"ibug68_3d": points}, config, seed, pose=pose)
    assert np.isfinite(moved["ibug68_3d"]).all()
    shown = pose_of(moved["ibug68_3d"].astype(np.float64), head())
    # float32 coordinates: 1e-7 of a crop over a head of a third of it.
    assert headpose.geodesic_deg(told, shown) < 0.01
    np.testing.assert_allclose(told, shown, atol=0.05)


def test_larger_turns_come_as_often_as_asked_and_fall_off_linearly():
    def angles(**changes) -> np.ndarray:
        config, draws = replace(AugmentConfig.none(), **changes), rng(1)
        box = Box(*map(float, BOX))
        return np.array([random_crop(box, np.zeros(3), config, draws).angle_deg for _ in range(4000)])

    turned = angles(p_turn=0.3, turn_deg=80.0)
    assert np.abs(turned).max() < 80 and np.mean(turned != 0) == pytest.approx(0.3, abs=0.03)
    beyond_half = np.abs(turned[turned != 0]) > 40
    assert beyond_half.mean() == pytest.approx(0.25, abs=0.04)
    assert np.mean(angles(p_turn=1.0, rotation_deg=5.0) > 0) == pytest.approx(0.5, abs=0.03)
    # Without them nothing else is drawn: batches of configs that do not ask for turns stay as they were.
    plain, draws = replace(AugmentConfig.none(), rotation_deg=5.0), rng(1)
    random_crop(Box(*map(float, BOX)), np.zeros(3), plain, draws)
    expected = rng(1)
    expected.random(4)
    assert draws.random() == expected.random()


def test_a_frontal_face_changes_roll_alone_by_minus_the_angle():
    np.testing.assert_allclose(turn_pose(np.array([0, 0, 10.0]), 25.0), [0, 0, -15], atol=1e-4)
    # The crop that leans as the head does shows it upright.
    np.testing.assert_allclose(turn_pose(np.array([0, 0, 25.0]), 25.0), [0, 0, 0], atol=1e-4)


def test_a_turned_face_changes_all_three_angles():
    yaw, pitch, roll = turn_pose(np.array([40.0, 0.0, 0.0]), 25.0)
    # Nose direction (-sin yaw, ·, ·) turned by 25 degrees in the picture plane.
    assert yaw == pytest.approx(np.rad2deg(np.arcsin(np.cos(np.deg2rad(25)) * np.sin(np.deg2rad(40)))), abs=1e-3)
    assert abs(pitch) > 15 and abs(roll + 25) > 3


def test_turning_back_restores_the_pose():
    pose = np.array([35.0, -20.0, 15.0])
    np.testing.assert_allclose(turn_pose(turn_pose(pose, 30), -30), pose, atol=1e-3)


def test_yaw_alone_is_turned_and_the_rest_stays_unknown():
    turned = turn_pose(np.array([40.0, np.nan, np.nan]), 25.0)
    assert np.isnan(turned[1:]).all() and 37 < turned[0] < 40
    assert turn_pose(np.array([110.0, np.nan, np.nan]), 10.0)[0] > 90
    assert move_pose(np.array([40.0, np.nan, np.nan]), 0.0, True)[0] == -40
    assert np.isnan(turn_pose(np.full(3, np.nan), 10.0)).all()


def test_a_pose_that_leaves_the_bins_is_masked():
    steep = np.array([85.0, 40.0, 0.0])
    assert np.abs(turn_pose(steep, 80.0)[1:]).max() > 99
    assert np.isnan(move_pose(steep, 80.0, False)).all()
    np.testing.assert_array_equal(
        move_pose(np.array([0, 0, 120.0]), 0.0, False), [0, 0, 120]
    )  # not turned: as labelled


def test_profiles_are_hardly_turned():
    box, config = Box(35, 30, 125, 130), AugmentConfig(rotation_deg=40.0)
    angles = {
        yaw: max(abs(random_crop(box, np.array([yaw, 0, 0]), config, rng(s)).angle_deg) for s in range(40))
        for yaw in (0.0, 80.0, 110.0, np.nan)
    }
    assert angles[0.0] > 30 and angles[np.nan] > 30
    assert angles[80.0] < 7.0 and angles[110.0] == 0.0
    loose = replace(config, damp_profile=False)
    assert max(abs(random_crop(box, np.array([80.0, 0, 0]), loose, rng(s)).angle_deg) for s in range(40)) > 30


def test_mirror_is_the_mirrored_picture():
    image, points = noise_image(), {"ibug68": picture_of(head(), (20, 5, 8))}
    plain, xy, pose = one(image, points, AugmentConfig.none(), pose=(20, 5, 8))
    flipped, mirrored_xy, mirrored_pose = one(image, points, replace(AugmentConfig.none(), mirror=1.0), pose=(20, 5, 8))
    # warpAffine's 1/32 px grid: one grey level of 255 on white noise is 1/255 px.
    assert np.abs(flipped[:, ::-1].astype(int) - plain).max() <= 1
    expected = (xy["ibug68"] * [-1, 1] + [1, 0])[list(markup("ibug68").mirror)]
    np.testing.assert_allclose(mirrored_xy["ibug68"], expected, atol=1e-6)
    np.testing.assert_array_equal(mirrored_pose, [-20, 5, -8])
    np.testing.assert_array_equal(pose, [20, 5, 8])


@pytest.mark.parametrize("channels", [1, 3])
def test_none_is_the_plain_crop_whatever_the_generator(channels):
    image = noise_image()
    first = one(image, {"mtfl5": np.full((5, 2), 80, np.float32)}, AugmentConfig.none(), 1, channels=channels)
    second = one(image, {"mtfl5": np.full((5, 2), 80, np.float32)}, AugmentConfig.none(), 2, channels=channels)
    np.testing.assert_array_equal(first[0], second[0])
    crop = square_crop(Box(*BOX.tolist()))
    np.testing.assert_allclose(first[1]["mtfl5"], np.tile(crop.to_crop(np.array([80, 80])), (5, 1)), atol=1e-6)
    if channels == 3:
        np.testing.assert_array_equal(first[0], crop.extract(image, 128))


def test_what_is_not_known_is_nan():
    points = np.tile(np.array([80.0, 80.0], np.float32), (68, 1))
    points[3] = np.nan
    points[5] = [500, 80]
    points[6] = [80, -1]  # in the picture's margin, outside the crop
    seen = np.ones(68, bool)
    seen[10] = False
    labels, flags = {"ibug68": points, "ibug68_3d": points}, {"ibug68": seen, "ibug68_3d": seen}
    _, moved, _ = one(noise_image(), labels, AugmentConfig.none(), visible=flags)
    assert np.flatnonzero(np.isnan(moved["ibug68"][:, 0])).tolist() == [3, 5, 6, 10]
    assert np.flatnonzero(np.isnan(moved["ibug68_3d"][:, 0])).tolist() == [3, 5, 6]  # a projected point stays known
    strict = replace(AugmentConfig.none(), use_hidden=False)
    _, moved, _ = one(noise_image(), labels, strict, visible=flags)
    assert np.flatnonzero(np.isnan(moved["ibug68_3d"][:, 1])).tolist() == [3, 5, 6, 10]
    for xy in moved.values():
        assert xy.dtype == np.float32 and (np.isnan(xy[:, 0]) == np.isnan(xy[:, 1])).all()
    flipped, _, _ = (
        move_points(points, seen, "ibug68", square_crop(Box(*BOX.tolist())).matrix(128, m), 128, m)
        for m in (True, False, False)
    )
    assert np.isnan(flipped[markup("ibug68").mirror[10]]).all()  # the mask goes with the point


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("change", CHANGES)
def test_each_change_alters_the_picture_and_no_label(change, channels):
    points = {"mtfl5": np.array([[60, 60], [100, 62], [80, 80], [64, 105], [96, 103]], np.float32)}
    plain, xy, pose = one(noise_image(), points, GEOMETRY_ONLY, 7, 96, channels)
    only = replace(GEOMETRY_ONLY, **{change: 1.0})
    view, moved, moved_pose = one(noise_image(), points, only, 7, 96, channels)
    assert view.shape == (96, 96, channels) and view.dtype == np.uint8
    np.testing.assert_array_equal(moved["mtfl5"], xy["mtfl5"])
    np.testing.assert_array_equal(moved_pose, pose)
    if change == "p_gray" and channels == 1:
        np.testing.assert_array_equal(view, plain)  # there is no colour to take
    else:
        assert (view != plain).mean() > 0.02
    assert abs(float(view.mean()) - float(plain.mean())) < 60  # still a picture


def test_the_same_generator_gives_the_same_view():
    points = {"mtfl5": np.full((5, 2), 80, np.float32)}
    a, b = (one(noise_image(), points, AugmentConfig(), 11) for _ in range(2))
    np.testing.assert_array_equal(a[0], b[0])
    assert (one(noise_image(), points, AugmentConfig(), 12)[0] != a[0]).any()


def test_noise_has_the_asked_strength_and_no_bias():
    flat = np.full((256, 256), 128, np.uint8)
    noise = add_noise(flat, 10.0, rng()).astype(float) - 128
    assert abs(noise.mean()) < 0.3  # 10 / 256 of standard error, plus rounding
    assert noise.std() == pytest.approx(10.0, rel=0.03)
    assert add_noise(np.full((600, 600, 3), 128, np.uint8), 5.0, rng()).shape == (600, 600, 3)  # larger than the bank


@pytest.mark.parametrize("seed", range(5))
def test_motion_keeps_the_light(seed):
    kernel = motion_kernel(9.0, rng(seed))
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=0.05)  # centred: motion blur shifts nothing


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"p_blur": 1.5}, "p_blur must be in"),
        ({"mirror": -0.1}, "mirror must be in"),
        ({"rotation_deg": float("nan")}, "rotation_deg must be in"),
        ({"crop_scale": 0.0}, "crop_scale must be > 0"),
        ({"jpeg_min": 95}, "jpeg_min must be at most 90"),
    ],
)
def test_a_bad_setting_is_named(wrong, message):
    with pytest.raises(InputError, match=message):
        AugmentConfig(**wrong)


def test_a_bad_face_is_refused():
    with pytest.raises(InputError, match=r"image must be \(H, W, 3\) uint8"):
        one(np.zeros((160, 160, 3), np.float32), {}, AugmentConfig.none())
    with pytest.raises(InputError, match="channels must be 1 or 3"):
        one(noise_image(), {}, AugmentConfig.none(), channels=4)
    with pytest.raises(ValueError, match="box must have a positive side"):
        one(noise_image(), {}, AugmentConfig.none(), box=np.array([5, 5, 5, 5]))


def mirrored_params(params):
    """A face whose picture is the mirror image, light included; its hair line alone need not be."""
    (x, *light), (left, right) = params.light.direction, params.expression.eye_open
    return replace(
        params,
        light=replace(params.light, direction=(-x, *light)),
        expression=replace(params.expression, eye_open=(right, left)),
    )


@pytest.mark.parametrize("pose", [(0, 10, 15), (35, -10, -20), (-60, 15, 10)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_view_is_what_a_renderer_makes_of_the_told_pose(pose, mirrored):
    """Rendered face -> augment (turned 20 to 40 degrees) against a new rendering under the pose that augment tells."""
    seed = 4
    config = replace(
        AugmentConfig.none(), shift=0.05, scale=0.1, rotation_deg=40.0, mirror=float(mirrored), damp_profile=False
    )
    params = sample_params(7)
    params = replace(params, pose_deg=pose, occluder="none", look=replace(params.look, hair_part=0.0, glasses=False))
    params = replace(params, expression=replace(params.expression, gaze=(0.0, 0.0)))
    face = render_params(params, 160)
    box = np.array(face.box.as_xyxy())
    angle = random_crop(face.box, np.array(pose), config, rng(seed)).angle_deg
    assert 20 < abs(angle) < 40
    points = {"ibug68_3d": face.landmarks_px["ibug68_3d"]}
    view, moved, told = one(face.image, points, config, seed, 160, pose=pose, box=box)

    # The same face and light under the told pose; the lamp turns with the picture.
    a = np.deg2rad(angle)
    x, y, z = params.light.direction
    lamp = (np.cos(a) * x - np.sin(a) * y, np.sin(a) * x + np.cos(a) * y, z)
    again = replace(params, light=replace(params.light, direction=lamp))
    again = replace(mirrored_params(again) if mirrored else again, pose_deg=tuple(told.tolist()))
    rendered = render_params(again, 160)

    here = moved["ibug68_3d"] * 160 - 0.5
    there = rendered.landmarks_px["ibug68_3d"]
    known = np.isfinite(here[:, 0])
    assert known.sum() > 55
    matrix, rest = scale_and_shift(there[known], here[known])
    # The renderer frames a turned head anew, so scale and shift are free, rotation is not. float32 leaves 1e-4 px;
    # changing roll alone on a face that looks aside leaves more than 2 px.
    assert rest < 1e-2
    if abs(pose[0]) > 20:
        roll_alone = np.array(pose) - [0, 0, angle]
        roll_alone = headpose.mirror(roll_alone) if mirrored else roll_alone
        naive = render_params(replace(again, pose_deg=tuple(roll_alone)), 160).landmarks_px["ibug68_3d"]
        assert scale_and_shift(naive[known], here[known])[1] > 2

    inner = here[17:][known[17:]]
    window = np.s_[int(inner[:, 1].min()) : int(inner[:, 1].max()), int(inner[:, 0].min()) : int(inner[:, 0].max())]
    redrawn = warp(cv2.cvtColor(rendered.image, cv2.COLOR_RGB2GRAY), matrix, 160)
    # Noise and skin grain are drawn anew with every picture: features and shading are what must agree.
    seen, redrawn = (cv2.GaussianBlur(p, (0, 0), 3)[window].ravel() for p in (view[..., 0], redrawn[..., 0]))
    # Measured 0.91 to 0.99; a slip of 10 px gives 0.35 to 0.82, the unmirrored picture at most 0.25.
    assert np.corrcoef(seen, redrawn)[0, 1] > 0.85


def scale_and_shift(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """(2, 3) least-squares similarity without rotation, and what it leaves, mean px."""
    s, t = source - source.mean(0), target - target.mean(0)
    scale = (s * t).sum() / (s * s).sum()
    shift = target.mean(0) - scale * source.mean(0)
    rest = np.linalg.norm(scale * source + shift - target, axis=1).mean()
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), float(rest)

"""What a rendered face is made of, and how it is drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeface.errors import InputError

HAIR_STYLES = ("bald", "buzz", "short", "fringe", "full", "bob", "long", "receding")
OCCLUDERS = ("none", "hand", "bar", "scarf", "mask", "sunglasses")

_SKIN_TONES = np.array([(246, 214, 196), (232, 188, 160), (205, 154, 120), (160, 108, 78), (112, 74, 54), (78, 50, 38)])
_HAIR_COLOURS = (
    (28, 23, 22),
    (52, 36, 28),
    (86, 58, 38),
    (128, 92, 58),
    (196, 164, 112),
    (136, 66, 36),
    (158, 156, 152),
)
_IRIS_COLOURS = ((70, 44, 26), (92, 62, 34), (96, 110, 72), (92, 128, 156), (110, 124, 130), (48, 32, 22))

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class PoseRanges:
    """Limits of the head pose in degrees: each angle lies in [-limit, limit].

    ``wide`` is the share of faces whose yaw is uniform over the whole range; the others are near frontal, as
    photographs of faces are. Pitch and roll are bell-shaped, with a third of ``wide`` uniform.
    """

    yaw_deg: float = 90.0
    pitch_deg: float = 60.0
    roll_deg: float = 45.0
    wide: float = 0.45

    def __post_init__(self) -> None:
        limits = (self.yaw_deg, self.pitch_deg, self.roll_deg)
        if not all(0 <= v <= 90 for v in limits):
            raise InputError(f"pose limits must be between 0 and 90 degrees. Received: {limits}")
        if not 0 <= self.wide <= 1:
            raise InputError(f"wide must be a share between 0 and 1. Received: {self.wide}")


@dataclass(frozen=True)
class Shape:
    """Who it is: factors around 1, and offsets in centimetres where the name ends in ``_cm``."""

    width: float = 1.0
    height: float = 1.0
    skull: float = 1.0
    jaw_width: float = 1.0
    chin_cm: float = 0.0
    cheek: float = 1.0
    nose_length: float = 1.0
    nose_width: float = 1.0
    nose_height: float = 1.0
    nose_bump: float = 0.0
    eye_size: float = 1.0
    eye_spacing: float = 1.0
    eye_depth: float = 1.0
    eye_tilt_cm: float = 0.1
    brow_height_cm: float = 0.0
    brow_thickness: float = 1.0
    brow_arch: float = 1.0
    lip_fullness: float = 1.0
    mouth_width: float = 1.0
    mouth_height_cm: float = 0.0
    ear_size: float = 1.0


@dataclass(frozen=True)
class Expression:
    """What it does: 0 is neutral (1 for the eyes' opening); gaze in [-1, 1] to the image's right and up."""

    mouth_open: float = 0.0
    smile: float = 0.0
    pucker: float = 0.0
    eye_open: tuple[float, float] = (1.0, 1.0)
    brow_raise: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Look:
    """Colours (RGB 0..255) and everything painted or worn."""

    skin: RGB = (222, 176, 148)
    lips: RGB = (186, 106, 98)
    iris: RGB = (92, 62, 34)
    hair: RGB = (52, 36, 28)
    brow: RGB = (52, 36, 28)
    cloth: RGB = (70, 90, 130)
    gear: RGB = (30, 30, 32)
    hair_style: str = "short"
    hair_volume: float = 1.0
    hair_part: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0
    freckles: float = 0.0
    blush: float = 0.2
    roughness: float = 0.5
    wrinkles: float = 0.3
    lashes: float = 0.6
    glasses: bool = False
    lens_round: float = 0.5


@dataclass(frozen=True)
class Light:
    """One lamp and the surroundings. ``direction``: unit vector to the lamp, x right, y up, z to the camera."""

    direction: tuple[float, float, float] = (0.3, 0.5, 0.81)
    colour: RGB = (1.0, 1.0, 1.0)
    ambient: RGB = (0.45, 0.45, 0.45)
    specular: float = 0.2
    rim: float = 0.0


@dataclass(frozen=True)
class FaceParams:
    """Everything of one picture. The same parameters render to the same bytes."""

    seed: int
    pose_deg: tuple[float, float, float]
    shape: Shape = Shape()
    expression: Expression = Expression()
    look: Look = Look()
    light: Light = Light()
    occluder: str = "none"
    fill: float = 0.66
    """The longer side of the 68 points' box as a share of the picture."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Offset of that box's centre from the picture's, as a share of the picture."""
    distance_cm: float = 90.0
    body_follow: float = 0.4
    """How much of the head's turn the shoulders follow."""


def _bell(rng: np.random.Generator, sigma: float, limit: float = 2.2) -> float:
    return float(np.clip(rng.standard_normal(), -limit, limit) * sigma)


def _angle(rng: np.random.Generator, limit: float, sigma: float, wide: float) -> float:
    if rng.random() < wide:
        return float(rng.uniform(-limit, limit))
    return float(np.clip(rng.normal(0, sigma), -limit, limit))


def _tint(rng: np.random.Generator, colour: np.ndarray | RGB, sigma: float) -> RGB:
    common, own = rng.normal(0, sigma), rng.normal(0, sigma * 0.4, 3)
    return tuple(float(v) for v in np.clip(np.asarray(colour) + common + own, 4, 250))


def sample_pose(rng: np.random.Generator, ranges: PoseRanges) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees."""
    return (
        _angle(rng, ranges.yaw_deg, 0.25 * ranges.yaw_deg, ranges.wide),
        _angle(rng, ranges.pitch_deg, 0.22 * ranges.pitch_deg, ranges.wide / 3),
        _angle(rng, ranges.roll_deg, 0.22 * ranges.roll_deg, ranges.wide / 3),
    )


def _sample_shape(rng: np.random.Generator) -> Shape:
    return Shape(
        width=1 + _bell(rng, 0.045),
        height=1 + _bell(rng, 0.035),
        skull=1 + _bell(rng, 0.04),
        jaw_width=1 + _bell(rng, 0.06),
        chin_cm=_bell(rng, 0.45),
        cheek=1 + _bell(rng, 0.5),
        nose_length=1 + _bell(rng, 0.08),
        nose_width=1 + _bell(rng, 0.14),
        nose_height=1 + _bell(rng, 0.14),
        nose_bump=_bell(rng, 0.18),
        eye_size=1 + _bell(rng, 0.07),
        eye_spacing=1 + _bell(rng, 0.04),
        eye_depth=1 + _bell(rng, 0.25),
        eye_tilt_cm=0.1 + _bell(rng, 0.1),
        brow_height_cm=_bell(rng, 0.22),
        brow_thickness=float(np.exp(_bell(rng, 0.28))),
        brow_arch=1 + _bell(rng, 0.5),
        lip_fullness=float(np.exp(_bell(rng, 0.22))),
        mouth_width=1 + _bell(rng, 0.08),
        mouth_height_cm=_bell(rng, 0.2),
        ear_size=1 + _bell(rng, 0.1),
    )


def _sample_expression(rng: np.random.Generator) -> Expression:
    opened = float(rng.beta(1.1, 1.6)) if rng.random() < 0.45 else 0.0
    closing = rng.random()
    eye = 1 + _bell(rng, 0.14)
    if closing < 0.08:
        eye = float(rng.uniform(0.0, 0.25))
    both = (max(eye, 0.0), max(eye, 0.0))
    if 0.08 <= closing < 0.11:
        both = (0.05, eye) if rng.random() < 0.5 else (eye, 0.05)
    smile = float(rng.beta(1.5, 1.5)) if rng.random() < 0.5 else _bell(rng, 0.15)
    return Expression(
        mouth_open=opened,
        smile=smile,
        pucker=float(rng.random()) * (1 - max(smile, 0)) if rng.random() < 0.1 else 0.0,
        eye_open=both,
        brow_raise=_bell(rng, 0.35),
        gaze=(float(np.clip(rng.normal(0, 0.4), -1, 1)), float(np.clip(rng.normal(0, 0.25), -0.8, 0.8))),
    )


def _sample_look(rng: np.random.Generator) -> Look:
    tone = rng.random() ** 1.2 * (len(_SKIN_TONES) - 1)
    skin = np.array([np.interp(tone, np.arange(len(_SKIN_TONES)), _SKIN_TONES[:, c]) for c in range(3)])
    dark = tone / (len(_SKIN_TONES) - 1)
    made_up = rng.random() < 0.2
    lips = skin * (0.84, 0.62, 0.64) if not made_up else skin * 0.3 + np.array([rng.uniform(120, 190), 25, 45]) * 0.7
    weights = np.array([5, 4, 3, 2, 2, 0.8, 1.4]) if dark < 0.55 else np.array([9, 4, 1, 0.1, 0.1, 0.1, 1.2])
    hair = _tint(rng, _HAIR_COLOURS[rng.choice(len(_HAIR_COLOURS), p=weights / weights.sum())], 6)
    iris = _IRIS_COLOURS[rng.integers(len(_IRIS_COLOURS)) if dark < 0.5 else rng.choice([0, 1, 5])]
    style = rng.choice(HAIR_STYLES, p=(0.08, 0.08, 0.2, 0.14, 0.14, 0.12, 0.16, 0.08))
    bearded = rng.random() < 0.28 and style not in ("long", "bob") and not made_up
    moustache = rng.random() if bearded else 0.0
    return Look(
        skin=_tint(rng, skin, 5),
        lips=_tint(rng, lips, 5),
        iris=_tint(rng, iris, 6),
        hair=hair,
        brow=tuple(0.8 * v + 4 for v in hair),
        cloth=_tint(rng, (rng.uniform(30, 220),) * 3, 55),
        gear=tuple((np.full(3, rng.uniform(12, 90)) + rng.uniform(0, 60, 3) * (rng.random() < 0.4)).tolist()),
        hair_style=str(style),
        hair_volume=float(rng.uniform(0.5, 1.5)),
        hair_part=float(rng.uniform(-0.6, 0.6)),
        beard=float(rng.uniform(0.2, 1)) if bearded else 0.0,
        moustache=float(moustache),
        freckles=float(rng.uniform(0.3, 1)) if rng.random() < 0.15 and dark < 0.5 else 0.0,
        blush=float(rng.uniform(0, 0.6)) * (1.4 if made_up else 1),
        roughness=float(rng.uniform(0.2, 1)),
        wrinkles=float(rng.beta(1.2, 2)),
        lashes=1.0 if made_up else float(rng.uniform(0.35, 0.8)),
        glasses=bool(rng.random() < 0.14),
        lens_round=float(rng.random()),
    )


def _sample_light(rng: np.random.Generator) -> Light:
    azimuth, height = rng.normal(0, 0.75), np.clip(rng.normal(0.5, 0.45), -0.5, 1.3)
    azimuth = float(np.clip(azimuth, -1.5, 1.5))
    direction = (np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height))
    warm = rng.normal(0, 0.07)
    ambient = rng.uniform(0.3, 0.75)
    power = rng.uniform(0.95, 1.35) * (1.15 - ambient)
    sky = rng.normal(0, 0.05)
    return Light(
        direction=tuple(float(v) for v in direction),
        colour=(power * (1 + warm), power, power * (1 - warm)),
        ambient=(ambient * (1 - sky), ambient, ambient * (1 + sky)),
        specular=float(rng.uniform(0, 0.5)),
        rim=float(max(0.0, rng.normal(0, 0.25))),
    )


def sample_params(seed: int, ranges: PoseRanges | None = None) -> FaceParams:
    """The face of a seed (any non-negative integer). ``ranges`` changes its pose alone."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed must be a non-negative integer. Received: {seed!r}")
    rng, pose_rng = np.random.default_rng((int(seed), 1)), np.random.default_rng((int(seed), 2))
    chance = rng.random()
    occluder = "none" if chance > 0.2 else OCCLUDERS[1 + int(chance / 0.2 * 5)]
    look = _sample_look(rng)
    if occluder == "sunglasses":
        look = Look(**{**vars(look), "glasses": True})
    return FaceParams(
        seed=int(seed),
        pose_deg=sample_pose(pose_rng, ranges or PoseRanges()),
        shape=_sample_shape(rng),
        expression=_sample_expression(rng),
        look=look,
        light=_sample_light(rng),
        occluder=occluder,
        fill=float(rng.uniform(0.56, 0.74)),
        shift=(_bell(rng, 0.025), _bell(rng, 0.025)),
        distance_cm=float(rng.uniform(55, 160)),
        body_follow=float(rng.uniform(0.15, 0.7)),
    )

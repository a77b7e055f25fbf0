"""Golden vectors: what the Python code computes, for the Kotlin code of ``android_demo/core`` to be held against.

A folder with ``golden.json`` and raw arrays (``*.bin``, little-endian, C order) that it names.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convert.android.golden_video import smoothing, tracks
from edgeface.box import Box
from edgeface.card import Card, CropRule, Decode, InputSpec, OutputSpec, attach_card
from edgeface.codecs import BinnedAngles, IntegralHeatmap, LinearPose
from edgeface.crop import Crop, square_crop
from edgeface.datasets.synthetic import synthetic_samples
from edgeface.files import write_json
from edgeface.markup import MARKUPS, Markup
from edgeface.runtime.drawing import APART, axes_on_screen
from edgeface.runtime.interpreter import TFLiteModel, dequantize, quantize
from edgeface.runtime.predictor import cut, frame_box

FORMAT = 1


def write_golden(folder: str | Path, models: Sequence[str | Path] = (), faces: int = 3) -> Path:
    """The vectors, with outputs of ``models`` (`.tflite` with a card) on rendered faces; returns the JSON's path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    store = _Store(folder)
    document = {
        "format": FORMAT,
        "crops": _crops(store),
        "inputs": _inputs(store),
        "axes": _axes(),
        "markups": {name: _markup(markup) for name, markup in MARKUPS.items()},
        "drawn": [_drawn(store, kind, dtype) for kind in ("features", "bins") for dtype in ("int8", "float32")],
        "models": [_model(store, Path(path), faces) for path in models],
        "smoothing": smoothing(),
        "tracks": tracks(),
        "boxes": _boxes(),
    }
    write_json(folder / "golden.json", document)
    return folder / "golden.json"


class _Store:
    """Writes arrays, each under a number."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def number(self) -> int:
        self.count += 1
        return self.count

    def put(self, array: np.ndarray) -> str:
        name = f"{self.number():03d}.bin"
        # Not aside and renamed: `golden.json`, without which no array is read, is written last.
        (self.folder / name).write_bytes(np.ascontiguousarray(array).tobytes())
        return name


def _picture(height: int, width: int, seed: int) -> np.ndarray:
    """A rendered face on noise: smooth in the middle, the hardest to resample around it."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    side = min(height, width) * 3 // 4
    if side >= 48:
        face = synthetic_samples(1, seed=seed, size=side, split="test")[0].load()
        top, left = (height - side) // 2, (width - side) // 2
        image[top : top + side, left : left + side] = face
    return image


_CROPS = (
    # height, width, centre x, centre y, size, angle, side, channels
    (256, 256, 127.5, 127.5, 200.0, 0.0, 128, 3),
    (256, 256, 120.3, 131.9, 171.4, 0.0, 128, 1),
    (240, 320, 150.7, 118.2, 128.0, 25.0, 128, 3),
    (240, 320, 150.7, 118.2, 97.3, -140.0, 64, 1),
    (240, 320, 20.0, 30.0, 180.0, 0.0, 128, 3),
    (240, 320, 300.5, 200.5, 40.25, 8.0, 128, 1),
    # Shrunk to less than half: whole and broken factors.
    (480, 640, 319.5, 239.5, 400.0, 0.0, 128, 3),
    (479, 641, 300.2, 260.8, 420.6, 0.0, 128, 1),
    (479, 641, 333.3, 222.2, 563.1, 33.0, 128, 3),
    (479, 641, 60.0, 400.0, 520.0, -10.0, 96, 1),
    (720, 1280, 640.0, 360.0, 900.0, 5.0, 128, 3),
    (40, 30, 15.0, 20.0, 2000.0, 0.0, 128, 3),
    (3, 5, 2.0, 1.0, 9.0, 45.0, 32, 3),
    (1, 1, 0.0, 0.0, 1.0, 0.0, 16, 1),
)


def _crops(store: _Store) -> list[dict[str, Any]]:
    """Every crop as it is and, three of them, from buffers that lie on their side or head."""
    cases = []
    for number, (height, width, x, y, size, angle, side, channels) in enumerate(_CROPS):
        image = _picture(height, width, seed=number)
        crop = Crop((x, y), size, angle)
        expected = store.put(cut(image, crop, side, channels))
        for turn in (0, 90, 180, 270) if number in (1, 7, 9) else (0,):
            # The buffer that stands upright after a turn by so many degrees clockwise.
            buffer = np.rot90(image, turn // 90)
            cases.append(
                {
                    "image": store.put(buffer),
                    "height": buffer.shape[0],
                    "width": buffer.shape[1],
                    "rotation_deg": turn,
                    "center": [x, y],
                    "size": size,
                    "angle_deg": angle,
                    "side": side,
                    "channels": channels,
                    "expected": expected,
                    "points": [[0.0, 0.0], [0.25, 0.75], [1.0, 1.0]],
                    "points_px": crop.to_image(np.array([[0, 0], [0.25, 0.75], [1, 1]])).tolist(),
                }
            )
    return cases


def _inputs(store: _Store) -> list[dict[str, Any]]:
    """All 256 pixel values in every kind of input tensor."""
    crop = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    specs = (
        InputSpec((1, 16, 16, 1), "float32", channels=1),
        InputSpec((1, 16, 16, 1), "uint8", channels=1, scale=1.0, zero_point=0),
        InputSpec((1, 16, 16, 1), "int8", channels=1, scale=1.0, zero_point=-128),
        InputSpec((1, 16, 16, 1), "int8", channels=1, scale=1.7, zero_point=-90),
        InputSpec((1, 16, 16, 1), "uint8", channels=1, scale=0.9, zero_point=3),
    )
    return [
        {
            "dtype": spec.dtype,
            "scale": spec.scale,
            "zero_point": spec.zero_point,
            "crop": store.put(crop),
            "expected": store.put(quantize(crop, spec)),
        }
        for spec in specs
    ]


def _axes() -> list[dict[str, Any]]:
    poses = [(0, 0, 0), (30, 0, 0), (0, 25, 0), (0, 0, 40), (-75, 12, -31), (110, -40, 160)]
    return [{"pose_deg": pose, "axes": axes_on_screen(np.array(pose, float)).tolist()} for pose in poses]


def _markup(markup: Markup) -> dict[str, Any]:
    lines = {name: group for name, group in markup.groups.items() if name not in APART}
    return {"size": markup.size, "groups": markup.groups, "lines": lines}


def _boxes() -> list[dict[str, Any]]:
    """The crop rule, and the whole frame's box."""
    cases = []
    for width, height, scale in ((640, 480, 1.3), (333, 777, 1.0), (1, 1, 2.0)):
        box = frame_box(np.zeros((height, width, 3), np.uint8), scale)
        crop = square_crop(box, scale)
        cases.append(
            {"width": width, "height": height, "scale": scale, "box": box.as_xyxy(), "center": crop.center,
             "size": crop.size}
        )  # fmt: skip
    return cases


def _drawn(store: _Store, pose: str, dtype: str) -> dict[str, Any]:
    """An `int8_logits` card with outputs drawn by hand: peaked maps of every width, and angles of both kinds."""
    rng = np.random.default_rng(17)
    markup, height, width, sharpness = ("ibug68", 16, 16, 1.0) if pose == "features" else ("aflw21", 24, 20, 20.0)
    size = MARKUPS[markup].size
    points = rng.uniform(0.05, 0.95, (size, 2))
    logits = IntegralHeatmap(height, width, sigma=1.5).encode_logits(points) * rng.uniform(0.02, 1, size) / sharpness
    values = {"maps": np.maximum(logits, -12 / sharpness)[None] + rng.normal(scale=0.3 / sharpness, size=logits.shape)}
    rules: dict[str, Any] = {"pose": pose}
    if pose == "features":
        values["pose_features"] = rng.normal(size=(1, 4, 4, 40))
        kernel = rng.normal(scale=20, size=(40, 3))
        rules |= {"pose_kernel": tuple(map(tuple, kernel.tolist())), "pose_bias": (1.5, -2.25, 0.5)}
    else:
        rules |= {"bins": 60, "bins_low_deg": -120.0, "bins_high_deg": 120.0}
        values["pose_logits"] = rng.normal(scale=2, size=(1, 3, 60))
    outputs, stored = {}, {}
    for role, value in values.items():
        if dtype == "float32":
            outputs[role], stored[role] = OutputSpec(role, value.shape, dtype), value.astype(np.float32)
            continue
        scale = float(np.float32(np.ptp(value) / 255))
        zero = int(np.rint(-128 - value.min() / scale))
        outputs[role] = OutputSpec(role, value.shape, dtype, scale, zero)
        stored[role] = np.clip(np.rint(value / scale) + zero, -128, 127).astype(np.int8)
    card = Card(
        name=f"drawn_{pose}_{dtype}",
        network="acdc",
        preset="drawn",
        variant="int8_logits",
        version="0",
        input=InputSpec((1, 64, 64, 1), "int8", channels=1, scale=1.0, zero_point=-128),
        crop=CropRule(),
        markup=markup,
        outputs=outputs,
        decode=Decode(height, width, sharpness, **rules),
    )
    name = f"{card.name}.tflite"
    # No interpreter loads it; a card reader must: it begins as every .tflite does, and the card lies at its end.
    (store.folder / name).write_bytes(b"\x1c\0\0\0TFL3" + rng.integers(0, 256, 999).astype(np.uint8).tobytes())
    attach_card(store.folder / name, card)
    real = {role: dequantize(stored[role], spec) for role, spec in outputs.items()}
    landmarks, spread = IntegralHeatmap(height, width).decode(sharpness * real["maps"][0])
    if pose == "features":
        pose_deg = LinearPose(card.decode.pose_kernel, card.decode.pose_bias).decode(real["pose_features"][0])
    else:
        pose_deg = BinnedAngles(-120.0, 120.0, 60).decode(real["pose_logits"][0])
    crop = Crop((210.5, 190.25), 260.0, 12.0)
    return {
        "card": name,
        "fields": _fields(card),
        "faces": [_answer(store, stored, crop, landmarks, pose_deg, spread)],
    }


def _model(store: _Store, path: Path, faces: int) -> dict[str, Any]:
    """A file's outputs on rendered faces, as stored, and what Python makes of them."""
    model = TFLiteModel(path)
    card = model.card
    name = f"{store.number():03d}_{path.name}"
    shutil.copyfile(path, store.folder / name)
    answers = []
    for sample in synthetic_samples(faces, size=3 * card.input.side, split="test"):
        image, crop = sample.load(), square_crop(_off(sample.box), card.crop.scale)
        pixels = cut(image, crop, card.input.side, card.input.channels)
        stored = model.run(pixels, raw=True)
        real = {role: dequantize(stored[role], spec) for role, spec in card.outputs.items()}
        found = model.decode(real)
        answers.append(
            _answer(store, stored, crop, found.get("landmarks"), found.get("pose"), found.get("spread"))
            | {
                "image": store.put(image),
                "height": image.shape[0],
                "width": image.shape[1],
                "box": _off(sample.box).as_xyxy(),
                "pixels": store.put(pixels),
                "input": store.put(quantize(pixels, card.input)),
            }
        )
    return {"card": name, "fields": _fields(card), "faces": answers}


def _off(box: Box) -> Box:
    """Not on whole pixels, as boxes are in use."""
    return Box(box.x0 + 0.37, box.y0 - 0.81, box.x1 + 0.37, box.y1 - 0.81)


def _answer(store, stored, crop, landmarks, pose_deg, spread) -> dict[str, Any]:
    return {
        "outputs": {role: store.put(values) for role, values in stored.items()},
        "center": crop.center,
        "size": crop.size,
        "angle_deg": crop.angle_deg,
        "landmarks_px": None if landmarks is None else crop.to_image(landmarks).tolist(),
        "pose_deg": None if pose_deg is None else np.asarray(pose_deg, float).tolist(),
        "spread": None if spread is None else np.asarray(spread, float).tolist(),
    }


def _fields(card: Card) -> dict[str, Any]:
    """What the Kotlin reader must find."""
    return {
        "name": card.name,
        "variant": card.variant,
        "markup": card.markup,
        "side": card.input.side,
        "channels": card.input.channels,
        "dtype": card.input.dtype,
        "crop_scale": card.crop.scale,
        "outputs": sorted(card.outputs),
    }

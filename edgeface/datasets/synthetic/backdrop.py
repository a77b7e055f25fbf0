"""What is around and before the face: backgrounds, objects that cover it, the camera's faults."""

from __future__ import annotations

import cv2
import numpy as np

from edgeface.datasets.synthetic.params import FaceParams

FLAT = ("hand", "bar")
"""The occluders that are drawn on the picture; the others are worn."""


def background(rng: np.random.Generator, side: int) -> np.ndarray:
    """(side, side, 3) float32 RGB: a gradient with noise, shapes or blurred blobs."""
    small = 48
    base, far = rng.uniform(15, 235, (2, 3))
    # Rooms and streets are greyer than random colours.
    dull = rng.uniform(0.35, 0.95, 2)
    base, far = (c + (c.mean() - c) * d for c, d in zip((base, far), dull, strict=True))
    if rng.random() < 0.5:
        far = base + rng.normal(0, 30, 3)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : small * 1j, -1 : 1 : small * 1j].astype(np.float32)
    ramp = np.clip(0.5 + 0.5 * (x * np.cos(angle) + y * np.sin(angle)), 0, 1)[..., None]
    picture = (base + (far - base) * ramp).astype(np.float32)
    kind = rng.integers(4)
    if kind >= 1:
        canvas = np.clip(picture, 0, 255).astype(np.uint8)
        for _ in range(int(rng.integers(4, 12))):
            colour = np.clip(base + rng.normal(0, 45) + rng.normal(0, 25, 3), 0, 255).tolist()
            centre = rng.integers(-8, small + 8, 2)
            if kind == 1:
                cv2.circle(canvas, centre.tolist(), int(rng.integers(3, 14)), colour, -1, cv2.LINE_AA)
            else:
                quad = centre + rng.integers(-18, 18, (4, 2))
                cv2.fillConvexPoly(canvas, cv2.convexHull(quad.astype(np.int32)), colour, cv2.LINE_AA)
        picture = cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), float(rng.uniform(0.6, 5)))
    picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.6:
        cells = int(rng.integers(6, side // 2))
        mottle = rng.standard_normal((cells, cells, 1)).astype(np.float32)
        texture = cv2.resize(mottle, (side, side), interpolation=cv2.INTER_LINEAR)[..., None]
        picture = picture * (1 + float(rng.uniform(0.02, 0.15)) * texture)
    return np.clip(picture, 0, 255)


def cover(params: FaceParams, box: tuple[float, float, float, float], side: int) -> np.ndarray:
    """(side, side) uint8 coverage of the flat object before the face: a bar, else a hand.

    box: of the face in the pixels of this picture.
    """
    rng = np.random.default_rng((params.seed, 4))
    x0, y0, x1, y1 = box
    size = max(x1 - x0, y1 - y0)
    mask = np.zeros((side, side), np.uint8)
    if params.occluder == "bar":
        angle = rng.uniform(0, np.pi)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + across * rng.choice([-1, 1]) * rng.uniform(0.15, 0.5) * size
        half = rng.uniform(0.05, 0.12) * size
        corners = [centre + along * 3 * size * i + across * half * j for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        cv2.fillConvexPoly(mask, np.round(np.array(corners) * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
        return mask
    # A hand: palm from below or the side, four fingers and a thumb as thick lines.
    start = rng.uniform(-0.9, 0.9)
    palm = np.array([(x0 + x1) / 2 + start * 0.5 * size, y1 + rng.uniform(-0.05, 0.2) * size])
    aim = np.arctan2(-1, -start * rng.uniform(0.0, 0.8))
    thick = 0.105 * size
    for i, (spread, length) in enumerate(((-0.95, 0.34), (-0.32, 0.5), (-0.1, 0.56), (0.12, 0.53), (0.34, 0.43))):
        angle = aim + spread * rng.uniform(0.8, 1.2)
        side_step = np.array([-np.sin(aim), np.cos(aim)]) * (i - 2) * thick * 0.85
        tip = palm + side_step + np.array([np.cos(angle), np.sin(angle)]) * length * size
        cv2.line(mask, _fixed(palm + side_step), _fixed(tip), 255, max(2, round(thick)), cv2.LINE_AA, 4)
    cv2.circle(mask, _fixed(palm), round(0.24 * size * 16), 255, -1, cv2.LINE_AA, 4)
    wrist = palm - np.array([np.cos(aim), np.sin(aim)]) * size
    cv2.line(mask, _fixed(palm), _fixed(wrist), 255, max(2, round(0.3 * size)), cv2.LINE_AA, 4)
    return mask


def _fixed(point: np.ndarray) -> tuple[int, int]:
    return int(round(point[0] * 16)), int(round(point[1] * 16))


def paint_cover(picture: np.ndarray, mask: np.ndarray, params: FaceParams) -> None:
    """Draws the object of `cover` onto a float32 picture, in place, rounded by shading its rim."""
    inner = cv2.GaussianBlur(mask, (0, 0), picture.shape[0] / 60).astype(np.float32)[..., None] / 255
    if params.occluder == "hand":
        ambient = np.asarray(params.light.ambient) + 0.55 * np.asarray(params.light.colour)
        colour = np.asarray(params.look.skin) * np.clip(ambient, 0, 1.15) * (0.98, 0.94, 0.92)
    else:
        colour = np.asarray(params.look.gear) * 0.5 + np.asarray(params.look.cloth) * 0.5
    shaded = colour.astype(np.float32) * (0.25 + 0.75 * inner**1.5)
    alpha = mask.astype(np.float32)[..., None] / 255
    picture += (shaded - picture) * alpha


def camera_faults(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, tone, blur, grain and compression: (side, side, 3) float32 0..255 -> uint8."""
    gain, tone = rng.normal(0.98, 0.09), rng.normal(1, 0.1)
    if rng.random() < 0.35:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.0)))
    saturation = float(np.clip(rng.normal(1, 0.2), 0 if rng.random() < 0.06 else 0.5, 1.4))
    gray = picture.mean(-1, keepdims=True)
    picture = gray + (picture - gray) * saturation
    table = 255 * np.clip(np.arange(256) / 255 * np.clip(gain, 0.7, 1.25), 0, 1) ** np.clip(tone, 0.75, 1.3)
    grain = float(rng.uniform(0, 5) * (rng.random() < 0.7))
    if grain > 0.5:
        noise = rng.standard_normal(picture.shape[:2], np.float32)[..., None]
        picture = picture + grain * noise
    out = cv2.LUT(np.clip(picture, 0, 255).astype(np.uint8), np.round(table).astype(np.uint8))
    if rng.random() < 0.3:
        quality = int(rng.integers(35, 90))
        out = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return np.ascontiguousarray(out)

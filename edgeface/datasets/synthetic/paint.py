"""The texture: skin, hair line, brows, eyes, lips, beard, painted in the head's own chart."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from edgeface.datasets.synthetic import gear
from edgeface.datasets.synthetic.features import SIDES, Eye, Features, pupil
from edgeface.datasets.synthetic.head import COLUMNS, JAW_ROW, NECK_ROW, ROWS, Head
from edgeface.datasets.synthetic.params import FaceParams, Look

TEXELS = 6
"""Texels a vertex step."""
_SHIFT = 4
HEIGHT, WIDTH = (ROWS - 1) * TEXELS + 1, (COLUMNS - 1) * TEXELS + 1


@lru_cache(maxsize=1)
def _noise() -> dict[str, np.ndarray]:
    """Fixed tiles of noise, zero mean, about unit size: fine, mottled, and strands that run down."""
    rng = np.random.default_rng(20)
    shape = (HEIGHT * 2, WIDTH * 2)
    fine = rng.standard_normal(shape, np.float32)
    mottled = cv2.GaussianBlur(fine, (0, 0), 5)
    strands = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), sigmaX=0.7, sigmaY=9)
    locks = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), sigmaX=4, sigmaY=40)
    return {
        "fine": cv2.GaussianBlur(fine, (0, 0), 0.7) / 0.5,
        "mottled": mottled / mottled.std(),
        "strands": strands / strands.std() * 0.7 + locks / locks.std() * 0.7,
    }


def noise(kind: str, rng: np.random.Generator) -> np.ndarray:
    """(HEIGHT, WIDTH) float32: a window of the tile of that kind."""
    tile = _noise()[kind]
    y, x = rng.integers(0, HEIGHT), rng.integers(0, WIDTH)
    return tile[y : y + HEIGHT, x : x + WIDTH]


def enlarge(grid: np.ndarray) -> np.ndarray:
    """(rows, columns[, C]) values at vertices -> texels, exactly registered."""
    height, width = (grid.shape[0] - 1) * TEXELS + 1, (grid.shape[1] - 1) * TEXELS + 1
    matrix = np.array([[1 / TEXELS, 0, 0], [0, 1 / TEXELS, 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        grid.astype(np.float32), matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )


class Canvas:
    """The head's texture, (HEIGHT, WIDTH, 3) float32 RGB, drawn on by frontal (x, y) curves."""

    def __init__(self, head: Head, colour: np.ndarray):
        self.head, self.pixels = head, colour

    def _texels(self, xy: np.ndarray) -> np.ndarray:
        return self.head.chart_of_xy(xy) * TEXELS

    def _window(self, texels: np.ndarray, margin: float) -> tuple[slice, slice, np.ndarray]:
        low = np.maximum(np.floor(texels.min(0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(texels.max(0) + margin) + 1, [WIDTH, HEIGHT]).astype(int)
        return slice(low[1], high[1]), slice(low[0], high[0]), low

    def mask(self, xy: np.ndarray, soft: float = 0.0) -> tuple[slice, slice, np.ndarray]:
        """Coverage 0..1 of a polygon (N, 2) cm in its own window; soft: blur in texels."""
        texels = self._texels(xy)
        rows, columns, low = self._window(texels, 2 + 2.5 * soft)
        cover = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        fixed = np.round((texels - low) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(cover, [fixed], 255, cv2.LINE_AA, _SHIFT)
        if soft:
            cover = cv2.GaussianBlur(cover, (0, 0), soft)
        return rows, columns, cover.astype(np.float32) * (1 / 255)

    def line_mask(self, xy: np.ndarray, width: int, soft: float = 0.0) -> tuple[slice, slice, np.ndarray]:
        """Coverage of an open line of ``width`` texels."""
        texels = self._texels(xy)
        rows, columns, low = self._window(texels, 2 + width + 2.5 * soft)
        cover = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        fixed = np.round((texels - low) * (1 << _SHIFT)).astype(np.int32)
        cv2.polylines(cover, [fixed], False, 255, width, cv2.LINE_AA, _SHIFT)
        if soft:
            cover = cv2.GaussianBlur(cover, (0, 0), soft)
        return rows, columns, cover.astype(np.float32) * (1 / 255)

    def blend(self, where: tuple[slice, slice, np.ndarray], colour: np.ndarray, alpha: float | np.ndarray = 1.0):
        rows, columns, cover = where
        patch = self.pixels[rows, columns]
        patch += (np.asarray(colour, np.float32) - patch) * (cover * alpha)[..., None]

    def multiply(self, where: tuple[slice, slice, np.ndarray], factor: tuple[float, float, float], alpha: float = 1.0):
        rows, columns, cover = where
        self.pixels[rows, columns] *= 1 + (cover * alpha)[..., None] * (np.asarray(factor, np.float32) - 1)


def _disc(centre: np.ndarray, rx: float, ry: float, count: int = 20) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return centre + np.stack([rx * np.cos(angle), ry * np.sin(angle)], axis=-1)


def paint_head(params: FaceParams, features: Features, vertices: np.ndarray) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) float32 RGB 0..255."""
    head, look = features.head, params.look
    rng = np.random.default_rng((params.seed, 3))
    canvas = Canvas(head, _skin(head, features, look, vertices, rng))
    strands = noise("strands", rng)
    _wrinkles(canvas, features, look)
    _nostrils(canvas, features)
    _mouth(canvas, features, look)
    if look.beard or look.moustache:
        _beard(canvas, features, look, vertices, noise("fine", rng))
    for eye in features.eyes:
        _eye(canvas, eye, features, look)
    for side in SIDES:
        _brow(canvas, side, features, look, strands)
    _hair(canvas, head, look, strands)
    _cloth(canvas, params, look, strands)
    return np.clip(canvas.pixels, 0, 255)


def _skin(head: Head, f: Features, look: Look, vertices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tone, blood, hollows: smooth maps made at the vertices, with noise on top."""
    x, y, z = np.moveaxis(vertices, -1, 0)
    ax, front = np.abs(x), (z > 0).astype(float)

    def blob(cx: float, cy: float, wx: float, wy: float) -> np.ndarray:
        return front * np.exp(-(((ax - cx) / wx) ** 2) - ((y - cy) / wy) ** 2)

    e, s = head.expression, head.shape
    hollow = 0.2 * s.eye_depth * blob(head.eye_x - 0.4, 0.5, 1.9, 1.1) + 0.16 * blob(head.eye_x, -0.9, 1.4, 0.55)
    hollow += 0.25 * blob(1.1, 0.3, 0.7, 1.1) + 0.16 * blob(1.75 * s.nose_width, head.nose_base_y + 1.2, 0.5, 1.3)
    hollow += 0.3 * blob(0.0, head.nose_base_y - 0.15, 1.3 * s.nose_width, 0.3)
    hollow += 0.22 * blob(0.0, head.mouth_y - 1.6 - head.jaw_drop, 1.4, 0.4)
    hollow += 0.12 * blob(f.mouth_half + 0.5, f.corner_y, 0.5, 0.7)
    below = np.clip((np.arange(ROWS) - JAW_ROW) / 3, 0, 1)[:, None] * np.ones(COLUMNS)
    hollow += 0.34 * below
    shine = 0.07 * blob(0.0, -2.0, 0.55, 2.2) + 0.05 * blob(4.2, -2.4, 1.4, 0.9) + 0.05 * blob(0, 5.0, 3.0, 1.6)
    red = look.blush * (0.5 * blob(4.3, -2.8, 1.9, 1.4) + 0.35 * blob(0.0, head.nose_tip_y, 1.1, 0.9))
    red += 0.12 * blob(head.eye_x, -0.2, 2.0, 1.0) + 0.0 * e.smile
    shade = np.stack([1 - 0.75 * hollow + shine, 1 - hollow - 0.22 * red + shine, 1 - 1.05 * hollow - 0.2 * red + shine], -1)
    skin = enlarge(shade) * np.asarray(look.skin, np.float32)
    grain = noise("mottled", rng) * (0.012 + 0.02 * look.roughness) + noise("fine", rng) * 0.018 * look.roughness
    if look.freckles:
        spots = np.clip(noise("fine", rng) - 1.35, 0, 1) * (0.35 * look.freckles)
        grain = grain - spots * enlarge(np.exp(-((ax / 5) ** 2) - ((y + 2.0) / 2.6) ** 2) * front)
    skin *= 1 + grain[..., None]
    return skin


def _wrinkles(canvas: Canvas, f: Features, look: Look) -> None:
    head = f.head
    strength = 0.25 + 0.5 * look.wrinkles + 0.3 * max(head.expression.smile, 0)
    t = np.linspace(0, 1, 8)[:, None]
    for side in SIDES:
        start = np.array([side * 1.75 * head.shape.nose_width, head.nose_base_y + 0.9])
        end = np.array([side * (f.mouth_half + 0.65), f.corner_y + 0.1])
        bow = np.array([side * 0.45, 0.25]) * np.sin(np.pi * t)
        canvas.multiply(canvas.line_mask(start + (end - start) * t + bow, 3, 1.8), (0.72, 0.66, 0.64), 0.8 * strength)
        bag = f.eyes[(side + 1) // 2].lower(np.linspace(0.05, 0.8, 8)) - [0, 0.55]
        canvas.multiply(canvas.line_mask(bag, 2, 1.2), (0.75, 0.7, 0.7), 0.5 * look.wrinkles)
    if look.wrinkles > 0.25:
        x = np.linspace(-3.6, 3.6, 12)
        for i in range(3):
            line = np.stack([x, 4.0 + 1.1 * i + 0.35 * head.expression.brow_raise - 0.03 * x * x], -1)
            canvas.multiply(canvas.line_mask(line, 1, 0.9), (0.8, 0.76, 0.74), 0.7 * (look.wrinkles - 0.25))


def _nostrils(canvas: Canvas, f: Features) -> None:
    s, base = f.head.shape, f.head.nose_base_y
    for side in SIDES:
        hole = _disc(np.array([side * 0.72 * s.nose_width, base + 0.22]), 0.4 * s.nose_width, 0.16)
        canvas.multiply(canvas.mask(hole, 0.7), (0.3, 0.2, 0.18), 0.9)
        wing = base + 0.55 + np.array([-0.5, -0.2, 0.2, 0.55])
        line = np.stack([side * s.nose_width * np.array([1.42, 1.68, 1.72, 1.5]), wing], -1)
        canvas.multiply(canvas.line_mask(line, 2, 0.9), (0.66, 0.58, 0.56), 0.7)


def _mouth(canvas: Canvas, f: Features, look: Look) -> None:
    u, back = np.linspace(-1, 1, 25), np.linspace(1, -1, 25)
    top, bottom = f.upper_lip_bottom(u), f.lower_lip_top(back)
    lips = np.asarray(look.lips)
    canvas.blend(canvas.mask(np.concatenate([f.upper_lip_top(u), top[::-1]]), 0.5), lips * 0.86)
    canvas.blend(canvas.mask(np.concatenate([bottom, f.lower_lip_bottom(u)]), 0.5), lips)
    gloss = f.lower_lip_bottom(np.linspace(-0.4, 0.4, 7)) * 0.45 + f.lower_lip_top(np.linspace(-0.4, 0.4, 7)) * 0.55
    canvas.multiply(canvas.line_mask(gloss, 3, 1.8), (1.22, 1.2, 1.2))
    gap = float(top[12, 1] - bottom[12, 1])
    if gap > 0.12:
        hole = np.concatenate([top, bottom])
        rows, columns, cover = canvas.mask(hole)
        inside = np.zeros((*cover.shape, 3), np.float32) + np.array([52, 16, 18], np.float32)
        patch = Canvas(f.head, np.zeros((0, 0, 3), np.float32))
        teeth = top.copy()
        teeth[:, 1] -= min(0.75, 0.8 * gap) * np.clip(1 - (u / 0.86) ** 4, 0, 1)
        tongue = _disc(np.array([0.0, bottom[12, 1] + 0.1 * gap]), 0.55 * f.mouth_half, 0.32 * gap)
        for shape, colour in ((tongue, (150, 66, 66)), (np.concatenate([top, teeth[::-1]]), (232, 226, 212))):
            r, c, m = patch.mask(shape, 0.5)
            _paste(inside, rows, columns, r, c, m, np.array(colour, np.float32))
        target = canvas.pixels[rows, columns]
        target += (inside - target) * cover[..., None]
    canvas.blend(canvas.line_mask(f.upper_lip_bottom(u), 1, 0.6), lips * 0.35, 0.85)
    canvas.multiply(canvas.line_mask(f.lower_lip_bottom(np.linspace(-0.5, 0.5, 7)) - [0, 0.2], 2, 1.2), (0.8, 0.76, 0.75))


def _paste(target: np.ndarray, rows: slice, columns: slice, r: slice, c: slice, mask: np.ndarray, colour: np.ndarray):
    """Blends a mask with its own window (r, c) into a patch that covers (rows, columns)."""
    y0, y1 = max(rows.start, r.start), min(rows.stop, r.stop)
    x0, x1 = max(columns.start, c.start), min(columns.stop, c.stop)
    if y1 <= y0 or x1 <= x0:
        return
    patch = target[y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start]
    patch += (colour - patch) * mask[y0 - r.start : y1 - r.start, x0 - c.start : x1 - c.start, None]


def _eye(canvas: Canvas, eye: Eye, f: Features, look: Look) -> None:
    skin = np.asarray(look.skin)
    s = np.linspace(0, 1, 14)
    upper, lower = eye.upper(s), eye.lower(s)
    crease = eye.upper(s) + np.stack([0 * s, 0.32 + 0.12 * np.sin(np.pi * s) + 0.25 * (1 - min(eye.opening, 1))], -1)
    canvas.multiply(canvas.line_mask(crease[1:], 2, 0.9), (0.66, 0.58, 0.56), 0.75)
    if eye.opening > 0.06:
        rows, columns, cover = canvas.mask(eye.outline())
        ball = np.zeros((*cover.shape, 3), np.float32) + np.array([236, 230, 226], np.float32)
        if eye.opening > 0.3:
            centre = pupil(eye, f)
        else:
            centre = np.array([eye.side * eye.center[0] + 0.5 * f.head.expression.gaze[0], 0.08])
        patch = Canvas(f.head, np.zeros((0, 0, 3), np.float32))
        iris = np.asarray(look.iris, np.float32)
        for radius, colour in ((0.66, iris * 0.45), (0.57, iris * 1.1), (0.27, np.array([12, 10, 10], np.float32))):
            _paste(ball, rows, columns, *patch.mask(_disc(centre, radius, radius), 0.4), colour)
        glint = _disc(centre + [0.2, 0.22], 0.13, 0.13, 10)
        _paste(ball, rows, columns, *patch.mask(glint), np.array([250, 250, 250], np.float32))
        _paste(ball, rows, columns, *patch.line_mask(upper, 4, 1.6), iris * 0.2 + skin * 0.15)
        corner = _disc(eye.upper(np.array([0.04]))[0], 0.22, 0.2, 10)
        _paste(ball, rows, columns, *patch.mask(corner, 0.8), np.array([206, 140, 130], np.float32))
        target = canvas.pixels[rows, columns]
        target += (ball - target) * cover[..., None]
    lash = skin * 0.12
    canvas.blend(canvas.line_mask(upper, 1 + (look.lashes > 0.5), 0.5), lash, 0.5 + 0.5 * look.lashes)
    canvas.blend(canvas.line_mask(lower[3:], 1, 0.6), skin * 0.3, 0.35 + 0.3 * look.lashes)


def _brow(canvas: Canvas, side: int, f: Features, look: Look, strands: np.ndarray) -> None:
    s = np.linspace(0, 1, 12)
    rows, columns, cover = canvas.mask(np.concatenate([f.brow(side, s, 1), f.brow(side, s[::-1], -1)]), 0.9)
    hairs = 0.85 + 0.25 * strands[rows, columns]
    canvas.blend((rows, columns, cover), np.asarray(look.brow), np.clip(hairs, 0.4, 1) * 0.92)


def _beard(canvas: Canvas, f: Features, look: Look, vertices: np.ndarray, grain: np.ndarray) -> None:
    head = f.head
    x, y, z = np.moveaxis(vertices, -1, 0)
    ax = np.abs(x)
    line = f.corner_y - 0.9 + np.clip(ax - 2.2, 0, None) * 1.15
    chin = np.clip((line - y) / 1.6, 0, 1) * np.clip(z / 2 + 0.6, 0, 1)
    chin *= np.clip((NECK_ROW - 1 - np.arange(ROWS))[:, None] / 2, 0, 1)
    around = np.exp(-(((ax - f.mouth_half - 0.45) / 0.7) ** 2) - ((y - f.corner_y + 0.4) / 1.2) ** 2)
    above = np.exp(-((ax / (f.mouth_half + 0.3)) ** 4) - ((y - (head.nose_base_y + head.mouth_y + 0.75) / 2) / 0.5) ** 2)
    cover = look.beard * np.maximum(chin, around * look.moustache) + look.moustache * look.beard * above * (z > 0)
    cover = enlarge(np.clip(cover, 0, 1)) * np.clip(0.78 + 0.22 * grain, 0, 1)
    u, back = np.linspace(-1, 1, 25), np.linspace(1, -1, 25)
    rows, columns, lips = canvas.mask(np.concatenate([f.upper_lip_top(u), f.lower_lip_bottom(back)]), 0.6)
    cover[rows, columns] *= 1 - lips
    canvas.pixels += (np.asarray(look.hair, np.float32) * 0.9 - canvas.pixels) * (cover * 0.9)[..., None]


def _hair(canvas: Canvas, head: Head, look: Look, strands: np.ndarray) -> None:
    if look.hair_style == "bald":
        return
    azimuth, y = head.rings()
    cover = np.zeros((ROWS, COLUMNS))
    line = gear.hairline_y(look.hair_style, look.hair_part, azimuth)
    cover[: JAW_ROW + 1] = y - line
    cover[JAW_ROW + 1 : NECK_ROW] = cover[JAW_ROW] * 0.9
    cover[NECK_ROW:] = -5
    alpha = np.clip(enlarge(cover) * 2.2 + 0.5 + 0.35 * strands, 0, 1)
    if look.hair_style == "buzz":
        alpha *= 0.8
    colour = np.asarray(look.hair, np.float32) * (1 + 0.3 * strands)[..., None]
    canvas.pixels += (colour - canvas.pixels) * alpha[..., None]


def _cloth(canvas: Canvas, params: FaceParams, look: Look, strands: np.ndarray) -> None:
    first = (NECK_ROW + 2) * TEXELS
    if params.occluder == "scarf":
        first = (JAW_ROW - 3) * TEXELS
    if params.occluder == "mask":
        f = Features(canvas.head)
        head = canvas.head
        top = head.nose_tip_y + 1.6
        x = np.linspace(-5.6, 5.6, 24) * head.shape.width
        upper = np.stack([x, top - 0.05 * x * x + 0.3 * np.cos(x)], -1)
        low = np.maximum(head.chin_y + 0.15 + 0.055 * x * x, head.jaw_y(np.arcsin(np.clip(x / 6.6, -1, 1))) + 0.1)
        cover = canvas.mask(np.concatenate([upper, np.stack([x, low], -1)[::-1]]), 0.6)
        canvas.blend(cover, np.asarray(look.cloth) * 0.4 + 130)
        for share in (0.3, 0.5, 0.7):
            fold = upper * (1 - share) + np.stack([x, low], -1) * share
            canvas.multiply(canvas.line_mask(fold[2:-2], 2, 0.8), (0.8, 0.8, 0.8))
        del f
    rows = slice(first, HEIGHT)
    canvas.pixels[rows] = np.asarray(look.cloth, np.float32) * (1 + 0.1 * strands[rows])[..., None]


def paint_part(name: str, shape: tuple[int, int], look: Look, rng: np.random.Generator) -> np.ndarray:
    """((rows - 1) * TEXELS + 1, (columns - 1) * TEXELS + 1, 3) float32: an ear, hanging hair or gear."""
    rows, columns = shape
    height, width = (rows - 1) * TEXELS + 1, (columns - 1) * TEXELS + 1
    if name == "hair":
        window = noise("strands", rng)[:height, :width]
        fade = np.linspace(1.0, 0.8, height, dtype=np.float32)[:, None]
        return np.asarray(look.hair, np.float32) * ((1 + 0.32 * window) * fade)[..., None]
    if name.startswith("ear"):
        v, across = np.mgrid[1 : -1 : rows * 1j, 0 : 1 : columns * 1j]
        if name == "ear_right":
            across = 1 - across
        bowl = np.exp(-(((across - 0.4) / 0.22) ** 2) - ((v + 0.1) / 0.5) ** 2)
        groove = np.exp(-(((across - 0.72) / 0.1) ** 2)) * np.clip(v + 0.6, 0, 1)
        shade = 1 - 0.55 * bowl - 0.3 * groove
        return enlarge(np.stack([shade, shade**1.25, shade**1.3], -1)) * np.asarray(look.skin, np.float32) * 0.97
    return np.full((height, width, 3), look.gear, np.float32)

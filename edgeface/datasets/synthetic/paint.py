"""The texture: skin, hair line, brows, eyes, lips, beard, painted in the head's own chart."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from edgeface.datasets.synthetic import gear
from edgeface.datasets.synthetic.features import SIDES, Eye, Features, pupil
from edgeface.datasets.synthetic.head import COLUMNS, JAW_ROW, NECK_ROW, ROWS, Head
from edgeface.datasets.synthetic.params import FaceParams, Look
from edgeface.datasets.synthetic.scene import Scene

TEXELS = 6
"""Texels a vertex step."""
_SHIFT = 4
HEIGHT, WIDTH = ROWS * TEXELS, COLUMNS * TEXELS


@lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    """(2 HEIGHT, 2 WIDTH, 3) fixed tile, zero mean, about unit size: fine grain, mottles, strands that run down."""
    rng = np.random.default_rng(20)
    shape = (HEIGHT * 2, WIDTH * 2)
    fine = rng.standard_normal(shape, np.float32)
    mottled = cv2.GaussianBlur(fine, (0, 0), 5)
    strands = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), sigmaX=0.7, sigmaY=9)
    locks = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), sigmaX=4, sigmaY=40)
    fine = cv2.GaussianBlur(fine, (0, 0), 0.7)
    strands = 0.7 * strands / strands.std() + 0.7 * locks / locks.std()
    return np.stack([fine / fine.std(), mottled / mottled.std(), strands], axis=-1)


def _noise_offset(params: FaceParams) -> tuple[int, int]:
    return params.seed * 37 % WIDTH, params.seed * 61 % HEIGHT


def noise_window(params: FaceParams, rows: slice, columns: slice) -> np.ndarray:
    """(h, w, 3) noise of a window of the head's texture."""
    x, y = _noise_offset(params)
    return _noise()[y + rows.start : y + rows.stop, x + columns.start : x + columns.stop]


def noise_at(params: FaceParams, column: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Skin grain (a relative change of brightness) and strands at chart positions (h, w)."""
    x, y = _noise_offset(params)
    tile = cv2.remap(_noise(), texel(column) + x, texel(row) + y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    rough = params.look.roughness
    return tile[..., 0] * (0.018 * rough) + tile[..., 1] * (0.012 + 0.02 * rough), tile[..., 2]


def texel(chart: np.ndarray) -> np.ndarray:
    """Where a chart position (a vertex is at integers) lies in a texture of TEXELS pixels a vertex."""
    return chart * TEXELS + (TEXELS - 1) / 2


def enlarge(grid: np.ndarray) -> np.ndarray:
    """(rows, columns[, C]) values at vertices -> (TEXELS rows, TEXELS columns[, C]) float32, registered as `texel`."""
    size = (grid.shape[1] * TEXELS, grid.shape[0] * TEXELS)
    return cv2.resize(grid.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)


class Canvas:
    """The head's texture, (HEIGHT, WIDTH, 3) float32 RGB, drawn on by frontal (x, y) curves."""

    def __init__(self, head: Head, colour: np.ndarray):
        self.head, self.pixels = head, colour

    def _draw(self, xy: np.ndarray, margin: int, soft: float, width: int) -> tuple[slice, slice, np.ndarray]:
        fixed = np.rint(texel(self.head.chart_of_xy(xy)) * (1 << _SHIFT)).astype(np.int32)
        left, top, across, down = cv2.boundingRect(fixed)
        x0, y0 = max((left >> _SHIFT) - margin, 0), max((top >> _SHIFT) - margin, 0)
        x1 = min(((left + across) >> _SHIFT) + margin + 2, WIDTH)
        y1 = min(((top + down) >> _SHIFT) + margin + 2, HEIGHT)
        cover = np.zeros((y1 - y0, x1 - x0), np.uint8)
        fixed -= (x0 << _SHIFT, y0 << _SHIFT)
        if width:
            cv2.polylines(cover, [fixed], False, 255, width, cv2.LINE_AA, _SHIFT)
        else:
            cv2.fillPoly(cover, [fixed], 255, cv2.LINE_AA, _SHIFT)
        if soft:
            cover = cv2.GaussianBlur(cover, (0, 0), soft)
        return slice(y0, y1), slice(x0, x1), cover.astype(np.float32) * np.float32(1 / 255)

    def mask(self, xy: np.ndarray, soft: float = 0.0) -> tuple[slice, slice, np.ndarray]:
        """Coverage 0..1 of a polygon (N, 2) cm in its own window; soft: blur in texels."""
        return self._draw(xy, 2 + math.ceil(2.5 * soft), soft, 0)

    def line_mask(self, xy: np.ndarray, width: int, soft: float = 0.0) -> tuple[slice, slice, np.ndarray]:
        """Coverage of an open line of ``width`` texels."""
        return self._draw(xy, 2 + width + math.ceil(2.5 * soft), soft, width)

    def blend(self, where: tuple[slice, slice, np.ndarray], colour: np.ndarray, alpha: float | np.ndarray = 1.0):
        rows, columns, cover = where
        patch = self.pixels[rows, columns]
        patch += (np.asarray(colour, np.float32) - patch) * (cover * alpha)[..., None]

    def multiply(self, where: tuple[slice, slice, np.ndarray], factor: tuple[float, float, float], alpha: float = 1.0):
        rows, columns, cover = where
        self.pixels[rows, columns] *= 1 + (cover * alpha)[..., None] * (np.asarray(factor, np.float32) - 1)


_CIRCLE = np.stack([np.cos(np.arange(20) * np.pi / 10), np.sin(np.arange(20) * np.pi / 10)], axis=-1)
_ALONG_LIP, _BACK_LIP = np.linspace(-1, 1, 25), np.linspace(1, -1, 25)
_MID_LIP = np.linspace(-0.45, 0.45, 7)
_ALONG = np.linspace(0, 1, 12)
"""Samples of the drawn curves."""


def _disc(centre: np.ndarray, rx: float, ry: float) -> np.ndarray:
    return centre + _CIRCLE * (rx, ry)


def paint_head(params: FaceParams, features: Features, vertices: np.ndarray) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) float32 RGB 0..255, without hair and grain. vertices: at rest, without hair."""
    head, look = features.head, params.look
    colours = _skin(head, features, look, vertices)
    canvas = Canvas(head, enlarge(colours))
    _wrinkles(canvas, features, look)
    _nostrils(canvas, features)
    _mouth(canvas, features, look)
    if look.freckles:
        _freckles(canvas, params)
    if look.beard:
        _beard(canvas, features, params, vertices)
    for eye in features.eyes:
        _eye(canvas, eye, features, look)
    for side in SIDES:
        _brow(canvas, side, features, params)
    if params.occluder == "mask":
        _mask(canvas, look)
    collar = JAW_ROW - 3 if params.occluder == "scarf" else NECK_ROW + 1.5
    canvas.pixels[int(collar * TEXELS) :] = look.cloth
    return canvas.pixels


def covers(scene: Scene, rows: int) -> np.ndarray:
    """(rows, COLUMNS, 2) at the vertices: how far above the hair line (0.5: on it), and how rough the surface is."""
    head, look = scene.head, scene.params.look
    out = np.zeros((rows, COLUMNS, 2), np.float32)
    out[..., 0] = -9
    out[:, :, 1] = 1
    if look.hair_style != "bald":
        above = head.ring_y - gear.hairline_y(look.hair_style, look.hair_part, head.azimuth)
        out[: JAW_ROW + 1, :, 0] = above * 2.2 + 0.5
        out[JAW_ROW + 1 : NECK_ROW, :, 0] = out[JAW_ROW, :, 0] * 0.9
        out[NECK_ROW:, :, 0] = -9
    for part in scene.parts:
        if part.name == "hair":
            out[part.row : part.row + len(part.grid), :, 0] = 9
    return out


def _skin(head: Head, f: Features, look: Look, vertices: np.ndarray) -> np.ndarray:
    """(ROWS, COLUMNS, 3): tone, blood and hollows at the vertices."""
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
    hollow += 0.42 * np.clip((np.arange(ROWS) - JAW_ROW) / 2, 0, 1)[:, None]
    shine = 0.07 * blob(0.0, -2.0, 0.55, 2.2) + 0.05 * blob(4.2, -2.4, 1.4, 0.9) + 0.05 * blob(0, 5.0, 3.0, 1.6)
    red = look.blush * (0.5 * blob(4.3, -2.8, 1.9, 1.4) + 0.35 * blob(0.0, head.nose_tip_y, 1.1, 0.9))
    red += 0.12 * blob(head.eye_x, -0.2, 2.0, 1.0) + 0.0 * e.smile
    shade = np.stack(
        [1 - 0.75 * hollow + shine, 1 - hollow - 0.22 * red + shine, 1 - 1.05 * hollow - 0.2 * red + shine], -1
    )
    return np.clip(shade, 0, None) * np.asarray(look.skin)


def _freckles(canvas: Canvas, params: FaceParams) -> None:
    xy = _disc(np.array([0.0, -1.6]), 5.2, 2.8)
    rows, columns, cover = canvas.mask(xy, 6)
    spots = np.clip(noise_window(params, rows, columns)[..., 0] - 1.25, 0, 1) * params.look.freckles
    canvas.multiply((rows, columns, cover * spots), (0.62, 0.5, 0.42))


def _wrinkles(canvas: Canvas, f: Features, look: Look) -> None:
    head = f.head
    strength = 0.25 + 0.5 * look.wrinkles + 0.3 * max(head.expression.smile, 0)
    t = _ALONG[:, None]
    for side in SIDES:
        start = np.array([side * 1.75 * head.shape.nose_width, head.nose_base_y + 0.9])
        end = np.array([side * (f.mouth_half + 0.65), f.corner_y + 0.1])
        bow = np.array([side * 0.45, 0.25]) * np.sin(np.pi * t)
        canvas.multiply(canvas.line_mask(start + (end - start) * t + bow, 3, 1.8), (0.72, 0.66, 0.64), 0.8 * strength)
        bag = f.eyes[(side + 1) // 2].lower(0.05 + 0.75 * _ALONG) - [0, 0.55]
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
    u, back = _ALONG_LIP, _BACK_LIP
    top, bottom = f.upper_lip_bottom(u), f.lower_lip_top(back)
    lips = np.asarray(look.lips)
    canvas.blend(canvas.mask(np.concatenate([f.upper_lip_top(u), top[::-1]]), 0.5), lips * 0.86)
    canvas.blend(canvas.mask(np.concatenate([bottom, f.lower_lip_bottom(u)]), 0.5), lips)
    gloss = f.lower_lip_bottom(_MID_LIP) * 0.45 + f.lower_lip_top(_MID_LIP) * 0.55
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
    canvas.multiply(canvas.line_mask(f.lower_lip_bottom(_MID_LIP) - [0, 0.2], 2, 1.2), (0.8, 0.76, 0.75))


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
    s = _ALONG
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
        glint = _disc(centre + [0.2, 0.22], 0.13, 0.13)
        _paste(ball, rows, columns, *patch.mask(glint), np.array([250, 250, 250], np.float32))
        _paste(ball, rows, columns, *patch.line_mask(upper, 4, 1.6), iris * 0.2 + skin * 0.15)
        corner = _disc(eye.upper(np.array([0.04]))[0], 0.22, 0.2)
        _paste(ball, rows, columns, *patch.mask(corner, 0.8), np.array([206, 140, 130], np.float32))
        target = canvas.pixels[rows, columns]
        target += (ball - target) * cover[..., None]
    lash = skin * 0.12
    canvas.blend(canvas.line_mask(upper, 1 + (look.lashes > 0.5), 0.5), lash, 0.5 + 0.5 * look.lashes)
    canvas.blend(canvas.line_mask(lower[3:], 1, 0.6), skin * 0.3, 0.35 + 0.3 * look.lashes)


def _brow(canvas: Canvas, side: int, f: Features, params: FaceParams) -> None:
    s = _ALONG
    rows, columns, cover = canvas.mask(np.concatenate([f.brow(side, s, 1), f.brow(side, s[::-1], -1)]), 0.9)
    hairs = 0.85 + 0.25 * noise_window(params, rows, columns)[..., 2]
    canvas.blend((rows, columns, cover), np.asarray(params.look.brow), np.clip(hairs, 0.4, 1) * 0.92)


def _beard(canvas: Canvas, f: Features, params: FaceParams, vertices: np.ndarray) -> None:
    head, look = f.head, params.look
    x, y, z = np.moveaxis(vertices, -1, 0)
    ax = np.abs(x)
    line = f.corner_y - 0.9 + np.clip(ax - 2.2, 0, None) * 1.15
    chin = np.clip((line - y) / 1.6, 0, 1) * np.clip(z / 2 + 0.6, 0, 1)
    chin *= np.clip((NECK_ROW - 1 - np.arange(ROWS))[:, None] / 2, 0, 1)
    around = np.exp(-(((ax - f.mouth_half - 0.45) / 0.7) ** 2) - ((y - f.corner_y + 0.4) / 1.2) ** 2)
    above = np.exp(
        -((ax / (f.mouth_half + 0.3)) ** 4) - ((y - (head.nose_base_y + head.mouth_y + 0.75) / 2) / 0.5) ** 2
    )
    cover = np.maximum(chin, look.moustache * np.maximum(around, above) * (z > 0))
    rows, columns = np.flatnonzero(cover.max(1) > 0.02), np.flatnonzero(cover.max(0) > 0.02)
    r, c = slice(rows[0], rows[-1] + 2), slice(columns[0], columns[-1] + 2)
    density = enlarge(cover[r, c] * look.beard)
    low, left = r.start * TEXELS, c.start * TEXELS
    ys, xs = slice(low, low + density.shape[0]), slice(left, left + density.shape[1])
    density *= np.clip(0.78 + 0.22 * noise_window(params, ys, xs)[..., 0], 0, 1)
    u, back = _ALONG_LIP, _BACK_LIP
    where = canvas.mask(np.concatenate([f.upper_lip_top(u), f.lower_lip_bottom(back)]), 0.6)
    _paste(density[..., None], ys, xs, *where, np.zeros(1, np.float32))
    canvas.blend((ys, xs, density), np.asarray(look.hair) * 0.9, 0.9)


def _mask(canvas: Canvas, look: Look) -> None:
    """A cloth mask over nose, mouth and chin."""
    head = canvas.head
    x = np.linspace(-5.6, 5.6, 24) * head.shape.width
    upper = np.stack([x, head.nose_tip_y + 1.6 - 0.05 * x * x + 0.3 * np.cos(x)], -1)
    low = np.maximum(head.chin_y + 0.15 + 0.055 * x * x, head.jaw_y(np.arcsin(np.clip(x / 6.6, -1, 1))) + 0.1)
    lower = np.stack([x, low], -1)
    canvas.blend(canvas.mask(np.concatenate([upper, lower[::-1]]), 0.6), np.asarray(look.cloth) * 0.4 + 130)
    for share in (0.3, 0.5, 0.7):
        fold = upper * (1 - share) + lower * share
        canvas.multiply(canvas.line_mask(fold[2:-2], 2, 0.8), (0.8, 0.8, 0.8))


def paint_part(name: str, shape: tuple[int, int], look: Look) -> np.ndarray:
    """(TEXELS rows, TEXELS columns, 3) float32: an ear, hanging hair or gear."""
    rows, columns = shape
    if name.startswith("ear"):
        v, across = np.mgrid[np.pi / 2 : -np.pi / 2 : rows * 1j, 0 : 1 : columns * 1j]
        v = np.sin(v)
        if name == "ear_right":
            across = 1 - across
        bowl = np.exp(-(((across - 0.4) / 0.22) ** 2) - ((v + 0.1) / 0.5) ** 2)
        groove = np.exp(-(((across - 0.72) / 0.1) ** 2)) * np.clip(v + 0.6, 0, 1)
        shade = 1 - 0.55 * bowl - 0.3 * groove
        return enlarge(np.stack([shade, shade**1.25, shade**1.3], -1)) * np.asarray(look.skin, np.float32) * 0.97
    colour = look.hair if name == "hair" else look.gear
    return np.full((rows * TEXELS, columns * TEXELS, 3), colour, np.float32)

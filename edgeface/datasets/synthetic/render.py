"""From a seed to a picture with its landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgeface.box import Box
from edgeface.datasets.synthetic.backdrop import FLAT, background, camera_faults, cover, paint_cover
from edgeface.datasets.synthetic.head import COLUMNS, JAW_ROW, WIDEST_ROW
from edgeface.datasets.synthetic.paint import TEXELS, covers, noise_at, paint_head, paint_part, texel
from edgeface.datasets.synthetic.params import FaceParams, Light, PoseRanges, sample_params
from edgeface.datasets.synthetic.raster import EMPTY, Fragments
from edgeface.datasets.synthetic.scene import SUPERSAMPLE, Part, Scene, build_scene, landmarks, visibility
from edgeface.errors import InputError


@dataclass(frozen=True)
class FaceLabels:
    """What is known of a face: ``landmarks_px`` {markup: (K, 2) float32}, ``visible`` {markup: (K,) bool}.

    ``visible`` is False where the head itself hides a point (its place is exact all the same); for aflw21, which
    marks only what can be seen, also where hair, glasses or an object cover it. ``pose_deg``: (3,) float32.
    ``box``: the tight box of the ibug68 points.
    """

    landmarks_px: dict[str, np.ndarray]
    visible: dict[str, np.ndarray]
    pose_deg: np.ndarray
    box: Box


@dataclass(frozen=True)
class RenderedFace:
    """A picture, (size, size, 3) uint8 RGB, with the labels of `FaceLabels` and the parameters it was made from."""

    image: np.ndarray
    landmarks_px: dict[str, np.ndarray]
    visible: dict[str, np.ndarray]
    pose_deg: np.ndarray
    box: Box
    params: FaceParams


def render_face(seed: int, size: int = 128, ranges: PoseRanges | None = None) -> RenderedFace:
    """The face of a seed, bit for bit the same at every call. InputError for a bad seed or size."""
    return render_params(sample_params(seed, ranges), size)


def sample_labels(seed: int, size: int = 128, ranges: PoseRanges | None = None) -> FaceLabels:
    """The labels of `render_face` alone: same values, without painting."""
    scene, fragments = _see(sample_params(seed, ranges), size)
    return _labels(scene, fragments, _cover(scene))


def render_params(params: FaceParams, size: int = 128) -> RenderedFace:
    """The picture of given parameters: for re-rendering a face under another pose, light or expression."""
    scene, fragments = _see(params, size)
    mask = _cover(scene)
    labels = _labels(scene, fragments, mask)
    rng = np.random.default_rng((params.seed, 5))
    side = len(fragments.depth)
    picture = background(rng, side)
    _shade(scene, fragments, picture)
    if mask is not None:
        paint_cover(picture, mask, params)
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return RenderedFace(camera_faults(picture, rng), **vars(labels), params=params)


def _see(params: FaceParams, size: int) -> tuple[Scene, Fragments]:
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not 32 <= size <= 1024:
        raise InputError(f"size must be an integer from 32 to 1024. Received: {size!r}")
    scene = build_scene(params, int(size))
    return scene, scene.fragments(round(SUPERSAMPLE * size))


def _cover(scene: Scene) -> np.ndarray | None:
    if scene.params.occluder not in FLAT:
        return None
    box = Box.around(landmarks(scene)["ibug68"]).as_xyxy()
    return cover(scene.params, tuple(SUPERSAMPLE * v for v in box), round(SUPERSAMPLE * scene.side))


def _labels(scene: Scene, fragments: Fragments, mask: np.ndarray | None) -> FaceLabels:
    points = landmarks(scene)
    visible = visibility(scene, fragments, None if mask is None else mask > 127)
    pose = np.array(scene.params.pose_deg, np.float32)
    return FaceLabels(points, visible, pose, Box.around(points["ibug68"]))


def _atlas(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """All parts, one under another as in the mesh's chart: texture (RGB, 0..255), and light at the vertices.

    The second array holds red, green, blue light and gloss, (rows, COLUMNS, 4).
    """
    params = scene.params
    last = scene.parts[-1]
    rows = last.row + len(last.grid)
    texture = np.zeros((rows * TEXELS, COLUMNS * TEXELS, 3), np.float32)
    light = np.zeros((rows, COLUMNS, 4), np.float32)
    for part in scene.parts:
        if part.name == "head":
            painted = paint_head(params, scene.features, scene.rest)
        else:
            painted = paint_part(part.name, part.grid.shape[:2], params.look)
        height, width = painted.shape[:2]
        texture[part.row * TEXELS : part.row * TEXELS + height, :width] = painted
        light[part.row : part.row + len(part.grid), : part.grid.shape[1]] = _light(params.light, part)
    light *= _exposure(scene, light)
    return texture, light


def _exposure(scene: Scene, light: np.ndarray) -> np.float32:
    """A camera meters on the face: most of the way to a middle brightness of the skin that it sees."""
    facing = np.clip(scene.parts[0].normals[WIDEST_ROW:JAW_ROW, :, 2], 0, None)
    level = (light[WIDEST_ROW:JAW_ROW, :, :3].mean(-1) * facing).sum() / (facing.sum() + 1e-6)
    level *= (np.mean(scene.params.look.skin) / 190) ** 0.45
    return np.float32((0.9 / max(level, 0.05)) ** 0.75)


def _light(light: Light, part: Part) -> np.ndarray:
    """(rows, columns, 4): red, green, blue light and gloss at a part's vertices."""
    normal = part.normals
    if part.name != "head":
        # A sheet is lit on the side that is seen.
        normal = normal * np.where(normal[..., 2:] < 0, -1, 1)
    half = np.array(light.direction) + (0, 0, 1)
    # Wrapped diffuse light, as skin scatters it past the terminator.
    diffuse = np.clip((normal @ np.array(light.direction) + 0.25) / 1.25, 0, None)
    gloss = np.clip(normal @ (half / np.linalg.norm(half)), 0, None) ** 18 * (light.specular * 90)
    sky = 0.8 + 0.2 * normal[..., 1]
    rim = np.clip(1 - np.abs(normal[..., 2]), 0, 1) ** 3 * (0.6 * light.rim)
    glow = sky[..., None] * np.array(light.ambient) + (diffuse + rim)[..., None] * np.array(light.colour)
    return np.concatenate([glow, gloss[..., None]], axis=-1)


def _shade(scene: Scene, fragments: Fragments, picture: np.ndarray) -> None:
    """Draws the lit head over a background picture (side, side, 3) float32, in place."""
    texture, light = _atlas(scene)
    look = scene.params.look
    seen = fragments.depth > EMPTY
    ys, xs = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if len(ys) == 0:
        return
    window = np.s_[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    column, row = fragments.column[window], fragments.row[window]
    lit = cv2.remap(texture, texel(column), texel(row), cv2.INTER_LINEAR)
    # Grain and strands are drawn per pixel: cheaper than over the whole texture.
    cover = cv2.remap(covers(scene, len(light)), column, row, cv2.INTER_LINEAR)
    grain, strands = noise_at(scene.params, column, row)
    hair = np.clip(cover[..., 0] + 0.35 * strands, 0, 0.8 if look.hair_style == "buzz" else 1)
    tone = 1 + 0.3 * strands
    lit += (cv2.merge([np.float32(v) * tone for v in look.hair]) - lit) * _thrice(hair)
    glow = cv2.remap(light, column, row, cv2.INTER_LINEAR)
    lit *= cv2.merge(cv2.split(glow)[:3]) * _thrice(1 + cover[..., 1] * grain * (1 - hair))
    lit += _thrice(glow[..., 3])
    # Highlights bend towards white instead of burning out.
    np.minimum(lit, 120 + 0.38 * lit, out=lit)
    np.copyto(picture[window], np.minimum(lit, 255), where=_thrice(seen[window].view(np.uint8)).view(bool))


def _thrice(plane: np.ndarray) -> np.ndarray:
    """(h, w) -> (h, w, 3): broadcasting over a last axis of 3 is several times slower."""
    return cv2.merge([plane, plane, plane])

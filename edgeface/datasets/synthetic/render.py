"""From a seed to a picture with its landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgeface.datasets.synthetic.backdrop import background, camera_faults, cover, paint_cover
from edgeface.datasets.synthetic.features import Features
from edgeface.datasets.synthetic.head import COLUMNS
from edgeface.datasets.synthetic.paint import TEXELS, paint_head, paint_part
from edgeface.datasets.synthetic.params import FaceParams, PoseRanges, sample_params
from edgeface.datasets.synthetic.raster import Fragments
from edgeface.datasets.synthetic.scene import SUPERSAMPLE, Scene, build_scene, landmarks, visibility
from edgeface.errors import InputError
from edgeface.geometry import Box


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
    side = SUPERSAMPLE * size
    picture = _shade(scene, fragments, background(rng, side))
    if mask is not None:
        paint_cover(picture, mask, params)
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return RenderedFace(camera_faults(picture, rng), **vars(labels), params=params)


def _see(params: FaceParams, size: int) -> tuple[Scene, Fragments]:
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not 32 <= size <= 1024:
        raise InputError(f"size must be an integer from 32 to 1024. Received: {size!r}")
    scene = build_scene(params, int(size))
    return scene, scene.fragments(SUPERSAMPLE * int(size))


def _cover(scene: Scene) -> np.ndarray | None:
    box = Box.around(landmarks(scene)["ibug68"]).as_xyxy()
    return cover(scene.params, tuple(SUPERSAMPLE * v for v in box), SUPERSAMPLE * scene.side)


def _labels(scene: Scene, fragments: Fragments, mask: np.ndarray | None) -> FaceLabels:
    points = landmarks(scene)
    visible = visibility(scene, fragments, None if mask is None else mask > 127)
    pose = np.array(scene.params.pose_deg, np.float32)
    return FaceLabels(points, visible, pose, Box.around(points["ibug68"]))


def _atlas(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Texture (float32 RGB) and normals of all parts, one under another as in the mesh's chart."""
    params = scene.params
    rng = np.random.default_rng((params.seed, 6))
    last = scene.parts[-1]
    rows = last.row + len(last.grid)
    texture = np.zeros((rows * TEXELS, COLUMNS * TEXELS, 3), np.float32)
    normals = np.zeros((rows, COLUMNS, 3), np.float32)
    for part in scene.parts:
        if part.name == "head":
            painted = paint_head(params, Features(scene.head), scene.head.vertices())
        else:
            painted = paint_part(part.name, part.grid.shape[:2], params.look, rng)
        height, width = painted.shape[:2]
        texture[part.row * TEXELS : part.row * TEXELS + height, :width] = painted
        normals[part.row : part.row + len(part.grid), : part.grid.shape[1]] = part.normals
    return texture, normals


def _shade(scene: Scene, fragments: Fragments, picture: np.ndarray) -> np.ndarray:
    """The lit head over a background picture (side, side, 3) float32."""
    texture, normals = _atlas(scene)
    light = scene.params.light
    seen = fragments.depth > -1e8
    ys, xs = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    window = np.s_[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    column, row, seen = fragments.column[window], fragments.row[window], seen[window]
    colour = cv2.remap(texture, column * TEXELS, row * TEXELS, cv2.INTER_LINEAR)
    normal = cv2.remap(normals, column, row, cv2.INTER_LINEAR)
    normal /= np.maximum(np.sqrt(np.einsum("ijk,ijk->ij", normal, normal)), 1e-6)[..., None]
    normal[fragments.flipped[window]] *= -1
    lamp = np.array(light.direction, np.float32)
    half = lamp + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    # Wrapped diffuse light, as skin scatters it past the terminator.
    diffuse = np.clip((normal @ lamp + 0.25) / 1.25, 0, None)
    gloss = np.clip(normal @ half, 0, None) ** 18 * (light.specular * 90)
    sky = 0.8 + 0.2 * normal[..., 1]
    rim = np.clip(1 - np.abs(normal[..., 2]), 0, 1) ** 3 * light.rim
    glow = sky[..., None] * np.array(light.ambient, np.float32)
    glow += (diffuse + 0.6 * rim)[..., None] * np.array(light.colour, np.float32)
    lit = colour * glow + gloss[..., None] * np.array(light.colour, np.float32)
    target = picture[window]
    target[seen] = np.clip(lit[seen], 0, 255)
    return picture

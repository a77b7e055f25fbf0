"""A posed face before a camera: vertex grids, what each pixel sees, and the landmarks with their visibility."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgeface.datasets.synthetic import gear
from edgeface.datasets.synthetic.features import Features, inner_points, jaw_chart
from edgeface.datasets.synthetic.head import BODY_ROW, COLUMNS, JAW_ROW, NECK_ROW, PIVOT, ROWS, WIDEST_ROW, Head
from edgeface.datasets.synthetic.params import FaceParams
from edgeface.datasets.synthetic.raster import Camera, Fragments, Mesh, grid_normals, join_grids, rasterise
from edgeface.head_pose import to_matrix

SUPERSAMPLE = 1.5
"""Pixels drawn a picture pixel and axis, averaged at the end."""
_TOLERANCE_CM = 0.4
"""How far behind the seen surface a landmark may lie and still count as seen."""


_WORN = {"mask": (13, 14, 15, 17, 18, 19, 20), "scarf": (20,)}
"""The aflw21 points that cloth covers."""


@dataclass(frozen=True)
class Part:
    """One vertex grid after turning: name, vertices and normals (rows, COLUMNS or fewer, 3), first chart row."""

    name: str
    grid: np.ndarray
    normals: np.ndarray
    row: int


@dataclass(frozen=True)
class Scene:
    """A turned head. ``camera`` frames it for ``side`` px; ``mesh`` joins the parts in one chart."""

    params: FaceParams
    head: Head
    features: Features
    parts: tuple[Part, ...]
    mesh: Mesh
    camera: Camera
    side: int
    rest: np.ndarray
    """The head's vertices before turning and without hair."""
    points: np.ndarray
    """All landmarks, turned, (N, 3) cm."""
    normals: np.ndarray
    """(N, 3) of the surface there."""
    runs: dict[str, slice]
    """Which of them are what."""

    def fragments(self, side: int) -> Fragments:
        """What each pixel of a ``side`` px picture of the scene sees."""
        screen = self.camera.project(self.mesh.vertices)
        zoom = side / self.side
        screen[:, :2] = (screen[:, :2] + 0.5) * zoom - 0.5
        return rasterise(screen, self.mesh, side)


def on_grid(grid: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """Bilinear values of (rows, columns, C) at (..., 2) column, row."""
    rows, columns = grid.shape[:2]
    c, r = np.clip(chart[..., 0], 0, columns - 1.001), np.clip(chart[..., 1], 0, rows - 1.001)
    i, j = r.astype(int), c.astype(int)
    v, u = (r - i)[..., None], (c - j)[..., None]
    top = grid[i, j] * (1 - u) + grid[i, j + 1] * u
    return top * (1 - v) + (grid[i + 1, j] * (1 - u) + grid[i + 1, j + 1] * u) * v


def build_scene(params: FaceParams, side: int) -> Scene:
    """Shape, expression and pose of one face, framed for a ``side`` px picture."""
    head = Head(params.shape, params.expression)
    features = Features(head)
    look = params.look
    vertices = head.vertices()
    bare = vertices.copy()
    gear.grow_hair(head, look, vertices)
    grids = {"head": vertices, "ear_left": gear.ear(head, -1), "ear_right": gear.ear(head, 1)}
    curtain = gear.hair_curtain(head, look)
    if curtain is not None:
        grids["hair"] = curtain
    if look.glasses:
        bridge = on_grid(bare, head.chart_of_xy(features.bridge(np.array([0.18]))))[0]
        for i, grid in enumerate(gear.glasses(head, look, bridge[2] + 0.35, params.occluder == "sunglasses")):
            grids[f"gear{i}"] = grid

    camera = Camera(params.pose_deg, params.distance_cm)
    rotation = camera.rotation
    turned = {name: grid @ rotation.T for name, grid in grids.items()}
    _settle_body(turned["head"], grids["head"], rotation, params)
    mesh, rows = join_grids(list(turned.values()), [name == "head" for name in turned])
    parts = tuple(
        Part(name, grid, grid_normals(grid), row) for (name, grid), row in zip(turned.items(), rows, strict=True)
    )
    points, normals, runs = _anchor(head, features, bare @ rotation.T, parts)
    camera = _frame(camera, points, runs, params, side)
    return Scene(params, head, features, parts, mesh, camera, side, bare, points, normals, runs)


def _settle_body(turned: np.ndarray, rest: np.ndarray, rotation: np.ndarray, params: FaceParams) -> None:
    """Lets the shoulders follow the head's turn only in part; the neck bends between."""
    pose = np.array(params.pose_deg) * params.body_follow * (1.0, 0.35, 0.5)
    weight = np.clip((np.arange(ROWS) - NECK_ROW + 1) / (BODY_ROW - NECK_ROW + 1), 0, 1)[NECK_ROW:, None, None]
    body = rotation @ PIVOT + (rest[NECK_ROW:] - PIVOT) @ to_matrix(pose)
    turned[NECK_ROW:] = (1 - weight) * turned[NECK_ROW:] + weight * body


def _anchor(
    head: Head, features: Features, skin: np.ndarray, parts: tuple[Part, ...]
) -> tuple[np.ndarray, np.ndarray, dict[str, slice]]:
    """Turned 3D points, normals and runs of all landmarks. skin: the head's turned grid without hair."""
    flat = inner_points(features)
    chart = np.concatenate([head.chart_of_xy(np.concatenate(list(flat.values()))), jaw_chart(head, 17)[:, 0]])
    drawn, sides = _slide(head, skin), np.stack(_sideways(skin))
    lobes = [on_grid(p.grid, gear.ear_lobe(side)) for p, side in zip(parts[1:3], (-1, 1), strict=True)]
    points = np.concatenate([on_grid(skin, chart), drawn, *lobes])
    # A drawn point lies on the outline, where the surface turns away. An ear is a sheet that shows both faces; what
    # counts is the side of the head it is on.
    normals = np.concatenate([on_grid(parts[0].normals, chart), np.zeros_like(drawn), sides])
    runs, start = {}, 0
    for name, size in [*((k, len(v)) for k, v in flat.items()), ("jaw", 17), ("jaw_drawn", 33), ("ears", 2)]:
        runs[name] = slice(start, start + size)
        start += size
    return points, normals, runs


def _sideways(skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors from the head's middle to the image's left and right side of the head, turned."""
    row, middle = WIDEST_ROW + 9, COLUMNS // 2
    left, right = skin[row, middle - 14], skin[row, middle + 14]
    across = (right - left) / np.linalg.norm(right - left)
    return -across, across


def _slide(head: Head, skin: np.ndarray) -> np.ndarray:
    """(33, 3) jaw points as annotators draw them: a hidden one moves over the cheek to the face's visible outline.

    Each point may move along its own line over the cheek towards the midline, to where that line reaches furthest out
    sideways in the upright face ("landmark marching", Zhu et al., CVPR 2015).
    """
    paths = on_grid(skin, jaw_chart(head, 33, steps=28))
    # Sideways in the picture: square to the face's midline from brow to chin.
    down = (skin[JAW_ROW, COLUMNS // 2] - skin[WIDEST_ROW, COLUMNS // 2])[:2]
    across = np.array([-down[1], down[0]]) / np.hypot(*down)
    outward = np.sign(np.arange(33) - 16)
    reach = (paths[..., :2] @ across) * outward[:, None]
    # The start wins ties: only a point that is truly behind the outline moves.
    return paths[np.arange(33), np.argmax(reach - 1e-3 * (np.arange(28) > 0), axis=1)]


def _frame(camera: Camera, points: np.ndarray, runs: dict[str, slice], params: FaceParams, side: int) -> Camera:
    """Scales and shifts the picture so that the 68 points' box fills its share."""
    pixels = camera.project(points)[:, :2]
    seen = np.concatenate([pixels[runs[k]] for k in ("jaw_drawn", "brows68", "bridge", "base", "eye68", "outer")])
    low, high = seen.min(0), seen.max(0)
    scale = params.fill * side / (high - low).max()
    middle = (side - 1) / 2 + np.array(params.shift) * side - scale * (low + high) / 2
    return replace(camera, scale=float(scale), center=(float(middle[0]), float(middle[1])))


def landmarks(scene: Scene) -> dict[str, np.ndarray]:
    """{markup: (K, 2) float32 px}."""
    return _assemble(scene.camera.project(scene.points)[:, :2].astype(np.float32), scene.runs)


def _assemble(values: np.ndarray, slices: dict[str, slice]) -> dict[str, np.ndarray]:
    """The markups from all landmarks' points (or flags)."""
    runs = {name: values[where] for name, where in slices.items()}
    inner = [runs[k] for k in ("brows68", "bridge", "base", "eye68", "outer", "inner")]
    eyes, brows, nose = runs["eye68"], runs["brows21"], runs["base"]
    tip, corner_left, corner_right = runs["bridge"][3:4], runs["outer"][:1], runs["outer"][6:7]
    aflw = [brows, eyes[:1], runs["eye_centres"][:1], eyes[3:4], eyes[6:7], runs["eye_centres"][1:], eyes[9:10]]
    aflw += [runs["ears"][:1], nose[:1], tip, nose[4:], runs["ears"][1:]]
    aflw += [corner_left, _middle(runs["inner"]), corner_right, runs["jaw"][8:9]]
    wflw = [runs[k] for k in ("jaw_drawn", "brows98", "bridge", "base", "eye98", "outer", "inner", "pupils")]
    return {
        "ibug68": np.concatenate([runs["jaw_drawn"][::2], *inner]),
        "ibug68_3d": np.concatenate([runs["jaw"], *inner]),
        "wflw98": np.concatenate(wflw),
        "aflw21": np.concatenate(aflw),
        "mtfl5": np.concatenate([runs["pupils"], tip, corner_left, corner_right]),
    }


def _middle(inner: np.ndarray) -> np.ndarray:
    """The mouth's centre: between the lips' inner rims."""
    top, bottom = inner[2:3], inner[6:7]
    return top & bottom if top.dtype == bool else (top + bottom) / 2


def visibility(scene: Scene, fragments: Fragments, covered: np.ndarray | None) -> dict[str, np.ndarray]:
    """{markup: (K,) bool}. False = behind the face; for aflw21 also what hair, gear or an object covers.

    ``covered``: bool picture of what an object hides, the fragments' size, or None. A drawn jaw point lies on the
    visible outline, hence is always seen.
    """
    side = len(fragments.depth)
    points, runs = scene.points, scene.runs
    at = (scene.camera.project(points)[:, :2] + 0.5) * (side / scene.side) - 0.5
    at = np.round(at).astype(int)
    x, y = np.clip(at, 0, side - 1).T
    inside = ((at >= 0) & (at < side)).all(1)
    ahead = inside & (fragments.depth[y, x] > points[:, 2] + _TOLERANCE_CM)
    first_gear = next((p.row for p in scene.parts if p.name not in ("head", "ear_left", "ear_right")), 10**6)
    by_gear = ahead & (fragments.row[y, x] >= first_gear - 0.5)
    sight = np.array([0, 0, scene.params.distance_cm]) - points
    facing = (scene.normals * sight).sum(-1) / np.linalg.norm(sight, axis=-1)
    # Eyes, lips and nostrils lie in hollows whose walls may look away a little while they are seen.
    least = np.full(len(points), -0.3)
    least[runs["jaw"]] = least[runs["ears"]] = 0.0
    seen = (~ahead | by_gear) & (facing > least)
    seen[runs["jaw_drawn"]] = True
    clear = seen & ~by_gear & inside
    if covered is not None:
        clear &= ~covered[y, x]
    out = _assemble(seen, runs)
    out["aflw21"] = _assemble(clear, runs)["aflw21"]
    out["aflw21"][list(_WORN.get(scene.params.occluder, ()))] = False
    return out

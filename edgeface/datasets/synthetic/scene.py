"""A posed face before a camera: vertex grids, what each pixel sees, and the landmarks with their visibility."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgeface.datasets.synthetic import gear
from edgeface.datasets.synthetic.features import Features, inner_points, jaw_chart
from edgeface.datasets.synthetic.head import BODY_ROW, COLUMNS, NECK_ROW, PIVOT, ROWS, Head
from edgeface.datasets.synthetic.params import FaceParams
from edgeface.datasets.synthetic.raster import Camera, Fragments, Mesh, grid_normals, join_grids, rasterise
from edgeface.headpose import to_matrix

SUPERSAMPLE = 2
_TOLERANCE_CM = 0.4
"""How far behind the seen surface a landmark may lie and still count as seen."""


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
    points: dict[str, np.ndarray]
    """Named runs of landmarks, turned, (N, 3) cm."""
    normals: dict[str, np.ndarray]

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
    turned = {name: grid @ camera.rotation.T for name, grid in grids.items()}
    _settle_body(turned["head"], grids["head"], camera.rotation, params)
    mesh, rows = join_grids(list(turned.values()), [name == "head" for name in turned])
    parts = tuple(
        Part(name, grid, grid_normals(grid), row) for (name, grid), row in zip(turned.items(), rows, strict=True)
    )
    points, normals = _anchor(head, features, bare @ camera.rotation.T, parts)
    camera = _frame(camera, points, params, side)
    return Scene(params, head, features, parts, mesh, camera, side, points, normals)


def _settle_body(turned: np.ndarray, rest: np.ndarray, rotation: np.ndarray, params: FaceParams) -> None:
    """Lets the shoulders follow the head's turn only in part; the neck bends between."""
    pose = np.array(params.pose_deg) * params.body_follow * (1.0, 0.35, 0.5)
    weight = np.clip((np.arange(ROWS) - NECK_ROW + 1) / (BODY_ROW - NECK_ROW + 1), 0, 1)[NECK_ROW:, None, None]
    body = rotation @ PIVOT + (rest[NECK_ROW:] - PIVOT) @ to_matrix(pose)
    turned[NECK_ROW:] = (1 - weight) * turned[NECK_ROW:] + weight * body


def _anchor(
    head: Head, features: Features, skin: np.ndarray, parts: tuple[Part, ...]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Turned 3D points (and normals) of all landmark runs. skin: the head's turned grid without hair."""
    runs = {name: head.chart_of_xy(xy) for name, xy in inner_points(features).items()}
    runs["jaw68"], runs["jaw98"] = (jaw_chart(head, n)[:, 0] for n in (17, 33))
    sizes = np.cumsum([len(c) for c in runs.values()])[:-1]
    chart = np.concatenate(list(runs.values()))
    points = dict(zip(runs, np.split(on_grid(skin, chart), sizes), strict=True))
    normals = dict(zip(runs, np.split(on_grid(parts[0].normals, chart), sizes), strict=True))
    points["jaw98_drawn"] = _slide(head, skin)
    ears = parts[1:3]
    points["ears"] = np.concatenate([on_grid(p.grid, gear.ear_lobe(s)) for p, s in zip(ears, (-1, 1), strict=True)])
    # An ear is a sheet that shows both faces; it points sideways, as the head does there.
    normals["ears"] = np.stack(_sideways(skin))
    return points, normals


def _sideways(skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors from the head's middle to the image's left and right side of the head, turned."""
    row, quarter = 20, COLUMNS // 2
    left, right = skin[row, quarter - 14], skin[row, quarter + 14]
    across = (right - left) / np.linalg.norm(right - left)
    return -across, across


def _slide(head: Head, skin: np.ndarray) -> np.ndarray:
    """(33, 3) jaw points as annotators draw them: a hidden one moves over the cheek to the face's visible outline.

    Each point may move along its own line over the cheek towards the midline, to where that line reaches furthest out
    sideways in the upright face ("landmark marching", Zhu et al., CVPR 2015).
    """
    paths = on_grid(skin, jaw_chart(head, 33, steps=28))
    left, right = _sideways(skin)
    across = right[:2] if np.hypot(*right[:2]) > 0.15 else _upright(skin)
    across = across / np.hypot(*across)
    outward = np.sign(np.arange(33) - 16)
    reach = (paths[..., :2] @ across) * outward[:, None]
    # The start wins ties: only a point that is truly behind the outline moves.
    return paths[np.arange(33), np.argmax(reach - 1e-3 * (np.arange(28) > 0), axis=1)]


def _upright(skin: np.ndarray) -> np.ndarray:
    """The picture's direction across the face when the head is in profile: square to its midline."""
    brow, chin = skin[WIDEST_SAMPLE, COLUMNS // 2], skin[CHIN_SAMPLE, COLUMNS // 2]
    down = (chin - brow)[:2]
    return np.array([-down[1], down[0]])


WIDEST_SAMPLE, CHIN_SAMPLE = 12, 42


def _frame(camera: Camera, points: dict[str, np.ndarray], params: FaceParams, side: int) -> Camera:
    """Scales and shifts the picture so that the 68 points' box fills its share."""
    flat = camera.project(np.concatenate([points[k] for k in ("brows68", "bridge", "base", "eye68", "outer")]))
    jaw = camera.project(points["jaw98_drawn"])
    seen = np.concatenate([flat, jaw])[:, :2]
    low, high = seen.min(0), seen.max(0)
    scale = params.fill * side / (high - low).max()
    middle = (side - 1) / 2 + np.array(params.shift) * side - scale * (low + high) / 2
    return replace(camera, scale=float(scale), center=(float(middle[0]), float(middle[1])))


def landmarks(scene: Scene) -> dict[str, np.ndarray]:
    """{markup: (K, 2) float32 px}."""
    px = {name: scene.camera.project(points)[:, :2] for name, points in scene.points.items()}
    return _assemble(px, px["jaw98_drawn"])


def _assemble(runs: dict[str, np.ndarray], drawn: np.ndarray) -> dict[str, np.ndarray]:
    """The markups from named runs of points (or of flags)."""
    inner = [runs[k] for k in ("brows68", "bridge", "base", "eye68", "outer", "inner")]
    eyes, brows, nose = runs["eye68"], runs["brows21"], runs["base"]
    tip, corner_left, corner_right = runs["bridge"][3:4], runs["outer"][:1], runs["outer"][6:7]
    aflw = [brows, eyes[:1], runs["eye_centres"][:1], eyes[3:4], eyes[6:7], runs["eye_centres"][1:], eyes[9:10]]
    aflw += [runs["ears"][:1], nose[:1], tip, nose[4:], runs["ears"][1:]]
    aflw += [corner_left, _middle(runs["inner"]), corner_right, runs["jaw68"][8:9]]
    wflw = [drawn, *(runs[k] for k in ("brows98", "bridge", "base", "eye98", "outer", "inner", "pupils"))]
    out = {
        "ibug68": np.concatenate([drawn[::2], *inner]),
        "ibug68_3d": np.concatenate([runs["jaw68"], *inner]),
        "wflw98": np.concatenate(wflw),
        "aflw21": np.concatenate(aflw),
        "mtfl5": np.concatenate([runs["pupils"], tip, corner_left, corner_right]),
    }
    return {name: v if v.dtype == bool else v.astype(np.float32) for name, v in out.items()}


def _middle(inner: np.ndarray) -> np.ndarray:
    """The mouth's centre: between the lips' inner rims."""
    top, bottom = inner[2:3], inner[6:7]
    return top & bottom if top.dtype == bool else (top + bottom) / 2


def visibility(scene: Scene, fragments: Fragments, covered: np.ndarray | None) -> dict[str, np.ndarray]:
    """{markup: (K,) bool}. False = behind the face; for aflw21 also what hair, gear or an object covers.

    ``covered``: bool picture of what an object hides, the fragments' size, or None. A drawn jaw point lies on the
    visible outline, hence is always seen.
    """
    side = fragments.depth.shape[0]
    zoom = side / scene.side
    first_gear = next((p.row for p in scene.parts if p.name not in ("head", "ear_left", "ear_right")), 10**6)
    seen, clear = {}, {}
    for name, points in scene.points.items():
        if name == "jaw98_drawn":
            continue
        screen = scene.camera.project(points)
        at = np.round((screen[:, :2] + 0.5) * zoom - 0.5).astype(int)
        x, y = np.clip(at, 0, side - 1).T
        inside = ((at >= 0) & (at < side)).all(1)
        ahead = inside & (fragments.depth[y, x] > points[:, 2] + _TOLERANCE_CM)
        by_gear = ahead & (fragments.row[y, x] >= first_gear - 0.5)
        toward = _toward(scene, name)
        seen[name] = np.where(by_gear, toward, ~ahead & (toward | (name not in ("jaw68", "jaw98"))))
        clear[name] = seen[name] & ~by_gear & (~covered[y, x] if covered is not None else True) & inside
    drawn = np.ones(33, bool)
    out = _assemble(seen, drawn)
    out["aflw21"] = _assemble(clear, drawn)["aflw21"]
    return out


def _toward(scene: Scene, name: str) -> np.ndarray:
    """(N,) bool: the surface at a run's points faces the camera."""
    sight = np.array([0, 0, scene.params.distance_cm]) - scene.points[name]
    return (scene.normals[name] * sight).sum(-1) > 0

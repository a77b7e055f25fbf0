"""Camera and a z-buffered triangle rasteriser in plain array operations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgeface.headpose import to_matrix

EMPTY = np.float32(-1e9)


@dataclass(frozen=True)
class Camera:
    """A pinhole ``distance_cm`` before the head, its axis through the head's origin.

    ``scale`` px per cm at the origin's depth, which falls on ``center`` px.
    """

    pose_deg: tuple[float, float, float]
    distance_cm: float
    scale: float = 1.0
    center: tuple[float, float] = (0.0, 0.0)

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) that turns the head (y up): 300W-LP applies the transpose of the pose matrix."""
        return to_matrix(np.array(self.pose_deg)).T

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) turned points, cm -> (..., 3): x, y px (y down) and depth in cm, larger = nearer."""
        near = self.scale * self.distance_cm / (self.distance_cm - points[..., 2])
        out = np.empty(points.shape, np.float64)
        out[..., 0] = self.center[0] + near * points[..., 0]
        out[..., 1] = self.center[1] - near * points[..., 1]
        out[..., 2] = points[..., 2]
        return out


@dataclass(frozen=True)
class Mesh:
    """Grids of vertices, one under another in one chart (column, row).

    ``vertices``: (N, 3); ``chart``: (N, 2); ``triangles``: (T, 3); ``closed``: (T,) False where both faces show.
    """

    vertices: np.ndarray
    chart: np.ndarray
    triangles: np.ndarray
    closed: np.ndarray


@lru_cache(maxsize=64)
def grid_triangles(rows: int, columns: int) -> np.ndarray:
    """(T, 3) vertex indices of a rows x columns grid; front faces run clockwise on the screen (y down)."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])


def join_grids(grids: list[np.ndarray], closed: list[bool]) -> tuple[Mesh, list[int]]:
    """One mesh of several (rows, columns, 3) grids, and the chart row at which each starts."""
    starts, vertices, charts, triangles, sides = [], [], [], [], []
    row, count = 0, 0
    for grid, solid in zip(grids, closed, strict=True):
        rows, columns = grid.shape[:2]
        faces = grid_triangles(rows, columns)
        chart = np.stack(np.meshgrid(np.arange(columns), row + np.arange(rows)), axis=-1)
        starts.append(row)
        vertices.append(grid.reshape(-1, 3))
        charts.append(chart.reshape(-1, 2))
        triangles.append(faces + count)
        sides.append(np.full(len(faces), solid))
        row, count = row + rows, count + rows * columns
    mesh = Mesh(np.concatenate(vertices), np.concatenate(charts), np.concatenate(triangles), np.concatenate(sides))
    return mesh, starts


def grid_normals(grid: np.ndarray) -> np.ndarray:
    """(rows, columns, 3) unit normals of a vertex grid, outward for a front-facing winding."""
    down, right = np.empty_like(grid), np.empty_like(grid)
    down[1:-1], down[0], down[-1] = grid[2:] - grid[:-2], grid[1] - grid[0], grid[-1] - grid[-2]
    right[:, 1:-1] = grid[:, 2:] - grid[:, :-2]
    right[:, 0], right[:, -1] = grid[:, 1] - grid[:, 0], grid[:, -1] - grid[:, -2]
    normal = np.empty_like(grid)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        normal[..., i] = down[..., j] * right[..., k] - down[..., k] * right[..., j]
    return normal / np.maximum(np.sqrt((normal**2).sum(-1, keepdims=True)), 1e-9)


@dataclass(frozen=True)
class Fragments:
    """What the camera sees, per pixel of a side x side picture. ``depth``: EMPTY where nothing is."""

    depth: np.ndarray
    column: np.ndarray
    row: np.ndarray
    flipped: np.ndarray
    """bool: the back of a two-sided surface."""


def rasterise(screen: np.ndarray, mesh: Mesh, side: int) -> Fragments:
    """screen: (N, 3) x, y px and depth of the mesh's vertices -> Fragments."""
    corner = screen[mesh.triangles]
    x, y, z = corner[..., 0], corner[..., 1], corner[..., 2]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    keep = np.where(mesh.closed, area > 1e-7, np.abs(area) > 1e-7)
    x0, x1 = np.ceil(np.maximum(x.min(1), 0)), np.floor(np.minimum(x.max(1), side - 1))
    y0, y1 = np.ceil(np.maximum(y.min(1), 0)), np.floor(np.minimum(y.max(1), side - 1))
    keep &= (x1 >= x0) & (y1 >= y0)
    chosen = np.flatnonzero(keep)
    x, y, z, area = x[chosen], y[chosen], z[chosen], area[chosen]
    x0, y0 = x0[chosen].astype(np.int32), y0[chosen].astype(np.int32)
    wide = x1[chosen].astype(np.int32) - x0 + 1
    count = wide * (y1[chosen].astype(np.int32) - y0 + 1)

    # Every (triangle, pixel of its bounding box) pair as one flat list.
    face = np.repeat(np.arange(len(chosen), dtype=np.int32), count)
    local = np.arange(len(face), dtype=np.int32) - np.repeat(np.cumsum(count, dtype=np.int32) - count, count)
    fy = local // wide[face]
    fx = local - fy * wide[face]
    pixel = (y0 * side + x0)[face] + fy * side + fx
    # float32 throughout: mixed precision would make `near` differ from the depth it was stored as.
    fx, fy = fx.astype(np.float32), fy.astype(np.float32)
    # Barycentric weights of corners 1 and 2 are planes over the pixel, counted from the box's corner.
    ax, ay, bx, by = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0], x[:, 2] - x[:, 0], y[:, 2] - y[:, 0]
    px, py = x0 - x[:, 0], y0 - y[:, 0]
    first = [v.astype(np.float32) for v in (by / area, -bx / area, (px * by - py * bx) / area)]
    second = [v.astype(np.float32) for v in (-ay / area, ax / area, (py * ax - px * ay) / area)]
    w1 = first[0][face] * fx + first[1][face] * fy + first[2][face]
    w2 = second[0][face] * fx + second[1][face] * fy + second[2][face]
    inside = np.flatnonzero((w1 >= -1e-4) & (w2 >= -1e-4) & (w1 + w2 <= 1.0001))
    face, w1, w2, pixel = face[inside], w1[inside], w2[inside], pixel[inside]

    z = z.astype(np.float32)
    near = z[:, 0][face] + w1 * (z[:, 1] - z[:, 0])[face] + w2 * (z[:, 2] - z[:, 0])[face]
    depth = np.full(side * side, EMPTY, np.float32)
    np.maximum.at(depth, pixel, near)
    front = np.flatnonzero(near >= depth[pixel])
    face, w1, w2, pixel = face[front], w1[front], w2[front], pixel[front]

    chart = mesh.chart[mesh.triangles[chosen]].astype(np.float32)
    out = np.zeros((2, side * side), np.float32)
    for i in (0, 1):
        corner = chart[..., i]
        out[i, pixel] = corner[:, 0][face] + w1 * (corner[:, 1] - corner[:, 0])[face] + w2 * (corner[:, 2] - corner[:, 0])[face]
    back = np.zeros(side * side, bool)
    back[pixel] = (area < 0)[face]
    shape = (side, side)
    return Fragments(depth.reshape(shape), out[0].reshape(shape), out[1].reshape(shape), back.reshape(shape))

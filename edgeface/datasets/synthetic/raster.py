"""Camera and a z-buffered triangle rasteriser in plain array operations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgeface.head_pose import to_matrix

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
    index = np.arange(rows * columns, dtype=np.intp).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])


@lru_cache(maxsize=64)
def _layout(shapes: tuple[tuple[int, int], ...], closed: tuple[bool, ...]) -> tuple[np.ndarray, ...]:
    """chart (N, 2), triangles (T, 3) and closed (T,) of grids of these (rows, columns), one under another."""
    charts, triangles, sides = [], [], []
    row, count = 0, 0
    for (rows, columns), solid in zip(shapes, closed, strict=True):
        faces = grid_triangles(rows, columns)
        charts.append(np.stack(np.meshgrid(np.arange(columns), row + np.arange(rows)), axis=-1).reshape(-1, 2))
        triangles.append(faces + count)
        sides.append(np.full(len(faces), solid))
        row, count = row + rows, count + rows * columns
    return np.concatenate(charts).astype(np.float32), np.concatenate(triangles), np.concatenate(sides)


def join_grids(grids: list[np.ndarray], closed: list[bool]) -> tuple[Mesh, list[int]]:
    """One mesh of several (rows, columns, 3) grids, and the chart row at which each starts."""
    shapes = tuple(grid.shape[:2] for grid in grids)
    starts = np.cumsum([0, *(rows for rows, _ in shapes)])[:-1].tolist()
    return Mesh(np.concatenate([grid.reshape(-1, 3) for grid in grids]), *_layout(shapes, tuple(closed))), starts


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


def rasterise(screen: np.ndarray, mesh: Mesh, side: int) -> Fragments:
    """screen: (N, 3) x, y px and depth of the mesh's vertices -> Fragments.

    Triangles become spans (one a triangle and scan line), spans become pixels; along a span depth and chart are linear.
    """
    screen = screen.astype(np.float32)
    x, y = screen[:, 0], screen[:, 1]
    i, j, k = mesh.triangles.T
    area = (x[j] - x[i]) * (y[k] - y[i]) - (x[k] - x[i]) * (y[j] - y[i])
    chosen = np.flatnonzero(np.where(mesh.closed, area, np.abs(area)) > 1e-5)
    i, j, k, area = i[chosen], j[chosen], k[chosen], area[chosen]
    values = np.concatenate([screen.T, mesh.chart.T], dtype=np.float32)
    at = values[:, i]
    to_j, to_k = values[:, j] - at, values[:, k] - at
    top = np.maximum(np.ceil(np.minimum(np.minimum(y[i], y[j]), y[k])), 0).astype(np.intp)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(y[i], y[j]), y[k])), side - 1).astype(np.intp)

    # Barycentric weights of corners j and k: a * (x - x_i) + b * (y - y_i).
    ja, jb = to_k[1] / area, -to_k[0] / area
    ka, kb = -to_j[1] / area, to_j[0] / area
    face, line = _runs(bottom - top + 1)
    # float32 from here on: mixed precision would make `near` differ from the depth it is stored as.
    down = (top[face] + line).astype(np.float32) - at[1][face]
    origin = at[0][face]
    low, high = -origin, np.float32(side - 1) - origin
    for a, b, c in ((ja, jb, 0.0), (ka, kb, 0.0), (-ja - ka, -jb - kb, 1.0)):
        # Keep c + a x + b y >= 0; an edge along the scan line (a = 0) bounds nothing within the triangle's own lines.
        slope = a[face]
        with np.errstate(divide="ignore", invalid="ignore"):
            bound = -(c + b[face] * down) / slope
        np.maximum(low, bound, out=low, where=slope > 1e-9)
        np.minimum(high, bound, out=high, where=slope < -1e-9)
    left = np.ceil(low + origin - np.float32(1e-3)).astype(np.intp)
    count = np.floor(high + origin + np.float32(1e-3)).astype(np.intp) - left + 1
    span, step = _runs(count)
    start = (top[face] + line) * side + left
    pixel = start[span] + step
    step = step.astype(np.float32)

    # Depth, column and row at each span's start, and their change a pixel.
    across = left.astype(np.float32) - origin
    weight_j, weight_k = ja[face] * across + jb[face] * down, ka[face] * across + kb[face] * down
    first = [at[n][face] + weight_j * to_j[n][face] + weight_k * to_k[n][face] for n in (2, 3, 4)]
    change = [(ja * to_j[n] + ka * to_k[n])[face] for n in (2, 3, 4)]
    near = first[0][span] + change[0][span] * step
    depth = np.full(side * side, EMPTY, np.float32)
    np.maximum.at(depth, pixel, near)
    front = np.flatnonzero(near >= depth[pixel])
    span, step, pixel = span[front], step[front], pixel[front]
    chart = np.zeros((2, side * side), np.float32)
    for n in (0, 1):
        chart[n, pixel] = first[n + 1][span] + change[n + 1][span] * step
    shape = (side, side)
    return Fragments(depth.reshape(shape), chart[0].reshape(shape), chart[1].reshape(shape))


def _runs(count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For runs of the given lengths (below 1: none): the run of each item, and its place within the run."""
    count = np.maximum(count, 0)
    run = np.repeat(np.arange(len(count)), count)
    return run, np.arange(len(run)) - np.repeat(np.cumsum(count) - count, count)

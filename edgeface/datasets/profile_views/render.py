"""A face's picture as a sheet with depth, seen from another side.

The sheet is the part of the fitted head that the camera saw, and rings around it that lead over hair, neck and
background to the picture's border, which does not turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgeface.datasets.profile_views.fit import FittedHeads
from edgeface.datasets.profile_views.model import COLUMNS, ROWS, head_model
from edgeface.datasets.synthetic.head import azimuth_of_column
from edgeface.datasets.synthetic.raster import EMPTY, Fragments, Mesh, grid_triangles, rasterise

SPOKES = 48
# Rings around the head's outline: how far towards the picture's border, depth behind the outline in cm, how far the
# ring turns with the head. The first lies a little inside the outline, the last far outside the picture.
_RINGS = ((-0.05, 0.6, 1.0), (0.15, 2.5, 1.0), (0.4, 6.0, 0.9), (0.7, 10.0, 0.5), (1.0, 14.0, 0.0), (2.0, 20.0, 0.0))
_LEAST_GAP = 0.2
"""Between outline and border, of the outline's radius: where the head itself is cut by the border."""
_LEAST_FACING = -0.25
"""Cosine between a triangle's normal and the view. A little below 0: the cheeks' sides are seen on edge from the front,
and holes there would show the background; what they get is the picture next to them."""
_LAST_AZIMUTH = 105.0
"""Where the head's sides end, in degrees; hair hides what is behind, and the rings stand in for it."""
_TOLERANCE_CM, _JAW_TOLERANCE_CM = 0.7, 2.5
"""How far behind the seen surface a point may lie and still count as seen: the contour's lie under the jaw's edge."""
PIVOT_CM = np.array([0.0, -2.0, -1.0])
"""What heads turn about; the new crop follows the face, so it matters to the surroundings alone."""


@dataclass(frozen=True)
class Sheet:
    """One face ready to be turned; px of its picture, y up, depth towards the viewer."""

    vertices: np.ndarray
    """(V, 3)."""
    mesh: Mesh
    """Its chart is the picture: x, y px."""
    points: np.ndarray
    """(68, 3)."""
    pivot: np.ndarray
    """(3,)."""
    still: np.ndarray
    """(V,) 0 where a vertex turns with the head, 1 where it stays."""
    scale: float
    """px per cm."""


def sheet_of(heads: FittedHeads, face: int, side: int) -> Sheet:
    """The sheet over a ``side`` px picture."""
    model = head_model()
    everything = heads.surface(face, slice(0, model.labels.stop))
    skin, points = everything[model.vertices], everything[model.labels]
    scale = float(heads.scale[face])
    triangles = grid_triangles(ROWS, COLUMNS)
    corner = skin[triangles]
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 1] - corner[:, 0])
    front = np.abs(azimuth_of_column(triangles % COLUMNS)).max(1) < np.deg2rad(_LAST_AZIMUTH)
    seen = triangles[front & (normal[:, 2] > _LEAST_FACING * np.linalg.norm(normal, axis=1))]
    rings, still = _rings(skin[np.unique(seen)], scale, side)
    around = grid_triangles(len(_RINGS), SPOKES + 1) + len(skin)
    vertices = np.concatenate([skin, rings.reshape(-1, 3)])
    chart = (vertices[:, :2] * (1, -1)).astype(np.float32)
    mesh = Mesh(
        vertices,
        chart,
        np.concatenate([seen, around]),
        np.r_[np.ones(len(seen), bool), np.zeros(len(around), bool)],
    )
    pivot = heads.origin[face] + scale * heads.rotation[face] @ PIVOT_CM
    return Sheet(vertices, mesh, points, pivot, np.r_[np.zeros(len(skin)), still.ravel()], scale)


def _rings(seen: np.ndarray, scale: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(rings, SPOKES + 1, 3) px and (rings, SPOKES + 1) how still. seen: vertices of the head in the picture."""
    center = (seen.min(0) + seen.max(0))[:2] / 2
    away = seen[:, :2] - center
    radius = np.linalg.norm(away, axis=1)
    bins = np.round(np.arctan2(away[:, 1], away[:, 0]) * SPOKES / (2 * np.pi)).astype(int) % SPOKES
    # Per spoke the furthest vertex: its radius and depth.
    order = np.lexsort((radius, bins))
    last = np.r_[np.flatnonzero(np.diff(bins[order])), len(order) - 1]
    angles = np.arange(SPOKES)
    known = bins[order[last]]
    outline = np.interp(angles, known, radius[order[last]], period=SPOKES)
    depth = np.interp(angles, known, seen[order[last], 2], period=SPOKES)
    depth = (np.roll(depth, 1) + 2 * depth + np.roll(depth, -1)) / 4
    spokes = np.deg2rad(np.append(angles, 0) * 360 / SPOKES)
    direction = np.stack([np.cos(spokes), np.sin(spokes)], axis=1)
    outline, depth = np.append(outline, outline[0]), np.append(depth, depth[0])
    with np.errstate(divide="ignore"):
        # Along each spoke: to the first side of the picture (y up).
        edge = np.where(direction > 0, (side - 1.0, 0.0) - center, (0.0, 1.0 - side) - center) / direction
    edge[np.abs(direction) < 1e-9] = np.inf
    gap = np.maximum(edge.min(1) - outline, _LEAST_GAP * outline)
    rings, still = [], []
    for share, behind, turns in _RINGS:
        reach = outline * (1 + share) if share < 0 else outline + share * gap
        if share > 1:
            reach = reach + side
        rings.append(np.column_stack([center + direction * reach[:, None], depth - behind * scale]))
        still.append(np.full(SPOKES + 1, 1 - turns))
    return np.stack(rings), np.stack(still)


def lifted(sheet: Sheet, points_px: np.ndarray, side: int) -> np.ndarray:
    """(K, 3) px y up: points marked on the picture, (K, 2) y down, put on the sheet that the camera saw; NaN stays."""
    depth = rasterise(sheet.vertices * (1, -1, 1), sheet.mesh, side).depth
    known = np.isfinite(points_px).all(1)
    x, y = np.clip(np.round(np.where(known[:, None], points_px, 0)).astype(int), 0, side - 1).T
    found = depth[y, x]
    out = np.column_stack([points_px * (1, -1), found]).astype(np.float64)
    out[found <= EMPTY] = np.nan
    return out


def turn(sheet: Sheet, rotation: np.ndarray, spin_deg: float, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and points (K, 3), px y up, after ``rotation`` (3, 3) about the pivot. points: the 68 first.

    spin_deg: how much of it is a turn in the picture's plane (anticlockwise), which the surroundings go along with.
    """
    points = (points - sheet.pivot) @ rotation.T + sheet.pivot
    moved = (sheet.vertices - sheet.pivot) @ rotation.T + sheet.pivot
    cos, sin = np.cos(np.deg2rad(spin_deg)), np.sin(np.deg2rad(spin_deg))
    plane = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    around, face = ((p - sheet.pivot) @ plane.T + sheet.pivot for p in (sheet.vertices, sheet.points))
    # They go along with the face's place in the picture too, or the new crop would look past their border.
    around[:, :2] += (_middle(points[:68]) - _middle(face))[:2]
    still = sheet.still[:, None]
    return moved * (1 - still) + around * still, points


def _middle(points: np.ndarray) -> np.ndarray:
    return (points.min(0) + points.max(0)) / 2


def draw(
    sheet: Sheet, image: np.ndarray, vertices: np.ndarray, points: np.ndarray, matrix: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """The picture (side, side, 3) uint8 and which of the points are seen (K,).

    vertices, points: of `turn`. matrix: (2, 3) picture px (y down) -> the new picture's px.
    """
    screen = _onto(vertices, matrix)
    fragments = rasterise(screen, sheet.mesh, side)
    column, row = _filled(fragments)
    drawn = cv2.remap(image, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    at = _onto(points, matrix)
    known = np.isfinite(at).all(1)
    x, y = np.clip(np.round(np.where(known[:, None], at[:, :2], 0)).astype(int), 0, side - 1).T
    tolerance = np.full(len(at), _TOLERANCE_CM)
    tolerance[:17] = _JAW_TOLERANCE_CM
    return drawn, known & (fragments.depth[y, x] <= at[:, 2] + tolerance * sheet.scale)


def _filled(fragments: Fragments) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of every pixel; where head and rings leave a slit, those of the nearest pixel that has any."""
    empty = fragments.depth <= EMPTY
    if not empty.any() or empty.all():
        return fragments.column, fragments.row
    _, labels = cv2.distanceTransformWithLabels(empty.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    # Every full pixel has a label of its own.
    owner = np.zeros(labels.max() + 1, np.intp)
    full = np.flatnonzero(~empty.ravel())
    owner[labels.ravel()[full]] = full
    nearest = owner[labels]
    return fragments.column.ravel()[nearest], fragments.row.ravel()[nearest]


def _onto(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    flat = (points[:, :2] * (1, -1)) @ matrix[:, :2].T + matrix[:, 2]
    return np.column_stack([flat, points[:, 2]])

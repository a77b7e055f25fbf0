"""What is not the head's own surface: ears, hair that hangs, glasses. Each is a vertex grid of its own."""

from __future__ import annotations

import numpy as np

from edgeface.datasets.synthetic.head import CHIN_Y, COLUMNS, WIDEST_Y, Head
from edgeface.datasets.synthetic.params import Look

EAR_ROWS, EAR_COLUMNS = 11, 7
_EAR_Y, _EAR_HALF = -0.85, 3.1


def hairline_y(style: str, part: float, azimuth: np.ndarray) -> np.ndarray:
    """Height in cm at which hair starts, by azimuth (radians); 99 for a bald head."""
    if style == "bald":
        return np.full_like(azimuth, 99.0)
    degrees = np.rad2deg(np.abs(azimuth))
    front = {"fringe": 3.0, "bob": 6.4, "long": 6.7, "full": 6.3, "receding": 9.6}.get(style, 6.6)
    temple = {"fringe": 3.1, "receding": 7.0}.get(style, 6.0)
    line = np.interp(
        degrees,
        (0, 22, 40, 60, 72, 80, 90, 100, 125, 180),
        (front, front + 0.1, (front + temple) / 2 + 0.3, temple - 0.4, 2.9, -0.4, -0.6, -2.6, -4.8, -6.2),
    )
    if style == "fringe":
        line = line + 0.8 * np.sin(5 * azimuth + 3 * part) * (degrees < 60) * 0.35
    return line


def hair_mask(head: Head, look: Look, azimuth: np.ndarray, y: np.ndarray, soft: float = 0.5) -> np.ndarray:
    """How much the skin is covered by hair, 0..1, on rings (rows, COLUMNS)."""
    return np.clip((y - hairline_y(look.hair_style, look.hair_part, azimuth)) / soft + 0.5, 0, 1)


def hair_thickness(look: Look) -> float:
    volume = {"bald": 0.0, "buzz": 0.12, "short": 0.7, "fringe": 0.9, "full": 1.9, "bob": 1.1, "long": 1.0, "receding": 0.4}
    return volume[look.hair_style] * look.hair_volume


def grow_hair(head: Head, look: Look, vertices: np.ndarray) -> None:
    """Pushes the scalp's vertices outward by the hair's thickness, in place."""
    thickness = hair_thickness(look)
    if thickness == 0:
        return
    azimuth, y = head.rings()
    rows = len(y)
    cover = hair_mask(head, look, azimuth, y, soft=1.6)
    away = vertices[:rows] - np.array([0.0, 2.5, -0.5])
    away /= np.linalg.norm(away, axis=-1, keepdims=True)
    tuft = 1 + 0.25 * np.sin(3 * azimuth + 5 * look.hair_part)[None] * np.clip((y - 4) / 6, 0, 1)
    sides = np.clip(0.35 + (y + 2) / 10, 0.25, 1)
    vertices[:rows] += away * (cover * thickness * tuft * sides)[..., None]


def hair_curtain(head: Head, look: Look) -> np.ndarray | None:
    """(rows, columns, 3): the sheet of hair that hangs around the back and sides, None for short hair."""
    if look.hair_style not in ("bob", "long"):
        return None
    rows, columns = 14, 25
    front = np.deg2rad(74 + 10 * abs(look.hair_part))
    azimuth = np.linspace(front, 2 * np.pi - front, columns)
    end = CHIN_Y + 1.0 if look.hair_style == "bob" else CHIN_Y - 6.5
    y = np.linspace(WIDEST_Y + 1.5, end, rows)[:, None]
    # The sheet leaves the skull at its widest and falls straight, a little inwards at the tips.
    fall = np.clip((WIDEST_Y - y) / (WIDEST_Y - end), 0, 1)
    hold = np.maximum(y, -2.0)
    cap = np.clip(1 - ((y - WIDEST_Y).clip(0) / 9) ** 2, 0, 1)
    extra = 0.55 + 0.6 * hair_thickness(look) + 0.5 * np.sin(np.pi * fall)
    wave = 0.22 * np.sin(7 * azimuth[None] + 9 * look.hair_part) * fall
    radius_x = (head.width(hold) + extra + wave) * cap * (1 - 0.1 * fall)
    radius_z = (9.4 * head.shape.skull + extra + wave) * cap * (1 - 0.18 * fall)
    x = radius_x * np.sin(azimuth)
    z = radius_z * np.cos(azimuth) * np.where(np.cos(azimuth) > 0, 0.9, 1.0)
    return np.stack([x, y + 0 * x, z], axis=-1)


def ear(head: Head, side: int) -> np.ndarray:
    """(EAR_ROWS, EAR_COLUMNS, 3): a shell that stands off the head, from the cheek to its rim."""
    size = head.shape.ear_size
    v = np.linspace(1, -1, EAR_ROWS)[:, None]
    across = np.linspace(0, 1, EAR_COLUMNS)[None]
    reach = size * np.sqrt(np.clip(1.02 - v * v, 0, 1)) * (1.65 + 0.5 * v - 0.25 * v * v)
    y = _EAR_Y + v * _EAR_HALF * size + 0 * across
    root_x = head.width(np.full_like(v, -1.0)) - 0.35 - 0.25 * np.clip(-v, 0, 1)
    out = across * reach
    curl = 0.35 * size * np.clip((across - 0.62) / 0.38, 0, 1) * reach / 1.7
    dip = -0.35 * np.exp(-(((across - 0.42) / 0.25) ** 2) - ((v + 0.05) / 0.5) ** 2)
    x = root_x + 0.5 * out + 0.35 * curl + dip
    z = -0.35 - 0.35 * v - 0.82 * out + 0.9 * curl
    grid = np.stack([side * x, y, z], axis=-1)
    return grid if side < 0 else grid[:, ::-1]


def ear_lobe(side: int) -> np.ndarray:
    """(1, 2) column, row in an ear's grid of the AFLW ear point: the lobe."""
    column = 2.0 if side < 0 else EAR_COLUMNS - 3.0
    return np.array([[column, EAR_ROWS - 2.2]])


def glasses(head: Head, look: Look, nose_z: float, tinted: bool) -> list[np.ndarray]:
    """Vertex grids of rims, bridge and temples; tinted: closed lenses as well."""
    half_w, half_h = 2.65 * head.shape.width, 1.95 + 0.35 * look.lens_round
    centre_x, centre_y = head.eye_x + 0.05, -0.25
    exponent = 2 + 5 * (1 - look.lens_round)
    angle = np.linspace(0, 2 * np.pi, 33)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    unit = np.sign(unit) * np.abs(unit) ** (2 / exponent)

    def at(points: np.ndarray) -> np.ndarray:
        """The lens sheet: curved a little around the face."""
        x, y = points[..., 0], points[..., 1]
        return np.stack([x, y, nose_z - 0.045 * x * x + 0.06 * y], axis=-1)

    grids = []
    for side in (-1, 1):
        centre = np.array([side * centre_x, centre_y])
        rim = np.array([half_w, half_h]) * unit
        thick = 0.16 if not tinted else 0.2
        grids.append(at(np.stack([centre + rim * (1 + thick / half_w), centre + rim * (1 - thick / half_w)])))
        if tinted:
            rings = np.linspace(1.0, 0.0, 5)[:, None, None]
            grids.append(at(centre + rim * rings))
    inner = centre_x - half_w
    x = np.linspace(-inner, inner, 5)
    grids.append(at(np.stack([np.stack([x, 0.55 + 0 * x], -1), np.stack([x, 0.2 + 0 * x], -1)])) + [0, 0, 0.1])
    for side in (-1, 1):
        start = at(np.array([side * (centre_x + half_w), 0.35]))
        end = np.array([side * (float(head.width(np.array(0.0))) + 0.3), 0.55, -0.6])
        share = np.linspace(0, 1, 6)[:, None]
        bar = start + (end - start) * share + np.array([side * 0.5, 0, 0]) * np.sin(np.pi * share)
        grids.append(np.stack([bar + [0, 0.17, 0], bar - [0, 0.17, 0]]))
    return grids


def pad_columns(grid: np.ndarray) -> np.ndarray:
    """(rows, COLUMNS, …): a grid's columns repeated at the end up to the head's, for one shared texture."""
    return np.pad(grid, [(0, 0), (0, COLUMNS - grid.shape[1])] + [(0, 0)] * (grid.ndim - 2), mode="edge")

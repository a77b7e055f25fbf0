"""What is not the head's own surface: ears, hair that hangs, glasses. Each is a vertex grid of its own."""

from __future__ import annotations

import numpy as np

from edgeface.datasets.synthetic.head import CHIN_Y, WIDEST_Y, Head
from edgeface.datasets.synthetic.params import Look

EAR_ROWS, EAR_COLUMNS = 11, 7
_EAR_Y, _EAR_HALF = -0.85, 3.1


def hairline_y(style: str, part: float, azimuth: np.ndarray) -> np.ndarray:
    """Height in cm at which hair starts, by azimuth (radians); 99 for a bald head."""
    if style == "bald":
        return np.full_like(azimuth, 99.0)
    degrees = np.rad2deg(np.abs(azimuth))
    front = {"fringe": 3.0, "bob": 6.6, "long": 6.9, "full": 6.5, "receding": 9.8}.get(style, 6.8)
    corner = {"fringe": 2.9, "receding": 5.6}.get(style, 5.2)
    line = np.interp(
        degrees,
        # midline, corner of the forehead, temple, sideburn, above the ear, behind it, nape
        (0, 20, 34, 46, 58, 70, 78, 82, 87, 92, 104, 114, 128, 180),
        (
            front,
            front + 0.1,
            0.6 * front + 0.4 * corner + 0.3,
            corner,
            3.4,
            2.2,
            -0.4,
            -1.2,
            0.4,
            2.2,
            1.4,
            -2.6,
            -4.8,
            -6.4,
        ),
    )
    if style == "fringe":
        line = line + 0.8 * np.sin(5 * azimuth + 3 * part) * (degrees < 60) * 0.35
    return line


def hair_mask(look: Look, azimuth: np.ndarray, y: np.ndarray, soft: float = 0.5) -> np.ndarray:
    """How much hair covers the skin, 0..1, at azimuth (COLUMNS,) and height (rows, COLUMNS)."""
    return np.clip((y - hairline_y(look.hair_style, look.hair_part, azimuth)) / soft + 0.5, 0, 1)


def hair_thickness(look: Look) -> float:
    volume = {
        "bald": 0.0,
        "buzz": 0.12,
        "short": 0.7,
        "fringe": 0.9,
        "full": 1.9,
        "bob": 1.1,
        "long": 1.0,
        "receding": 0.4,
    }
    return volume[look.hair_style] * look.hair_volume


def grow_hair(head: Head, look: Look, vertices: np.ndarray) -> None:
    """Pushes the scalp's vertices outward by the hair's thickness, in place."""
    thickness = hair_thickness(look)
    if thickness == 0:
        return
    azimuth, y = head.azimuth, head.ring_y
    rows = len(y)
    cover = hair_mask(look, azimuth, y, soft=1.6)
    away = vertices[:rows] - np.array([0.0, 2.5, -0.5])
    away /= np.linalg.norm(away, axis=-1, keepdims=True)
    tuft = 1 + 0.25 * np.sin(3 * azimuth + 5 * look.hair_part)[None] * np.clip((y - 4) / 6, 0, 1)
    sides = np.clip(0.3 + (y - 1) / 8, 0.2, 1)
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
    v = np.sin(np.linspace(np.pi / 2, -np.pi / 2, EAR_ROWS))[:, None]
    across = np.linspace(0, 1, EAR_COLUMNS)[None]
    reach = size * np.sqrt(np.clip(1.03 - v * v, 0, 1)) * (1.6 + 0.45 * v - 0.2 * v * v)
    y = _EAR_Y + v * _EAR_HALF * size + 0 * across
    root_x = head.width(np.full_like(v, -1.0)) - 0.05 - 0.3 * np.clip(-v, 0, 1)
    out = across * reach
    curl = 0.35 * size * np.clip((across - 0.62) / 0.38, 0, 1) * reach / 1.7
    dip = -0.22 * np.exp(-(((across - 0.42) / 0.25) ** 2) - ((v + 0.05) / 0.5) ** 2)
    x = root_x + 0.5 * out + 0.25 * curl + dip
    z = 0.15 - 0.35 * v - 0.84 * out + 0.9 * curl
    grid = np.stack([side * x, y, z], axis=-1)
    return grid if side < 0 else grid[:, ::-1]


def ear_lobe(side: int) -> np.ndarray:
    """(1, 2) column, row in an ear's grid of the AFLW ear point: the lobe."""
    column = 2.0 if side < 0 else EAR_COLUMNS - 3.0
    return np.array([[column, EAR_ROWS - 2.2]])


def glasses(head: Head, look: Look, nose_z: float, tinted: bool) -> list[np.ndarray]:
    """Vertex grids of rims, bridge and temples; tinted: closed lenses as well."""
    half_w, half_h = 2.6 * head.shape.width, 1.9 + 0.35 * look.lens_round
    centre_x, centre_y = head.eye_x + 0.05, -0.25

    def at(points: np.ndarray) -> np.ndarray:
        """The lens sheet: curved a little around the face."""
        x, y = points[..., 0], points[..., 1]
        return np.stack([x, y, nose_z - 0.045 * x * x + 0.06 * y], axis=-1)

    def lens(points: np.ndarray) -> np.ndarray:
        """(..., 2) of the square [-1, 1]^2 -> the lens, between a rounded box and an ellipse."""
        u, v = points[..., 0], points[..., 1]
        bend = 0.3 + 0.7 * look.lens_round
        x, y = u * np.sqrt(1 - bend * v * v / 2), v * np.sqrt(1 - bend * u * u / 2)
        return np.stack([half_w * x, half_h * y], axis=-1)

    edge = np.linspace(-1, 1, 8)
    ones = np.ones(7)
    sides = [(edge[:-1], ones), (ones, -edge[:-1]), (-edge[:-1], -ones), (-ones, edge[:-1])]
    loop = np.concatenate([np.stack(side, axis=-1) for side in sides])
    rim = lens(np.vstack([loop, loop[:1]]))
    square = np.stack(np.meshgrid(np.linspace(-1, 1, 7), np.linspace(1, -1, 5)), axis=-1)
    grids = []
    thick = 0.2 if tinted else 0.16
    for side in (-1, 1):
        centre = np.array([side * centre_x, centre_y])
        outer, inside = at(centre + rim * (1 + thick / half_w)), at(centre + rim * (1 - thick / half_w))
        # The third ring gives the rim depth, so that it does not vanish edge on.
        grids.append(np.stack([inside, outer, outer - [0, 0, 0.4]]))
        if tinted:
            grids.append(at(centre + lens(square)))
    inner = centre_x - half_w
    x = np.linspace(-inner, inner, 5)
    grids.append(at(np.stack([np.stack([x, 0.55 + 0 * x], -1), np.stack([x, 0.2 + 0 * x], -1)])) + [0, 0, 0.1])
    for side in (-1, 1):
        start = at(np.array([side * (centre_x + half_w), 0.35]))
        end = np.array([side * (float(head.width(np.array(0.0))) + 0.3), 0.55, -0.6])
        share = np.linspace(0, 1, 6)[:, None]
        bar = start + (end - start) * share + np.array([side * 0.5, 0, 0]) * np.sin(np.pi * share)
        grids.append(np.stack([bar + [0, 0.17, 0], bar - [0, 0.19, 0]]))
    return grids

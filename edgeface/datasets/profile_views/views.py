"""Faces turned further towards profile than they were photographed, and 3D labels for faces as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeface.box import face_box
from edgeface.crop import square_crop
from edgeface.datasets.cut_faces import CutFaces
from edgeface.datasets.profile_views.fit import FittedHeads, as_labelled, fit_heads
from edgeface.datasets.profile_views.model import head_model
from edgeface.datasets.profile_views.render import draw, lifted, sheet_of, turn
from edgeface.errors import InputError
from edgeface.head_pose import from_matrix, to_matrix
from edgeface.progress import track

YAW_DEG = (20.0, 90.0)
"""Range of |yaw| of the views, where none is asked for."""
LEAST_TURN_DEG = 8.0
"""Unless the range of |yaw| begins below it."""
NOD_DEG = 6.0
"""Standard deviation of the change of pitch, where none is asked for."""
MOST_NOD_DEG = 25.0
"""Largest standard deviation. Twice it is the furthest nod; beyond 50 degrees the picture shows little of the face."""
ROLL_DEG = 6.0
"""Standard deviation of the views' roll."""
FRONTAL_DEG = 10.0
"""Below this |yaw| a face may be turned to either side."""
CARRIED = ("aflw21", "mtfl5", "lfw10")
"""Markups that turn with the face; a drawn contour (ibug68, wflw98) would not stay one."""


def fitted_heads(faces: CutFaces) -> FittedHeads:
    """Heads fitted to the ibug68 points of cut-out faces; InputError without that markup."""
    if "ibug68" not in faces.landmarks:
        got = ", ".join(faces.landmarks) or "none"
        raise InputError(f"faces to fit a head to must have ibug68 points. Received: {got}")
    return fit_heads(faces.landmarks["ibug68"], faces.visible["ibug68"])


def turned_faces(
    faces: CutFaces,
    per_face: int,
    seed: int,
    yaw_deg: tuple[float, float] = YAW_DEG,
    nod_deg: float = NOD_DEG,
) -> CutFaces:
    """Views of every face to whose ibug68 points a head can be fitted, turned towards profile; the others are left out.

    Each view is turned further to the side the face already looks to (either side near frontal): |yaw| is spread
    evenly over ``yaw_deg``, in as many strips as there are views. Labels: ibug68_3d (hidden points too, not visible),
    full pose (`fit.as_labelled`), and the faces' own points of `CARRIED`, put on the head where they are marked. Same
    faces and seed, same bytes; a face's views do not depend on the faces beside it.

    Args:
        faces: the faces.
        per_face: views of each.
        seed: of the random poses.
        yaw_deg: range of |yaw|.
        nod_deg: standard deviation of the change of pitch.
    """
    if isinstance(per_face, bool) or not isinstance(per_face, (int, np.integer)) or per_face < 1:
        raise InputError(f"per_face must be a whole number >= 1. Received: {per_face!r}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed must be a whole number >= 0. Received: {seed!r}")
    if not 0 <= yaw_deg[0] < yaw_deg[1] <= 90:
        raise InputError(f"yaw_deg must be two rising angles in 0 to 90. Received: {yaw_deg!r}")
    if not 0 <= nod_deg <= MOST_NOD_DEG:
        raise InputError(f"nod_deg must be in 0 to {MOST_NOD_DEG:g}. Received: {nod_deg!r}")
    heads = fitted_heads(faces)
    chosen = np.flatnonzero(heads.fitted)
    if not len(chosen):
        raise InputError(f"a head must fit at least one face. Received: {len(faces)} faces, none fitted")
    count = len(chosen) * per_face
    side = faces.side
    images = np.empty((count, side, side, 3), np.uint8)
    carried = {name: faces.landmarks[name].shape[1] for name in CARRIED if name in faces.landmarks}
    total = 68 + sum(carried.values())
    points, seen = np.empty((count, total, 2), np.float32), np.empty((count, total), bool)
    boxes, poses = np.empty((count, 4), np.float32), np.empty((count, 3), np.float32)
    ids = []
    at = 0
    for face in track(chosen, "turning faces", at_least=500):
        sheet = sheet_of(heads, face, side)
        marked = [np.where(faces.visible[n][face][:, None], faces.landmarks[n][face], np.nan) for n in carried]
        everything = np.concatenate([sheet.points, *(lifted(sheet, points_px, side) for points_px in marked)])
        rng = np.random.default_rng([int(seed), *faces.ids[face].encode()])
        for number, (rotation, spin_deg) in enumerate(_rotations(heads, face, per_face, yaw_deg, nod_deg, rng)):
            vertices, turned = turn(sheet, rotation, spin_deg, everything)
            box = face_box({"ibug68_3d": turned[:68, :2] * (1, -1)})
            matrix = square_crop(box, faces.scale).matrix(side)
            images[at], seen[at] = draw(sheet, faces.images[face], vertices, turned, matrix, side)
            points[at] = (turned[:, :2] * (1, -1)) @ matrix[:, :2].T + matrix[:, 2]
            boxes[at] = np.concatenate([points[at, :68].min(0), points[at, :68].max(0)])
            poses[at] = as_labelled(from_matrix((rotation @ heads.rotation[face]).T)[None])[0]
            ids.append(f"{faces.ids[face]}-turned{number}")
            at += 1
    ends = np.cumsum([68, *carried.values()])[:-1]
    names = ("ibug68_3d", *carried)
    landmarks = dict(zip(names, np.split(points, ends, axis=1), strict=True))
    visible = dict(zip(names, np.split(seen, ends, axis=1), strict=True))
    return CutFaces(images, landmarks, visible, poses, boxes, np.array(ids), f"{faces.dataset} turned", faces.scale)


def fit_3d_labels(faces: CutFaces) -> CutFaces:
    """The same faces with ibug68_3d and the pose (`fit.as_labelled`) of the head fitted to their ibug68 points.

    Known ibug68_3d points and angles are kept; faces to which no head can be fitted stay as they are.
    """
    heads = fitted_heads(faces)
    model = head_model()
    points = faces.landmarks.get("ibug68_3d", np.full((len(faces), 68, 2), np.nan, np.float32)).copy()
    visible = faces.visible.get("ibug68_3d", np.zeros((len(faces), 68), bool)).copy()
    pose = faces.pose_deg.copy()
    lacking = heads.fitted & ~np.isfinite(points).any((1, 2))
    for face in np.flatnonzero(lacking):
        points[face] = heads.surface(face, model.labels)[:, :2] * (1, -1)
        visible[face] = _faces_camera(heads, face)
    unknown = heads.fitted[:, None] & ~np.isfinite(pose)
    pose[unknown] = as_labelled(heads.pose_deg)[unknown]
    return replace(
        faces,
        landmarks=faces.landmarks | {"ibug68_3d": points},
        visible=faces.visible | {"ibug68_3d": visible},
        pose_deg=pose,
    )


def _faces_camera(heads: FittedHeads, face: int) -> np.ndarray:
    """(68,) whether a point is on the side that the camera sees: by the yaw alone."""
    turned = head_model().mean[head_model().points] * (1, 0, 1) @ heads.rotation[face].T
    return turned[:, 2] > -1.5


def _rotations(
    heads: FittedHeads,
    face: int,
    per_face: int,
    yaw_deg: tuple[float, float],
    nod_deg: float,
    rng: np.random.Generator,
) -> list[tuple[np.ndarray, float]]:
    """What to turn the head by, (3, 3) each, in camera axes, and how many degrees of it are in the picture's plane."""
    own = heads.rotation[face]
    yaw, pitch = (float(v) for v in heads.pose_deg[face, :2])
    sign = np.sign(yaw) if abs(yaw) > FRONTAL_DEG else 0
    low, high = yaw_deg
    edges = np.linspace(low, high, per_face + 1)
    out = []
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        side = sign or (1.0 if rng.random() < 0.5 else -1.0)
        target = rng.uniform(a, b)
        least = min(side * yaw + min(LEAST_TURN_DEG, low), high)
        # Already beyond the strip: somewhere between there and profile.
        target = target if target >= least else rng.uniform(least, high)
        nod, lean = np.clip(rng.standard_normal(2), -2, 2) * (nod_deg, ROLL_DEG)
        # A new upright head instead of a turn about the old one's axis: from a leaning head that would lead to angles
        # of +-120 degrees near profile. Near there a nod is a turn in the picture's plane, which the roll takes back;
        # what is left of the nod leans the head towards the camera. Augmentation leans it the other way.
        nodded = pitch + nod
        lean += nodded * np.sin(np.deg2rad(target))
        new = to_matrix(np.array([side * target, nodded, side * lean])).T
        before, after = (np.arctan2(r[0, 1], r[1, 1]) for r in (own, new))
        out.append((new @ own.T, float(np.rad2deg(before - after))))
    return out

"""A linear 3D head fitted to the 68 points of many faces at once.

Weak perspective; rotation, scale, position and shape by damped Gauss-Newton. The contour's points of a 2D annotation
lie on the outline that the camera sees: at every step each is matched with the place on its path over the cheek that
stands out furthest ("landmark marching", Zhu et al., CVPR 2015). Where along the outline an annotator puts them hardly
follows the head when it looks up or down, so it is the distance across the outline that counts
(`CONTOUR_TANGENT_WEIGHT`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeface.datasets.posefit import fit_pose
from edgeface.datasets.profile_views.model import JAW_STEPS, HeadModel, head_model
from edgeface.head_pose import from_matrix, to_matrix

SIGMA_CM = 0.22
"""How far an annotated point lies from the head's: annotators' spread and what the model cannot say."""
WEIGHTS = np.r_[np.full(17, 0.4), np.full(10, 0.7), np.ones(41)]
"""The contour is the least certain of the annotation, brows follow."""
CONTOUR_TANGENT_WEIGHT = 0.3
"""Weight of a contour point's distance along the outline. At 1 a quarter of a head's pitch is lost: heads fitted to the
68 2D points that a network finds on aflw2000_3d val show it, and the yaws of AFLW's training faces agree, which are
nearer to heads fitted with this weight (`studies.aflw_yaw_scale.study`)."""
FRONTAL_PITCH_BIAS_DEG = 3.5
"""By how much a head fitted to a frontal face's 2D points looks up too far: the points are not quite at the heights of
the rendered heads' own. In profile the points show the pitch itself, so the bias falls with the squared cosine of yaw.
Chosen as `CONTOUR_TANGENT_WEIGHT` was (`studies.head_fit.study`)."""
PROFILE_PITCH_OFFSET_DEG = 2.5
"""By how much 300W-LP labels the pitch of a head in profile higher than that of a head fitted to its points. It grows
with the squared sine of yaw. The mean of what three networks trained without it had left beyond 60 degrees, rounded
(`studies.profile_pitch.study`, on aflw2000_3d val). Part of the pose label alone: the points stay where they are."""
MOST_YAW_DEG = 80.0
"""Beyond this yaw the offset falls with yaw's cosine: pitch and roll divide by that, and must move no further."""
ROUNDS = 14
CHUNK = 256
REACH_CM = 2.5
"""How far the correction at one point reaches over the head."""
MIN_POINTS = 40
MAX_RESIDUAL = 0.08
"""Largest RMS distance, as a share of the face box's size: beyond it the points fit no head that the model knows."""


def constants() -> dict[str, float]:
    """The constants that decide how heads are fitted and labelled, for records of runs that learn from them.

    The keys are those of records that exist.
    """
    return {
        "along": CONTOUR_TANGENT_WEIGHT,
        "raised_deg": FRONTAL_PITCH_BIAS_DEG,
        "profile_nod_deg": PROFILE_PITCH_OFFSET_DEG,
    }


@dataclass(frozen=True)
class FittedHeads:
    """Heads of N faces in camera axes: x right, y **up**, z to the viewer, all in the picture's pixels."""

    rotation: np.ndarray
    """(N, 3, 3) applied to the head (the transpose of the pose's matrix)."""
    scale: np.ndarray
    """(N,) px per cm."""
    origin: np.ndarray
    """(N, 3) px, y up: the head's origin; its depth is 0."""
    coefficients: np.ndarray
    """(N, M)."""
    residual: np.ndarray
    """(N,) RMS distance of the used points as a share of sqrt(w * h) of their box; inf = not fitted."""
    offsets: np.ndarray
    """(N, 68, 2) px, y up: annotated point minus the head's; 0 where there is none."""
    weights: np.ndarray
    """(N, 68) how much of that was trusted."""
    slots: np.ndarray
    """(N, 17) place of the contour's points on their paths."""

    def __len__(self) -> int:
        return len(self.scale)

    @property
    def fitted(self) -> np.ndarray:
        """(N,) bool."""
        return self.residual < MAX_RESIDUAL

    @property
    def pose_deg(self) -> np.ndarray:
        """(N, 3) yaw, pitch, roll of the heads as they lie."""
        return from_matrix(np.swapaxes(self.rotation, 1, 2)).astype(np.float32)

    def surface(self, face: int, which: slice) -> np.ndarray:
        """(P, 3) px of the model's points ``which``, bent so that trusted annotated points are met."""
        model = head_model()
        rest = model.mean[which] + model.components[which] @ self.coefficients[face]
        out = self.scale[face] * rest @ self.rotation[face].T + self.origin[face]
        centres = _matched(model, self.coefficients[face : face + 1], self.slots[face : face + 1])[0]
        gain = self._gain(centres, face)
        out[:, :2] += _kernel(rest, centres) @ gain
        return out

    def _gain(self, centres: np.ndarray, face: int) -> np.ndarray:
        """(68, 2) px: weights of a Gaussian process over the head that passes through the offsets."""
        # A point that is not trusted is given a large variance instead of being left out: one shape for all faces.
        noise = 0.004 / np.maximum(self.weights[face], 1e-9)
        return np.linalg.solve(_kernel(centres, centres) + np.diag(noise), self.offsets[face])


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matern 3/2 of the distance on the head in cm."""
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    reach = np.sqrt(3 * np.maximum(squared, 0)) / REACH_CM
    return (1 + reach) * np.exp(-reach)


def _matched(model: HeadModel, coefficients: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """(N, 68, 3) cm: the head's 68 points, the contour's where they were slid to."""
    index = _indices(model, slots)
    return model.mean[index] + np.einsum("nkdm,nm->nkd", model.components[index], coefficients)


def _indices(model: HeadModel, slots: np.ndarray) -> np.ndarray:
    jaw = model.paths.start + JAW_STEPS * np.arange(17) + slots
    inner = np.broadcast_to(np.arange(model.points.start + 17, model.points.stop), (len(slots), 51))
    return np.concatenate([jaw, inner], axis=1)


def fit_heads(points_px: np.ndarray, known: np.ndarray | None = None, slide: bool = True) -> FittedHeads:
    """Heads fitted to 68 points each.

    Args:
        points_px: (N, 68, 2) px, y down, NaN unknown.
        known: (N, 68) bool, the points to use; None: all.
        slide: the contour is the outline that is seen (ibug68); False: every point is at its own place on the head.
    """
    points = np.asarray(points_px, np.float64) * (1.0, -1.0)
    usable = np.isfinite(points).all(-1)
    if known is not None:
        usable &= known
    chunks = [
        _fit_chunk(points[i : i + CHUNK], usable[i : i + CHUNK], slide) for i in range(0, max(len(points), 1), CHUNK)
    ]
    return FittedHeads(*(np.concatenate(parts) for parts in zip(*chunks, strict=True)))


def _fit_chunk(points: np.ndarray, usable: np.ndarray, slide: bool) -> tuple[np.ndarray, ...]:
    model = head_model()
    count = len(points)
    enough = usable.sum(1) >= MIN_POINTS
    # A face with too few points is fitted to the mean head's own and thrown away: no special cases below.
    stand_in = model.mean[model.points][:, :2] * 7.0
    points = np.where(enough[:, None, None], np.where(usable[..., None], points, 0.0), stand_in)
    usable = usable | ~enough[:, None]
    start, _ = fit_pose(
        model.mean[model.points], np.where(usable[..., None], points * (1, -1), np.nan), WEIGHTS, rounds=25
    )
    rotation = np.swapaxes(to_matrix(start), 1, 2)
    coefficients = np.zeros((count, model.components.shape[-1]))
    slots = np.zeros((count, 17), int)
    base = usable * WEIGHTS
    turned = model.mean[model.points] @ np.swapaxes(rotation, 1, 2)
    scale, shift = _similar(turned[..., :2], points, base)
    prior = np.eye(coefficients.shape[1])

    for round_ in range(ROUNDS):
        if slide:
            slots = _slide(model, coefficients, rotation)
        index = _indices(model, slots)
        basis = model.components[index]
        shape = model.mean[index] + np.einsum("nkdm,nm->nkd", basis, coefficients)
        turned = shape @ np.swapaxes(rotation, 1, 2)
        sigma = SIGMA_CM * scale
        offset = points - (scale[:, None, None] * turned[..., :2] + shift[:, None])
        # Cauchy weights: a point that cannot be met pulls less.
        robust = 1 / (1 + (offset**2).sum(-1) / (3 * sigma[:, None]) ** 2) if round_ > 3 else 1.0
        weight = base * robust / sigma[:, None] ** 2
        jacobian = np.zeros((count, 68, 2, 6 + basis.shape[-1]))
        x, y, z = (turned[..., i] * scale[:, None] for i in range(3))
        jacobian[..., 0, 1], jacobian[..., 0, 2] = z, -y
        jacobian[..., 1, 0], jacobian[..., 1, 2] = -z, x
        jacobian[..., 0, 3], jacobian[..., 1, 3] = x, y
        jacobian[..., 0, 4] = jacobian[..., 1, 5] = 1
        camera = scale[:, None, None] * rotation[:, :2]
        jacobian[..., 6:] = np.matmul(camera[:, None], basis)
        if slide:
            across = _across(turned[:, :17, :2])
            offset[:, :17] = np.einsum("nkij,nkj->nki", across, offset[:, :17])
            jacobian[:, :17] = across @ jacobian[:, :17]
        flat = jacobian.reshape(count, 136, -1)
        weighted = flat * np.repeat(weight, 2, axis=1)[..., None]
        normal = np.swapaxes(weighted, 1, 2) @ flat
        right = np.einsum("nkp,nk->np", weighted, offset.reshape(count, 136))
        normal[:, 6:, 6:] += prior
        right[:, 6:] -= coefficients
        normal[:, range(6), range(6)] *= 1 + 1e-3
        step = np.linalg.solve(normal, right[..., None])[..., 0]
        rotation = _rotation(np.clip(step[:, :3], -0.3, 0.3)) @ rotation
        scale = scale * np.exp(np.clip(step[:, 3], -0.3, 0.3))
        shift = shift + step[:, 4:6]
        coefficients = np.clip(coefficients + step[:, 6:], -4, 4)

    if slide:
        rotation = rotation @ _remove_pitch_bias(rotation)
        slots = _slide(model, coefficients, rotation)
    turned = _matched(model, coefficients, slots) @ np.swapaxes(rotation, 1, 2)
    if slide:
        scale, shift = _similar(turned[..., :2], points, base)
    offset = points - (scale[:, None, None] * turned[..., :2] + shift[:, None])
    if slide:
        offset[:, :17] = np.einsum("nkij,nkj->nki", _across(turned[:, :17, :2]), offset[:, :17])
    offset = np.where(usable[..., None], offset, 0.0)
    squared = (usable * (offset**2).sum(-1)).sum(1) / usable.sum(1)
    extent = np.where(usable[..., None], points, np.nan)
    size = np.sqrt(np.prod(np.nanmax(extent, axis=1) - np.nanmin(extent, axis=1), axis=1))
    residual = np.where(enough, np.sqrt(squared) / np.maximum(size, 1e-9), np.inf)
    origin = np.concatenate([shift, np.zeros((count, 1))], axis=1)
    return rotation, scale, origin, coefficients, residual, offset, base, slots


def _similar(seen: np.ndarray, points: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale (N,) and shift (N, 2) that bring (N, K, 2) to the points."""
    share = (weight / weight.sum(1, keepdims=True))[..., None]
    a, b = (share * seen).sum(1), (share * points).sum(1)
    away = seen - a[:, None]
    scale = (share * away * (points - b[:, None])).sum((1, 2)) / (share * away**2).sum((1, 2))
    scale = np.maximum(scale, 1e-3)
    return scale, b - scale[:, None] * a


def _slide(model: HeadModel, coefficients: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(N, 17) place on each contour point's path that stands out furthest sideways in the upright face."""
    paths, points = model.paths, model.points
    shape = model.mean[paths] + np.einsum("pdm,nm->npd", model.components[paths], coefficients)
    turned = (shape @ np.swapaxes(rotation, 1, 2))[..., :2].reshape(len(rotation), 17, JAW_STEPS, 2)
    ends = model.mean[[points.start + 27, points.start + 8]] @ np.swapaxes(rotation, 1, 2)
    down = ends[:, 1, :2] - ends[:, 0, :2]
    across = np.stack([-down[:, 1], down[:, 0]], axis=1) / np.linalg.norm(down, axis=1, keepdims=True)
    outward = np.sign(np.arange(17) - 8)
    reach = np.einsum("nksd,nd->nks", turned, across) * outward[:, None]
    # The start wins ties: only a point that is truly behind the outline moves.
    return np.argmax(reach - 1e-3 * (np.arange(JAW_STEPS) > 0), axis=2)


def _across(outline: np.ndarray) -> np.ndarray:
    """(N, 17, 2, 2) to multiply distances at the outline's points (N, 17, 2) by: the part along the outline shrinks to
    `CONTOUR_TANGENT_WEIGHT` of it."""
    ends = np.concatenate([outline[:, :1], outline, outline[:, -1:]], axis=1)
    along = ends[:, 2:] - ends[:, :-2]
    along = along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    return np.eye(2) - (1 - CONTOUR_TANGENT_WEIGHT) * along[..., :, None] * along[..., None, :]


def _remove_pitch_bias(rotation: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations to apply first, which take `FRONTAL_PITCH_BIAS_DEG` back."""
    yaw = np.deg2rad(from_matrix(np.swapaxes(rotation, 1, 2))[:, 0])
    angles = np.zeros((len(yaw), 3))
    angles[:, 1] = -FRONTAL_PITCH_BIAS_DEG * np.cos(yaw) ** 2
    return np.swapaxes(to_matrix(angles), 1, 2)


def as_labelled(pose_deg: np.ndarray, nod_deg: float | None = None) -> np.ndarray:
    """The pose that 300W-LP would label fitted heads with, (N, 3) float32 degrees.

    Args:
        pose_deg: (N, 3) yaw, pitch, roll of the fitted heads.
        nod_deg: the offset in profile, about the head's own axis from ear to ear; default `PROFILE_PITCH_OFFSET_DEG`.
    """
    pose_deg = np.asarray(pose_deg, np.float64)
    yaw = np.deg2rad(pose_deg[:, 0])
    fading = np.minimum(1, np.abs(np.cos(yaw)) / np.cos(np.deg2rad(MOST_YAW_DEG)))
    nod = np.zeros((len(pose_deg), 3))
    nod[:, 1] = (PROFILE_PITCH_OFFSET_DEG if nod_deg is None else nod_deg) * np.sin(yaw) ** 2 * fading
    # A pose's matrix is the transpose of what turns the head, so that a factor on its left comes first, on the head.
    near = from_matrix(to_matrix(nod) @ to_matrix(pose_deg))
    # The same rotation written with a yaw beyond 90 degrees, where that is how it was given.
    far = np.copysign(180, near) - near
    far[:, 1:] *= -1
    beyond = _apart(far, pose_deg) < _apart(near, pose_deg)
    return np.where(beyond[:, None], far, near).astype(np.float32)


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) sum over the angles (N, 3), degrees, the short way round."""
    return np.abs((a - b + 180) % 360 - 180).sum(1)


def _rotation(vector: np.ndarray) -> np.ndarray:
    """(N, 3) rotation vectors -> (N, 3, 3), Rodrigues."""
    angle = np.linalg.norm(vector, axis=1)[:, None, None]
    x, y, z = vector.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    safe = np.maximum(angle, 1e-12)
    return np.eye(3) + np.sin(angle) / safe * cross + (1 - np.cos(angle)) / safe**2 * cross @ cross

"""Head pose in the 300W-LP / AFLW2000-3D convention.

Degrees, in the order yaw, pitch, roll; yaw > 0 turns the face to the image's left. The matrix is scipy's
``Rotation.from_euler("xyz", [pitch, yaw, roll], degrees=True)`` (as in 6DRepNet), that is
``Rz(roll) @ Ry(yaw) @ Rx(pitch)``; the matrix that 300W-LP applies to its face model (y up) is its transpose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

ANGLES = ("yaw", "pitch", "roll")


@dataclass(frozen=True)
class HeadPose:
    """Yaw, pitch and roll in degrees; yaw > 0 turns the face to the image's left.

    >>> edgeface.HeadPose(yaw_deg=30, pitch_deg=0, roll_deg=0).matrix()
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float

    @classmethod
    def from_matrix(cls, matrix: np.ndarray) -> HeadPose:
        return cls(*(float(a) for a in from_matrix(matrix)))

    def matrix(self) -> np.ndarray:
        """(3, 3) rotation."""
        return to_matrix(self.as_array())

    def mirrored(self) -> HeadPose:
        """The pose of the mirrored image."""
        return HeadPose(-self.yaw_deg, self.pitch_deg, -self.roll_deg)

    def as_array(self) -> np.ndarray:
        """(3,) yaw, pitch, roll in degrees, float32."""
        return np.array([self.yaw_deg, self.pitch_deg, self.roll_deg], np.float32)


def to_matrix(pose_deg: np.ndarray) -> np.ndarray:
    """(..., 3) yaw, pitch, roll in degrees -> (..., 3, 3) rotations."""
    yaw, pitch, roll = np.moveaxis(np.deg2rad(np.asarray(pose_deg, np.float64)), -1, 0)
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    rows = [
        [cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp],
        [sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp],
        [-sy, cy * sp, cy * cp],
    ]
    return np.stack([np.stack(r, axis=-1) for r in rows], axis=-2)


def from_matrix(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations -> (..., 3) yaw, pitch, roll in degrees, |yaw| <= 90.

    At |yaw| = 90 pitch and roll turn about one axis; roll is then reported as 0.
    """
    matrix = np.asarray(matrix, np.float64)
    cos_yaw = np.hypot(matrix[..., 0, 0], matrix[..., 1, 0])
    yaw = np.arctan2(-matrix[..., 2, 0], cos_yaw)
    locked = cos_yaw < 1e-6
    pitch = np.where(
        locked,
        np.arctan2(-matrix[..., 1, 2], matrix[..., 1, 1]),
        np.arctan2(matrix[..., 2, 1], matrix[..., 2, 2]),
    )
    roll = np.where(locked, 0.0, np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0]))
    return np.rad2deg(np.stack([yaw, pitch, roll], axis=-1))


def mirror(pose_deg: np.ndarray) -> np.ndarray:
    """(..., 3) -> the poses of the mirrored images."""
    return np.asarray(pose_deg) * np.array([-1, 1, -1], np.asarray(pose_deg).dtype)


def turn_pose(pose_deg: np.ndarray, angle_deg: float) -> np.ndarray:
    """(3,) float32 degrees: the pose as it is seen in a turned crop.

    For a frontal face that is roll - angle. Of a partial pose (AFLW's yaw alone) only the yaw is kept, turned as if
    pitch were 0; it may lie beyond 90 degrees.

    Args:
        pose_deg: (3,) yaw, pitch, roll in the image.
        angle_deg: How far the crop's frame is turned, clockwise (`Crop.angle_deg`).
    """
    pose = np.asarray(pose_deg, np.float64)
    if angle_deg == 0:
        return pose.astype(np.float32)
    known = np.isfinite(pose)
    if not known.all():
        yaw = math.radians(pose[0])
        tilt = math.cos(math.radians(angle_deg))
        turned = np.array([math.degrees(math.atan2(tilt * math.sin(yaw), math.cos(yaw))), np.nan, np.nan])
        return turned.astype(np.float32)
    # The crop's frame turns clockwise, so its content turns counter-clockwise: Q = Rz(+angle), y up.
    a = math.radians(angle_deg)
    turn = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    return from_matrix(to_matrix(pose) @ turn.T).astype(np.float32)


def geodesic_deg(pred_deg: np.ndarray, true_deg: np.ndarray) -> np.ndarray:
    """(...) degrees: the angle of the rotation between two poses.

    Args:
        pred_deg: (..., 3) yaw, pitch, roll.
        true_deg: (..., 3), the same.
    """
    relative = to_matrix(pred_deg) @ np.swapaxes(to_matrix(true_deg), -1, -2)
    # atan2 of sine and cosine: arccos alone loses half the digits near zero.
    axis = np.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        axis=-1,
    )
    return np.rad2deg(np.arctan2(np.linalg.norm(axis, axis=-1), np.trace(relative, axis1=-2, axis2=-1) - 1))

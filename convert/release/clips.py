"""Rendered videos with known truth: one head that is still, moves, turns, or leaves, in 640x480 frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edgeface.box import Box
from edgeface.datasets.synthetic import face_seed, render_params, sample_params
from edgeface.datasets.synthetic.backdrop import background

WIDTH, HEIGHT, FPS = 640, 480, 30.0
HEAD = 320
"""Side of the rendered head's picture, px."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames with their truth; NaN and a False ``present`` where the face is not in the picture."""

    frames: list[np.ndarray]
    """(480, 640, 3) uint8 RGB each."""
    landmarks_px: np.ndarray
    """(T, 68, 2) of ibug68."""
    pose_deg: np.ndarray
    """(T, 3)."""
    present: np.ndarray
    """(T,) bool."""

    def box(self, index: int) -> Box:
        return Box.around(self.landmarks_px[index])


Path_ = Callable[[float], tuple[float, float]]


def still(seed: int, frames: int = 60, noise: float = 2.0) -> Clip:
    """A face that does not move; what differs from frame to frame is the camera's noise (sigma, gray levels)."""
    return clip(seed, frames, lambda t: (0.5, 0.5), lambda t: (0.0, 0.0, 0.0), noise)


def moving(seed: int, frames: int = 60, cycles: float = 1.0, noise: float = 2.0) -> Clip:
    """A face that swings from side to side and back, by a third of the picture's width, looking ahead."""
    return clip(
        seed,
        frames,
        lambda t: (0.5 + 0.17 * np.sin(2 * np.pi * cycles * t), 0.5),
        lambda t: (0.0, 0.0, 0.0),
        noise,
    )


def turning(seed: int, frames: int = 60, yaw_deg: float = 60.0, cycles: float = 1.0, noise: float = 2.0) -> Clip:
    """A head that turns to one side, to the other, and back."""
    return clip(
        seed, frames, lambda t: (0.5, 0.5), lambda t: (yaw_deg * np.sin(2 * np.pi * cycles * t), 0.0, 0.0), noise
    )


def leaving(seed: int, frames: int = 90, noise: float = 2.0) -> Clip:
    """A face that stays for a third of the time, leaves to the side, and is away for the last third."""
    return clip(seed, frames, lambda t: (0.5 + 3.3 * np.clip(t - 1 / 3, 0, 1 / 3), 0.5), lambda t: (0, 0, 0), noise)


def clip(seed: int, frames: int, place: Path_, pose: Callable[[float], tuple], noise: float) -> Clip:
    """place: time in [0, 1] -> where the head's picture is centred, as shares of the frame; pose: yaw, pitch, roll."""
    rng = np.random.default_rng((seed, 9))
    face = replace(sample_params(face_seed(seed, 3, "test")), occluder="none", shift=(0.0, 0.0), fill=0.5)
    backdrop = np.clip(background(rng, WIDTH), 0, 255)[:HEIGHT]
    seen: dict[tuple, tuple] = {}
    images, points, poses, present = [], [], [], []
    for index in range(frames):
        t = index / frames
        angles = tuple(float(a) for a in pose(t))
        if angles not in seen:
            seen = {angles: _head(replace(face, pose_deg=angles))}
        image, alpha, marks = seen[angles]
        x, y = (np.array(place(t)) * (WIDTH, HEIGHT)).astype(float)
        # Whole pixels: a head that is moved by shares of one would be blurred, and the network could tell.
        left, top = round(x - HEAD / 2), round(y - HEAD / 2)
        frame = _pasted(backdrop, image, alpha, left, top)
        frame = np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)
        moved = marks + (left, top)
        images.append(frame)
        points.append(moved)
        poses.append(angles)
        inside = (moved >= 0).all(1) & (moved <= (WIDTH - 1, HEIGHT - 1)).all(1)
        present.append(inside.mean() > 0.5)
    return Clip(images, np.array(points, np.float32), np.array(poses, np.float32), np.array(present))


def _head(params) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The picture (HEAD, HEAD, 3), how much of it shows (soft at its rim: no frame around the head), ibug68."""
    rendered = render_params(params, HEAD)
    rim = np.minimum(np.arange(HEAD), np.arange(HEAD)[::-1]) / (0.08 * HEAD)
    alpha = np.clip(np.minimum(rim[:, None], rim[None]), 0, 1)[..., None]
    return rendered.image.astype(np.float32), alpha, rendered.landmarks_px["ibug68"].astype(np.float64)


def _pasted(backdrop: np.ndarray, image: np.ndarray, alpha: np.ndarray, left: int, top: int) -> np.ndarray:
    frame = backdrop.astype(np.float32).copy()
    x0, x1 = max(0, left), min(WIDTH, left + HEAD)
    y0, y1 = max(0, top), min(HEIGHT, top + HEAD)
    if x0 < x1 and y0 < y1:
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        frame[y0:y1, x0:x1] += alpha[part] * (image[part] - frame[y0:y1, x0:x1])
    return frame


def write_clip(path: str, made: Clip) -> None:
    """As Motion JPEG (.avi), which every OpenCV reads and writes."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    try:
        for frame in made.frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()

"""Golden sequences for what Kotlin computes over time: smoothing and tracking.

The tracker is recorded: every crop that it asks the predictor for, with the answer, and every look of the detector.
Kotlin's must ask for the same crops in the same order and show the same faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgeface.box import Box, face_box
from edgeface.crop import Crop, square_crop
from edgeface.datasets.synthetic import sample_labels
from edgeface.head_pose import HeadPose
from edgeface.markup import MARKUPS
from edgeface.runtime.predictor import Face
from edgeface.runtime.smoothing import FaceSmoother, OneEuro
from edgeface.runtime.tracker import Tracker, TrackerConfig, iou

WIDTH, HEIGHT = 640, 480
SCALE = 1.3


def smoothing() -> list[dict[str, Any]]:
    """A face that stands, moves, stands, and turns through the back; times that stumble and stand still."""
    cases = []
    for config in (OneEuro(), OneEuro(0.3, 5.0), OneEuro(2.0, 0.0)):
        rng = np.random.default_rng(5)
        smoother, frames, time_s = FaceSmoother(config), [], 10.0
        for n in range(40):
            time_s += 0.0 if n == 17 else float(rng.uniform(0.01, 0.06))
            shift = 0.0 if n < 12 or n > 30 else 9.0 * (n - 11)
            points = (100 + 30 * rng.random((10, 2)) + shift).astype(np.float32)
            angles = (float(rng.normal()) + 2 * n, -30.0 + n, (150 + 4 * n + 180) % 360 - 180.0)
            box = Box(80 + shift, 80 + shift, 150 + shift, 160 + shift)
            face = Face(points, HeadPose(*angles), None, box, square_crop(box, SCALE))
            smooth = smoother(face, time_s)
            frames.append(
                {
                    "time_s": time_s,
                    "size": box.size,
                    "landmarks_px": points.tolist(),
                    "pose_deg": angles,
                    "expected_px": smooth.landmarks_px.tolist(),
                    "expected_deg": smooth.pose.as_array().tolist(),
                }
            )
        cases.append({"min_cutoff_hz": config.min_cutoff_hz, "beta": config.beta, "points": 10, "frames": frames})
    return cases


def tracks() -> list[dict[str, Any]]:
    """Faces that walk, hide, cross and leave, in every markup that is followed in its own way."""
    usual = TrackerConfig(detect_every=15)
    return [
        _recorded("one, hidden twice", "ibug68", usual, _one, 60),
        _recorded("two that cross", "aflw21", TrackerConfig(detect_every=6, patience=3, max_faces=2), _two, 50),
        _recorded("leaning, smoothed", "lfw10", TrackerConfig(upright=True, smoothing=OneEuro()), _leaning, 40),
        _recorded("never looked at again", "ibug68", TrackerConfig(detect_every=None, patience=2), _one, 40),
        _recorded("blurred by and by", "ibug68", TrackerConfig(detect_every=None), _still, 60, blur=0.025),
        _recorded("with hidden points", "aflw21", TrackerConfig(detect_every=5), _still, 40, hidden=_HIDDEN),
        _recorded("without spread", "mtfl5", TrackerConfig(detect_every=10, max_missed=1), _one, 30, spread=False),
    ]


def _one(n: int) -> list[tuple[float, float, float, float]]:
    """(x, y, size, lean) of the faces in frame n."""
    hidden = n in range(18, 21) or n in range(30, 40)
    return [] if hidden else [(150.0 + 3 * n, 200.0 + 20 * np.sin(n / 5), 120.0 + n, 0.0)]


def _two(n: int) -> list[tuple[float, float, float, float]]:
    faces = [(80.0 + 9 * n, 200.0, 110.0, 0.0)]
    return faces + ([(560.0 - 9 * n, 230.0, 130.0, 10.0)] if n > 3 else [])


def _still(n: int) -> list[tuple[float, float, float, float]]:
    return [(320.0, 240.0, 180.0, 0.0)]


_HIDDEN = ((), (6, 7, 8), (17,), (8, 11), (18, 19), (14,), (9, 10, 11, 14, 19), (6, 7, 8, 9, 10, 11), (17, 18, 19))
"""Points of aflw21 that are hidden, frame after frame: eyes, mouth corners, nose, and too much for a box."""


def _leaning(n: int) -> list[tuple[float, float, float, float]]:
    return [(300.0, 240.0, 150.0, 2.0 * n - 20)]


@dataclass
class _World:
    """Stands in for a predictor and a detector, and writes down what it is asked."""

    markup: str
    spread: bool
    blur: float
    """How much the maps widen from frame to frame, whatever is seen."""
    hidden: tuple[tuple[int, ...], ...]
    frame: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))
    faces: list[np.ndarray] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    detections: list[list[tuple[float, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        labels = sample_labels(2_000_000_001, 128).landmarks_px
        points = labels[self.markup] if self.markup in labels else _few(labels["ibug68"], self.markup)
        self._shape = (points - points.mean(axis=0)) / np.ptp(points, axis=0).max()
        outputs = {"landmarks": None, "pose": None} | ({"spread": None} if self.spread else {})
        self.model = SimpleNamespace(card=SimpleNamespace(outputs=outputs, crop=SimpleNamespace(scale=SCALE)))

    def set(self, n: int, faces: list[tuple[float, float, float, float]]) -> None:
        """Frame n and who is in it; nothing is asked yet."""
        self.frame, self.faces, self.calls, self.detections = n, [], [], []
        for x, y, size, lean in faces:
            turn = Crop((0, 0), 1, -lean).matrix(1)[:, :2]
            self.faces.append((size * self._shape @ turn.T + (x, y)).astype(np.float32))

    def predict_crop(self, image: np.ndarray, crop: Crop, box: Box) -> Face:
        near = [iou(box, face_box({self.markup: face})) for face in self.faces]
        best = int(np.argmax(near)) if near else -1
        if best >= 0 and near[best] > 0.1:
            points = self.faces[best] + self.rng.normal(scale=0.3, size=self.faces[best].shape)
            spread = np.full(len(points), 0.05 * (1.3 - 0.3 * near[best]))
        else:
            points = 0.4 * box.width * self._shape + np.array(box.center)
            spread = np.full(len(self._shape), 0.11)
        if self.hidden:
            # Three times as wide as the rest, and as wide in the mean as ever.
            wide = np.ones(len(points))
            wide[list(self.hidden[self.frame % len(self.hidden)])] = 3
            spread = spread * wide / wide.mean()
        points, spread = points.astype(np.float32), (spread * (1 + self.blur * self.frame)).astype(np.float32)
        pose = HeadPose(float(points[0, 0] / 10), 1.0, -2.0)
        self.calls.append(
            {
                "center": crop.center,
                "size": crop.size,
                "angle_deg": crop.angle_deg,
                "landmarks_px": points.tolist(),
                "spread": spread.tolist(),
                "pose_deg": pose.as_array().tolist(),
            }
        )
        return Face(points, pose, spread if self.spread else None, box, crop)

    def detect(self, image: np.ndarray) -> list[SimpleNamespace]:
        boxes = []
        for face in self.faces:
            box = face_box({self.markup: face})
            dx, dy = self.rng.normal(scale=3, size=2)
            boxes.append(Box(box.x0 + dx, box.y0 + dy, box.x1 + dx, box.y1 + dy))
        self.detections.append([box.as_xyxy() for box in boxes])
        return [SimpleNamespace(box=box) for box in boxes]


def _few(ibug68: np.ndarray, markup: str) -> np.ndarray:
    """The points of mtfl5, or of lfw10 near enough, from the 68."""
    five = np.stack([ibug68[list(group)].mean(0) for group in ((36, 39), (42, 45), (30,), (48,), (54,))])
    if markup == "mtfl5":
        return five
    return five[[0, 0, 3, 4, 3, 4, 1, 1, 2, 2]] + 0.5 * np.arange(20).reshape(10, 2) % 3


def _recorded(
    name: str,
    markup: str,
    config: TrackerConfig,
    script: Callable[[int], list[tuple[float, float, float, float]]],
    frames: int,
    spread: bool = True,
    blur: float = 0.0,
    hidden: tuple[tuple[int, ...], ...] = (),
) -> dict[str, Any]:
    world = _World(markup, spread, blur, hidden)
    tracker, image, record = Tracker(world, world, config), np.zeros((HEIGHT, WIDTH, 3), np.uint8), []
    for n in range(frames):
        world.set(n, script(n))
        shown = tracker.update(image, n / 25)
        record.append(
            {
                "time_s": n / 25,
                "calls": world.calls,
                "detections": world.detections,
                "shown": [
                    {
                        "id": tracked.id,
                        "frames": tracked.frames,
                        "lost_score": tracked.lost_score if np.isfinite(tracked.lost_score) else None,
                        "box": tracked.face.box.as_xyxy(),
                        "landmarks_px": tracked.face.landmarks_px.tolist(),
                        "pose_deg": tracked.face.pose.as_array().tolist(),
                    }
                    for tracked in shown
                ],
            }
        )
    smooth = config.smoothing
    return {
        "name": name,
        "markup": markup,
        "points": MARKUPS[markup].size,
        "spread": spread,
        "width": WIDTH,
        "height": HEIGHT,
        "scale": SCALE,
        "detect_every": config.detect_every,
        "patience": config.patience,
        "max_missed": config.max_missed,
        "max_faces": config.max_faces,
        "upright": config.upright,
        "smoothing": None if smooth is None else [smooth.min_cutoff_hz, smooth.beta],
        "frames": record,
    }

"""Faces followed through a video: the next frame's crop from this frame's landmarks, the detector only where needed.

How sure a frame is, its spread says (the width of the attention maps, `Face.spread`): on a face it stays near the
value that the same face had when the detector found it; once the face has left the crop the maps blur. The level
differs from network to network, so what counts is the ratio to the track's own level: above `LOST_RATIO` a face is
uncertain and the detector runs. `convert/release/device.py` measures for every packaged model how often a face is
uncertain and how often a background is not; the figures are in `results/device.json`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgeface.box import FULL, Box, face_box
from edgeface.crop import Crop, square_crop
from edgeface.errors import InputError
from edgeface.markup import MARKUPS
from edgeface.runtime.predictor import Face, Predictor, check_image, checked_box, frame_box
from edgeface.runtime.smoothing import FaceSmoother, OneEuro

LOST_RATIO = 1.25
"""Ratio of mean spread to the track's own level above which a face is uncertain. As low as a turning head allows: a
false alarm costs one run of the detector; a background that passes for a face is followed until detections miss it."""
SAME_FACE = 0.3
"""IoU of two boxes from which they are one face's: neighbours in a crowd overlap by less, a detector's box and the
landmarks' own by far more (0.87 on average)."""
MOVED = 0.85
"""IoU of the boxes of two frames below which a face has moved so far that it is predicted once more, in a crop that is
centered on it; a crop has a margin of some 15 % of the box on each side."""
HIDDEN = 2.0
"""Spread over the face's median, above which a point is taken for hidden, in markups that mark only what is seen
(aflw21): about twice is where a turned head's two sides part."""
FOLLOW = 0.05
"""How much of its level a track takes from each sure frame: a head that turns slowly is not uncertain."""


class Detector(Protocol):
    """What a tracker asks for faces: `FaceDetector`, `FixedBox`, or a detector of your own."""

    def detect(self, image: np.ndarray) -> Sequence[Any]:
        """Things with a ``box``, the tight box of the 68 points, in an RGB uint8 image (H, W, 3)."""


@dataclass(frozen=True)
class FixedBox:
    """In place of a detector: a face is always begun in this box. None: in the frame's middle, filling it."""

    box: Box | None
    scale: float = 1.3
    """The model's crop scale."""

    def detect(self, image: np.ndarray) -> list[FixedBox]:
        if self.box is not None:
            return [self]
        return [FixedBox(frame_box(image, self.scale, inside=True))]


@dataclass(frozen=True)
class TrackerConfig:
    """When to run the detector, and when to give a face up.

    >>> edgeface.TrackerConfig(detect_every=30, upright=True)
    """

    detect_every: int | None = 15
    """Frames between two runs of the detector while every face is certain: how late a new face may be noticed. None: it
    runs only where there is no face to follow, or an uncertain one."""
    patience: int = 5
    """Frames that an uncertain face may stay unconfirmed; its identity survives that long behind a hand."""
    max_missed: int = 4
    """Periods of ``detect_every`` that a face with certain landmarks may go undetected (profiles are harder)."""
    max_faces: int = 16
    upright: bool = False
    """Turn the crop with a leaning head."""
    smoothing: OneEuro | None = None
    """None: the model's own answers, for measuring."""

    def __post_init__(self) -> None:
        for name in ("detect_every", "patience", "max_missed", "max_faces"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1. Received: {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face of one frame with its identity."""

    id: int
    """Counts from 1; one face keeps it for as long as it is followed."""
    face: Face
    """Smoothed where that is asked for."""
    frames: int
    """For how many frames it has been followed."""
    lost_score: float
    """Ratio of its mean spread to its own usual one: 1 is usual, `LOST_RATIO` uncertain; NaN without a spread."""


class Tracker:
    """Follows the faces of one video. Not for several threads: frames have an order.

    >>> tracker = edgeface.Tracker(edgeface.Predictor.load("acdc_s"), edgeface.FaceDetector())
    >>> for frame in edgeface.open_source("talk.mp4").frames():
    ...     faces = tracker.update(frame.image, frame.time_s)

    Args:
        predictor: May be shared by several trackers.
        detector: `FaceDetector`, `FixedBox` or anything with their ``detect``; may be shared, too.
        config: When the detector runs, and when a face is given up.
    """

    def __init__(self, predictor: Predictor, detector: Detector, config: TrackerConfig = TrackerConfig()) -> None:
        self.predictor, self.detector, self.config = predictor, detector, config
        self._tracks: list[_Track] = []
        self._next_id = 1
        self._frame = 0
        self._detected_at = 0
        # Without landmarks there is nothing to follow: every frame is searched.
        self._follows = bool({"landmarks", "maps"} & predictor.model.card.outputs.keys())
        self.detections_run = 0
        """How often the detector has run."""

    @property
    def begun(self) -> int:
        """How many faces have been followed so far."""
        return self._next_id - 1

    def update(self, image: np.ndarray, time_s: float | None = None) -> list[TrackedFace]:
        """The faces of the next frame, the longest followed first.

        Args:
            image: (H, W, 3) uint8 RGB.
            time_s: When it was taken, for the smoothing; None: frames are 1/30 s apart.

        Raises:
            InputError: what is given is not an image.
        """
        check_image(image)
        self._frame += 1
        time_s = self._frame / 30 if time_s is None else time_s
        for track in self._tracks:
            self._follow(track, image)
        every = self.config.detect_every
        due = every is not None and self._frame - self._detected_at >= every
        if due or not self._tracks or any(track.uncertain for track in self._tracks):
            self._detect(image)
        self._tracks = [track for track in self._tracks if not self._given_up(track)]
        self._drop_duplicates()
        return [self._shown(track, time_s) for track in self._tracks if not track.uncertain]

    def _follow(self, track: _Track, image: np.ndarray) -> None:
        """This frame's face from the last one's landmarks; a uncertain one keeps its last good box."""
        track.frames += 1
        face = self._predict(image, track.box, track.angle_deg) if self._follows else None
        frame = self._next(track, face)
        if frame is not None and iou(face.box, frame[0]) < MOVED:
            # So far from where it was that the crop cuts into it: a second look at where it is now.
            face = self._predict(image, *frame) or face
            frame = self._next(track, face)
        track.take(face, frame)

    def _next(self, track: _Track, face: Face | None) -> tuple[Box, float] | None:
        if face is None or face.landmarks_px is None:
            return None if face is None else (face.box, 0.0)
        return next_frame(face, track.markup, self.config.upright)

    def _predict(self, image: np.ndarray, box: Box, angle_deg: float) -> Face | None:
        try:
            box = checked_box(box, image)
        except InputError:  # it has left the image
            return None
        crop = square_crop(box, self.predictor.model.card.crop.scale, angle_deg)
        return self.predictor.predict_crop(image, crop, box)

    def _detect(self, image: np.ndarray) -> None:
        self._detected_at, self.detections_run = self._frame, self.detections_run + 1
        boxes = [found.box for found in self.detector.detect(image)]
        pairs = matched([track.box for track in self._tracks], boxes)
        for number, track in enumerate(self._tracks):
            if number not in pairs:
                continue
            track.seen = self._frame
            if track.uncertain:
                # The face is there: what the landmarks say of it in the detector's box counts from now on.
                face = self._predict(image, boxes[pairs[number]], track.angle_deg)
                track.begin(face, self._next(track, face))
        taken = set(pairs.values())
        for number, box in enumerate(boxes):
            if number in taken or len(self._tracks) >= self.config.max_faces:
                continue
            track = _Track(self._next_id, box, self.predictor.markup, self._frame)
            face = self._predict(image, box, 0.0)
            track.begin(face, self._next(track, face))
            if not track.uncertain:
                self._next_id += 1
                self._tracks.append(track)

    def _given_up(self, track: _Track) -> bool:
        every = self.config.detect_every
        max_missed = every is not None and self._frame - track.seen > every * self.config.max_missed
        return max_missed or track.unsure > self.config.patience

    def _drop_duplicates(self) -> None:
        """Two tracks that have come to follow one face: the older stays."""
        kept: list[_Track] = []
        for track in self._tracks:
            if all(iou(track.box, other.box) < 2 * SAME_FACE for other in kept):
                kept.append(track)
        self._tracks = kept

    def _shown(self, track: _Track, time_s: float) -> TrackedFace:
        face = track.face
        if self.config.smoothing is not None:
            track.smoother = track.smoother or FaceSmoother(self.config.smoothing)
            face = track.smoother(face, time_s)
        return TrackedFace(track.id, face, track.frames, track.lost_score)


class _Track:
    """What is remembered of one face."""

    def __init__(self, id_: int, box: Box, markup: str, frame: int) -> None:
        self.id, self.box, self.markup, self.seen = id_, box, markup, frame
        self.angle_deg = 0.0
        self.face: Face | None = None
        self.level: float | None = None
        self.lost_score = math.nan
        self.frames, self.unsure = 1, 0
        self.smoother: FaceSmoother | None = None

    @property
    def uncertain(self) -> bool:
        return self.unsure > 0

    def begin(self, face: Face | None, frame: tuple[Box, float] | None) -> None:
        """Start from a detection: its spread is the level that later frames are held against."""
        self.level = None
        self.take(face, frame)

    def take(self, face: Face | None, frame: tuple[Box, float] | None) -> None:
        """A frame's answer and where it leads; none, or an unlikely one, leaves both as they were, uncertain."""
        spread = math.nan if face is None or face.spread is None else sum(face.spread.tolist()) / len(face.spread)
        if self.level is None and math.isfinite(spread):
            self.level = spread
        self.lost_score = spread / self.level if self.level else math.nan
        if frame is None or self.lost_score > LOST_RATIO:
            self.unsure += 1
            return
        self.unsure, self.face = 0, face
        self.box, self.angle_deg = frame
        if math.isfinite(spread):
            self.level += FOLLOW * (spread - self.level)


def next_frame(
    face: Face, markup: str, upright: bool = False, profile_angle_deg: float = 0.0
) -> tuple[Box, float] | None:
    """The next frame's box and crop angle from this frame's landmarks; None where they are no face.

    The box is the one that the model's training crops start from (`edgeface.box.face_box`): the tight box of the
    68 points, or its estimate from fewer.

    Args:
        face: This frame's face.
        markup: The name of its landmarks' markup.
        upright: The box is tight in a frame turned with the eyes; otherwise the angle is 0.
        profile_angle_deg: The angle of that frame where the line of the eyes says nothing, as in profile.
    """
    if face.landmarks_px is None:
        return None
    # Plain floats here and in `_Track.take`: between two frames NumPy's code leaves the processor's cache, and
    # fetching it again takes longer than 68 additions.
    xs, ys = face.landmarks_px.T.tolist()
    if not all(map(math.isfinite, xs + ys)):
        return None
    angle = lean_deg(face.landmarks_px, markup, profile_angle_deg) if upright else 0.0
    if markup in FULL and not angle:
        box = Box(min(xs), min(ys), max(xs), max(ys))  # what face_box gives, sooner
    else:
        points = face.landmarks_px.astype(np.float64)
        turn = Crop((0.0, 0.0), 1.0, angle).matrix(1)[:, :2] if angle else np.eye(2)
        if markup not in FULL and face.spread is not None:
            # What a turned head hides was never learned: the map is wide and its mean says nothing.
            points[face.spread > HIDDEN * np.median(face.spread)] = np.nan
        try:
            box = face_box({markup: points @ turn.T})
        except InputError:
            return None
    if angle:
        x, y = np.array(box.center) @ turn
        half_w, half_h = box.width / 2, box.height / 2
        box = Box(x - half_w, y - half_h, x + half_w, y + half_h)
    # Landmarks that fill the crop, or shrink to a corner of it, are not a face's.
    side = max(box.width, box.height)
    if not 0.3 < side / max(face.box.width, face.box.height, 1e-9) < 1.8:
        return None
    return box, angle


def lean_deg(points_px: np.ndarray, markup: str, profile_angle_deg: float = 0.0) -> float:
    """How far the line of the eyes leans, clockwise, in degrees.

    Args:
        points_px: (K, 2) landmarks.
        markup: The name of their markup.
        profile_angle_deg: The answer in profile, and where the markup has no eye corners.
    """
    corners = MARKUPS[markup].eye_corners
    if corners is None:
        return profile_angle_deg
    (x0, y0), (x1, y1) = points_px[list(corners)].tolist()
    x, y = x1 - x0, y1 - y0
    size = float(np.ptp(points_px, axis=0).max())
    if math.hypot(x, y) < 0.25 * size:  # nearly in profile: the line says nothing
        return profile_angle_deg
    return math.degrees(math.atan2(y, x))


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.width * a.height + b.width * b.height - shared)


def matched(known: Sequence[Box], found: Sequence[Box]) -> dict[int, int]:
    """{index in known: index in found}, the best overlaps first, each box once, none below `SAME_FACE`."""
    overlaps = sorted(((iou(a, b), i, j) for i, a in enumerate(known) for j, b in enumerate(found)), reverse=True)
    pairs: dict[int, int] = {}
    for overlap, i, j in overlaps:
        if overlap >= SAME_FACE and i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs

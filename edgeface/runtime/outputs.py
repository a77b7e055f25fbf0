"""Where the faces of a video go: JSON lines, a CSV file, a drawn video, a window."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import cv2
import numpy as np

from edgeface.errors import InputError
from edgeface.files import atomic_write
from edgeface.images import rgb_copy
from edgeface.markup import Markup
from edgeface.runtime.cameras import Frame, quiet_ffmpeg
from edgeface.runtime.quiet import quiet_opencv
from edgeface.runtime.show import csv_header, csv_row, draw_face, face_json
from edgeface.runtime.tracker import TrackedFace

VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mov": "mp4v", ".mkv": "mp4v"}


class Output(Protocol):
    """Takes every frame with its faces; False: the user has had enough (a closed window)."""

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> bool: ...


class JsonLines:
    """One JSON object per frame, flushed at once. A reader that leaves ends the loop; the other outputs are kept."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> bool:
        stream = self._stream or sys.stdout
        record = {
            "frame": frame.index,
            "time_s": round(frame.time_s, 4),
            "faces": [tracked_face_json(t) for t in faces],
        }
        try:
            stream.write(json.dumps(record, allow_nan=False) + "\n")
            stream.flush()
        except BrokenPipeError:
            return False
        return True


def tracked_face_json(tracked: TrackedFace) -> dict[str, Any]:
    """`face_json` and which face it is."""
    lost = round(tracked.lost_score, 3) if np.isfinite(tracked.lost_score) else None
    return {"id": tracked.id, **face_json(tracked.face), "lost_score": lost}


class CsvRows:
    """One row per face and frame."""

    def __init__(self, stream: TextIO, markup: str, name: str | Path = "the CSV file") -> None:
        """name: the file as errors call it."""
        self._writer, self._markup, self._name = csv.writer(stream, lineterminator="\n"), markup, name
        self._writer.writerow(["frame", "time_s", "id", *csv_header(markup)])

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> bool:
        for tracked in faces:
            row = csv_row(tracked.face, self._markup)
            try:
                self._writer.writerow([frame.index, f"{frame.time_s:.4f}", tracked.id, *row])
            except OSError as error:
                raise InputError(f"{self._name} must be writable. Received: {error.strerror or error}") from None
        return True


@contextmanager
def csv_file(path: str | Path, markup: str) -> Iterator[CsvRows]:
    """A CSV file of faces; it gets its name once it is whole."""
    with atomic_write(path) as aside, open(aside, "w", newline="") as stream:
        yield CsvRows(stream, markup, path)


class Drawn:
    """The frame with its faces drawn on a copy, made once for a video and a window alike."""

    def __init__(self, markup: Markup | str, spread: bool = False) -> None:
        self._markup, self._spread = markup, spread
        self._of: Frame | None = None

    def image(self, frame: Frame, faces: Sequence[TrackedFace]) -> np.ndarray:
        """(H, W, 3) uint8 BGR, as OpenCV's writers and windows take it."""
        if self._of is not frame:
            image = rgb_copy(frame.image)
            for tracked in faces:
                draw_face(image, tracked.face, self._markup, self._spread)
                x, y = tracked.face.box.x0, tracked.face.box.y0 - 6
                at = (int(np.clip(x, 0, 30000)), int(np.clip(y, 12, 30000)))
                cv2.putText(image, str(tracked.id), at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 200, 60), 1, cv2.LINE_AA)
            self._of, self._image = frame, cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        return self._image


class VideoOut:
    """A drawn video; frames of another size than the first are fitted to it."""

    def __init__(self, path: Path, fps: float, drawn: Drawn) -> None:
        self.path, self._fps, self._drawn = path, fps, drawn
        self._writer: cv2.VideoWriter | None = None
        self.written = 0
        """Frames that were handed to the writer."""

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> bool:
        image = self._drawn.image(frame, faces)
        if self._writer is None:
            # Most codecs take even sizes only.
            height, width = (max(2, n - n % 2) for n in image.shape[:2])
            code = cv2.VideoWriter_fourcc(*VIDEO_CODECS[self.path.suffix.lower()])
            self._size = width, height
            with quiet_opencv(), quiet_ffmpeg():
                self._writer = cv2.VideoWriter(str(self.path), code, self._fps, self._size)
            if not self._writer.isOpened():
                raise InputError(f"--out must be a video that this OpenCV writes. Received: {self.path.suffix}")
        height, width = image.shape[:2]
        if (width, height) != self._size:
            odd = 0 <= width - self._size[0] < 2 and 0 <= height - self._size[1] < 2
            image = image[: self._size[1], : self._size[0]] if odd else cv2.resize(image, self._size)
        with quiet_opencv():
            self._writer.write(np.ascontiguousarray(image))
        self.written += 1
        return True

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


@contextmanager
def video_file(path: str | Path, fps: float, drawn: Drawn) -> Iterator[VideoOut]:
    """A video of the frames with their faces drawn; it gets its name once it is closed.

    Args:
        path: Its suffix, one of `VIDEO_CODECS`, chooses the format.
        fps: Frames a second.
        drawn: Draws the faces.

    Raises:
        InputError: another suffix, or a folder that cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in VIDEO_CODECS:
        raise InputError(f"--out must end in one of {', '.join(VIDEO_CODECS)}. Received: {path}")
    with atomic_write(path) as aside:
        out = VideoOut(aside, fps, drawn)
        try:
            yield out
        finally:
            out.close()
        if not aside.stat().st_size:
            raise InputError(f"a source must give a frame for {path} to be written. Received: none")
        there = frames_in(aside, out.written)
        if there < out.written - 1:  # a codec may keep the last one
            got = f"{there} of {out.written} frames written (is the disk full?)"
            raise InputError(f"{path} must be writable. Received: {got}")


def frames_in(path: Path, expected: int) -> int:
    """How many frames of a video can be read, at most those expected. OpenCV's writer does not say when a disk is full.

    Args:
        path: The video.
        expected: Its frames. Where its last one is where it should be, the others are not decoded.
    """
    with quiet_opencv(), quiet_ffmpeg():
        capture = cv2.VideoCapture(str(path))
        try:
            capture.set(cv2.CAP_PROP_POS_FRAMES, expected - 1)
            if round(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == expected and capture.read()[0] and not capture.grab():
                return expected
        finally:
            capture.release()
        capture = cv2.VideoCapture(str(path))
        try:
            found = 0
            while found < expected and capture.grab():
                found += 1
            return found
        finally:
            capture.release()


class Window:
    """A window; q, Escape or its close button end the loop."""

    TITLE = "edgeface"

    def __init__(self, drawn: Drawn) -> None:
        self._drawn = drawn

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> bool:
        cv2.imshow(self.TITLE, self._drawn.image(frame, faces))
        pressed = cv2.waitKey(1) & 0xFF
        return pressed not in (ord("q"), 27) and cv2.getWindowProperty(self.TITLE, cv2.WND_PROP_VISIBLE) >= 1


def no_window_reason() -> str | None:
    """Why no window can be shown here; None where one can. Asked first, as Qt ends a process without a display."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    try:
        cv2.namedWindow(Window.TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    except cv2.error:
        return "this OpenCV is built without windows (opencv-python-headless)"
    return None

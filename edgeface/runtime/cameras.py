"""Where frames come from: a video file, a folder of images, a camera, the Raspberry Pi's own camera."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeface.errors import InputError
from edgeface.images import read_image, rgb_view
from edgeface.runtime.quiet import quiet_opencv

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
PI_CAMERA = "picamera"
BAD_FRAMES = 250
"""Frames in a row that may fail before a video is taken to have ended: ten seconds of most."""
LONGEST_STEP_S = 3600.0
"""A frame's time is not believed where it is further from the one before it."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB. Of a video or a camera a read-only view of what OpenCV gave (`edgeface.images.rgb_view`):
    `edgeface.images.rgb_copy` gives one to draw on."""
    index: int
    """Its number from 0; in a video the frames that could not be decoded have numbers, too."""
    time_s: float
    """Since the first frame: by the clock for a camera, by the times in the file for a video (by its frame rate where
    those do not rise), 1/30 s apart for images."""
    name: str


class SourceLost(Exception):
    """The source ended before it should have: the message says which, and after how many frames."""


class VideoFile:
    """A video file, upright as its metadata say. Frames that cannot be decoded are skipped and counted; `SourceLost`
    where it stops short of the frames it announces."""

    live, skipped = False, 0

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        if not Path(path).is_file():
            raise InputError(f"source must be a video file, a folder, or a camera. Received: {path}, no such file")
        with quiet_ffmpeg():
            self._capture = _opened(cv2.VideoCapture, str(path), f"{path} must be a video that OpenCV reads")
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = rate if 1 <= rate <= 1000 else 30.0
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = int(count) if np.isfinite(count) and 0 < count < 1e9 else None
        """Frames as announced by the file; None where it does not say."""

    def frames(self) -> Iterator[Frame]:
        given = failed = 0
        start_s = time_s = 0.0
        try:
            # OpenCV says the same of a frame that cannot be decoded and of the end.
            while failed < BAD_FRAMES:
                image = _read(self._capture)
                if image is None:
                    failed += 1
                    continue
                self.skipped += failed
                index = given + self.skipped
                told_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                if given == 0:
                    time_s = index / self.fps
                    start_s = told_s - time_s
                else:
                    step_s = told_s - start_s - time_s
                    time_s += step_s if 0 < step_s < LONGEST_STEP_S else (1 + failed) / self.fps
                failed = 0
                yield Frame(image, index, time_s, self.name)
                given += 1
        finally:
            self._capture.release()
        if given == 0:
            raise InputError(f"{self.name} must be a video that OpenCV reads. Received: a file without a whole frame")
        if self.count is None:
            return
        # Some containers only estimate their length, and some leave out frames that show nothing new.
        least = self.count - max(1, 0.02 * self.count)
        if given + self.skipped < least and 1 + time_s * self.fps < least:
            raise SourceLost(f"{self.name} ends early: it holds {given} of the {self.count} frames that it announces")


class ImageFolder:
    """The images of a folder by name, as frames 1/30 s apart."""

    live, fps, skipped = False, 30.0, 0

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        self.files = images_of(path)
        self.count = len(self.files)

    def frames(self) -> Iterator[Frame]:
        for index, file in enumerate(self.files):
            yield Frame(read_image(file), index, index / self.fps, str(file))


class Camera:
    """A camera by its number, or any object that reads as `cv2.VideoCapture` does. It ends only by being lost."""

    live, count, skipped = True, None, 0

    def __init__(
        self, index: int = 0, size: tuple[int, int] | None = None, capture: Any = None, patience_s: float = 2.0
    ) -> None:
        """size: (width, height) to ask of it. patience_s: how long it may deliver nothing."""
        self.name = f"camera {index}"
        self._capture = capture or _opened(cv2.VideoCapture, index, f"{self.name} must be there")
        self._patience_s = patience_s
        if size is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        # One frame in waiting, where the driver allows it: the newest is wanted, not the oldest.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        rate = float(self._capture.get(cv2.CAP_PROP_FPS) or 0)
        self.fps = rate if 1 <= rate <= 1000 else 30.0

    def frames(self) -> Iterator[Frame]:
        started = last = time.monotonic()
        index = 0
        try:
            while True:
                image = _read(self._capture)
                now = time.monotonic()
                if image is None:
                    if now - last > self._patience_s:
                        waited = f"no picture for {now - last:.1f} s"
                        raise SourceLost(f"{self.name} is gone after {index} frames: {waited}")
                    time.sleep(0.02)
                    continue
                last = now
                yield Frame(image, index, now - started, self.name)
                index += 1
        finally:
            self._capture.release()


class PiCamera:
    """The Raspberry Pi's camera through picamera2, which its system brings (`apt install python3-picamera2`)."""

    live, count, skipped, name = True, None, 0, "the Raspberry Pi camera"

    def __init__(self, size: tuple[int, int] | None = None, fps: float = 30.0, camera: Any = None) -> None:
        self.fps = fps
        try:
            if camera is None:
                from picamera2 import Picamera2

                camera = Picamera2()
            # libcamera names formats from the last byte to the first: its BGR888 is RGB in memory.
            main = {"format": "BGR888", "size": tuple(size or (640, 480))}
            camera.configure(camera.create_video_configuration(main=main, controls={"FrameRate": fps}))
            camera.start()
        except ImportError as error:
            raise InputError(
                "the Raspberry Pi camera must have picamera2: sudo apt install python3-picamera2, in an environment "
                f"made with --system-site-packages. Received: {error}"
            ) from None
        except ValueError as error:
            raise InputError(f"picamera2 must import (on Bookworm it needs numpy < 2). Received: {error}") from None
        except (RuntimeError, IndexError, OSError) as error:
            raise InputError(f"{self.name} must be connected and free. Received: {error or 'no camera'}") from None
        self._camera = camera

    def frames(self) -> Iterator[Frame]:
        started = time.monotonic()
        index = 0
        try:
            while True:
                try:
                    image = np.ascontiguousarray(self._camera.capture_array("main")[..., :3])
                except (RuntimeError, OSError, TimeoutError, ValueError) as error:
                    raise SourceLost(f"{self.name} is gone after {index} frames: {error}") from None
                yield Frame(image, index, time.monotonic() - started, self.name)
                index += 1
        finally:
            self._camera.stop()


Source = VideoFile | ImageFolder | Camera | PiCamera


def open_source(name: str, size: tuple[int, int] | None = None) -> Source:
    """Frames to be read one after another.

    >>> for frame in edgeface.open_source("talk.mp4").frames():
    ...     image, seconds = frame.image, frame.time_s

    Args:
        name: A camera's number, ``picamera``, a folder of images, or a video file.
        size: Width and height in pixels to ask of a camera.

    Raises:
        InputError: nothing of that name opens.
    """
    if name == PI_CAMERA:
        return PiCamera(size)
    if name.isdecimal() and not Path(name).exists():
        return Camera(int(name), size)
    return ImageFolder(name) if Path(name).is_dir() else VideoFile(name)


def source_files(name: str) -> list[Path]:
    """The files that a source reads; none of a camera, or where there is nothing of that name.

    Args:
        name: What `open_source` takes.
    """
    path = Path(name)
    if path.is_dir():
        return [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
    return [path] if path.is_file() else []


def images_of(folder: str | Path) -> list[Path]:
    """The image files of a folder, by name; InputError where there is none."""
    try:
        files = sorted(file for file in Path(folder).iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise InputError(f"{folder} must be a folder of images. Received: {error.strerror or error}") from None
    if not files:
        raise InputError(f"{folder} must hold images ({', '.join(IMAGE_SUFFIXES)}). Received: none")
    return files


@contextmanager
def quiet_ffmpeg() -> Iterator[None]:
    """FFmpeg reports every damaged packet on stderr; it reads this variable as a video is opened."""
    name = "OPENCV_FFMPEG_LOGLEVEL"
    if name in os.environ:
        yield
        return
    os.environ[name] = "-8"
    try:
        yield
    finally:
        del os.environ[name]


def _opened(kind: Any, what: str | int, rule: str) -> Any:
    try:
        with quiet_opencv():
            capture = kind(what)
            opened = capture.isOpened()
    except cv2.error as error:
        raise InputError(f"{rule}. Received: {str(error.err or error).strip()}") from None
    if not opened:
        raise InputError(f"{rule}. Received: nothing that opens")
    return capture


def _read(capture: Any) -> np.ndarray | None:
    """The next frame seen as RGB; None where there is none."""
    try:
        done, image = capture.read()
    except cv2.error:
        return None
    if not done or image is None or image.size == 0:
        return None
    if image.ndim == 2 or image.shape[2] == 1:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    elif image.shape[2] == 4:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    return rgb_view(image)

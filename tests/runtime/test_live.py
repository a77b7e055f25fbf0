"""Sources, outputs and the loop between them: every way to end is a summary, a message and the right exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edgeface import cli
from edgeface.errors import InputError
from edgeface.images import write_image
from edgeface.runtime import cameras as sources
from edgeface.runtime import live, outputs
from edgeface.runtime.cameras import Camera, ImageFolder, PiCamera, VideoFile, open_source
from tests.runtime import acting
from tests.runtime.walk import FRAMES, acted, command, frame

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def torn(video, tmp_path) -> Path:
    """The video, ending in the middle of a frame."""
    path = tmp_path / "torn.avi"
    path.write_bytes(video.read_bytes()[: video.stat().st_size * 6 // 10])
    return path


class FakeCapture:
    """A camera that gives some frames and is then unplugged."""

    def __init__(self, frames: list, fps: float = 30.0) -> None:
        self.frames, self.fps, self.released = list(frames), fps, False

    def set(self, key, value) -> bool:
        return True

    def get(self, key) -> float:
        return self.fps

    def read(self):
        if not self.frames:
            return False, None
        given = self.frames.pop(0)
        if isinstance(given, BaseException):
            raise given
        return given is not None, given

    def release(self) -> None:
        self.released = True


def test_a_video_to_its_end(video):
    summary = live.run(VideoFile(video), acted())
    assert (summary.frames, summary.ended, summary.faces) == (FRAMES, "end", 1)
    assert "12 frames in" in summary.text() and "1 faces followed" in summary.text()
    assert live.run(VideoFile(video), acted(), limit=5).ended == "limit"
    times = [f.time_s for f in VideoFile(video).frames()]
    np.testing.assert_allclose(np.diff(times), 1 / 25)


def test_a_video_that_ends_in_the_middle_of_a_frame(torn):
    summary = live.run(VideoFile(torn), acted())
    assert summary.ended == "lost" and 0 < summary.frames < FRAMES
    assert f"holds {summary.frames} of the {FRAMES} frames that it announces" in summary.reason


def spoiled(video: Path, path: Path, frames: range) -> Path:
    """A copy of the video (MJPG in AVI) with noise in the place of some frames."""
    data, noise = bytearray(video.read_bytes()), np.random.default_rng(0)
    at = data.index(b"movi")
    for number in range(frames.stop):
        at = data.index(b"00dc", at)
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if number in frames:
            data[at + 8 : at + 8 + size] = noise.bytes(size)
        at += 8 + size
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("frames", [range(1), range(5, 6), range(3, 9)])
def test_frames_that_cannot_be_decoded_are_skipped_and_counted(video, tmp_path, frames):
    source = VideoFile(spoiled(video, tmp_path / "noise.avi", frames))
    seen: list[sources.Frame] = []
    output = SimpleNamespace(frame=lambda frame, faces: seen.append(frame) or True)
    summary = live.run(source, acted(), [output])
    whole = [index for index in range(FRAMES) if index not in frames]
    assert [frame.index for frame in seen] == whole
    np.testing.assert_allclose([frame.time_s for frame in seen], np.array(whole) / 25)
    assert (summary.frames, summary.skipped, summary.ended) == (len(whole), len(frames), "end")
    assert f", {len(frames)} frames skipped that cannot be decoded" in summary.text()


def test_a_video_without_a_frame_that_can_be_decoded(video, tmp_path):
    with pytest.raises(InputError, match="a file without a whole frame"):
        live.run(VideoFile(spoiled(video, tmp_path / "noise.avi", range(FRAMES))), acted())


@pytest.mark.parametrize(
    ("told_ms", "times_s"),
    [
        ([0, 40, 80, 280, 480], [0, 0.04, 0.08, 0.28, 0.48]),  # the rate changes
        ([500, 540, 700, 740, 780], [0, 0.04, 0.2, 0.24, 0.28]),  # it starts late; frames are left out
        ([0, 0, 0, 0, 0], [0, 0.04, 0.08, 0.12, 0.16]),  # OpenCV does not say
        ([0, 40, 20, float("nan"), 160], [0, 0.04, 0.08, 0.12, 0.16]),
        ([0, 40, 1e12, 120, 160], [0, 0.04, 0.08, 0.12, 0.16]),
    ],
)
def test_a_video_s_times_are_those_in_the_file_where_they_rise(video, monkeypatch, told_ms, times_s):
    capture = FakeCapture([frame(index) for index in range(5)])
    times = iter(told_ms)
    rest = {cv2.CAP_PROP_FPS: 25.0, cv2.CAP_PROP_FRAME_COUNT: 5.0}
    monkeypatch.setattr(capture, "get", lambda key: next(times) if key == cv2.CAP_PROP_POS_MSEC else rest[key])
    monkeypatch.setattr(sources, "_opened", lambda *_: capture)
    np.testing.assert_allclose([f.time_s for f in VideoFile(video).frames()], times_s)
    assert capture.released


def test_a_video_that_leaves_frames_out_is_whole_where_its_time_is(video, monkeypatch):
    capture = FakeCapture([frame(index) for index in range(5)])
    times = iter([0, 40, 80, 120, 4000])
    rest = {cv2.CAP_PROP_FPS: 25.0, cv2.CAP_PROP_FRAME_COUNT: 101.0}
    monkeypatch.setattr(capture, "get", lambda key: next(times) if key == cv2.CAP_PROP_POS_MSEC else rest[key])
    monkeypatch.setattr(sources, "_opened", lambda *_: capture)
    assert live.run(VideoFile(video), acted()).ended == "end"


def test_colours_reach_the_tracker_as_rgb(tmp_path):
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (64, 64))
    writer.write(np.full((64, 64, 3), (0, 0, 255), np.uint8))
    writer.release()
    (only,) = VideoFile(path).frames()
    assert only.image[32, 32, 0] > 200 and only.image[32, 32, 2] < 60
    (gray,) = _some(Camera(capture=FakeCapture([np.full((8, 8), 77, np.uint8)])), 1)
    assert gray.image.shape == (8, 8, 3) and (gray.image == 77).all()


def _some(source, count: int) -> list:
    frames = source.frames()
    found = [next(frames) for _ in range(count)]
    frames.close()
    return found


@pytest.mark.parametrize(("content", "rule"), [(None, "no such file"), (b"", "opens"), (b"not a video" * 99, "opens")])
def test_files_that_are_no_video(tmp_path, content, rule):
    path = tmp_path / "none.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"Received: .*{rule}"):
        open_source(str(path))


def test_a_camera_that_vanishes():
    capture = FakeCapture([frame(0), None, frame(1), frame(2)])
    summary = live.run(Camera(capture=capture, patience_s=0.1), acted())
    assert (summary.frames, summary.ended) == (3, "lost"), "one frame missed is no loss"
    assert summary.reason.startswith("camera 0 is gone after 3 frames") and capture.released


def test_a_camera_whose_driver_raises():
    capture = FakeCapture([frame(0), *[cv2.error("gone")] * 99])
    assert live.run(Camera(capture=capture, patience_s=0.1), acted()).ended == "lost"


def test_interrupts_end_with_a_summary():
    capture = FakeCapture([frame(0), frame(1), KeyboardInterrupt()])
    summary = live.run(Camera(capture=capture), acted())
    assert (summary.frames, summary.ended) == (2, "interrupted") and capture.released
    assert summary.text().endswith("interrupted")


def test_no_camera(capsys):
    with pytest.raises(InputError, match="camera 93 must be there"):
        open_source("93")


def test_the_raspberry_pi_camera_is_asked_for_rgb():
    class Pi:
        stopped = False

        def create_video_configuration(self, main, controls):
            assert main == {"format": "BGR888", "size": (320, 240)} and controls == {"FrameRate": 30.0}
            return main

        def configure(self, config):
            pass

        def start(self):
            self.left = 2

        def capture_array(self, name):
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("camera frontend has timed out")
            return frame(0)

        def stop(self):
            self.stopped = True

    pi = Pi()
    summary = live.run(PiCamera((320, 240), camera=pi), acted())
    assert (summary.frames, summary.ended, pi.stopped) == (2, "lost", True)
    assert "timed out" in summary.reason


def test_without_picamera2_the_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(InputError, match="sudo apt install python3-picamera2"):
        open_source("picamera")


def test_a_folder_of_images_is_a_source(tmp_path):
    with pytest.raises(InputError, match="must hold images"):
        open_source(str(tmp_path))
    for index in (2, 0, 1):
        write_image(tmp_path / f"{index}.png", frame(index))
    (tmp_path / "notes.txt").write_text("no image")
    source = open_source(str(tmp_path))
    assert isinstance(source, ImageFolder) and source.count == 3
    assert [Path(f.name).name for f in source.frames()] == ["0.png", "1.png", "2.png"]
    (tmp_path / "1.png").write_bytes(b"broken")
    with pytest.raises(InputError, match="1.png must be an image"):
        live.run(source, acted())


def test_a_closed_window_ends_the_loop(video):
    closed = SimpleNamespace(frame=lambda frame, faces: frame.index < 3)
    summary = live.run(VideoFile(video), acted(), [closed])
    assert (summary.frames, summary.ended) == (4, "closed")


@pytest.mark.skipif(os.name != "posix", reason="pipes that close are a POSIX matter")
def test_a_reader_that_leaves_early_costs_nothing_else(video, tmp_path):
    read_end, write_end = os.pipe()
    os.close(read_end)
    command_line = [sys.executable, "-m", "edgeface", *command(video, "--json", "--csv", tmp_path / "f.csv")]
    done = subprocess.run(command_line, stdout=write_end, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(write_end)
    assert done.returncode in (0, 141) and "Traceback" not in done.stderr and "closed" in done.stderr
    assert (tmp_path / "f.csv").is_file()


def test_without_a_display_there_is_no_window(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if sys.platform.startswith("linux"):
        assert outputs.no_window_reason() == "there is no display"


def test_the_command_on_a_video(capsys, video, tmp_path):
    argv = command(video, "--json", "--csv", tmp_path / "f.csv", "--out", tmp_path / "v.mp4", "--smooth", "--upright")
    assert cli.main(argv) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == FRAMES
    assert json.loads(captured.out.splitlines()[0])["faces"][0]["id"] == 1
    assert captured.err.startswith("edgeface: 12 frames in ")
    assert (tmp_path / "f.csv").stat().st_size and VideoFile(tmp_path / "v.mp4").count == FRAMES


def test_the_command_on_a_torn_video(capsys, torn, tmp_path):
    assert cli.main(command(torn, "--csv", tmp_path / "f.csv")) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "ends early" in first and "frames in" in second
    assert (tmp_path / "f.csv").is_file(), "what came before is written"


def test_the_command_on_a_vanishing_camera(capsys, monkeypatch):
    capture = FakeCapture([frame(0), frame(1)])
    monkeypatch.setattr(sources, "Camera", lambda index, size: Camera(index, size, capture, patience_s=0.05))
    assert cli.main(command("0")) == 1
    assert "camera 0 is gone after 2 frames" in capsys.readouterr().err
    capture = FakeCapture([frame(0), KeyboardInterrupt()])
    assert cli.main(command("0")) == 0, "a camera has no other end"
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        (["--smooth", "1"], "--smooth must have no parameters or both"),
        (["--smooth", "0", "1"], "min_cutoff_hz > 0"),
        (["--limit", "0"], "--limit must be at least 1"),
        (["--out", "v.gif"], "--out must end in one of"),
        (["--size", "0", "9"], "--size must be"),
        (["--every", "0", "--box", "1", "1", "1", "9"], "a width and a height"),
        (["--box", "nan", "1", "1", "9"], "box must be finite"),
    ],
)
def test_the_command_s_arguments_are_checked(capsys, video, extra, rule):
    argv = ["live", str(video), "--model", "acdc_n", "--no-window", *extra]
    argv += [] if "--box" in extra else ["--full-frame"]
    assert cli.main(argv) == 2
    assert rule in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="signals are a POSIX matter")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal_its_files_are_whole(video, tmp_path, sent):
    long = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(long), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (acting.WIDTH, acting.HEIGHT))
    for index in range(3000):
        writer.write(frame(index % 40))
    writer.release()
    argv = command(long, "--json", "--out", tmp_path / "drawn.avi")
    # A shell starts what it runs in the background with Ctrl-C ignored, tests and all.
    heeding = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", heeding, "-m", "edgeface", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors.splitlines()[-1] and "Traceback" not in errors
    assert VideoFile(tmp_path / "drawn.avi").count >= 5

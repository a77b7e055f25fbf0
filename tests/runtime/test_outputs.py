"""What a run writes: JSON lines, a CSV file, a drawn video; whole, or an error and nothing."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface import cli
from edgeface.errors import InputError
from edgeface.runtime import cameras as sources
from edgeface.runtime import live, outputs
from edgeface.runtime.cameras import VideoFile
from tests.runtime.walk import FRAMES, acted, command, frame


def test_outputs_agree(video, tmp_path, capsys):
    drawn = outputs.Drawn("ibug68", spread=True)
    with (
        outputs.csv_file(tmp_path / "faces.csv", "ibug68") as rows,
        outputs.video_file(tmp_path / "drawn.avi", 25.0, drawn) as out,
    ):
        live.run(VideoFile(video), acted(), [rows, out, outputs.JsonLines()])
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    with open(tmp_path / "faces.csv", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(records) == len(table) == FRAMES
    for record, row in zip(records, table, strict=True):
        (face,) = record["faces"]
        assert (str(record["frame"]), str(face["id"])) == (row["frame"], row["id"])
        assert float(row["x67"]) == pytest.approx(face["landmarks_px"][67][0], abs=1e-3)
        assert float(row["yaw_deg"]) == face["pose_deg"][0]
    again = VideoFile(tmp_path / "drawn.avi")
    assert again.count == FRAMES and np.ptp(next(again.frames()).image[..., 0].astype(int) - frame(0)[..., 0]) > 100
    assert {f.name for f in tmp_path.iterdir()} == {"faces.csv", "drawn.avi"}, "nothing half-written"


def test_frames_that_change_their_size_fit_the_first(tmp_path):
    drawn = outputs.Drawn("ibug68")
    with outputs.video_file(tmp_path / "drawn.avi", 25.0, drawn) as out:
        for index, shape in enumerate([(61, 81), (61, 81), (120, 90)]):
            out.frame(sources.Frame(np.zeros((*shape, 3), np.uint8), index, index / 25, ""), [])
    assert [f.image.shape for f in VideoFile(tmp_path / "drawn.avi").frames()] == [(60, 80, 3)] * 3


def test_videos_that_cannot_be_written(tmp_path):
    with (
        pytest.raises(InputError, match="--out must end in one of .mp4"),
        outputs.video_file(tmp_path / "drawn.gif", 25.0, outputs.Drawn("ibug68")),
    ):
        pass
    with (
        pytest.raises(InputError, match="must give a frame"),
        outputs.video_file(tmp_path / "drawn.mp4", 25.0, outputs.Drawn("ibug68")),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


class FullDisk:
    """A writer that says nothing where the disk is full, as OpenCV's does."""

    real = cv2.VideoWriter

    def __init__(self, path: str, *options) -> None:
        self.path, self.writer, self.left = path, self.real(path, *options), 4

    def isOpened(self) -> bool:
        return self.writer.isOpened()

    def write(self, image: np.ndarray) -> None:
        self.left -= 1
        if self.left >= 0:
            self.writer.write(image)

    def release(self) -> None:
        self.writer.release()


class TornFile(FullDisk):
    def release(self) -> None:
        super().release()
        os.truncate(self.path, os.path.getsize(self.path) // 2)


@pytest.mark.parametrize("writer", [FullDisk, TornFile])
@pytest.mark.parametrize("suffix", list(outputs.VIDEO_CODECS))
def test_a_video_on_a_full_disk_is_told_and_leaves_nothing(capsys, monkeypatch, video, tmp_path, writer, suffix):
    monkeypatch.setattr(outputs.cv2, "VideoWriter", writer)
    monkeypatch.setattr(writer, "real", FullDisk.real)
    assert cli.main(command(video, "--out", tmp_path / f"drawn{suffix}")) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("edgeface: "))
    assert f"drawn{suffix} must be writable. Received: " in line and "of 12 frames written (is the disk full?)" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's full device")
def test_a_csv_on_a_full_disk_is_told_and_leaves_nothing(capsys, monkeypatch, video, tmp_path):
    full = functools.partial(io.open, "/dev/full")
    monkeypatch.setattr(outputs, "open", lambda path, *how, **more: full(*how, **more), raising=False)
    assert cli.main(command(video, "--csv", tmp_path / "f.csv", "--out", tmp_path / "drawn.avi")) == 2
    assert "f.csv must be writable. Received: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

"""The device figures' own arithmetic: rendered sequences with their truth, lag, and where the time goes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convert.release import clips, device, device_tables

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def moving() -> clips.Clip:
    return clips.moving(2, 16)


def test_a_moving_face_moves_as_its_truth_says(moving):
    points = moving.landmarks_px.mean(axis=1)
    np.testing.assert_allclose(np.ptp(points[:, 1]), 0, atol=1e-4)
    assert 200 < np.ptp(points[:, 0]) < 240, "a third of 640 px"
    assert moving.present.all() and len(moving.frames) == 16
    shift = int(points[1, 0] - points[0, 0])
    left, top, right, bottom = (int(v) for v in moving.box(0).as_xyxy())
    before = moving.frames[0][top:bottom, left:right].astype(int)
    after = moving.frames[1][top:bottom, left + shift : right + shift].astype(int)
    assert np.abs(before - after).mean() < 4, "the same face but for the camera's noise"


def test_a_leaving_face_is_gone_in_the_end():
    made = clips.leaving(4, 9)
    assert made.present[:3].all() and not made.present[-2:].any()
    turned = clips.turning(3, 4, yaw_deg=40.0)
    np.testing.assert_allclose(turned.pose_deg[:, 0], [0, 40, 0, -40], atol=1e-3)


def test_lag_is_what_it_was_made_to_be():
    truth = np.sin(np.linspace(0, 6, 80)) * 100
    late = np.interp(np.arange(80) - 1.5, np.arange(80), truth)
    assert device.lag_frames(late[5:], truth[5:]) == pytest.approx(1.5, abs=0.05)
    assert device.lag_frames(truth, truth) == 0


def test_the_parts_of_a_frame_s_time_add_up(tmp_path, moving):
    clips.write_clip(tmp_path / "clip.avi", moving)
    box = " ".join(map(str, moving.box(0).as_xyxy()))
    command = [sys.executable, "-m", "convert.release.device", "_speed", str(tmp_path / "clip.avi"), "", "0", box]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    found = json.loads(done.stdout)
    assert found["frames"] == 16 and found["faces_followed"] == 1
    assert sum(found["parts_ms"].values()) == pytest.approx(found["cpu_ms_a_frame"])
    assert min(found["parts_ms"].values()) > 0
    # No detector here: the interpreter is the only network, and decoding is more of what is outside it.
    assert found["share_outside_both_networks"] == found["share_outside_the_interpreter"]
    assert 0 < found["share_outside_both_networks"]["decoding_left_out"] < 1
    everything = 1 - found["parts_ms"]["interpreter"] / found["cpu_ms_a_frame"]
    assert found["share_outside_both_networks"]["everything_included"] == pytest.approx(everything)


def test_imports_are_timed_in_a_process_of_their_own(monkeypatch):
    monkeypatch.setattr(device, "ROUNDS", 1)
    found = device.imports()
    assert found["edgeface_s"] > 0 and found["processes"] == 1


def test_a_part_is_measured_and_the_rest_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(device, "imports", lambda: {"edgeface_s": 0.123456})
    path = tmp_path / "device.json"
    path.write_text('{"speed": {"kept": true}}')
    assert device.main(["--only", "imports", "--out", str(path)]) == 0
    written = json.loads(path.read_text())
    assert written["imports"] == {"edgeface_s": 0.1235} and written["speed"] == {"kept": True}
    assert {"machine", "versions", "command"} <= written.keys()


def test_the_table_says_which_share_is_under_the_bound():
    parts = {"read_and_decode": 1.0, "interpreter": 1.0, "detector_network": 6.0, "own": 2.0}
    mode = {"parts_ms": parts, "frames_a_second_of_processor_time": 100.0}
    given = {**mode, "parts_ms": {"read_and_decode": 1.0, "interpreter": 0.5, "own": 0.5}}
    speed = {"detected_in_every_frame": mode, "tracked": {"not_measured": "no file"}, "box_given": given}
    every, tracked, alone, *_ = device_tables.frame_of({**speed, "model": "m", "frame": "640x480"}).splitlines()[2:]
    assert every.endswith("| 100 | 1.00 | 1.00 | 6.00 | 2.00 | **30 %** | **22 %** | 90 % |")
    assert "not measured: no file" in tracked
    assert alone.endswith("| 1.00 | 0.50 |  | 0.50 | 75 % | 50 % | 75 % |")
    assert len({line.count("|") for line in (every, tracked, alone)}) == 1


def test_the_table_of_emulated_boards_tells_what_differs():
    worst = {"landmarks_px": 0.004, "box_xyxy": 0.005}
    row = {"file": "m", "core": "a", "frames": 6, "lines_equal": 4, "worst": worst, "verdict": "fail"}
    counted = {"m": {"a": 14.5e6}}
    figures = {"cores": {"a": "Pi 4", "b": "Pi 5"}, "files": {"m": ""}, "live": [row], "instructions": counted}
    assert device_tables.arm64_of(figures).endswith("| `m` | 4 of 6, 0.005 px apart (**fails**) |  | 14.5 |  |")

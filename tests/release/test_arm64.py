"""The arm64 figures' own arithmetic, and that those stored are of the files that are packaged."""

from __future__ import annotations

import dataclasses
import json

import pytest

from convert.release import arm64 as measured
from convert.runtimes import arm64, instructions, wheel
from convert.runtimes.base import RefusedError
from edgeface import zoo
from edgeface.files import read_json, sha256


def line(frame: int, x: float = 10.0, pose: list | None = None, id_: int = 1, spread: list | None = None) -> str:
    face = {"id": id_, "box_xyxy": [1, 2, 3, 4], "pose_deg": pose, "landmarks_px": [[x, 5.0]], "spread_px": spread}
    return json.dumps({"frame": frame, "faces": [face]})


def test_int8_lines_must_be_the_same_to_the_last_digit():
    reference = [line(0), line(1)]
    same = wheel.compared("m", "cortex-a72", True, reference, reference)
    assert (same.verdict, same.lines_equal, same.frames, same.faces) == ("pass", 2, 2, 2)
    other = [line(0), line(1, 10.001)]
    row = wheel.compared("m", "cortex-a72", True, other, reference)
    assert (row.verdict, row.lines_equal) == ("fail", 1) and row.worst["landmarks_px"] == pytest.approx(0.001)


@pytest.mark.parametrize("spread, verdict", [(4.001, "pass"), (4.002, "fail")])
def test_an_int8_spread_may_differ_by_one_printed_digit(spread, verdict):
    reference, other = ([line(0, spread=[4.0]), line(1, spread=[value])] for value in (4.0, spread))
    row = wheel.compared("m", "cortex-a72", True, other, reference)
    assert (row.verdict, row.lines_equal) == (verdict, 1)


def test_of_a_float_file_the_first_frame_is_judged():
    reference = [line(0), line(1)]
    assert wheel.compared("m", "cortex-a72", False, [line(0, 10.002), line(1, 10.3)], reference).verdict == "pass"
    assert wheel.compared("m", "cortex-a72", False, [line(0, 10.02), line(1)], reference).verdict == "fail"


@pytest.mark.parametrize(
    "lines", [[], [line(0)], [line(0), line(1, id_=2)], [line(0), '{"frame": 1, "faces": []}']], ids=str
)
def test_frames_and_faces_that_are_missing_fail(lines):
    assert wheel.compared("m", "cortex-a76", False, lines, [line(0), line(1)]).verdict == "fail"


def test_marks_are_paired_and_the_least_run_counts():
    marks = [100, 160, 200, 250, 300, 355]
    printed = "\n".join(["noise", *(f"INSTRUCTIONS {mark}" for mark in marks)])
    assert instructions.least(printed) == 50
    with pytest.raises(RefusedError, match="must print 6 marks. Received: 1"):
        instructions.least("INSTRUCTIONS 7")


def test_a_change_of_cost_and_a_change_of_file_are_told():
    stored = {"files": {"m.tflite": "aa"}, "instructions": {"m.tflite": {"cortex-a72": 1_000_000}}}
    near, far = {"m.tflite": {"cortex-a72": 1_005_000}}, {"m.tflite": {"cortex-a72": 1_020_000}}
    assert measured.changed(near, stored, {"m.tflite": "aa"}) == []
    assert "1,020,000 instructions, 1,000,000 are stored" in measured.changed(far, stored, {"m.tflite": "aa"})[0]
    assert "another file's" in measured.changed(near, stored, {"m.tflite": "bb"})[0]
    assert "another file's" in measured.changed(near, {"files": {}}, {"m.tflite": "bb"})[0]


def test_figures_of_files_that_changed_are_dropped():
    name = zoo.available()[0] + ".tflite"
    row = dataclasses.asdict(wheel.compared(name, "cortex-a72", True, [line(0)], [line(0)]))
    stored = {
        "files": {name: "of old", "gone.tflite": "x"},
        "live": [row],
        "instructions": {name: {}, "gone.tflite": {}},
    }
    assert measured.merged(stored, {}, [], {})["files"] == {}
    digest = sha256(zoo.FOLDER / name)
    kept = measured.merged({**stored, "files": {name: digest}}, {}, [], {})
    assert kept["live"] == [row] and kept["instructions"] == {name: {}} and kept["files"] == {name: digest}


def test_the_stored_figures_are_of_the_packaged_files():
    if not measured.FILE.is_file():
        pytest.skip("results/arm64.json is not measured yet")
    stored = read_json(measured.FILE)
    packaged = {path.name: sha256(path) for path in map(zoo.path, zoo.available())}
    assert stored["instructions"].keys() <= stored["files"].keys()
    if changed := sorted(file for file, digest in stored["files"].items() if packaged.get(file) != digest):
        pytest.skip(
            f"measured on other files than those packaged now: {', '.join(changed)}; python -m convert.release.arm64"
        )
    for counted in stored["instructions"].values():
        assert counted.keys() == arm64.CORES.keys() and min(counted.values()) > 1_000_000
        # The Pi 5's core multiplies and adds four int8 values in one instruction.
        assert counted["cortex-a76"] <= counted["cortex-a72"]


def test_every_stored_line_is_x86s():
    if not measured.FILE.is_file():
        pytest.skip("results/arm64.json is not measured yet")
    assert [row["file"] for row in read_json(measured.FILE)["live"] if row["verdict"] != "pass"] == []

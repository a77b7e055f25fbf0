"""Parity: what is compared, what is judged, and that a spoilt file fails."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from convert.__main__ import main
from convert.parity import BOUNDS, MIN_BIN_FACES, BinDelta, judge, parity, shake, table
from edgeface.card import attach_card, read_card
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError
from edgeface.geometry import Box
from edgeface.markup import PROTOCOLS
from tests.convert import tiny

POSE = {"yaw": None, "pitch": None, "roll": None, "mean": None}


def faces(count: int = 6) -> list[FaceSample]:
    """Blobs with 68 points on a circle: something to score, not a face."""
    turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    images = tiny.crops(replace(tiny.ACDC, side=64, channels=3), count)
    return [
        FaceSample(
            f"blob{i}", "synthetic", "test", lambda image=image: image, Box(12, 12, 52, 52),
            {"ibug68": 32 + 20 * circle}, {"ibug68": np.ones(68, bool)}, np.array([20 * i, 5, 0], np.float32),
        )
        for i, image in enumerate(images)
    ]  # fmt: skip


def test_bounds_are_the_design_s():
    assert (BOUNDS["int8_qat"].nme_points, BOUNDS["int8_qat"].pose_deg, BOUNDS["int8_qat"].jitter) == (0.05, 0.1, 0.05)
    assert (BOUNDS["float16"].nme_points, BOUNDS["float16"].pose_deg) == (0.01, 0.02)


@pytest.mark.parametrize(
    ("figures", "failures"),
    [
        ({}, ()),
        ({"nme_delta": 0.049}, ()),
        ({"nme_delta": -0.5}, ()),  # better is no failure
        ({"nme_delta": 0.051}, ("NME worse by 0.051 points, allowed 0.05",)),
        ({"pose_delta": POSE | {"mean": 0.2}}, ("pose MAE worse by 0.200 degrees, allowed 0.1",)),
        ({"landmark_shift": 1.0}, ()),  # int8 is judged by its scores
        ({"jitter_change": 0.06}, ("jitter worse by 6.000 % of float's, allowed 5",)),
    ],
)
def test_worse_than_the_bound_fails_in_words(figures, failures):
    given = {"nme_delta": 0.0, "pose_delta": POSE, "by_yaw": (), "jitter_change": 0.0} | figures
    assert judge(BOUNDS["int8_qat"], **given) == failures


def test_a_bin_is_judged_where_it_has_faces_enough():
    def bad(n):
        return BinDelta(30, 60, n, 5.0, 0.2, 0.0, None)

    given = {"nme_delta": 0.0, "pose_delta": POSE, "jitter_change": 0.0}
    assert judge(BOUNDS["int8_qat"], by_yaw=(bad(MIN_BIN_FACES - 1),), **given) == ()
    (failure,) = judge(BOUNDS["int8_qat"], by_yaw=(bad(MIN_BIN_FACES),), **given)
    assert failure == "NME at |yaw| 30 to 60 worse by 0.200 points, allowed 0.05"


def test_every_file_against_the_float_model(tiny_files):
    files = [tiny_files.files[name].path for name in ("float32", "int8_qat")]
    reference, float32, int8 = parity(
        tiny_files.model, files, faces(), PROTOCOLS["synthetic"], jitter_faces=2, shakes=3
    )
    assert reference.variant == "float" and reference.nme_delta == 0 and reference.jitter_change == 0
    assert float32.passed and float32.landmark_shift < 1e-3
    assert int8.landmark_shift > float32.landmark_shift
    assert int8.scores.n == 6 and int8.nme_delta == pytest.approx(int8.scores.nme - reference.scores.nme, abs=1e-9)
    assert int8.pose_delta["yaw"] == pytest.approx(int8.scores.pose.yaw - reference.scores.pose.yaw)
    assert int8.jitter_change == pytest.approx(int8.jitter / reference.jitter - 1)
    assert [b.n for b in int8.by_yaw] == [2, 2, 2]
    assert "reference" in table([reference, float32, int8])
    json.dumps(int8.as_dict(), allow_nan=False)


def test_a_spoilt_file_fails(tiny_files, tmp_path):
    """A weight changed by hand in the file: the gate cannot see it, parity must."""
    spoilt = tmp_path / "spoilt.tflite"
    data = bytearray(tiny_files.files["float32"].path.read_bytes())
    kernel = np.asarray(_kernel(tiny_files), np.float32)
    start = bytes(data).find(kernel.tobytes())
    assert start > 0, "the kernel must be in the file as it is in the model"
    data[start : start + kernel.nbytes] = (kernel[:, ::-1] * -0.5).astype(np.float32).tobytes()
    spoilt.write_bytes(data)
    attach_card(spoilt, read_card(tiny_files.files["float32"].path))
    _, row = parity(tiny_files.model, [spoilt], faces(), PROTOCOLS["synthetic"], jitter_faces=2, shakes=3)
    # Untrained landmarks may score better after any change, so it is the distance that must give the file away.
    assert any(failure.startswith("landmarks") for failure in row.failures) and row.landmark_shift > 1


def _kernel(tiny_files) -> np.ndarray:
    """The transfer layer's weights as TensorFlow Lite lays them out: (out, 1, 1, in)."""
    from edgeface.models.io import load_model

    model, _ = load_model(tiny_files.model)
    return np.asarray(model.get_layer("gtn_ibug68").get_weights()[0])[0, 0].T.copy()


def test_shaking_is_two_percent_and_repeatable(tiny_files):
    network = type("N", (), {"side": 32, "channels": 1, "crop_scale": 1.3})
    one, two = (shake(faces(2), network, 2, 400) for _ in range(2))
    assert one.crops.shape == (800, 32, 32, 1)
    np.testing.assert_array_equal(one.crops, two.crops)
    centers = np.array([f.center for f in one.frames]) - 32
    # 2 % of a 40 px box; the standard error of a deviation of 800 draws is 2.5 %.
    np.testing.assert_allclose(centers.std(axis=0), 0.8, rtol=0.1)
    with pytest.raises(InputError, match="at least 1 face and 2 shakes"):
        shake(faces(1), network, 1, 1)


def test_command_writes_what_the_report_reads(tiny_files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("edgeface.datasets.load.load_set", lambda name, split, limit: faces(limit))
    out = tmp_path / "parity.json"
    code = main(
        [
            "parity",
            str(tiny_files.model),
            str(tiny_files.folder),
            "--limit",
            "4",
            "--jitter-faces",
            "1",
            "--out",
            str(out),
        ]
    )
    data = json.loads(out.read_text())
    assert code == (0 if all(row["passed"] for row in data["rows"]) else 1)
    assert [row["variant"] for row in data["rows"]] == ["float", *tiny_files.files]
    assert data["machine"]["cores"] >= 1 and data["versions"]["edgeface"]
    assert "4 faces" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["{model}", "{empty}"], "must be a folder with .tflite files"),
        (["{model}", "{folder}", "--set", "wider"], "must be one of"),
    ],
)
def test_bad_input(tiny_files, tmp_path, capsys, args, message):
    names = {"model": tiny_files.model, "folder": tiny_files.folder, "empty": tmp_path}
    assert main(["parity", *[a.format(**names) for a in args]]) == 2
    assert message in capsys.readouterr().err


def test_nothing_to_compare(tiny_files):
    with pytest.raises(InputError, match="at least one .tflite"):
        parity(tiny_files.model, [], faces(), PROTOCOLS["synthetic"])

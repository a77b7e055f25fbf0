"""Parity: what is compared, what is judged, and that a spoilt file fails."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from convert.__main__ import main
from edgeface.box import Box
from edgeface.card import attach_card, read_card
from edgeface.convert.convert_all import Job, convert_all
from edgeface.convert.parity import ParityRun, shake, table
from edgeface.convert.parity_file import ScoredSet, load_parity, save_parity
from edgeface.convert.parity_sets import chosen_sets
from edgeface.convert.tolerances import (
    BOUNDS,
    MIN_BIN_FACES,
    MIN_BIN_FACES_POSE,
    BinDelta,
    checks,
    failures,
    mistaken_angles,
)
from edgeface.convert.variants import VARIANTS
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError
from edgeface.evaluation.protocols import PROTOCOLS
from edgeface.files import sha256
from edgeface.models.io import load_model, model_info, save_model
from edgeface.models.layers import PoseFromFeatures
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
    int8, float16 = BOUNDS["int8_qat"], BOUNDS["float16"]
    assert (int8.nme_points, int8.bin_nme_points, int8.pose_deg, int8.jitter) == (0.05, 0.15, 0.1, 0.05)
    assert (float16.nme_points, float16.bin_nme_points, float16.pose_deg) == (0.01, 0.03, 0.02)


def judge(bound, **figures) -> tuple[str, ...]:
    return failures(checks(bound, **figures))


@pytest.mark.parametrize(
    ("figures", "failures"),
    [
        ({}, ()),
        ({"nme_delta": 0.049}, ()),
        ({"nme_delta": -0.5}, ()),  # better is no failure
        ({"nme_delta": 0.051}, ("NME worse by 0.051 points, allowed 0.05",)),
        ({"pose_delta": POSE | {"mean": 0.2}}, ("pose MAE worse by 0.200 degrees, allowed 0.1",)),
        ({"landmark_shift": 1.0}, ()),
        ({"landmark_shift": 1.1}, ("landmarks off float's by 1.100 % of the crop, allowed 1",)),
        ({"pose_shift": {"yaw": 1.6, "pitch": 0.1}}, ("yaw off float's by 1.600 degrees, allowed 1.5",)),
        ({"jitter_change": 0.06}, ("jitter worse by 6.000 % of float's, allowed 5",)),
    ],
)
def test_worse_than_the_bound_fails_in_words(figures, failures):
    given = {"nme_delta": 0.0, "pose_delta": POSE, "by_yaw": (), "jitter_change": 0.0} | figures
    assert judge(BOUNDS["int8_qat"], **given) == failures


def test_a_bin_is_judged_where_it_has_faces_enough():
    def bad(n, nme=0.2, pose=0.2):
        return (BinDelta(30, 60, n, 5.0, nme, pose, None),)

    given = {"nme_delta": 0.0, "pose_delta": POSE, "jitter_change": 0.0}
    assert judge(BOUNDS["int8_qat"], by_yaw=bad(MIN_BIN_FACES - 1), **given) == ()
    (failure,) = judge(BOUNDS["int8_qat"], by_yaw=bad(MIN_BIN_FACES), **given)
    assert failure == "NME at |yaw| 30 to 60 worse by 0.200 points, allowed 0.15"
    assert judge(BOUNDS["int8_qat"], by_yaw=bad(MIN_BIN_FACES, nme=0.149), **given) == ()
    nme, pose = judge(BOUNDS["int8_qat"], by_yaw=bad(MIN_BIN_FACES_POSE), **given)
    assert pose == "pose MAE at |yaw| 30 to 60 worse by 0.200 degrees, allowed 0.1"


def test_every_figure_carries_its_tolerance():
    judged = checks(BOUNDS["float16"], 0.02, POSE, (), 0.0, 0.05, {"yaw": 0.0})
    assert [(c.what, c.allowed, c.passed) for c in judged] == [
        ("NME worse", 0.01, False),
        ("jitter worse", 1.0, True),
        ("landmarks off float's", 0.1, True),
        ("yaw off float's", 0.1, True),
    ]
    assert judged[0].as_dict() == {
        "what": "NME worse", "value": 0.02, "allowed": 0.01, "unit": "points", "passed": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda p: p + 0.2, None),
        (lambda p: p[:, [1, 0, 2]] + 0.2, "pose: yaw and pitch are swapped"),
        (lambda p: p[:, [0, 2, 1]], "pose: pitch and roll are swapped"),
        (lambda p: p * [-1, 1, 1], "pose: the sign of yaw is turned"),
        (lambda p: p[:, [1, 0, 2]] * [-1, 1, 1], "pose: yaw and pitch are swapped, the sign of pitch is turned"),
        (lambda p: p + 5, None),  # off, but no exchange explains it
    ],
)
def test_answers_that_are_another_order_of_angles_are_named(change, name):
    rng = np.random.default_rng(0)
    base = rng.normal(scale=(25, 10, 4), size=(50, 3))
    assert mistaken_angles(change(base), base, 1.5) == name


def test_every_file_against_the_float_model(tiny_files, tmp_path):
    files = [tiny_files.files[name].path for name in ("float32", "int8_qat")]
    run = ParityRun.load(tiny_files.model, files)
    reference, float32, int8 = run.score(faces(), PROTOCOLS["synthetic"], jitter_faces=2, shakes=3, pictures=tmp_path)
    pictures = sorted(p.name for p in tmp_path.iterdir())
    assert len(pictures) == 6 and pictures[0].startswith("synthetic_acdc_tiny_float32_1_blob")
    assert cv2.imread(str(tmp_path / pictures[-1])).shape == (524, 480, 3)
    assert reference.variant == "float" and reference.nme_delta == 0 and reference.jitter_change == 0
    assert float32.passed and float32.landmark_shift < 1e-3
    assert int8.landmark_shift > float32.landmark_shift
    assert int8.scores.n == 6 and int8.nme_delta == pytest.approx(int8.scores.nme - reference.scores.nme, abs=1e-9)
    assert int8.pose_delta["yaw"] == pytest.approx(int8.scores.pose.yaw - reference.scores.pose.yaw)
    assert int8.jitter_change == pytest.approx(int8.jitter / reference.jitter - 1)
    assert [b.n for b in int8.by_yaw] == [2, 2, 2]
    assert int8.by_yaw[0].angle_delta.keys() == {"yaw", "pitch", "roll"} == int8.pose_shift.keys()
    assert [w.nme_delta for w in int8.worst] == sorted((w.nme_delta for w in int8.worst), reverse=True)
    worst = int8.worst[0]
    paired = int8.scores.nme_per_face - reference.scores.nme_per_face
    assert worst.nme_delta == pytest.approx(paired.max()) and worst.id == int8.scores.ids[paired.argmax()]
    shown = table([reference, float32, int8])
    assert "reference" in shown and "0-30 (2)" in shown and worst.id in shown
    assert "int8_qat held to: NME 0.05 points (a yaw bin 0.15), pose MAE 0.1 degrees, jitter 5 %" in shown
    plain = json.loads(json.dumps(int8.as_dict(), allow_nan=False))
    assert plain["worst"][0]["id"] == worst.id and plain["checks"][0]["allowed"] == 0.05
    assert reference.checks == () and reference.worst == ()


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
    _, row = ParityRun.load(tiny_files.model, [spoilt]).score(faces(), PROTOCOLS["synthetic"], jitter_faces=2, shakes=3)
    # Untrained landmarks may score better after any change, so it is the distance that gives the file away.
    assert any(failure.startswith("landmarks") for failure in row.failures) and row.landmark_shift > 1


@pytest.mark.parametrize("labelled", [True, False])
def test_swapped_yaw_and_pitch_fail_by_name(tiny_files, tmp_path, labelled):
    """Converted from a model whose pose layer has them the wrong way round; on faces without a pose, no score tells."""
    trained, _ = load_model(tiny_files.model)
    layer = next(layer for layer in trained.layers if isinstance(layer, PoseFromFeatures))
    # Untrained angles are all near 0; bring them to where faces have them.
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + np.array([0.3, -0.2, 0.05], bias.dtype)])
    save_model(trained, tmp_path / "model.keras", model_info(tiny.ACDC))
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel[:, [1, 0, 2]], bias[[1, 0, 2]]])
    save_model(trained, tmp_path / "swapped.keras", model_info(tiny.ACDC))
    job = Job(tmp_path / "swapped.keras", tmp_path, name="swapped")
    (swapped,) = convert_all(job, [VARIANTS["float16"]])
    # As where the mistake is the converter's: the file says that it is the model's own.
    attach_card(swapped.path, replace(swapped.card, float_sha256=sha256(tmp_path / "model.keras")))
    samples = faces()
    if not labelled:
        samples = [replace(s, pose_deg=np.full(3, np.nan, np.float32)) for s in samples]
    _, row = ParityRun.load(tmp_path / "model.keras", [swapped.path]).score(
        samples, PROTOCOLS["synthetic"], jitter_faces=1
    )
    assert row.failures[0] == "pose: yaw and pitch are swapped", row.failures


def _kernel(tiny_files) -> np.ndarray:
    """The transfer layer's weights as TensorFlow Lite lays them out: (out, 1, 1, in)."""
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
    monkeypatch.setattr("edgeface.convert.parity_sets.load_set", lambda name, split, limit, root: faces(limit))
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
    assert data["format"] == 2 and [(one["set"], one["split"]) for one in data["sets"]] == [("synthetic", "test")]
    rows = data["sets"][0]["rows"]
    assert code == (0 if all(row["passed"] for row in rows) else 1)
    assert [row["variant"] for row in rows] == ["float", *tiny_files.files]
    assert data["machine"]["cores"] >= 1 and data["versions"]["edgeface"]
    assert "4 faces" in capsys.readouterr().out
    (loaded,) = load_parity(out)
    assert loaded.rows == tuple(rows)


def test_a_set_without_the_landmarks_is_skipped_and_says_so(tiny_files, tmp_path, monkeypatch, capsys):
    """68-point files on faces with 68 points and on faces with five: the second set is told, not dropped quietly."""
    five = [replace(f, landmarks_px={"mtfl5": np.ones((5, 2), np.float32)}, visible={"mtfl5": np.ones(5, bool)})
            for f in faces(2)]  # fmt: skip
    sets = {"synthetic": faces(2), "mtfl": five}
    monkeypatch.setattr("edgeface.convert.parity_sets.load_set", lambda name, split, limit, root: sets[name])
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(tiny_files.files["float32"].path, folder)
    args = ["parity", str(tiny_files.model), str(folder), "--jitter-faces", "1"]
    assert main([*args, "--set", "mtfl,synthetic"]) == 0
    assert "mtfl all: skipped: mtfl must label a markup of the network (ibug68)" in capsys.readouterr().out
    data = json.loads((folder / "parity.json").read_text())
    assert [one["set"] for one in data["sets"]] == ["synthetic"] and list(data["skipped"]) == ["mtfl"]
    assert main([*args, "--set", "mtfl"]) == 2


def test_real_stands_for_the_sets_on_disk(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "edgeface")
    monkeypatch.setenv("EDGEFACE_FACES", str(tmp_path))
    assert chosen_sets("real") == ("synthetic",) and "rendered faces instead" in caplog.text
    (tmp_path / "aflw").mkdir()
    (tmp_path / "aflw" / "annotations.json").write_text("[]")
    assert chosen_sets("synthetic, real,aflw") == ("synthetic", "aflw")
    with pytest.raises(InputError, match="set must be one of .* real. Received: 'wider'"):
        chosen_sets("wider")
    with pytest.raises(InputError, match="set must be one of"):
        chosen_sets(",")


def test_parity_files(tmp_path):
    row = {"file": "a.tflite", "variant": "float16", "scores": {"nme": 3.0}}
    scored = ScoredSet("300w", "test", (SimpleNamespace(as_dict=lambda: row),))
    path = save_parity(tmp_path / "parity.json", [scored, ScoredSet("mtfl", "all", (), "why")])
    assert load_parity(path) == [ScoredSet("300w", "test", (row,))]
    assert json.loads(path.read_text())["skipped"] == {"mtfl": "why"}
    path.write_text(json.dumps({"format": 1, "set": "aflw", "split": "test", "rows": [row]}))
    assert load_parity(path) == [ScoredSet("aflw", "test", (row,))]
    for bad in ({"format": 2}, [], {"format": 3, "sets": []}, {"format": 2, "sets": [{"set": "a"}]}):
        path.write_text(json.dumps(bad))
        with pytest.raises(InputError, match="must be"):
            load_parity(path)
    with pytest.raises(InputError, match="at least one set must have been scored"):
        save_parity(path, [ScoredSet("mtfl", "all", (), "why")])


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


def test_files_of_another_float_model_are_refused(tiny_files, tmp_path):
    """Even one of the same network, whose files take and give the same."""
    other = tmp_path / "other.keras"
    model, info = load_model(tiny_files.model)
    model.set_weights([w + 0.01 for w in model.get_weights()])
    save_model(model, other, info)
    file = shutil.copy(tiny_files.files["float32"].path, tmp_path)
    began = sha256(tiny_files.model)[:12]
    with pytest.raises(InputError, match=f"float32.tflite must be converted from .*other.keras. Received: .* {began}…"):
        ParityRun.load(other, [file])
    assert ParityRun.load(tiny_files.model, [file]).markup == "ibug68"
    attach_card(file, replace(read_card(file), float_sha256=None))
    assert ParityRun.load(other, [file]).markup == "ibug68", "a card without the hash cannot be held against it"


def test_nothing_to_compare(tiny_files):
    with pytest.raises(InputError, match="at least one .tflite"):
        ParityRun.load(tiny_files.model, [])

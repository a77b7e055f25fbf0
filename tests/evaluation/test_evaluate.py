"""Scores against numbers worked out by hand, and every face accounted for."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from edgeface.box import Box
from edgeface.cli import main
from edgeface.crop import square_crop
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError
from edgeface.evaluation.ced_plot import save_ced
from edgeface.evaluation.evaluate import check_markup, evaluate, prepare, protocol_for
from edgeface.evaluation.networks import load_network, markups_of, pick_markup
from edgeface.evaluation.protocols import PROTOCOLS
from edgeface.models.io import model_info, save_model
from edgeface.models.presets import build
from edgeface.training.train import network_config_of
from tests.training import tiny

BOX = Box(20, 10, 120, 50)
"""100 x 40: the box normaliser is sqrt(4000), the crop's side 130."""
NAN = np.nan


def face(name: str = "f", pose=(0, 0, 0), markup: str = "ibug68_3d", hidden=(), unknown=()) -> FaceSample:
    size = {"ibug68_3d": 68, "ibug68": 68, "aflw21": 21, "mtfl5": 5}[markup]
    rng = np.random.default_rng(3)
    points = np.column_stack([rng.uniform(20, 120, size), rng.uniform(10, 50, size)]).astype(np.float32)
    if size == 68:
        points[36], points[45] = (40, 20), (90, 20)  # 50 px between the outer eye corners
    points[list(unknown)] = NAN
    visible = np.ones(size, bool)
    visible[list(hidden)] = False
    image = np.zeros((60, 140, 3), np.uint8)
    return FaceSample(name, "s", "test", lambda: image, BOX, {markup: points}, {markup: visible}, np.float32(pose))


@dataclass
class Known:
    """A network that answers the truth, moved by ``offsets_px`` (N, 2), and truth plus ``pose_error``."""

    samples: list
    markup: str
    offsets_px: np.ndarray
    pose_error: tuple = (0, 0, 0)
    truth: str = ""
    name: str = "known"
    side: int = 16
    channels: int = 1
    crop_scale: float = 1.3

    def infer_batch(self, crops):
        assert crops.dtype == np.uint8 and crops.shape[1:] == (16, 16, 1)
        frame = square_crop(BOX, 1.3)
        points = [np.nan_to_num(s.landmarks_px[self.truth or self.markup]) for s in self.samples]
        landmarks = [frame.to_crop(p + o) for p, o in zip(points, self.offsets_px, strict=True)]
        pose = np.nan_to_num(np.stack([s.pose_deg for s in self.samples])) + self.pose_error
        return {"landmarks": np.stack(landmarks), "pose": pose.astype(np.float32)}


def test_inter_ocular_nme_failures_and_auc_by_hand():
    faces = [face(f"f{i}", markup="ibug68") for i in range(4)]
    # 3-4-5: errors 0, 2.5, 5 and 10 px of 50 -> 0, 5, 10 and 20 %.
    offsets = np.array([[0, 0], [1.5, 2], [3, 4], [6, 8]])
    scores = evaluate(Known(faces, "ibug68", offsets), faces, PROTOCOLS["300w"])
    # float32 landmarks in a 130 px crop: 1e-5 px, 2e-5 % of 50 px
    np.testing.assert_allclose(scores.nme_per_face, [0, 5, 10, 20], atol=1e-4)
    assert scores.nme == pytest.approx(8.75, abs=1e-4)
    assert scores.failure_rate in (25, 50)  # 10 % itself lies on the threshold
    assert scores.auc == pytest.approx((1 + 0.5 + 0 + 0) / 4 * 100, abs=1e-3)
    assert scores.ced_shares[0] in (0, 0.25) and scores.ced_shares[-2] == 0.5
    assert scores.n == 4 and scores.skipped == {} and scores.dataset == "s/test"


def test_box_nme_pose_and_yaw_bins():
    poses = [(0, 0, 0), (-30, 5, 5), (31, 0, 0), (-75, 0, 0), (95, 0, 0), (10, 120, 0)]
    faces = [face(f"f{i}", p) for i, p in enumerate(poses)]
    size = np.sqrt(4000)
    offsets = np.array([[k * size / 100, 0] for k in (1, 3, 4, 6, 8, 5)])
    scores = evaluate(Known(faces, "ibug68_3d", offsets, (2, -4, 6)), faces, PROTOCOLS["aflw2000_3d"])
    np.testing.assert_allclose(scores.nme_per_face, [1, 3, 4, 6, 8, 5], atol=1e-4)
    # Bins (low, high]: 30 belongs to the first, and what lies beyond 90 to the last.
    assert [(b.low_deg, b.n) for b in scores.by_yaw] == [(0, 3), (30, 1), (60, 2)]
    assert [b.nme for b in scores.by_yaw] == pytest.approx([3, 4, 7], abs=1e-4)
    assert scores.mean_of_bins == pytest.approx(14 / 3, abs=1e-4) and scores.nme == pytest.approx(4.5, abs=1e-4)
    # The protocol's pose limit: pitch 120 is counted out, for the pose alone.
    assert scores.pose.n == 5 and scores.pose.skipped == {"with an angle beyond 99 degrees": 1}
    assert (scores.pose.yaw, scores.pose.pitch, scores.pose.roll) == pytest.approx((2, 4, 6), abs=1e-4)
    assert scores.pose.mean == pytest.approx(4, abs=1e-4) and scores.pose.geodesic > 0
    assert scores.by_yaw[0].pose.n == 2


def test_visible_points_alone_count_where_the_protocol_says_so():
    one = face(markup="aflw21", hidden=[3], unknown=[4])
    network = Known([one], "aflw21", np.zeros((1, 2)))
    exact = network.infer_batch(np.zeros((1, 16, 16, 1), np.uint8))["landmarks"]
    exact[0, 3:5] += 0.5  # only the points that do not count
    network.infer_batch = lambda crops: {"landmarks": exact}
    assert evaluate(network, [one], PROTOCOLS["aflw"]).nme == pytest.approx(0, abs=1e-4)
    on_all = replace(PROTOCOLS["aflw"], visible_only=False)
    # One of 20 known points is off by half the crop on both axes: sqrt(2) * 65 px / 20 of sqrt(4000).
    assert evaluate(network, [one], on_all).nme == pytest.approx(100 * 65 * np.sqrt(2) / 20 / np.sqrt(4000), abs=1e-3)


def test_nothing_is_dropped_without_a_word():
    faces = [
        face("good"),
        face("other", markup="mtfl5"),
        face("blank", unknown=range(68)),
        face("unlabelled", pose=(NAN, NAN, NAN)),
        face("yaw alone", pose=(20, NAN, NAN)),
    ]
    scored = [faces[0], faces[3], faces[4]]
    network = Known(scored, "ibug68_3d", np.ones((3, 2)), (1, 1, 1))
    scores = evaluate(network, faces, PROTOCOLS["aflw2000_3d"])
    assert scores.ids == ("good", "unlabelled", "yaw alone")
    assert scores.skipped == {"without ibug68_3d": 1, "without a visible point of ibug68_3d": 1}
    assert scores.pose.n == 2 and scores.pose.skipped == {"without a pose label": 1}
    assert scores.n + sum(scores.skipped.values()) == len(faces)
    assert scores.mean_of_bins is None  # two of the three bins are empty: no mean to be misread
    table = scores.table()
    assert "1 without ibug68_3d" in table and "no pose score: 1 without a pose label" in table
    with pytest.raises(InputError, match="at least one face must have ibug68_3d.*1 without ibug68_3d"):
        evaluate(network, faces[1:2], PROTOCOLS["aflw2000_3d"])
    with pytest.raises(InputError, match="an empty set"):
        evaluate(network, [], PROTOCOLS["aflw2000_3d"])


def test_a_network_without_pose_and_json_without_nan():
    faces = [face(pose=(NAN, 3, NAN))]
    network = Known(faces, "ibug68_3d", np.ones((1, 2)))
    answer = network.infer_batch(np.zeros((1, 16, 16, 1), np.uint8))
    del answer["pose"]
    network.infer_batch = lambda crops: answer
    scores = evaluate(network, faces, PROTOCOLS["aflw2000_3d"])
    assert scores.pose.skipped == {"as the network has no pose": 1} and scores.by_yaw == ()
    data = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert data["n"] == 1 and data["faces"] == {"f": pytest.approx(100 * np.sqrt(2) / np.sqrt(4000), abs=1e-4)}
    assert len(data["ced"]["errors"]) == len(data["ced"]["shares"])


def test_markups_with_the_same_indices_may_be_crossed():
    faces = [face()]
    network = Known(faces, "ibug68", np.zeros((1, 2)), truth="ibug68_3d")
    scores = evaluate(network, faces, PROTOCOLS["aflw2000_3d"])
    assert (scores.markup, scores.predicted_markup) == ("ibug68_3d", "ibug68")
    assert "predicted: ibug68" in scores.table()
    with pytest.raises(InputError, match="must be ibug68_3d.*Received: mtfl5"):
        check_markup("mtfl5", PROTOCOLS["aflw2000_3d"])
    assert pick_markup(("mtfl5", "ibug68"), "ibug68_3d", "m") == "ibug68"
    with pytest.raises(InputError, match="markup of m must be one of mtfl5. Received: 'wflw98'"):
        pick_markup(("mtfl5",), "wflw98", "m")


def test_protocol_for():
    faces_3d, faces_21 = [face()], [face(markup="aflw21"), face(markup="ibug68")]
    protocol, predicted = protocol_for("aflw2000_3d", faces_3d, ("ibug68", "ibug68_3d"))
    assert (protocol.markup.name, predicted) == ("ibug68_3d", "ibug68_3d")
    protocol, predicted = protocol_for("aflw2000_3d", faces_3d, ("ibug68", "ibug68_3d"), "ibug68")
    assert (protocol.markup.name, predicted) == ("ibug68_3d", "ibug68")
    # A network without the protocol's markup is scored on one that it shares with the faces.
    protocol, predicted = protocol_for("aflw", faces_21, ("ibug68",))
    assert (protocol.markup.name, predicted, protocol.normalizer) == ("ibug68", "ibug68", "box")
    with pytest.raises(InputError, match="aflw must label"):
        protocol_for("aflw", faces_21, ("wflw98",))
    with pytest.raises(InputError, match="set must be one of"):
        protocol_for("aflv", faces_21, ("ibug68",))


def test_gray_crops_are_those_of_opencv():
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (6, 14, 3), np.uint8), (140, 60))
    one = replace(face(), load=lambda: image)
    faces = prepare([one], PROTOCOLS["aflw2000_3d"], 16, 1)
    expected = square_crop(BOX, 1.3).extract(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 16)
    np.testing.assert_array_equal(faces.crops[0], expected)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    config = network_config_of(tiny.config(model={**tiny.ACDC, "markups_2d": ["ibug68", "mtfl5"]}))
    path = tmp_path_factory.mktemp("model") / "model.keras"
    save_model(build(config), path, model_info(config))
    return path


def test_a_keras_file(model_file):
    assert markups_of(model_file) == ("ibug68", "mtfl5")
    network = load_network(model_file, "mtfl5")
    crops = np.random.default_rng(0).integers(0, 256, (35, 32, 32, 1), np.uint8)  # one batch and a part of another
    out = network.infer_batch(crops)
    assert out["landmarks"].shape == (35, 5, 2) and out["pose"].shape == (35, 3) and out["spread"].shape == (35, 5)
    # The filled batch does not leak into the answer (another batch size may reorder sums: a few float32 ulps).
    np.testing.assert_allclose(network.infer_batch(crops[32:])["landmarks"], out["landmarks"][32:], atol=1e-5)
    with pytest.raises(InputError, match="stages must be 1 to 1. Received: 2"):
        load_network(model_file, stages=2)


def test_a_head_that_no_face_has_trained_is_not_offered(tmp_path):
    config = network_config_of(tiny.config(model={**tiny.ACDC, "markups_2d": ["ibug68", "mtfl5"]}))
    path = tmp_path / "model.keras"
    save_model(build(config), path, model_info(config) | {"training": {"untrained": ["ibug68", "roll"]}})
    assert markups_of(path) == ("mtfl5",)


def test_the_command(model_file, tmp_path, capsys):
    out, ced = tmp_path / "s.json", tmp_path / "ced.png"
    argv = ["evaluate", str(model_file), "--set", "synthetic", "--split", "test", "--limit", "3"]
    assert main([*argv, "--json", str(out), "--ced", str(ced)]) == 0
    printed = capsys.readouterr().out
    assert "model.keras on synthetic/test, protocol synthetic: 3 faces, ibug68" in printed and "NME" in printed
    data = json.loads(out.read_text())
    assert data["n"] == 3 and data["protocol"] == "synthetic" and data["markup"] == "ibug68"
    assert cv2.imread(str(ced)) is not None

    assert main([*argv, "--markup", "mtfl5"]) == 0
    printed = capsys.readouterr().out
    assert "3 faces, mtfl5" in printed and "% of box" in printed  # five points have no outer eye corners


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["none.keras", "--set", "synthetic"], "must be a .keras file. Received: no such file"),
        (["none.tflite", "--set", "synthetic"], "none.tflite"),
        (["none.onnx", "--set", "synthetic"], "must be a .keras or a .tflite file. Received: none.onnx"),
        (["MODEL", "--set", "imagenet"], "set must be one of"),
        (["MODEL", "--set", "synthetic", "--limit", "2", "--markup", "wflw98"], "must label wflw98"),
        (["MODEL"], "--set"),
    ],
)
def test_one_line_for_what_is_wrong(model_file, capsys, argv, message):
    argv = [str(model_file) if word == "MODEL" else word for word in argv]
    assert main(["evaluate", *argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("edgeface: ") and message in error and error.count("\n") == 1


def test_a_converted_file(capsys):
    pytest.importorskip("tensorflow")
    from tests.runtime.tiny import SIDE, float_model

    network = load_network(float_model())
    assert (network.side, network.channels, network.markup) == (SIDE, 3, "mtfl5")
    samples = tiny.samples(3)
    scores = evaluate(network, samples, PROTOCOLS["mtfl"])
    assert scores.n == 3 and np.isfinite(scores.nme) and scores.pose.n == 3
    with pytest.raises(InputError, match="stages must not be given for a converted model"):
        load_network(float_model(), stages=1)


def test_several_curves_in_one_picture(tmp_path):
    faces = [face(markup="ibug68")]
    scores = [
        evaluate(Known(faces, "ibug68", np.full((1, 2), k), name=f"m{k}"), faces, PROTOCOLS["300w"]) for k in (1, 2)
    ]
    save_ced(scores, tmp_path / "ced.png")
    assert cv2.imread(str(tmp_path / "ced.png")).shape[2] == 3

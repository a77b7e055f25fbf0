"""What comes out of the converter, against the Keras model that went in."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from convert.__main__ import main
from edgeface.card import read_card, split_card
from edgeface.convert.convert_all import Job, convert_all
from edgeface.convert.tflite import _is_of, exported, to_tflite
from edgeface.convert.variants import VARIANTS
from edgeface.errors import InputError
from edgeface.models.deploy import deploy
from edgeface.models.io import model_info, save_model
from edgeface.quantize.export import converter_for, rename_ends
from edgeface.quantize.tflite_graph import read_graph
from edgeface.runtime.interpreter import TFLiteModel
from tests.convert import tiny

pytestmark = pytest.mark.slow

# Mean distance in crop widths. The faces' landmarks differ by 0.016 (std). An int8 file whose head is int8 too is off
# by 0.0053 here, one with a float head by 0.0018.
LANDMARKS = {"float32": 1e-6, "float16": 3e-4, "dynamic": 6e-4}
POSE = {"float32": 1e-4, "float16": 0.02, "dynamic": 0.2}


@pytest.mark.parametrize("name", VARIANTS)
def test_answers_are_the_float_model_s(tiny_files, name):
    model = TFLiteModel(tiny_files.files[name].path)
    answers = [model.infer(crop) for crop in tiny_files.crops]
    for role, limit in (("landmarks", LANDMARKS.get(name, 0.003)), ("pose", POSE.get(name, 0.3))):
        got = np.stack([a[role] for a in answers])
        assert np.abs(got - tiny_files.expected[role]).mean() < limit
    spread = np.stack([a["spread"] for a in answers])
    assert np.abs(spread - tiny_files.expected["spread"]).mean() < 0.003


def test_tensors_carry_the_roles_names(tiny_files):
    from ai_edge_litert.interpreter import Interpreter

    for name, converted in tiny_files.files.items():
        interpreter = Interpreter(str(converted.path))
        assert [d["name"] for d in interpreter.get_input_details()] == ["image"]
        names = [d["name"] for d in interpreter.get_output_details()]
        assert sorted(names) == sorted(converted.card.outputs)
        for role, spec in converted.card.outputs.items():
            assert names[spec.index] == role, name


def test_interpreters_ignore_the_card_inside(tiny_files):
    from ai_edge_litert.interpreter import Interpreter

    data = tiny_files.files["float32"].path.read_bytes()
    bare = split_card(data)[0]
    assert len(bare) < len(data)
    image = tiny_files.crops[:1].astype(np.float32)
    answers = [Interpreter(model_content=d).get_signature_runner()(image=image) for d in (data, bare)]
    for role in answers[0]:
        np.testing.assert_array_equal(answers[0][role], answers[1][role])


def test_renaming_moves_no_byte():
    with exported(deploy(tiny.trained_like(tiny.ACDC))) as saved:
        raw = converter_for(saved.folder).convert()
    data = rename_ends(raw)
    before, after = read_graph(raw), read_graph(data)
    ends = (*before.inputs, *before.outputs)
    assert {before.tensors[i].name for i in ends}.isdisjoint({"image", *before.output_names})
    assert [after.tensors[i].name for i in after.inputs] == ["image"]
    assert {name: after.tensors[i].name for name, i in after.output_names.items()} == {n: n for n in after.output_names}
    names = [before.tensors[i].name.encode() for i in ends]
    assert all(raw.count(name + b"\0") == 1 for name in names)
    strings = {i for name in names for i in range(raw.index(name + b"\0") - 4, raw.index(name + b"\0") + len(name))}
    assert len(data) == len(raw)
    assert {i for i, (a, b) in enumerate(zip(raw, data, strict=True)) if a != b} <= strings
    assert rename_ends(data) == data


def test_sizes_fall_as_promised(tiny_files):
    size = {name: c.card.flatbuffer_bytes for name, c in tiny_files.files.items()}
    assert size["float16"] < size["float32"] and size["int8_qat"] < size["float16"]
    assert size["int8_logits"] < size["int8_qat"]


def test_cards_say_what_the_file_is(tiny_files):
    for name, converted in tiny_files.files.items():
        card = converted.card
        beside = read_card(converted.path.with_suffix(".json"))
        assert beside == card and card.variant == name
        assert (card.preset, card.network, card.markup, card.stages) == ("acdc_tiny", "acdc", "ibug68", 2)
        assert card.file_bytes == converted.path.stat().st_size
        assert card.training["float"] == {"steps": 7}
        assert card.macs > 0 and card.parameters > 0
    logits = tiny_files.files["int8_logits"].card
    assert (logits.decode.map_height, logits.decode.map_width, logits.decode.pose) == (16, 16, "features")
    assert len(logits.decode.pose_kernel) == 12
    assert any("calibrated, not fine-tuned" in note for note in logits.notes)
    assert tiny_files.files["int8_ptq"].card.training["quantisation"]["crops"] == 16


def test_binned_pose_and_sharp_maps_decode_on_the_host(tmp_path, monkeypatch):
    """CCR: the card must carry the bins and the softmax's gain."""
    trained = tiny.trained_like(tiny.CCR)
    save_model(trained, tmp_path / "ccr.keras", model_info(tiny.CCR))
    monkeypatch.setattr("edgeface.convert.calibration_set.synthetic_crops", lambda *a: tiny.crops(tiny.CCR, 16))
    (converted,) = convert_all(Job(tmp_path / "ccr.keras", tmp_path), [VARIANTS["int8_logits"]])
    decode = converted.card.decode
    assert (decode.sharpness, decode.pose, decode.bins, decode.bins_low_deg) == (20.0, "bins", 60, -120.0)
    assert converted.gate.float_operators == 0
    crops = tiny.crops(tiny.CCR, 4)
    expected = deploy(trained).predict_on_batch(crops.astype(np.float32))
    model = TFLiteModel(converted.path)
    for i, crop in enumerate(crops):
        answer = model.infer(crop)
        # A tenth of a bin of 4 degrees; decoding at the bins' edges would be half a bin off.
        assert np.abs(answer["pose"] - np.asarray(expected["pose"])[i]).max() < 0.4
        assert np.abs(answer["landmarks"] - np.asarray(expected["landmarks"])[i]).mean() < 0.003


def test_fewer_stages_and_outputs(tiny_files, tmp_path):
    job = Job(tiny_files.model, tmp_path, outputs=("landmarks",), stages=1, name="short")
    (converted,) = convert_all(job, [VARIANTS["float32"]])
    assert converted.path.name == "short_float32.tflite"
    assert list(converted.card.outputs) == ["landmarks"] and converted.card.stages == 1
    assert converted.card.macs < tiny_files.files["float32"].card.macs


def test_which_layer_an_operator_is_of():
    islands = {"s1_mask", "gtn_pose"}
    assert _is_of("functional_1/s1_mask_1/Max", "REDUCE_MAX", islands)
    assert _is_of("m/gtn_pose_3/MatMul;m/gtn_pose_3/add", "FULLY_CONNECTED", islands)
    assert not _is_of("s1_mask", "REDUCE_MAX", islands), "the last part names the operation, not the layer"
    # The pose's addend has moved into the next layer's bias: that layer is the trunk's all the same.
    fused = "m/gtn_pose_1/add;m/s1_excite_1/MatMul;m/s1_excite_1/BiasAdd"
    assert not _is_of(fused, "FULLY_CONNECTED", islands) and _is_of(fused, "ADD", islands)


def test_what_cannot_be_converted(tiny_files, monkeypatch):
    model = deploy(tiny.trained_like(tiny.ACDC))
    with pytest.raises(InputError, match=r"representative crops must be uint8 \(N, 32, 32, 1\). Received: None"):
        to_tflite(model, VARIANTS["int8_ptq"])
    with pytest.raises(InputError, match="must take one input named image and return a dict"):
        to_tflite(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), VARIANTS["float32"])
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match="TensorFlow backend .*Received: jax"):
        to_tflite(model, VARIANTS["float32"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["missing.keras"], "must be a .keras file. Received: no such file"),
        (["{model}", "--variants", "int4"], "variant must be one of"),
        (["{model}", "--variants", "float32", "--markup", "wflw98"], "markup must be one of ibug68, mtfl5"),
        (["{model}", "--variants", "float32", "--stages", "9"], "stages must be 1 to 2. Received: 9"),
        (["{model}", "--variants", "float32", "--outputs", "mesh"], "outputs must be among"),
        (["{model}", "--variants", "int8_qat", "--qat", "{model}"], "must be a quantized model"),
        (["{model}", "--variants", "int8_ptq", "--calibration", "none.json"], "none.json must be a JSON file"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tiny_files, tmp_path, capfd, args, message):
    args = [a.format(model=tiny_files.model) for a in args]
    assert main(["all", *args, "--out", str(tmp_path / "out")]) == 2
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("edgeface: ") and message in last
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())

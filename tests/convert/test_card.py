"""The card: JSON both ways, inside a `.tflite` and out again, and every wrong key named."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace

import pytest

from edgeface.card import Card, CropRule, Decode, InputSpec, OutputSpec, attach_card, read_card, split_card, write_card
from edgeface.errors import InputError

FLATBUFFER = b"\x1c\x00\x00\x00TFL3" + bytes(range(256)) * 8


def card(**changes) -> Card:
    return replace(
        Card(
            name="acdc_n_int8_qat",
            network="acdc",
            preset="acdc_n",
            variant="int8_qat",
            version="0.1.0",
            input=InputSpec((1, 128, 128, 1), "uint8", channels=1, scale=1.0, zero_point=0),
            crop=CropRule("square", 1.3),
            markup="ibug68",
            outputs={
                "landmarks": OutputSpec("landmarks", (1, 68, 2), "float32", index=0),
                "pose": OutputSpec("pose", (1, 3), "float32", index=1),
            },
            training={"steps": 100},
            notes=("calibrated only",),
            parameters=1000,
        ),
        **changes,
    )


def logits_card() -> Card:
    return card(
        variant="int8_logits",
        outputs={
            "maps": OutputSpec("maps", (1, 32, 32, 68), "int8", 0.1, -3),
            "pose_logits": OutputSpec("pose_logits", (1, 3, 66), "int8", 0.2, 5),
        },
        decode=Decode(32, 32, 20.0, "bins", 66, -99.0, 99.0),
    )


def features_card() -> Card:
    return card(
        variant="int8_logits",
        outputs={
            "maps": OutputSpec("maps", (1, 32, 32, 68), "int8", 0.1, -3),
            "pose_features": OutputSpec("pose_features", (1, 4, 4, 2), "int8", 0.2, 5),
        },
        decode=Decode(
            32, 32, pose="features", pose_kernel=((1.0, 2.0, 3.5), (0.0, -1.0, 4.0)), pose_bias=(0.5, 0.0, 1.0)
        ),
    )


@pytest.fixture
def tflite(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(FLATBUFFER)
    return path


@pytest.mark.parametrize("made", [card(), logits_card(), features_card()], ids=["plain", "logits", "features"])
def test_json_round_trip(made, tmp_path):
    write_card(tmp_path / "card.json", made)
    assert read_card(tmp_path / "card.json") == made


def test_a_pose_kernel_must_fit_its_features():
    made = features_card()
    with pytest.raises(InputError, match="pose_features.shape must be .*2.*Received: .*3"):
        card(variant="int8_logits", decode=made.decode, outputs={
            **made.outputs, "pose_features": OutputSpec("pose_features", (1, 4, 4, 3), "int8", 0.2, 5)
        })  # fmt: skip
    with pytest.raises(InputError, match="rows of 3 angles"):
        Decode(32, 32, pose="features", pose_kernel=((1.0, 2.0),), pose_bias=(0.0, 0.0, 0.0))
    for key, value, message in (
        ("pose_kernel", [[1.0, "2", 3.0]], "decode.pose_kernel.0.1 must be float. Received: '2'"),
        ("pose_kernel", 5, "decode.pose_kernel must be a list of a list of float. Received: 5"),
        ("pose_kernel", [[1, 2, 3], 4], "decode.pose_kernel.1 must be a list of float. Received: 4"),
        ("pose_bias", 5, "decode.pose_bias must be a list of float. Received: 5"),
        ("pose_bias", [[1], [2], [3]], r"decode.pose_bias.0 must be float. Received: \[1\]"),
        ("pose_bias", ["1", 2, 3], "decode.pose_bias.0 must be float. Received: '1'"),
    ):
        data = made.to_dict()
        data["decode"][key] = value
        with pytest.raises(InputError, match=message):
            Card.from_dict(data)


def test_inside_a_file_and_out_again(tflite):
    beside = attach_card(tflite, card())
    data = tflite.read_bytes()
    assert data.startswith(FLATBUFFER)
    assert zipfile.is_zipfile(tflite)
    assert (beside.file_sha256, beside.file_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    inside = read_card(tflite)
    assert inside == replace(beside, file_sha256=None, file_bytes=None)
    assert inside.flatbuffer_sha256 == hashlib.sha256(FLATBUFFER).hexdigest()
    assert split_card(data)[0] == FLATBUFFER


def test_attaching_again_replaces_and_is_reproducible(tflite):
    attach_card(tflite, logits_card())
    attach_card(tflite, card())
    once = tflite.read_bytes()
    attach_card(tflite, card())
    assert tflite.read_bytes() == once
    assert len(zipfile.ZipFile(tflite).infolist()) == 1


def without(key):
    data = card().to_dict()
    del data[key]
    return data


def changed(path, value):
    data = card().to_dict()
    *parents, last = path.split(".")
    at = data
    for parent in parents:
        at = at[parent]
    at[last] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"card must be an object. Received: \[\]"),
        (without("markup"), "card: must have markup. Received: name, "),
        (changed("colour", 1), r"card: key must be one of .* Received: 'colour'"),
        (changed("markup", "ibug69"), "markup must be one of ibug68"),
        (changed("input.shape", [1, 128, 64, 1]), "input: shape must be"),
        (changed("input.shape", "big"), "card: input.shape must be a list of int. Received: 'big'"),
        (changed("input.dtype", "int4"), "input: dtype must be one of"),
        (changed("input.scale", None), "input: scale and zero_point must be given"),
        (changed("input", 3), "card: input must be an object. Received: 3"),
        (changed("input", None), "card: input must be an object. Received: None"),
        (changed("crop.scale", 0), "crop: scale must be between"),
        (changed("crop.scale", "1.3"), "crop.scale must be float"),
        (changed("outputs.landmarks.shape", [1, 5, 2]), r"outputs.landmarks.shape must be \(1, 68, 2\)"),
        (changed("outputs.pose.scale", 0.5), "outputs.pose: scale and zero_point must be null"),
        (changed("outputs", {}), "outputs must be at least one"),
        (changed("parameters", True), "card: parameters must be int. Received: True"),
        (changed("format", 2), "format must be 1"),
    ],
)
def test_wrong_cards_are_named(data, message):
    with pytest.raises(InputError, match=message):
        Card.from_dict(data)


def test_logits_need_their_decode():
    data = logits_card().to_dict()
    with pytest.raises(InputError, match="decode must be given"):
        Card.from_dict({**data, "decode": None})
    with pytest.raises(InputError, match="maps.shape must be"):
        Card.from_dict({**data, "decode": {**data["decode"], "map_width": 16}})
    with pytest.raises(InputError, match="low < high"):
        Card.from_dict({**data, "decode": {**data["decode"], "bins_low_deg": 100.0}})


@pytest.mark.parametrize("content", [b"", b"PK", b"\x00" * 100, None])
def test_not_a_tflite(tmp_path, content):
    path = tmp_path / "model.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="must be a .tflite file. Received"):
        read_card(path)


def test_damaged_and_missing_cards(tflite):
    with pytest.raises(InputError, match="without one"):
        read_card(tflite)
    attach_card(tflite, card())
    data = bytearray(tflite.read_bytes())
    data[len(FLATBUFFER) + 60] ^= 0xFF
    tflite.write_bytes(data)
    with pytest.raises(InputError, match=r"inside .*model.tflite must be readable"):
        read_card(tflite)
    with zipfile.ZipFile(tflite, "w") as archive:
        archive.writestr("edgeface.json", json.dumps({"name": 1}))
    tflite.write_bytes(FLATBUFFER + tflite.read_bytes())
    with pytest.raises(InputError, match="card: must have network, preset"):
        read_card(tflite)

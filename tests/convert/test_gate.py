"""The gate: files made as they should be pass, and each rule fails by the operator's name when it is broken."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from convert.__main__ import main
from convert.gate import GateError, check, gate, require
from convert.graph import Graph, Op, Tensor, read_graph
from convert.variants import VARIANTS
from edgeface.errors import InputError
from edgeface.models.deploy import deploy
from tests.convert import tiny

QAT = VARIANTS["int8_qat"]
LOGITS = VARIANTS["int8_logits"]


def tensor(name, shape, dtype="int8", constant=False, dynamic=False, scale=None, zero_point=None):
    return Tensor(name, tuple(shape), dtype, constant, dynamic, scale, zero_point)


def int8_graph(*extra: tuple[str, str, tuple[int, ...], str]) -> Graph:
    """image -> QUANTIZE -> conv -> DEQUANTIZE -> exp -> landmarks; then ``extra``: (type, name, shape, dtype) each.

    Each of those reads the tensor that the one before it made, the first one the DEQUANTIZE's.
    """
    tensors = [
        tensor("image", (1, 32, 32, 1), "uint8", scale=1.0, zero_point=0),
        tensor("q", (1, 32, 32, 1)),
        tensor("kernel", (68, 3, 3, 1), constant=True),
        tensor("maps", (1, 16, 16, 68)),
        tensor("maps_f", (1, 16, 16, 68), "float32"),
        tensor("landmarks", (1, 68, 2), "float32"),
    ]
    ops = [
        Op("QUANTIZE", (0,), (1,)),
        Op("CONV_2D", (1, 2), (3,)),
        Op("DEQUANTIZE", (3,), (4,)),
        Op("EXP", (4,), (5,)),
    ]
    before = 4
    for kind, name, shape, dtype in extra:
        tensors.append(tensor(name, shape, dtype))
        ops.append(Op(kind, (before,), (len(tensors) - 1,)))
        before = len(tensors) - 1
    return Graph(tuple(tensors), tuple(ops), (0,), (5,), {"image": 0}, {"landmarks": 5}, 1, 1, 1000)


def failures(graph: Graph, variant=QAT) -> str:
    return "; ".join(check(graph, variant).failures)


@pytest.mark.parametrize("name", VARIANTS)
def test_converted_files_pass(tiny_files, name):
    report = gate(tiny_files.files[name].path)
    assert report.passed and report.variant == name
    convs = {(o.type, o.dtype) for o in report.operators if "CONV" in o.type}
    assert convs == {("CONV_2D", "int8" if VARIANTS[name].integer else "float32")} | {
        c for c in convs if c[0] == "DEPTHWISE_CONV_2D"
    }


@pytest.mark.parametrize(
    ("file", "against", "message"),
    [
        ("float32", "int8_qat", r"CONV_2D '.*' of shape .* left in float"),
        ("float32", "float16", "weights .* in float32, not float16"),
        ("dynamic", "float32", "in int8, not float32"),
        ("int8_qat", "float32", "CONV_2D '.*' in int8"),
        ("int8_qat", "int8_logits", r"outputs \['landmarks', 'pose', 'spread'\], not among maps"),
        ("float16", "int8_ptq", "input of float32, not uint8"),
    ],
)
def test_another_variant_s_contract_is_not_met(tiny_files, file, against, message):
    report = gate(tiny_files.files[file].path, VARIANTS[against])
    with pytest.raises(GateError, match="must meet the contract"):
        require(report)
    assert any(re.search(message, failure) for failure in report.failures), report.failures


def test_int8_everywhere_as_converters_do_it_is_refused(tiny_files):
    """The obvious full-integer conversion: it loads, runs and moves landmarks. It must not pass."""
    import tensorflow as tf

    from convert.tflite import _converter, _with_full_range, exported

    crops = tiny.crops(tiny.ACDC, 4)
    with exported(deploy(tiny.trained_like(tiny.ACDC), stages=1)) as saved:
        converter = _converter(saved.folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ({"image": crop[None]} for crop in _with_full_range(crops))
        converter.inference_input_type = tf.uint8
        report = check(read_graph(converter.convert()), VARIANTS["int8_ptq"])
    assert any(f.startswith("EXP") and f.endswith("in int8") for f in report.failures)
    assert any(f.startswith("DIV") and f.endswith("in int8") for f in report.failures)


def test_a_sound_int8_graph_passes():
    assert failures(int8_graph()) == ""
    # A pose from pooled features: no exp, but a dense layer of three.
    pose = int8_graph(("MEAN", "pooled", (1, 68), "float32"), ("FULLY_CONNECTED", "pose_unit", (1, 3), "float32"))
    assert failures(pose) == ""


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("CONV_2D", "late", (1, 16, 16, 8), "float32"), "CONV_2D 'late' of shape (1, 16, 16, 8) left in float"),
        (("RESIZE_BILINEAR", "up", (1, 32, 32, 68), "float32"), "RESIZE_BILINEAR 'up'"),
        (("ADD", "skip", (1, 16, 16, 68), "float32"), "ADD 'skip' of shape (1, 16, 16, 68) left in float"),
        (("MUL", "fuse", (1, 16, 16, 68), "float32"), "MUL 'fuse'"),
        (
            ("FULLY_CONNECTED", "logits", (1, 180), "float32"),
            "FULLY_CONNECTED 'logits' of shape (1, 180) left in float",
        ),
        (("GATHER_ND", "peak", (1, 68), "float32"), "operator GATHER_ND 'peak', refused"),
        (("CUSTOM:FlexErf", "erf", (1, 16, 16, 68), "float32"), "operator CUSTOM:FlexErf 'erf'"),
        (("RESHAPE", "five", (1, 2, 2, 2, 2), "float32"), "more than 4 dimensions"),
    ],
)
def test_each_rule_names_the_operator(extra, message):
    assert message in failures(int8_graph(extra))


def test_floats_outside_every_island():
    graph = int8_graph()
    tensors = (*graph.tensors, tensor("again", (1, 16, 16, 68), "float32"), tensor("mean", (1, 68), "float32"))
    ops = (*graph.ops, Op("DEQUANTIZE", (3,), (6,)), Op("MEAN", (6,), (7,)))
    assert failures(replace(graph, tensors=tensors, ops=ops)) == "MEAN 'mean' in float, outside every float island"


def test_a_scalar_factor_may_stand_at_an_island_s_door():
    graph = int8_graph(
        ("MUL", "gate", (1, 16, 16, 68), "float32"),
        ("MEAN", "pooled", (1, 68), "float32"),
        ("FULLY_CONNECTED", "pose_unit", (1, 3), "float32"),
    )
    tensors = (*graph.tensors, tensor("one", (), "float32", constant=True))
    ops = tuple(replace(op, inputs=(*op.inputs, len(tensors) - 1)) if op.type == "MUL" else op for op in graph.ops)
    assert failures(replace(graph, tensors=tensors, ops=ops)) == ""
    assert "MUL 'gate'" in failures(graph)


def test_interface_rules():
    graph = int8_graph()

    def with_image(**changes):
        return replace(graph, tensors=(replace(graph.tensors[0], **changes), *graph.tensors[1:]))

    assert "scale 0.5 and zero point 0, not 1 and 0" in failures(with_image(scale=0.5))
    assert "input of int8, not uint8" in failures(with_image(dtype="int8"))
    assert "of dynamic shape" in failures(with_image(dynamic=True))
    assert "input of shape (2, 32, 32, 1)" in failures(with_image(shape=(2, 32, 32, 1)))
    assert "inputs ['input_1'], not one named 'image'" in failures(replace(graph, input_names={"input_1": 0}))
    assert "0 signatures" in failures(replace(graph, signatures=0))
    assert "does not name every" in failures(replace(graph, outputs=(5, 4)))
    assert "output maps of float32, not int8" in failures(replace(graph, output_names={"maps": 5}), LOGITS)


def test_not_a_model(tmp_path):
    path = tmp_path / "model.tflite"
    for content in (b"", b"\x1c\0\0\0TFL3" + bytes(64), np.random.default_rng(0).bytes(4096)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="must be an? (undamaged )?.tflite file. Received"):
            gate(path, QAT)


def test_command(tiny_files, capsys):
    good = str(tiny_files.files["int8_qat"].path)
    assert main(["gate", good]) == 0
    out = capsys.readouterr().out
    assert "int8_qat" in out and "passed" in out and "uint8 [1, 32, 32, 1], scale 1, zero point 0" in out
    assert main(["gate", good, "--variant", "float32"]) == 1
    assert "FAILED: " in capsys.readouterr().out
    assert main(["gate", "nothing.tflite"]) == 2
    assert main(["list"]) == 0

"""The gate: files made as they should be pass, and each rule fails by the operator's name when it is broken."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from convert.__main__ import main
from edgeface.convert.gate import GateError, check, gate, require
from edgeface.convert.op_versions import MAX_VERSION, one_operator
from edgeface.convert.variants import VARIANTS
from edgeface.errors import InputError
from edgeface.models.deploy import deploy
from edgeface.quantize.tflite_graph import Graph, Op, Tensor, keras_layer, read_graph
from tests.convert import broken, tiny

QAT = VARIANTS["int8_qat"]
LOGITS = VARIANTS["int8_logits"]


def tensor(name, shape, dtype="int8", constant=False, dynamic=False, scale=None, zero_point=None):
    integer = dtype in ("int8", "uint8") and not constant
    scales, zero_points = ((scale or 0.5,), (zero_point or 0,)) if integer else ((), ())
    return Tensor(name, tuple(shape), dtype, constant, dynamic, scale, zero_point, scales, zero_points)


def int8_graph(*extra: tuple[str, str, tuple[int, ...], str]) -> Graph:
    """image -> QUANTIZE -> conv -> DEQUANTIZE -> exp -> landmarks; then ``extra``: (type, name, shape, dtype) each.

    Each of those reads the tensor that the one before it made, the first one the DEQUANTIZE's.
    """
    tensors = [
        tensor("image", (1, 32, 32, 1), "uint8", scale=1.0, zero_point=0),
        tensor("q", (1, 32, 32, 1)),
        replace(tensor("kernel", (68, 3, 3, 1), constant=True), scales=(0.01,) * 68, zero_points=(0,) * 68),
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
        ("float32", "int8_qat", r"CONV_2D '.*' \(layer .*\) of shape .* left in float"),
        ("float32", "float16", "weights .* in float32, not float16"),
        ("dynamic", "float32", "in int8, not float32"),
        ("int8_qat", "float32", r"CONV_2D '.*' \(layer .*\) in int8"),
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

    from edgeface.convert.tflite import exported, with_full_range
    from edgeface.quantize.export import converter_for

    crops = tiny.crops(tiny.ACDC, 4)
    with exported(deploy(tiny.trained_like(tiny.ACDC), stages=1)) as saved:
        converter = converter_for(saved.folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ({"image": crop[None]} for crop in with_full_range(crops))
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "variant", "message"),
    [
        ("hidden_float_conv", "int8_ptq", r"CONV_2D '.*' \(layer second\) of shape \(1, 16, 16, 16\) left in float"),
        ("int8_softmax", "int8_ptq", r"SOFTMAX '.*' \(layer attention\) in int8"),
        ("flex_op", "float32", r"operator CUSTOM:FlexErf '.*' \(layer odd_activation\)"),
        ("dynamic_batch", "float32", r"of dynamic shape \(-1, 32, 32, 1\)"),
        ("five_dimensions", "float32", r"\(layer grouped\) of more than 4 dimensions \(1, 16, 16, 8, 2\)"),
        ("overflowing_weights", "float16", r"weights '.*' \(layer first\) that overflow float16"),
    ],
)
def test_what_a_converter_lets_through_is_refused_by_name(build, variant, message):
    """Each file was really converted from a Keras model, as somebody might; see `tests.convert.broken`."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter reads what Keras's TensorFlow backend exports")
    report = check(read_graph(getattr(broken, build)()), VARIANTS[variant])
    assert any(re.search(message, failure) for failure in report.failures), report.failures


def test_activations_beyond_float16_are_named(tiny_files, tmp_path):
    """The weights fit, so only running the file shows it: by a rule of the gate and of parity."""
    path = tmp_path / "hot.tflite"
    path.write_bytes(broken.overflowing_activations())
    crops = tiny.crops(tiny.ACDC, 2)
    assert gate(path, VARIANTS["float16"]).passed
    failed = gate(path, VARIANTS["float16"], crops=crops).failures
    assert re.search(r"activation '.*' of layer first reaches 1.*e\+06, beyond float16's 65504", failed[0]), failed
    assert gate(tiny_files.files["float16"].path, crops=crops).passed


def test_the_gpu_engine_s_word_counts_for_all_but_dynamic(tiny_files, monkeypatch):
    def engine(available, accepted, refused=()):
        result = SimpleNamespace(
            available=available, accepted=accepted, refused=refused, reason="no driver", driver="d"
        )
        monkeypatch.setattr("edgeface.convert.gpu.compile_on_gpu", lambda path: result)

    float16, int8, dynamic = (tiny_files.files[name].path for name in ("float16", "int8_qat", "dynamic"))
    engine(False, False)
    report = gate(float16, gpu=True)
    assert report.passed and report.gpu == "not checked: no driver"
    engine(True, False, ("GATHER_ND",))
    for path in (float16, int8):
        assert gate(path, gpu=True).failures == ("refused by the GPU engine: GATHER_ND",)
    assert gate(dynamic, gpu=True).passed
    engine(True, True)
    assert gate(float16, gpu=True).gpu == "every operator taken by d"


def test_layers_behind_names():
    assert (
        keras_layer("m_1/s1_in_relu_1/Relu;m_1/s1_in_conv_1/add;m_1/s1_in_conv_1/convolution")
        == "s1_in_relu + s1_in_conv"
    )
    assert keras_layer("m_1/s1_mask_1/Max") == "s1_mask" and keras_layer("landmarks") == "landmarks"


def test_versions_that_an_interpreter_does_not_know():
    graph = int8_graph()
    newer = replace(graph, ops=tuple(replace(op, version=9) if op.type == "CONV_2D" else op for op in graph.ops))
    assert failures(newer) == "CONV_2D 'maps' in version 9, tflite-runtime 2.14.0 loads at most 7"
    unknown = int8_graph(("REVERSE_V2", "turned", (1, 68), "float32"))
    assert "REVERSE_V2 'turned' in version 1, not known to load on tflite-runtime 2.14.0" in failures(unknown)


def test_the_table_of_versions_is_what_the_interpreter_here_loads():
    from edgeface.runtime.interpreter import interpreter_class

    with pytest.raises(ValueError, match="find op"):
        interpreter_class()(model_content=one_operator("CONV_2D", 99))
    for name, version in MAX_VERSION.items():
        try:
            interpreter_class()(model_content=one_operator(name, version))
        except ValueError as error:
            assert "find op" not in str(error), f"{name} {version}"


def quantised_conv(**changes) -> Graph:
    """int8_graph with a bias and every scale in place; changes: of the kernel, or of the bias with ``bias_`` before."""
    graph = int8_graph()
    scales = tuple(0.01 * (i + 1) for i in range(68))
    kernel = replace(graph.tensors[2], scales=scales, zero_points=(0,) * 68)
    bias = tensor("bias", (68,), "int32", constant=True)
    bias = replace(bias, scales=tuple(0.5 * s for s in scales), zero_points=(0,) * 68)
    kernel = replace(kernel, **{k: v for k, v in changes.items() if not k.startswith("bias_")})
    bias = replace(bias, **{k[5:]: v for k, v in changes.items() if k.startswith("bias_")})
    q = replace(graph.tensors[1], scales=(0.5,))
    tensors = (graph.tensors[0], q, kernel, *graph.tensors[3:], bias)
    ops = tuple(replace(op, inputs=(1, 2, len(tensors) - 1)) if op.type == "CONV_2D" else op for op in graph.ops)
    return replace(graph, tensors=tensors, ops=ops)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"zero_points": (3,) * 68}, "CONV_2D 'maps': weights with zero point 3, not 0"),
        ({"scales": (0.1,), "zero_points": (0,)}, "CONV_2D 'maps': weights with 1 scales along axis 0, not 68"),
        ({"axis": 3}, "CONV_2D 'maps': weights with 68 scales along axis 3, not 68"),
        ({"dtype": "float32"}, "CONV_2D 'maps': weights in float32, not int8"),
        ({"bias_dtype": "float32"}, "bias in float32 with 68 scales, not int32 with 68 and zero point 0"),
        ({"bias_scales": (1.0,) * 68}, "bias with scale 1, not input times weights, 0.005"),
    ],
)
def test_quantisation_parameters(changes, message):
    found = failures(quantised_conv(**changes))
    assert found == message if message == "" else message in found


def test_activations_have_one_sound_scale():
    graph = int8_graph()

    def with_maps(**changes):
        return replace(graph, tensors=(*graph.tensors[:3], replace(graph.tensors[3], **changes), *graph.tensors[4:]))

    assert "tensor 'maps' of int8 with 2 scales, not 1" in failures(with_maps(scales=(1.0, 2.0), zero_points=(0, 0)))
    assert "tensor 'maps' with scale nan" in failures(with_maps(scales=(float("nan"),)))
    assert "tensor 'maps' with zero point 200, not within -128 and 127" in failures(with_maps(zero_points=(200,)))


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
    assert main(["gate", str(tiny_files.files["float16"].path), "--faces", "1"]) == 0
    assert "FAILED: " in capsys.readouterr().out
    assert main(["gate", "nothing.tflite"]) == 2
    assert main(["list"]) == 0

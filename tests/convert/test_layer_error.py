"""An int8 file's tensors against float32's: matched by layer, by what they read, or told to have no counterpart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeface.convert.layer_error import layer_errors, match
from edgeface.errors import InputError
from edgeface.quantize.tflite_graph import Graph, Op, Tensor, read_graph
from tests.convert import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def qat(tiny_files):
    files = tiny_files.files
    return layer_errors(files["int8_qat"].path, files["float32"].path, tiny_files.crops[:4])


def tensor(name: str, shape=(1, 4), dtype="int8", constant=False) -> Tensor:
    return Tensor(name, shape, dtype, constant, False, 0.1 if dtype == "int8" else None, 0)


def graph(*ops: tuple[str, str, tuple[int, ...]], shape=(1, 4)) -> Graph:
    """(type, name, indices of the operators that it reads; -1: the input)."""
    tensors = (tensor("image"), *(tensor(name, shape) for _, name, _ in ops))
    made = tuple(Op(kind, tuple(i + 1 for i in reads), (k + 1,)) for k, (kind, _, reads) in enumerate(ops))
    return Graph(tensors, made, (0,), (len(ops),), {}, {}, 1, 1, 0)


def names(pairs, one: Graph, other: Graph) -> list[tuple[str, str]]:
    return [(one.name(a), other.name(b)) for a, b in pairs]


def test_a_file_is_itself(tiny_files):
    file = tiny_files.files["float32"].path
    errors = layer_errors(file, file, tiny_files.crops[:1])
    assert errors.unmatched == ()
    assert len(errors.tensors) == len(read_graph(file).ops)
    assert all(t.sqnr_db is None and t.own_db is None and t.clipped is None for t in errors.tensors)


def test_every_trunk_tensor_is_found(qat, tiny_files):
    graph = read_graph(tiny_files.files["int8_qat"].path)
    kernels = [op for op in graph.ops if op.type == "CONV_2D" and graph.dtype(op) == "int8"]
    assert sum(t.operator == "CONV_2D" and t.dtype == "int8" for t in qat.tensors) == len(kernels) > 5
    labels = [t.layer for t in qat.tensors]
    assert len(set((t.operator, t.layer) for t in qat.tensors)) == len(labels)
    assert {"landmarks", "pose", "spread"} <= set(labels)
    assert all("no such operator" in text or "its bias" in text for text in qat.unmatched)
    # Gates between trunk and head have no counterpart in the float file.
    assert len(qat.unmatched) <= 4


def test_errors_are_those_of_eight_bits(qat):
    trunk = [t for t in qat.tensors if t.dtype == "int8" and t.operator in ("CONV_2D", "ADD", "CONCATENATION")]
    for t in trunk:
        assert 8 < t.sqnr_db < 60, t
        assert t.own_db >= t.sqnr_db - 3, f"rounding alone costs no more than everything together: {t}"
        assert 0 <= t.clipped < 0.2
    heads = [t for t in qat.tensors if t.dtype == "float32"]
    assert heads and all(t.own_db is None and t.clipped is None for t in heads)


def test_the_host_head_is_matched_by_what_it_reads(tiny_files):
    files = tiny_files.files
    errors = layer_errors(files["int8_logits"].path, files["float32"].path, tiny_files.crops[:2])
    # The converter gave these maps the output's name; in the float file they still have the layer's.
    assert read_graph(files["int8_logits"].path).output_names["maps"] is not None
    last = [t for t in errors.tensors if t.layer.startswith("gtn_ibug68")]
    assert [t.layer for t in last] == ["gtn_ibug68", "gtn_ibug68 (2)"]


def test_a_tensor_that_hurts_is_seen(tiny_files, tmp_path, monkeypatch):
    """A range eight times too small, as from a bad calibration set, is the largest drop of the file."""
    files = tiny_files.files
    real = read_graph(files["int8_qat"].path)
    victim = next(op for op in real.ops if op.type == "CONV_2D" and "s1_enc1a" in real.name(op))
    index = victim.outputs[0]
    tensors = list(real.tensors)
    tensors[index] = replace(tensors[index], scale=tensors[index].scale / 8)
    broken = replace(real, tensors=tuple(tensors))
    monkeypatch.setattr(
        "edgeface.convert.layer_error.read_graph", lambda path: broken if "qat" in str(path) else read_graph(path)
    )
    errors = layer_errors(files["int8_qat"].path, files["float32"].path, tiny_files.crops[:2])
    trunk = [t for t in errors.tensors if t.drop_db is not None and t.dtype == "int8"]
    worst = max(trunk, key=lambda t: t.drop_db)
    assert "s1_enc1a" in worst.layer and worst.clipped > 0.05


def test_shared_layers_are_matched_call_by_call():
    one = graph(("CONV_2D", "m_1/a_raw_1/conv", (-1,)), ("CONV_2D", "m_1/a_raw_3/conv;m_1/r/Relu", (0,)))
    other = graph(("CONV_2D", "m_1/a_1/conv", (-1,)), ("CONV_2D", "m_1/a_3/conv", (0,)))
    pairs, told = match(one, other)
    assert names(pairs, one, other) == [("m_1/a_raw_1/conv", "m_1/a_1/conv"),
                                        ("m_1/a_raw_3/conv;m_1/r/Relu", "m_1/a_3/conv")]  # fmt: skip
    assert told == []


def test_renamed_outputs_are_matched_by_what_they_read():
    one = graph(("ADD", "m/a/Add", (-1,)), ("MUL", "result", (0,)))
    other = graph(("ADD", "m/a/Add", (-1,)), ("MUL", "m/b/Mul", (0,)), ("MUL", "m/c/Mul", (1,)))
    pairs, told = match(one, other)
    assert names(pairs, one, other) == [("m/a/Add", "m/a/Add"), ("result", "m/b/Mul")] and told == []


def test_what_has_no_counterpart_is_told():
    one = graph(("ADD", "m/a/Add", (-1,)), ("MUL", "m/gate/mul", (0,)), ("MUL", "m/late/mul", (1,)))
    other = graph(("ADD", "m/a/Add", (-1,)), ("SUB", "m/late/sub", (0,)))
    pairs, told = match(one, other)
    assert len(pairs) == 1
    assert told == ["MUL gate: no such operator in the float file", "MUL late: no such operator in the float file"]


def test_a_bias_that_moved_is_no_error():
    one = graph(("FULLY_CONNECTED", "m/d/MatMul;m/d/BiasAdd", (-1,)))
    other = graph(("FULLY_CONNECTED", "m/d/MatMul", (-1,)))
    assert match(one, other) == ([], ["FULLY_CONNECTED d: its bias is added by another operator"])


def test_shapes_must_be_the_same():
    one, other = graph(("ADD", "m/a/Add", (-1,))), graph(("ADD", "m/a/Add", (-1,)), shape=(1, 5))
    assert match(one, other)[0] == []


def test_files_of_two_models_are_refused(tiny_files):
    files = tiny_files.files
    with pytest.raises(InputError, match="must take the crops that are given"):
        layer_errors(files["int8_qat"].path, files["float32"].path, np.zeros((1, 16, 16, 1), np.uint8))
    with pytest.raises(InputError, match="must take the crops that are given"):
        layer_errors(files["int8_qat"].path, files["float32"].path, tiny.crops(tiny.CCR, 1))

"""The table of variants, and each of them from fewer stages and with fewer outputs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgeface.convert.convert_all import Job, convert_all
from edgeface.convert.tolerances import BOUNDS
from edgeface.convert.variants import VARIANTS, select, variant
from edgeface.errors import InputError
from edgeface.models.deploy import deploy
from edgeface.models.io import load_model
from edgeface.runtime.interpreter import TFLiteModel
from tests.convert import tiny


def test_every_variant_of_the_design_is_there_and_has_a_bound():
    assert list(VARIANTS) == ["float32", "float16", "dynamic", "int8_ptq", "int8_qat", "int8_logits"]
    assert set(BOUNDS) == set(VARIANTS)


def test_ranges_come_from_one_place():
    for v in VARIANTS.values():
        assert v.integer == (v.needs_qat != v.needs_calibration)
        assert (v.input_dtype in ("uint8", "int8")) == v.integer


def test_selection():
    assert [v.name for v in select(None)] == list(VARIANTS)
    assert [v.name for v in select("int8_qat, float32,int8_qat")] == ["int8_qat", "float32"]
    with pytest.raises(InputError, match=r"variant must be one of float32.*Received: 'int4'"):
        select("float32,int4")
    with pytest.raises(InputError, match="comma-separated"):
        select(" ,")
    with pytest.raises(InputError, match="must be one of"):
        variant("")


@pytest.fixture(scope="module")
def first_stage(tiny_files, tmp_path_factory):
    """Every variant of the first of two stages, landmarks and spread alone."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter reads what Keras's TensorFlow backend exports")
    out = tmp_path_factory.mktemp("first")
    job = Job(tiny_files.model, out, outputs=("spread", "landmarks"), stages=1, name="first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeface.convert.calibration_set.synthetic_crops", lambda *_: tiny.crops(tiny.ACDC, 16))
        return {c.card.variant: c for c in convert_all(job)}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_first_stage_alone(first_stage, tiny_files, name):
    converted, whole = first_stage[name], tiny_files.files[name]
    assert converted.card.stages == 1 and converted.card.file_bytes < whole.card.file_bytes
    wanted = ["maps"] if VARIANTS[name].head_on_host else ["landmarks", "spread"]
    assert sorted(converted.card.outputs) == wanted
    assert not any("/s2_" in op_name for op_name in _names(converted.path))
    trained, _ = load_model(tiny_files.model)
    expected = deploy(trained, stages=1).predict_on_batch(tiny_files.crops.astype(np.float32))["landmarks"]
    model = TFLiteModel(converted.path)
    got = np.stack([model.infer(crop)["landmarks"] for crop in tiny_files.crops])
    off = np.abs(got - np.asarray(expected)).mean()
    # Against how much the faces differ from each other: int8 in a twin that was not trained costs a tenth of that.
    assert off < (0.15 if VARIANTS[name].integer else 0.02) * np.asarray(expected).std(axis=0).mean()


def test_one_stage_of_logits_is_int8_from_end_to_end(first_stage):
    """No pose and no second stage: nothing is left that would have to be float."""
    report = first_stage["int8_logits"].gate
    assert report.float_operators == 0
    assert {op.dtype for op in report.operators} <= {"int8", "uint8->int8", "int8->int8"}


def _names(path) -> list[str]:
    from edgeface.quantize.tflite_graph import read_graph

    graph = read_graph(path)
    return [graph.name(op) for op in graph.ops]

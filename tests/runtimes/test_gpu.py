"""The GPU engine on a software driver: what it takes, what it refuses, and how its words are read."""

from __future__ import annotations

import numpy as np
import pytest

from convert.runtimes.golden import golden_crops
from convert.runtimes.tolerances import GPU_FLOAT32
from edgeface import zoo
from edgeface.convert import gpu
from edgeface.convert.gpu import compile_on_gpu, find_driver, judge, run_on_gpu
from edgeface.errors import InputError
from edgeface.runtime.interpreter import TFLiteModel
from tests.runtimes import flat

ADAPTER = "Selected adapter: SwiftShader Device (Subzero), arch=swiftshader, vendor=google\n"


@pytest.fixture(scope="module")
def swiftshader() -> str:
    if find_driver("swiftshader") is None:
        pytest.skip(f"no SwiftShader here: {gpu.HOW_TO_GET['swiftshader']}")
    return "swiftshader"


def test_a_packaged_float16_file_is_taken_whole_and_answers_as_on_the_cpu(swiftshader):
    path = zoo.path("acdc_s_float16")
    model = TFLiteModel(path)
    crops = golden_crops(model.card, 2)
    outputs = run_on_gpu(path, crops, swiftshader)
    for crop, points, pose in zip(crops, outputs["landmarks"], outputs["pose"], strict=True):
        expected = model.infer(crop)
        assert 100 * np.linalg.norm(points - expected["landmarks"], axis=-1).max() <= GPU_FLOAT32.landmarks_max_percent
        assert np.abs(pose - expected["pose"]).max() <= GPU_FLOAT32.pose_max_deg


def test_a_plain_file_is_accepted(swiftshader, tmp_path):
    result = compile_on_gpu(flat.square(tmp_path / "square.tflite"), swiftshader)
    assert result.available and result.accepted and not result.refused and "SwiftShader" in result.driver, result


def test_gather_nd_is_refused_by_name(swiftshader, tmp_path):
    result = compile_on_gpu(flat.gather_nd(tmp_path / "gather.tflite"), swiftshader)
    assert result.available and not result.accepted, result
    assert result.refused == ("GATHER_ND",)
    assert "not supported" in result.reason


def test_an_int8_convolution_whose_stride_the_engine_forgets_is_refused(swiftshader, tmp_path):
    """ai-edge-litert 2.3.0 takes this file, says all is well, and answers with another convolution's numbers."""
    path = flat.strided_int8_conv(tmp_path / "strided.tflite")
    result = compile_on_gpu(path, swiftshader)
    assert result.available and not result.accepted, result
    assert "misreads a shape" in result.reason
    with pytest.raises(InputError, match="misreads a shape"):
        run_on_gpu(path, np.zeros((1, 8, 8, 4), np.uint8), swiftshader)


def test_without_a_driver_it_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "ICD_FILES", {"swiftshader": (), "lavapipe": ()})
    monkeypatch.setattr(gpu, "UNPACKED", tmp_path)
    result = compile_on_gpu(flat.square(tmp_path / "square.tflite"))
    assert (result.available, result.accepted) == (False, False)
    assert "apt-get install chromium libvulkan1" in result.reason


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(InputError, match="driver must be one of"):
        find_driver("adreno")
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="must be a .tflite file"):
        compile_on_gpu(damaged)


@pytest.mark.parametrize(
    ("log", "code", "available", "refused", "words"),
    [
        (ADAPTER + "COMPILED\nRAN\n", 0, True, (), ""),
        (
            ADAPTER
            + "ERROR: Following operations are not supported by GPU delegate:\nARG_MAX: Tensor type(INT64) is not "
            + "supported.\nCUSTOM Mine: no\n1 operations will run on the GPU, and the remaining 2 operations\n",
            1,
            True,
            ("ARG_MAX", "CUSTOM Mine"),
            "INT64",
        ),
        (ADAPTER + "Validation error: cannot assign\nCOMPILED\nRAN\n", 0, True, (), "not valid: cannot assign"),
        (ADAPTER + "COMPILED\n", -11, True, (), "died while running (exit code -11)"),
        (ADAPTER, None, True, (), "within 7 s"),
        ("INTERNAL: No adapters found\n", 1, False, (), "does not start"),
        ("ModuleNotFoundError: No module named 'ai_edge_litert'\n", 1, False, (), "does not start"),
        (ADAPTER.replace("SwiftShader", "NVIDIA"), 0, False, (), "must run on swiftshader"),
    ],
)
def test_the_engines_words_are_read(log, code, available, refused, words):
    result = judge(log, code, "swiftshader", 7)
    assert result.available == available
    assert result.accepted == (words == "")
    assert result.refused == refused
    assert words in result.reason


def test_an_engine_that_gave_up_waiting_is_tried_again(monkeypatch, tmp_path):
    """The driver's compiled shaders are cached, so a later attempt is quick."""
    logs = [(f"{ADAPTER}COMPILED\n{gpu.STALLED}.\n", 1), (f"{ADAPTER}COMPILED\nRAN\n", 0)]
    monkeypatch.setattr(gpu, "find_driver", lambda name: gpu.Driver("swiftshader", tmp_path / "icd.json"))
    monkeypatch.setattr(gpu, "_watch", lambda *_: logs.pop(0))
    assert compile_on_gpu(flat.square(tmp_path / "square.tflite")).accepted
    assert not logs

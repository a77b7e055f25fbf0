"""The rewrites for the GPU engine: no number of a CPU changes, and the engine then takes the file."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import edgeface.quantize as qat
from convert.runtimes.ends import with_float_ends
from edgeface import zoo
from edgeface.convert.gpu import HOW_TO_GET, as_stored, compile_on_gpu, find_driver, run_on_gpu
from edgeface.convert.gpu_rewrite import for_gpu
from edgeface.convert.tflite import to_tflite
from edgeface.convert.variants import VARIANTS
from edgeface.models.deploy import deploy
from edgeface.quantize.tflite_graph import read_graph
from tests.convert import tiny
from tests.runtimes import flat
from tests.runtimes.test_runtimes import run


@pytest.mark.parametrize("side", [8, 7])
def test_a_strided_int8_convolution_keeps_its_numbers_and_is_taken(tmp_path, side):
    path = flat.strided_int8_conv(tmp_path / "conv.tflite", side)
    rewritten = for_gpu(path.read_bytes())
    assert [op.type for op in read_graph(rewritten).ops] == ["MAX_POOL_2D", "CONV_2D"]
    values = np.random.default_rng(0).integers(-128, 128, (1, side, side, 4)).astype(np.int8)
    (before,), (after,) = run(path.read_bytes(), values), run(rewritten, values)
    assert len(np.unique(before)) > 5
    np.testing.assert_array_equal(after, before)
    if find_driver("swiftshader") is None:
        pytest.skip(f"no SwiftShader here: {HOW_TO_GET['swiftshader']}")
    path.write_bytes(rewritten)
    assert compile_on_gpu(path, "swiftshader").accepted
    # int8 imitated in float: a half may round to the other side.
    found = next(iter(run_on_gpu(path, values, "swiftshader").values()))
    assert np.abs(found.astype(int) - before).max() <= 1


def test_raw_pixels_are_stored_as_an_int8_input_wants_them(tmp_path):
    path = flat.strided_int8_conv(tmp_path / "conv.tflite", zero_point=-128)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 4), dtype=np.uint8)
    graph = read_graph(path)
    stored = as_stored(pixels, graph.tensors[graph.inputs[0]])
    np.testing.assert_array_equal(stored, (pixels.astype(int) - 128).astype(np.int8))
    # And a float end takes the pixels themselves.
    (before,), (after,) = run(path.read_bytes(), stored), run(with_float_ends(path.read_bytes()), pixels.astype("f"))
    assert len(np.unique(before)) > 5
    np.testing.assert_array_equal(2 * before.astype("f"), after)


@pytest.fixture(scope="module", params=["acdc", "ccr"])
def plain(request):
    """An int8 file as the converter wrote it, and a crop."""
    config = {"acdc": tiny.ACDC, "ccr": tiny.CCR}[request.param]
    twin = qat.quantize_aware(tiny.trained_like(config))
    qat.calibrate(twin, [tiny.crops(config, 16).astype(np.float32)], progress=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeface.convert.tflite.for_gpu", lambda data: data)
        data = to_tflite(deploy(twin), VARIANTS["int8_qat"])
    return data, tiny.crops(config, 1)


@pytest.mark.slow
def test_whole_networks_answer_the_same_after_it(plain):
    data, crop = plain
    rewritten = for_gpu(data)
    assert len(rewritten) > len(data) and for_gpu(rewritten) is rewritten
    for before, after in zip(run(data, crop), run(rewritten, crop), strict=True):
        assert np.ptp(before) > 0
        np.testing.assert_array_equal(after, before)


def test_packaged_int8_files_are_rewritten():
    for name in zoo.available():
        if name.endswith("int8_qat"):
            data = zoo.path(name).read_bytes()
            assert for_gpu(data) is data, name


def test_constants_are_aligned(plain):
    """The schema asks for 16 bytes; Python's generated writer does not know of it."""
    rewritten = for_gpu(plain[0])
    assert rewritten is not plain[0]
    data = np.frombuffer(rewritten, np.uint8)
    model = schema.Model.GetRootAs(data)
    constants = [model.Buffers(i).DataAsNumpy() for i in range(model.BuffersLength()) if model.Buffers(i).DataLength()]
    offsets = [values.ctypes.data - data.ctypes.data for values in constants]
    assert len(offsets) > 50 and min(offsets) > 0
    assert {offset % 16 for offset in offsets} == {0}


def test_what_needs_no_rewrite_stays_as_it_is(tmp_path):
    data = flat.square(tmp_path / "square.tflite").read_bytes()
    assert for_gpu(data) is data

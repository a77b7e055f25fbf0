"""Golden faces, comparisons and verdicts; the runtimes that need a download are run by ``make test-runtimes``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from convert.runtimes import base
from convert.runtimes.__main__ import broken, main, measure, table
from convert.runtimes.base import RefusedError, Reply, Runtime, UnavailableError
from convert.runtimes.compare import ABSENT, FAIL, PASS, REFUSED, Row, compare
from convert.runtimes.ends import has_integer_ends, with_float_ends
from convert.runtimes.golden import Case, prepare
from convert.runtimes.interpreters import LITERT_X86
from convert.runtimes.tolerances import SAME_ARITHMETIC, Difference, Tolerance
from edgeface import zoo
from edgeface.card import OutputSpec, split_card
from edgeface.errors import InputError
from tests.runtimes import flat


@pytest.fixture(scope="module")
def case() -> Case:
    return prepare([zoo.path("acdc_s_int8_qat")], faces=3)[0]


def shifted(case: Case, role: str, by: float) -> dict[str, np.ndarray]:
    return {**case.stored, role: case.stored[role] + np.float32(by)}


def test_litert_in_another_process_gives_the_reference_itself(case):
    (row,) = measure([LITERT_X86], [case])
    assert row.verdict == PASS and row.faces == 3 and row.engine.startswith("ai-edge-litert")
    assert row.to_reference == Difference(0, 0, 0, 0)


def test_golden_faces_are_the_same_at_every_call_and_differ_from_each_other(case):
    again = prepare([case.path], faces=3)[0]
    np.testing.assert_array_equal(again.crops, case.crops)
    assert not np.array_equal(case.crops[0], case.crops[1])
    assert case.integer and case.crops.dtype == np.uint8


@pytest.mark.parametrize(("role", "by"), [("landmarks", 2e-5), ("pose", 2e-3)])
def test_what_is_beyond_the_tolerance_fails(case, role, by):
    assert compare("litert", case, case.stored, SAME_ARITHMETIC).verdict == PASS
    row = compare("litert", case, shifted(case, role, by), SAME_ARITHMETIC)
    assert row.verdict == FAIL
    if role == "landmarks":
        # Both coordinates are moved: the distance is sqrt(2) of it, in percent of the crop.
        assert row.to_reference.landmarks_max_percent == pytest.approx(100 * 2**0.5 * by, rel=0.05)


def test_nan_and_a_missing_output_fail_by_name(case):
    assert "NaN in pose" in compare("gpu", case, shifted(case, "pose", np.nan), SAME_ARITHMETIC).note
    row = compare("gpu", case, {"pose": case.stored["pose"]}, SAME_ARITHMETIC)
    assert row.verdict == FAIL and "landmarks" in row.note


def test_one_step_of_an_integer_output_is_not_bit_exact(case):
    """The pose stored as int8 of half a degree a step, as integer files may have it."""
    steps = np.rint(case.stored["pose"] / 0.5).astype(np.int8)
    spec = OutputSpec("pose", (1, 3), "int8", 0.5, 0)
    card = replace(case.card, outputs={**case.card.outputs, "pose": spec})
    pose = (steps * np.float32(0.5)).astype(np.float32)
    stored = {**case.stored, "pose": steps}
    integer = replace(case, card=card, stored=stored, answers=replace(case.answers, pose_deg=pose))
    loose = Tolerance(1, 10, steps=0)
    assert compare("arm64", integer, stored, loose).bit_exact is True
    # The same output, dequantised by the runtime.
    assert compare("browser", integer, {**stored, "pose": pose}, loose).bit_exact is True
    row = compare("arm64", integer, {**stored, "pose": steps + np.int8(1)}, loose)
    assert (row.bit_exact, row.max_steps, row.verdict) == (False, 1, FAIL)


def test_means_have_a_bound_of_their_own():
    bound = Tolerance(2, 1, landmarks_mean_percent=0.25)
    assert bound.holds(Difference(1.9, 0.2, None, None), None)
    assert not bound.holds(Difference(1.9, 0.3, None, None), None)
    assert not bound.holds(Difference(1.9, 0.2, None, None), 1)


def test_a_runtime_that_is_absent_or_refuses_says_so_in_its_row(case):
    def absent() -> None:
        raise UnavailableError("the machine must have wings. Received: none")

    def refuse(case: Case) -> Reply:
        raise RefusedError("no int8 here")

    rows = list(measure([Runtime("wings", absent, refuse), Runtime("gpu", lambda: None, refuse), LITERT_X86], [case]))
    assert [row.verdict for row in rows] == [ABSENT, REFUSED, PASS]
    text = table(rows)
    assert "wings acdc_s_int8_qat.tflite: the machine must have wings" in text and "no int8 here" in text
    assert broken(rows) == [rows[1]]


def test_float_ends_change_no_answer(tmp_path, case):
    """The packaged int8 file with a float input, and an int8 convolution with both ends float."""
    data = case.path.read_bytes()
    assert has_integer_ends(data) and not has_integer_ends(with_float_ends(data))
    crop = case.crops[:1]
    model = split_card(data, case.path)[0]
    for before, after in zip(run(model, crop), run(with_float_ends(data), crop.astype(np.float32)), strict=True):
        np.testing.assert_array_equal(before, after)
    model = flat.strided_int8_conv(tmp_path / "conv.tflite").read_bytes()
    values = np.random.default_rng(1).integers(-128, 128, (1, 8, 8, 4))
    (before,) = run(model, values.astype(np.int8))
    (after,) = run(with_float_ends(model), values.astype(np.float32))
    np.testing.assert_array_equal(before * np.float32(2), after)
    assert len(np.unique(before)) > 5


def run(content: bytes, values: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def test_the_command_refuses_what_is_no_model_of_ours(tmp_path, capsys):
    assert main(["litert", str(tmp_path / "absent.tflite")]) == 2
    assert "absent.tflite" in capsys.readouterr().err
    with pytest.raises(InputError, match="faces must be at least 1"):
        prepare([zoo.path("acdc_s_int8_qat")], faces=0)


def test_missing_programs_are_named_with_their_packages(monkeypatch):
    monkeypatch.setattr(base.os, "geteuid", lambda: 1000)
    with pytest.raises(UnavailableError, match="apt-get install qemu-user-static"):
        base.need_programs({"no-such-emulator": "qemu-user-static"})


def test_a_program_that_fails_or_hangs_is_told_by_its_last_word():
    with pytest.raises(RefusedError, match=r"exit code 3, out of luck"):
        base.run(["sh", "-c", "echo out of luck; exit 3"], 10)
    with pytest.raises(RefusedError, match="must end within 0.2 s"):
        base.run(["sleep", "5"], 0.2)
    with pytest.raises(RefusedError, match="must be a program"):
        base.run(["/nowhere/at-all"], 1)


def test_a_row_without_figures_is_printed():
    assert "not run" in table([Row("arm64-a72", "x.tflite", 0, ABSENT)])

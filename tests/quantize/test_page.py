"""docs/quantize.md, run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "quantize.md"


@pytest.fixture(scope="module")
def ran() -> tuple[dict, str]:
    """(the names that the page's code defines, what it printed)."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter reads what Keras's TensorFlow backend exports")
    import contextlib
    import io

    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict = {"__name__": "page"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    return names, printed.getvalue()


def test_the_page_s_example_is_int8_and_near_its_twin(ran):
    names, printed = ran
    assert names["coverage"](names["quantized"]) == []
    assert (names["steps"] < 0.5).mean() > 0.9 and names["steps"].max() < 3, printed
    dtypes = {d["name"]: d["dtype"].__name__ for d in names["interpreter"].get_input_details()}
    assert dtypes == {"image": "uint8"}


def test_the_page_s_island_is_named(ran):
    assert "p: kept float (Softmax)" in ran[1]


def test_the_page_s_tensors_are_ordered_by_their_cost(ran):
    costs = [float(c) for c in re.findall(r"\((?:kernel|activation)\): ([\d.]+)", ran[1])]
    assert len(costs) == 3 and costs == sorted(costs, reverse=True) and costs[0] > 0


def test_every_public_name_is_on_the_page():
    import edgeface.quantize

    internal = {"Difference", "METHODS", "FakeQuant", "FloatGate", "QuantKernel", "Sensitivity", "Uncovered"}
    internal |= {"Verification"}
    missing = [n for n in edgeface.quantize.__all__ if n not in internal and f"{n}" not in PAGE.read_text()]
    assert missing == []

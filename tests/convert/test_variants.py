"""The table of variants."""

from __future__ import annotations

import pytest

from convert.parity import BOUNDS
from convert.variants import VARIANTS, select, variant
from edgeface.errors import InputError


def test_every_variant_of_the_design_is_there_and_has_a_bound():
    assert list(VARIANTS) == ["float32", "float16", "dynamic", "int8_ptq", "int8_qat", "int8_logits"]
    assert set(BOUNDS) == set(VARIANTS)


def test_ranges_come_from_one_place():
    for v in VARIANTS.values():
        assert v.integer == (v.needs_qat != v.needs_calibration)
        assert (v.input_dtype == "uint8") == v.integer


def test_selection():
    assert [v.name for v in select(None)] == list(VARIANTS)
    assert [v.name for v in select("int8_qat, float32,int8_qat")] == ["int8_qat", "float32"]
    with pytest.raises(InputError, match=r"variant must be one of float32.*Received: 'int4'"):
        select("float32,int4")
    with pytest.raises(InputError, match="comma-separated"):
        select(" ,")
    with pytest.raises(InputError, match="must be one of"):
        variant("")

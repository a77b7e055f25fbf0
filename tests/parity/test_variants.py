"""Files of the released models against their float models.

Sizes of one network differ in width and stages alone: the smallest of each is converted here to every variant, and of
the others the packaged files are held to their bounds (`python -m convert.release.measure` scores all on whole sets).
"""

from __future__ import annotations

from pathlib import Path

import pytest

import edgeface.zoo
from edgeface.convert.variants import VARIANTS
from tests.parity.suite import converted, out_of_bounds, scored, trained

pytestmark = [pytest.mark.slow, pytest.mark.faces]

ZOO = Path(edgeface.zoo.__file__).parent
UNLABELLED = {"ibug68": set(), "aflw21": {"300w"}}
"""The sets that do not label a markup."""


@pytest.mark.parametrize(("name", "markup", "calibration"), [("acdc_n", "ibug68", "300w"), ("ccr_n", "aflw21", "aflw")])
def test_every_variant_holds_every_bound_on_every_set(name, markup, calibration, tmp_path):
    model = trained(name)
    suite = scored(model, converted(model, markup, calibration, tmp_path))
    assert set(suite.skipped) <= UNLABELLED[markup]
    assert out_of_bounds(suite) == []
    assert suite.rows
    for rows in suite.rows.values():
        by_variant = {row.variant: row for row in rows}
        assert list(by_variant) == ["float", *VARIANTS]
        # One trunk; what differs is the pose that conditions the next stage: int8 in one, float in the other.
        assert by_variant["int8_logits"].nme_delta == pytest.approx(by_variant["int8_qat"].nme_delta, abs=0.01)


@pytest.mark.parametrize(
    ("name", "markup"), [("acdc_m", "ibug68"), ("acdc_s", "ibug68"), ("ccr_m", "aflw21"), ("ccr_s", "aflw21")]
)
def test_the_packaged_files_hold_every_bound_on_every_set(name, markup):
    suite = scored(trained(name), [ZOO / f"{name}_{variant}.tflite" for variant in ("float16", "int8_qat")])
    assert set(suite.skipped) <= UNLABELLED[markup]
    assert out_of_bounds(suite) == []
    assert suite.rows
    for rows in suite.rows.values():
        assert [row.variant for row in rows] == ["float", "float16", "int8_qat"]

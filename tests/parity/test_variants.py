"""Every variant of every released model against its float model."""

from __future__ import annotations

import pytest

from convert.variants import VARIANTS
from tests.parity.suite import out_of_bounds, run


@pytest.mark.parametrize(
    "name, markup, calibration, without",
    [
        ("acdc_m", "ibug68", "300w", set()),
        ("acdc_s", "ibug68", "300w", set()),
        ("ccr_m", "aflw21", "aflw", {"300w"}),
        ("ccr_s", "aflw21", "aflw", {"300w"}),
        ("acdc_n", "ibug68", "300w", set()),
        ("ccr_n", "aflw21", "aflw", {"300w"}),
    ],
)
def test_every_variant_holds_every_bound_on_every_set(name, markup, calibration, without, tmp_path):
    """without: the sets that do not label the markup."""
    suite = run(name, markup, calibration, tmp_path)
    assert set(suite.skipped) <= without
    assert out_of_bounds(suite) == []
    assert suite.rows and all([r.variant for r in rows] == ["float", *VARIANTS] for rows in suite.rows.values())
    # One trunk; what differs is the pose that conditions the next stage: int8 in one, float in the other.
    for rows in suite.rows.values():
        by_variant = {row.variant: row for row in rows}
        assert by_variant["int8_logits"].nme_delta == pytest.approx(by_variant["int8_qat"].nme_delta, abs=0.01)

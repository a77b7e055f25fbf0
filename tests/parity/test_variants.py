"""Every variant of the released models against their float model; of the medium ones, which differ from the small ones
in width and stages alone, those that the package ships (`python -m convert.release.measure` scores all on whole sets)."""

from __future__ import annotations

import pytest

from convert.release.measure import Files
from edgeface.convert.variants import VARIANTS
from tests.parity.suite import out_of_bounds, run


@pytest.mark.parametrize(
    "name, variants, markup, calibration, without",
    [
        ("acdc_m", Files.released, "ibug68", "300w", set()),
        ("acdc_s", tuple(VARIANTS), "ibug68", "300w", set()),
        ("ccr_m", Files.released, "aflw21", "aflw", {"300w"}),
        ("ccr_s", tuple(VARIANTS), "aflw21", "aflw", {"300w"}),
        ("acdc_n", tuple(VARIANTS), "ibug68", "300w", set()),
        ("ccr_n", tuple(VARIANTS), "aflw21", "aflw", {"300w"}),
    ],
)
def test_every_variant_holds_every_bound_on_every_set(name, variants, markup, calibration, without, tmp_path):
    """without: the sets that do not label the markup."""
    suite = run(name, variants, markup, calibration, tmp_path)
    assert set(suite.skipped) <= without
    assert out_of_bounds(suite) == []
    assert suite.rows
    for rows in suite.rows.values():
        by_variant = {row.variant: row for row in rows}
        assert list(by_variant) == ["float", *(v for v in VARIANTS if v in variants)]
        if "int8_logits" in variants:
            # One trunk; what differs is the pose that conditions the next stage: int8 in one, float in the other.
            assert by_variant["int8_logits"].nme_delta == pytest.approx(by_variant["int8_qat"].nme_delta, abs=0.01)

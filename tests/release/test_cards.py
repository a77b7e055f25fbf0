from __future__ import annotations

import pytest

from convert.release.cards import begun_from


@pytest.mark.parametrize(
    ("init", "recorded", "begun"),
    [
        ("", {}, None),
        ("weights/acdc_m.keras", {"begun_from_sha256": "0123456789"}, {"name": "acdc_m", "digest": "01234567"}),
        ("weights/acdc_s.keras", {}, {"name": "acdc_s", "digest": ""}),
        ("runs/x/model.keras", {"begun_from": "acdc_s"}, {"name": "acdc_s", "digest": ""}),
    ],
)
def test_a_card_says_whose_weights_a_run_began_with(init, recorded, begun):
    assert begun_from({"config": {"init": init, "network": "acdc_m"}} | recorded) == begun

from __future__ import annotations

import pytest

from convert.release.cards import _begun


@pytest.mark.parametrize(
    ("init", "recorded", "said"),
    [
        ("", {}, ""),
        ("weights/acdc_m.keras", {"begun_from_sha256": "0123456789"}, "weights of this network (SHA-256 `01234567`…)"),
        ("weights/acdc_s.keras", {}, "weights of `acdc_s`, which grew (`edgeface/models/grow.py`)"),
        ("runs/x/model.keras", {"begun_from": "acdc_m"}, "weights of this network"),
        ("runs/x/model.keras", {"begun_from": "acdc_s"}, "weights of `acdc_s`, which grew (`edgeface/models/grow.py`)"),
    ],
)
def test_a_card_says_whose_weights_a_run_began_with(init, recorded, said):
    text = _begun({"config": {"init": init, "network": "acdc_m"}} | recorded)
    assert text == (said and f", from earlier {said}")

from __future__ import annotations

import numpy as np
import pytest

from results.yaw_scale import compared


def test_the_line_between_two_measures_of_yaw_and_what_is_left():
    fitted = np.linspace(-50, 50, 201)
    noise = np.resize([3.0, -3.0], 201)
    noise[-1] = 0
    row = compared(fitted, 1.1 * fitted - 0.5 + noise)
    assert row["slope"] == pytest.approx(1.1, abs=2e-3) and row["offset_deg"] == pytest.approx(-0.5, abs=0.02)
    assert row["mae_deg"] == pytest.approx(3, abs=0.05)
    assert [b["n"] for b in row["by_yaw"]] == [59, 60, 60, 22, 0]
    assert row["by_yaw"][-1]["mae_deg"] is None

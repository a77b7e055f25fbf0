"""The study of recipes keeps what it has and makes what it has not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgeface.errors import InputError
from edgeface.files import read_json
from studies.quantization import study as qat_study


@pytest.fixture
def subject(tmp_path, monkeypatch):
    monkeypatch.setattr(qat_study, "TABLE", tmp_path / "table.json")
    monkeypatch.setattr(qat_study, "_say", lambda text: None)
    (tmp_path / "m.keras").write_bytes(b"weights")
    return SimpleNamespace(name="m", file=tmp_path / "m.keras")


def test_a_row_is_made_once_and_again_where_its_recipe_or_its_model_changed(subject):
    made = []

    def row(value):
        def make():
            made.append(value)
            return {"nme_delta": value}

        return make

    qat_study._keep("m", "tuned", {"steps": 3}, row(1), subject)
    qat_study._keep("m", "tuned", {"steps": 3}, row(2), subject)
    assert made == [1]
    qat_study._keep("m", "tuned", {"steps": 4}, row(3), subject)
    subject.file.write_bytes(b"trained anew")
    qat_study._keep("m", "tuned", {"steps": 4}, row(4), subject)
    assert made == [1, 3, 4]
    qat_study._keep("m", "minmax", {}, row(5), subject)
    table = read_json(qat_study.TABLE)
    assert {name: r["nme_delta"] for name, r in table["models"]["m"].items()} == {"tuned": 4, "minmax": 5}
    assert table["command"] == "python -m studies.quantization.study m" and {"versions", "commit", "machine"} <= set(
        table
    )


def test_a_row_that_fails_loses_no_other(subject):
    qat_study._keep("m", "tuned", {}, lambda: {"nme_delta": 1.0}, subject)
    before = qat_study.TABLE.read_bytes()

    def fail():
        raise MemoryError

    with pytest.raises(MemoryError):
        qat_study._keep("m", "minmax", {}, fail, subject)
    assert qat_study.TABLE.read_bytes() == before


def test_a_row_that_is_none_is_refused():
    with pytest.raises(InputError, match="--only must name rows of tuned, .* Received: magic"):
        qat_study.main(["acdc_s", "--only", "tuned,magic"])


def test_every_recipe_is_one_that_can_be_made():
    assert len({str(options) for options in qat_study.ROWS.values()}) == len(qat_study.ROWS)
    for options in qat_study.ROWS.values():
        assert options.steps in (0, 300)

"""The README says what results/ holds."""

from __future__ import annotations

import pytest

from edgeface.errors import InputError
from results import draw


def test_readme_is_drawn_from_results():
    assert draw.main(["--check"]) == 0, "run `python -m results.draw`"


def test_a_changed_figure_is_noticed(monkeypatch, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(draw.README.read_text().replace(draw.BEGIN, f"{draw.BEGIN}\n| stale | 1.0 |"))
    monkeypatch.setattr(draw, "README", readme)
    assert draw.main(["--check"]) == 1
    draw.main([])
    assert draw.main(["--check"]) == 0


def test_a_readme_without_marks_is_refused():
    with pytest.raises(InputError, match="must hold"):
        draw.drawn("no marks here")

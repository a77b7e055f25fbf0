"""Pages and model cards show what results/ and studies/ hold."""

from __future__ import annotations

import shutil

import pytest

from convert.release import draw, tables
from edgeface.errors import InputError
from edgeface.files import read_json
from edgeface.training.config import recorded_config
from edgeface.training.config_file import load_config


def test_pages_are_drawn_from_results():
    assert draw.main(["--check"]) == 0, "run `python -m convert.release.draw`"


@pytest.mark.parametrize("page", draw.PAGES)
def test_a_changed_figure_is_noticed(page, monkeypatch, tmp_path):
    for name in (*draw.PAGES, *draw.CARDS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(draw.ROOT / name, tmp_path / name)
    first = f"<!-- {next(iter(draw.PAGES[page]))} -->"
    text = (tmp_path / page).read_text()
    (tmp_path / page).write_text(text.replace(first, f"{first}\n| stale | 1.0 |"))
    monkeypatch.setattr(draw, "ROOT", tmp_path)
    assert draw.main(["--check"]) == 1
    assert draw.main([]) == 0
    assert draw.main(["--check"]) == 0 and (tmp_path / page).read_text() == text


@pytest.mark.parametrize("page", draw.CARDS)
def test_a_card_names_its_files_and_its_faces(page):
    text = (draw.ROOT / page).read_text()
    model = page.split("/")[-1].removesuffix(".md")
    assert f"`{model}_int8_qat.tflite`" in text and "300W" in text and "research use" in text
    assert (draw.ROOT / page).with_name(f"{model}_failures.jpg").is_file()


def test_a_page_without_marks_is_refused():
    with pytest.raises(InputError, match="must hold <!-- a -->"):
        draw.drawn("<!-- a -->", {"a": str}, "page.md")
    with pytest.raises(InputError, match="in this order"):
        draw.drawn("<!-- /a --><!-- a -->", {"a": str}, "page.md")


@pytest.mark.parametrize("model", tables.MODELS)
def test_a_card_names_the_config_that_trained_its_model(model):
    recorded = read_json(draw.HERE / model / "training.json")["float"]["config"]
    path = draw.ROOT / "configs" / f"{recorded['name']}.toml"
    assert recorded_config(recorded, model) == load_config(path)

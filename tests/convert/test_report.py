"""The report: figures as data first; pages that need no other file and take no markup from names."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from convert.__main__ import main
from convert.latency import measure
from convert.report import Entry, build_report, html, markdown, read_entries, terminal_table, write_report
from edgeface.errors import InputError

EVIL = "<script>alert(1)</script>|`x`$y_0$"


def scored(file: str, variant: str, nme: float, passed: bool = True) -> dict:
    """A row as parity.json has it."""
    skipped = {"without ibug68": 2}
    pose = {"n": 90, "skipped": {}, "yaw": 3.0, "pitch": 4.0, "roll": 2.0, "mean": 3.0, "geodesic": 5.0}
    return {
        "file": file,
        "variant": variant,
        "scores": {"n": 100, "skipped": skipped, "nme": nme, "failure_rate": 1.0, "auc": 50.0, "pose": pose},
        "nme_delta": nme - 5.0,
        "nme_delta_sem": 0.01,
        "pose_delta": {"yaw": 0.1, "pitch": 0.0, "roll": 0.0, "mean": 0.033},
        "geodesic_delta": 0.05,
        "by_yaw": [
            {"low_deg": 0.0, "high_deg": 30.0, "n": 100, "nme": nme, "nme_delta": nme - 5.0, "pose_delta": 0.03,
             "geodesic_delta": None}
        ],
        "jitter": 0.4,
        "jitter_change": 0.01,
        "landmark_shift": 0.05,
        "pose_shift_deg": 0.2,
        "failures": [] if passed else ["NME worse by 0.200 points, allowed 0.05"],
        "passed": passed,
    }  # fmt: skip


@pytest.fixture(scope="module")
def report(tiny_files) -> dict:
    entries = []
    for entry in read_entries([tiny_files.folder]):
        variant = entry.card.variant
        row = None if variant == "dynamic" else scored(entry.path.name, variant, 5.2, variant != "int8_ptq")
        entries.append(
            replace(entry, parity=row, test_set="synthetic test", reference=scored("tiny.keras", "float", 5.0))
        )
    entries[0] = replace(entries[0], card=replace(entries[0].card, notes=(EVIL,)))
    return build_report(entries, rounds=3, command=f"make {EVIL}", title=f"Report {EVIL}")


def row(report: dict, variant: str) -> dict:
    return next(r for r in report["rows"] if r["variant"] == variant)


def test_rows_hold_every_figure(report, tiny_files):
    assert [r["variant"] for r in report["rows"]] == list(tiny_files.files)
    first = row(report, "float32")
    card = tiny_files.files["float32"].card
    assert first["bytes"] == tiny_files.files["float32"].path.stat().st_size and first["ratio"] == 1.0
    assert (first["parameters"], first["macs"]) == (card.parameters, card.macs)
    assert 0 < first["p50_ms"] <= first["p90_ms"]
    assert (first["nme"], first["n"], first["skipped"]) == (5.2, 100, {"without ibug68": 2})
    assert row(report, "int8_qat")["ratio"] < 1
    assert row(report, "int8_ptq")["result"] == "FAIL" and row(report, "dynamic")["result"] == "not scored"
    assert {"cpu", "cores", "system"} <= set(report["machine"]) and report["versions"]["tensorflow"]
    assert report["float_models"][0]["scores"]["nme"] == 5.0
    json.dumps(report, allow_nan=False)


def test_page_escapes_what_it_shows(report):
    page = html(report)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_page_stands_alone_and_fits_a_phone(report):
    page = html(report)
    assert 'name="viewport"' in page and "@media (max-width" in page
    for kind in ("src", "href"):
        assert all(target.startswith("data:") for target in re.findall(rf'{kind}="([^"]*)"', page))
    assert "@import" not in page and "url(" not in page
    plots = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', page)
    assert len(plots) == 3
    for plot in plots:
        svg = base64.b64decode(plot).decode()
        assert svg.rstrip().endswith("</svg>")


def test_page_is_well_formed(report):
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "img", "br"):
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Checker().feed(html(report))
    assert open_tags == []


def test_every_row_and_failure_is_in_both_pages(report):
    for page in (html(report), markdown(report)):
        plain = page.replace("\\", "")
        for r in report["rows"]:
            assert r["name"] in plain
        assert "NME worse by 0.200 points, allowed 0.05" in plain
        assert "not scored" in plain and "2 without ibug68" in plain


def test_markdown_tables_keep_their_columns(report):
    tables = [line for line in markdown(report).splitlines() if line.startswith("|")]
    heads = [i for i, line in enumerate(tables) if set(line) <= set("|-")]
    assert len(heads) == 2, "the files and the yaw bins"
    for line in tables:
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert cells in {len(re.findall(r"(?<!\\)\|", tables[i])) for i in heads}


def test_without_scores_there_is_still_a_report(tiny_files):
    entries = read_entries([tiny_files.folder])[:2]
    report = build_report([replace(e, parity=None, reference=None, test_set=None) for e in entries], rounds=2)
    assert row(report, "float32")["nme"] is None
    assert html(report).count("<img") == 1  # time alone
    assert "not scored" in markdown(report)
    assert "float32" in terminal_table(report)


def test_files_are_written_and_read_back(report, tmp_path):
    paths = write_report(report, tmp_path / "demo")
    assert [p.name for p in paths] == ["report.json", "report.md", "report.html"]
    assert json.loads(paths[0].read_text()) == report


def test_timing_runs_every_file_in_every_round(tiny_files):
    files = [tiny_files.files[name].path for name in ("float32", "int8_logits")]
    times = measure(files, rounds=4, warmup=1)
    assert [t.runs for t in times] == [4, 4]
    assert all(0 < t.p50_ms <= t.p90_ms for t in times)
    with pytest.raises(InputError, match="rounds must be at least 1"):
        measure(files, rounds=0)


def test_command(tiny_files, tmp_path, capsys):
    assert main(["report", str(tiny_files.folder), "--out", str(tmp_path), "--rounds", "2"]) == 0
    assert "report.html" in capsys.readouterr().out
    (tmp_path / "none").mkdir()
    assert main(["report", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "must be a folder with .tflite files" in capsys.readouterr().err


def test_a_parity_file_of_something_else(tiny_files, tmp_path):
    file = tiny_files.files["float32"].path
    (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "parity.json").write_text("{}")
    with pytest.raises(InputError, match="must be what `python -m convert parity` writes"):
        read_entries([tmp_path])
    with pytest.raises(InputError, match="needs at least one file"):
        build_report([])
    assert isinstance(read_entries([tiny_files.folder])[0], Entry)

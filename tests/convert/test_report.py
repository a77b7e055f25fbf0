"""The report: figures as data first; pages that need no other file and take no markup from names."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from convert.__main__ import main
from edgeface.convert.report import (
    PEERS,
    Entry,
    SetScore,
    build_report,
    embed_faces,
    html,
    markdown,
    read_entries,
    read_peers,
    terminal_table,
    write_report,
)
from edgeface.convert.report.peers import comparable
from edgeface.convert.report.plots import headline, hurting, pareto
from edgeface.errors import InputError
from edgeface.files import read_json, write_json

EVIL = "<script>alert(1)</script>|`x`$y_0$"
ERRORS = [i / 400 for i in range(41)]
VIDEO, BINNED = "300w test", "aflw2000_3d val"


def scored(file: str, variant: str, nme: float, passed: bool = True, n: int = 100) -> dict:
    """A row as parity.json has it."""
    skipped = {"without ibug68": 2}
    pose = {"n": 90, "skipped": {}, "yaw": 3.0, "pitch": 4.0, "roll": 2.0, "mean": 3.0, "geodesic": 5.0}
    bins = [{"low_deg": 0.0, "high_deg": 30.0, "n": n, "nme": nme, "pose": pose}]
    return {
        "file": file,
        "variant": variant,
        "scores": {
            "protocol": "aflw2000_3d", "normalizer": "box", "threshold": 0.1, "n": n, "skipped": skipped, "nme": nme,
            "mean_of_bins": nme + 1, "failure_rate": 1.0, "auc": 50.0, "pose": pose, "by_yaw": bins,
            "ced": {"errors": ERRORS, "shares": [e / 0.1 for e in ERRORS]},
        },
        "nme_delta": nme - 5.0,
        "nme_delta_sem": 0.01,
        "pose_delta": {"yaw": 0.1, "pitch": 0.0, "roll": 0.0, "mean": 0.033},
        "geodesic_delta": 0.05,
        "by_yaw": [
            {"low_deg": 0.0, "high_deg": 30.0, "n": n, "nme": nme, "nme_delta": nme - 5.0, "pose_delta": 0.03,
             "geodesic_delta": None}
        ],
        "jitter": 0.4,
        "jitter_change": 0.01,
        "landmark_shift": 0.05,
        "pose_shift_deg": 0.2,
        "worst": [{"id": "face/7", "nme": 9.25, "float_nme": 8.0, "nme_delta": 1.25, "index": 7}],
        "failures": [] if passed else ["NME worse by 0.200 points, allowed 0.05"],
        "passed": passed,
    }  # fmt: skip


def without_pose(row: dict) -> dict:
    """The same on a set that has neither poses nor bins."""
    none = dict.fromkeys(("yaw", "pitch", "roll", "mean", "geodesic")) | {"n": 0, "skipped": {}}
    scores = row["scores"] | {"protocol": "300w", "normalizer": "inter_ocular", "pose": none, "by_yaw": [],
                              "mean_of_bins": None, "n": 554}  # fmt: skip
    return row | {"scores": scores, "by_yaw": [], "pose_delta": dict.fromkeys(("yaw", "pitch", "roll", "mean"))}


@pytest.fixture(scope="module")
def entries(tiny_files) -> list[Entry]:
    """Every file scored on two sets, but one; one of them fails on one set."""
    found = []
    for entry in read_entries([tiny_files.folder]):
        variant, rows = entry.card.variant, []
        if variant != "dynamic":
            row = scored(entry.path.name, variant, 5.2, variant != "int8_ptq", 199)
            float_row = scored("tiny.keras", "float", 5.0, n=199)
            other = without_pose(scored(entry.path.name, variant, 4.2))
            rows = [SetScore(BINNED, row, float_row), SetScore(VIDEO, other, without_pose(float_row))]
        found.append(replace(entry, scores=tuple(rows)))
    found[0] = replace(found[0], card=replace(found[0].card, notes=(EVIL,)))
    return found


@pytest.fixture(scope="module")
def report(entries) -> dict:
    peers = read_peers(PEERS)
    return build_report(
        entries, rounds=3, command=f"make {EVIL}", title=f"Report {EVIL}", peers=peers, memory_runs=1, crops=2
    )


@pytest.fixture(scope="module")
def page(report) -> str:
    return html(report)


def row(report: dict, variant: str) -> dict:
    return next(r for r in report["rows"] if r["variant"] == variant)


def plots(page: str) -> list[str]:
    found = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', page)
    return [base64.b64decode(plot).decode() for plot in found]


def test_rows_hold_every_figure(report, tiny_files):
    assert [r["variant"] for r in report["rows"]] == list(tiny_files.files)
    first = row(report, "float32")
    card = tiny_files.files["float32"].card
    assert first["bytes"] == tiny_files.files["float32"].path.stat().st_size and first["ratio"] == 1.0
    assert (first["parameters"], first["macs"]) == (card.parameters, card.macs)
    assert first["times_faster"] == 1.0 and first["times_faster"] == first["times"][0]["times_faster"]
    assert [t["threads"] for t in first["times"]] == report["thread_counts"] == [1, 2]
    for timed in first["times"]:
        assert 0 < timed["p50_ms"] <= timed["p90_ms"] and timed["runs"] == 3 * report["burst"]
    assert (first["p50_ms"], first["p90_ms"]) == (first["times"][0]["p50_ms"], first["times"][0]["p90_ms"])
    assert first["peak_bytes"] is None or first["peak_bytes"] > first["bytes"]
    assert row(report, "int8_qat")["ratio"] < 1 and row(report, "int8_qat")["times_faster"] > 0
    assert row(report, "int8_ptq")["result"] == "FAIL" and row(report, "dynamic")["result"] == "not scored"
    assert {"cpu", "cores", "system"} <= set(report["machine"]) and report["versions"]["tensorflow"]
    json.dumps(report, allow_nan=False)


def test_a_row_holds_every_set(report):
    binned, video = row(report, "int8_qat")["scores"]
    assert report["test_sets"] == [BINNED, VIDEO] == [binned["test_set"], video["test_set"]]
    assert (binned["nme"], binned["n"], binned["skipped"]) == (5.2, 199, {"without ibug68": 2})
    assert (headline(binned), headline(video)) == (6.2, 4.2), "AFLW2000-3D is known by the mean of its bins"
    assert binned["by_yaw"][0]["pose"] == {"mean": 3.0, "geodesic": 5.0}
    assert row(report, "int8_ptq")["scores"][1]["passed"] and not row(report, "int8_ptq")["scores"][0]["passed"]
    assert [(m["test_set"], m["nme"]) for m in report["float_models"]] == [(BINNED, 5.0), (VIDEO, 5.0)]


def test_a_float_model_is_known_by_its_network(report, page):
    assert report["float_models"]
    for m in report["float_models"]:
        assert f"<td>{m['preset']} <small>the float model, {m['file']}</small>" in page


def test_page_escapes_what_it_shows(page):
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_page_stands_alone_and_fits_a_phone(page):
    assert 'name="viewport"' in page and "overflow-x: auto" in page
    assert page.count("<table>") == page.count('<div class="scroll"><table>'), "every table scrolls in its own box"
    for kind in ("src", "href"):
        assert all(target.startswith("data:") for target in re.findall(rf'{kind}="([^"]*)"', page))
    assert "@import" not in page and "url(" not in page
    # Time; size, time, pose, errors; size, time, errors; the tensors of two int8 files.
    assert len(plots(page)) == 1 + 4 + 3 + 2
    for svg in plots(page):
        assert svg.rstrip().endswith("</svg>")
        assert float(re.search(r'<svg [^>]*width="([\d.]+)pt"', svg)[1]) < 330, "drawn at a phone's width"


def test_the_same_figures_draw_the_same_page(report, page):
    assert html(report) == page


def test_page_is_well_formed(page):
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "img", "br", "wbr"):
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Checker().feed(page)
    assert open_tags == []


def test_every_row_and_failure_is_in_both_pages(report, page):
    for text in (page, markdown(report)):
        plain = text.replace("\\", "").replace("<wbr>", "")
        for r in report["rows"]:
            assert r["name"] in plain
        assert "NME worse by 0.200 points, allowed 0.05" in plain
        assert "not scored" in plain and "2 without ibug68" in plain
        assert "face/7" in plain and "9.25" in plain
        assert f"4 of 5 files are within their bounds on {BINNED}, {VIDEO}; out of bounds: acdc_tiny_int8_ptq" in plain


def test_markdown_tables_keep_their_columns(report):
    width = None
    tables = 0
    for line in markdown(report).splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        tables += width is None and cells is not None
        assert width is None or cells is None or cells == width, line
        width = cells
    assert tables == 1 + 2 + 2 + 2 + 1 + len(report["layer_errors"]), "price; scores, peers and faces of 2 sets; bins"


def test_peers_are_drawn_on_the_same_faces_alone(report, page):
    peers = report["peers"]
    assert {p["name"] for p in comparable(peers, VIDEO, 554)} >= {"face-api 68", "dlib 68"}
    assert comparable(peers, VIDEO, 553) == [] and comparable(peers, "300w val", 554) == []
    assert comparable(None, VIDEO, 554) == []
    tiny3d = next(p for p in comparable(peers, BINNED, 199) if p["name"] == "FSA-Net x2")
    assert tiny3d["on_set"]["nme"] is None and tiny3d["on_set"]["pose_mae"] == 4.87
    alone = {**report, "peers": None}
    assert len(pareto(report, VIDEO, "bytes")) > len(pareto(alone, VIDEO, "bytes"))
    assert "Peers on the same faces" in page and "from another run than this report" in page
    assert "Peers on the same faces" in markdown(report) and "Peers on the same faces" not in markdown(alone)


def test_peers_file_says_where_its_figures_are_from(tmp_path):
    data = read_json(PEERS)
    assert "Measured 2026-11-21 on the same 554 faces" in data["source"] and "another run" in data["ms_note"]
    assert all(p["licence"] for p in data["peers"])
    write_json(tmp_path / "peers.json", {"sets": {}, "peers": [{"name": "x", "megabytes": "one", "ms": 1}]})
    with pytest.raises(InputError, match="must hold peers with name, megabytes and ms"):
        read_peers(tmp_path / "peers.json")


def test_tensors_that_hurt(report):
    assert [e["variant"] for e in report["layer_errors"]] == ["int8_ptq", "int8_qat"], "int8_logits has qat's trunk"
    for errors in report["layer_errors"]:
        shown = hurting(errors)
        assert 4 < len(shown) <= 8
        assert [t["position"] for t in shown] == sorted(t["position"] for t in shown)
        trunk = [t for t in errors["tensors"] if t["operator"] in ("CONV_2D", "ADD") and t["own_db"] is not None]
        assert min(t["sqnr_db"] for t in shown) <= min(t["sqnr_db"] for t in trunk if t["sqnr_db"] is not None)


def test_a_file_whose_tensors_cannot_be_compared_is_told(entries, report, monkeypatch):
    def refuse(file, float_file, crops):
        raise InputError(f"{file.name} must run. Received: a crash")

    monkeypatch.setattr("edgeface.convert.report.build.layer_errors", refuse)
    two = [e for e in entries if e.card.variant in ("float32", "int8_ptq")]
    found = build_report(two, rounds=1, threads=(1,), memory_runs=0, crops=1)
    assert found["layer_errors"] == [] and found["not_compared"] == [
        "acdc_tiny_int8_ptq.tflite must run. Received: a crash"
    ]
    assert "Tensors not compared: acdc" in markdown(found) and report["not_compared"] == []


def test_a_busy_machine_is_told(report):
    assert report["busy"] is not None and 0 <= report["busy"] < 1
    assert "busy with other work" in markdown({**report, "busy": 0.5})
    assert "busy with other work" not in markdown({**report, "busy": 0.05})


def test_without_scores_there_is_still_a_report(tiny_files):
    entries = [replace(e, scores=()) for e in read_entries([tiny_files.folder])[:2]]
    report = build_report(entries, rounds=2, threads=(1,), memory_runs=0, crops=0)
    assert row(report, "float32")["result"] == "not scored" and row(report, "float32")["peak_bytes"] is None
    assert html(report).count("<img") == 1  # time alone
    assert "not scored" in markdown(report) and "No file of this report was scored" in markdown(report)
    assert "float32" in terminal_table(report)


def test_terminal_has_a_line_a_set(report):
    lines = terminal_table(report).splitlines()
    assert len(lines) == 1 + 5 * 2 + 1
    assert any(line.startswith("acdc_tiny_int8_ptq") and "FAIL aflw2000_3d val" in line for line in lines)
    assert sum("pass 300w test" in line for line in lines) == 5


def test_files_are_written_and_read_back(report, tmp_path):
    paths = write_report(report, tmp_path / "demo")
    assert [p.name for p in paths] == ["report.json", "report.md", "report.html"]
    assert json.loads(paths[0].read_text()) == report


def test_faces_are_shown_where_asked_alone(report, page, entries, tmp_path):
    assert "data:image/jpeg" not in page
    with pytest.raises(InputError, match="must hold pictures that `edgeface parity` saved. Received: none"):
        embed_faces(entries)
    qat = next(e for e in entries if e.card.variant == "int8_qat")
    moved = replace(qat, path=tmp_path / qat.path.name)
    (tmp_path / "worst").mkdir()
    (tmp_path / "worst" / f"aflw2000_3d_{qat.path.stem}_1_face_7.jpg").write_bytes(b"picture")
    face = embed_faces([moved])[0].scores[0].row["worst"][0]
    assert face["picture"] == "data:image/jpeg;base64," + base64.b64encode(b"picture").decode()
    shown = json.loads(json.dumps(report))
    row(shown, "int8_qat")["scores"][0]["worst"] = [face]
    assert html(shown).count("data:image/jpeg;base64,") == 1


def test_parity_of_several_sets_and_of_one(tiny_files, tmp_path):
    file = tiny_files.files["float32"].path
    (tmp_path / file.name).write_bytes(file.read_bytes())
    rows = [scored("tiny.keras", "float", 5.0), scored(file.name, "float32", 5.0)]
    sets = [{"set": "300w", "split": "test", "rows": rows}, {"set": "aflw", "split": "test", "rows": rows}]
    write_json(tmp_path / "parity.json", {"format": 2, "sets": sets})
    (entry,) = read_entries([tmp_path])
    assert [s.test_set for s in entry.scores] == ["300w test", "aflw test"]
    assert entry.scores[0].reference["file"] == "tiny.keras"
    write_json(tmp_path / "parity.json", {"format": 1, **sets[1]})
    assert [s.test_set for s in read_entries([tmp_path])[0].scores] == ["aflw test"]
    (tmp_path / "parity.json").write_text("{}")
    with pytest.raises(InputError, match="must be what `edgeface parity` writes"):
        read_entries([tmp_path])


def test_nothing_to_report():
    with pytest.raises(InputError, match="needs at least one file"):
        build_report([])
    with pytest.raises(InputError, match="at least one folder must be given"):
        read_entries([])


def test_command(tiny_files, tmp_path, capsys):
    options = ["--rounds", "2", "--threads", "1", "--memory-runs", "0", "--crops", "0", "--peers", "none"]
    assert main(["report", str(tiny_files.folder), "--out", str(tmp_path), *options]) == 0
    assert "report.html" in capsys.readouterr().out
    assert read_json(tmp_path / "report.json")["peers"] is None
    (tmp_path / "none").mkdir()
    assert main(["report", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "must be a folder with .tflite files" in capsys.readouterr().err
    assert main(["report", str(tiny_files.folder), "--peers", str(tmp_path / "no.json")]) == 2
    assert "must be a JSON file" in capsys.readouterr().err

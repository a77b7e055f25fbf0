"""Every figure that a person typed into a page is the code's, or arithmetic; the others are drawn.

A new one fails here until it is compared with what it is taken from, or drawn by `python -m convert.release.draw`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo_web import __main__ as web
from edgeface.box import Box
from edgeface.card import CropRule
from edgeface.crop import square_crop
from edgeface.datasets.packs import faces_root
from edgeface.datasets.profile_views import fit
from edgeface.evaluation.protocols import PROTOCOLS
from edgeface.files import read_json
from edgeface.markup import MARKUPS
from edgeface.runtime.download import YUNET_NAME
from edgeface.training.packing import MAX_SKIPPED
from studies.pareto import study as pareto
from studies.profile_pitch import study as profile_nod
from tests.docs.pages import PAGES, ROOT, blocks, prose, text_of

UNITS = (
    r"(?:%|°|KB|MB|GB|ms|px|cm|dB|degrees|minutes|seconds|hours|points|cores|faces|times|parameters|steps|MMAC|bits|"
    r"cells|levels|frames|widths)"
)
FIGURE = re.compile(rf"(?<![\w.@/-])(?:\d[\d,]*(?:\.\d+)?\s?{UNITS}(?!\w)|\d+\.\d+(?![\w.]))")
HAND_WRITTEN = [page for page in PAGES if not page.startswith("docs/models/")]
"""Model cards are drawn whole; their text is in convert/release/cards.py."""


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def catalogue() -> dict:
    return tomllib.loads((ROOT / "android_demo/gradle/libs.versions.toml").read_text())["versions"]


def constant(file: str, line: str) -> bool:
    return line in (ROOT / file).read_text()


def gray_of(*rgb: int) -> float:
    return float(cv2.cvtColor(np.full((1, 1, 3), rgb, np.float32), cv2.COLOR_RGB2GRAY)[0, 0])


def detector_is(kilobytes: int) -> bool:
    root = faces_root()
    file = root.parent / "models" / YUNET_NAME if root else Path("none")
    return not file.is_file() or round(file.stat().st_size / 1000, -1) == kilobytes


def nods_left() -> list[float]:
    """Beyond 60 degrees, of the networks that learned without one."""
    rows = read_json(ROOT / "results/profile_nod.json")["rows"]
    return [row["nod_left"][-1]["mean"] for row in rows if not row["learned_nod_deg"]]


TFLITE = "tflite-runtime==2.14.0; python_version < '3.12'"
ANYWHERE: dict[str, Callable[[], bool]] = {
    "68 points": lambda: MARKUPS["ibug68"].size == MARKUPS["ibug68_3d"].size == 68,
    "21 points": lambda: MARKUPS["aflw21"].size == 21,
    "2.14": lambda: TFLITE in project()["optional-dependencies"]["tflite"],
    "3.11": lambda: project()["requires-python"] == ">=3.11" and "3.12" in TFLITE,
    "2 %": lambda: constant("edgeface/convert/parity.py", "0.02 * longer"),
    "1 %": lambda: True,  # arithmetic: a unit
}
ON_A_PAGE: dict[tuple[str, str], Callable[[], bool]] = {
    ("CONTRIBUTING.md", "1.5"): lambda: True,  # an example of a line
    ("README.md", "90 degrees"): lambda: max(PROTOCOLS["aflw2000_3d"].yaw_bins_deg) == 90,
    ("docs/contract.md", "1.3"): lambda: CropRule().scale == 1.3 == square_crop(Box(0, 0, 10, 8)).size / 10,
    ("docs/contract.md", "0.299"): lambda: gray_of(1, 0, 0) == pytest.approx(0.299),
    ("docs/contract.md", "0.587"): lambda: gray_of(0, 1, 0) == pytest.approx(0.587),
    ("docs/contract.md", "0.114"): lambda: gray_of(0, 0, 1) == pytest.approx(0.114),
    ("docs/contract.md", "0.5"): lambda: (
        square_crop(Box(0, 0, 10, 8)).to_image(np.array([0.75, 0.5])) == pytest.approx([5 + 0.25 * 13, 4])
    ),
    ("docs/contract.md", "16 cells"): lambda: 16 * 16 == 256,
    ("docs/data.md", "19 points"): lambda: MARKUPS["aflw21"].size - len(MARKUPS["aflw21"].groups["ears"]) == 19,
    ("docs/device.md", "230 KB"): lambda: detector_is(230),
    ("docs/device.md", "35 %"): lambda: constant("convert/release/device_tables.py", "BOUND = 0.35"),
    ("docs/device.md", "0.01 px"): lambda: constant("convert/runtimes/wheel.py", "FLOAT_LIMIT = 0.01"),
    ("docs/device.md", "3.13"): lambda: True,  # Debian's own: Trixie has Python 3.13
    ("docs/qat.md", "1024 cells"): lambda: 32 * 32 == 1024,
    ("docs/qat.md", "8 bits"): lambda: constant("edgeface/quantize/layers.py", "bits: int = 8"),
    ("docs/qat.md", "16 bits"): lambda: constant("edgeface/quantize/recipe.py", "16"),
    ("docs/report.md", "20 dB"): lambda: 10 ** (-20 / 20) == 0.1,
    ("docs/report.md", "10 %"): lambda: 10 ** (-20 / 20) == 0.1,
    ("docs/report.md", "40 dB"): lambda: 10 ** (-40 / 20) == 0.01,
    ("docs/results.md", "0 steps"): lambda: any(
        row["steps"] == 0 for row in read_json(ROOT / "results/tfmot.json")["rows"]
    ),
    ("docs/results.md", "15°"): lambda: constant("studies/papers/study.py", '"excite_unit_deg": 15.0'),
    ("docs/results.md", "2.5°"): lambda: fit.PROFILE_NOD_DEG == 2.5 == round(2 * -np.mean(nods_left())) / 2,
    ("docs/results.md", "3°"): lambda: {round(-nod) for nod in nods_left()} == {2, 3},
    ("docs/results.md", "60°"): lambda: profile_nod.EDGES_DEG[-2] == 60,
    ("docs/results.md", "95 %"): lambda: constant("convert/release/paired.py", "np.percentile(means, [2.5, 97.5])"),
    ("docs/results.md", "1.28 px"): lambda: 0.01 * 128 == 1.28,
    ("docs/results.md", "128 px"): lambda: True,
    ("docs/results.md", "96 px"): lambda: pareto.CANDIDATES["s, 96 px"][1] == {"side": 96},
    ("docs/training.md", "10 %"): lambda: MAX_SKIPPED == 0.1,
    ("docs/training.md", "0.5"): lambda: constant("configs/acdc_n_300w.toml", "evenness = 0.5"),
    ("android_demo/README.md", "9.3"): lambda: catalogue()["agp"].startswith("9.3."),
    ("android_demo/README.md", "9.5"): lambda: constant(
        "android_demo/gradle/wrapper/gradle-wrapper.properties", "gradle-9.5."
    ),
    ("android_demo/README.md", "0.05 px"): lambda: constant(
        "android_demo/core/src/test/kotlin/edgeface/core/GoldenChecks.kt", "PIXELS = 0.05"
    ),
    ("android_demo/README.md", "0.01 degrees"): lambda: constant(
        "android_demo/core/src/test/kotlin/edgeface/core/GoldenChecks.kt", "DEGREES = 0.01"
    ),
}


def figures(page: str) -> set[str]:
    text = re.sub(r"\]\([^)]*\)|<http[^>]*>", "]", prose(page))
    return {" ".join(match.group().split()) for match in FIGURE.finditer(text)}


@pytest.mark.parametrize("page", HAND_WRITTEN)
def test_every_typed_figure_is_what_the_code_says(page):
    for figure in sorted(figures(page)):
        holds = ON_A_PAGE.get((page, figure), ANYWHERE.get(figure))
        assert holds is not None, f"{page}: {figure!r} must be drawn from results/, or be compared here"
        assert holds(), f"{page}: {figure!r} is no longer so"


def test_nothing_is_kept_that_no_page_says():
    said = {page: figures(page) for page in HAND_WRITTEN}
    assert {key for key in ON_A_PAGE if key[1] not in said[key[0]]} == set()
    assert {figure for figure in ANYWHERE if not any(figure in found for found in said.values())} == set()


def test_the_sweep_sees_what_people_type(monkeypatch):
    monkeypatch.setattr(
        "tests.docs.pages.text_of", lambda page: "3.4 % and 150\nMMAC in 0.3 MB, 26.7 degrees; 12 ms, v1.2"
    )
    assert figures("x.md") == {"3.4 %", "150 MMAC", "0.3 MB", "26.7 degrees", "12 ms"}


def test_the_demo_takes_as_long_as_the_readme_says():
    assert "under 15 minutes on 2 cores" in text_of("README.md")
    measured = read_json(ROOT / "results/demo.json")
    assert measured["machine"]["cores"] == 2 and max(run["seconds"] for run in measured["runs"]) < 15 * 60


def test_versions_and_ports_in_code_blocks_are_the_code_s():
    page = text_of("demo_web/README.md")
    assert "tcp:8008" in page and "default=8008" in Path(web.__file__).read_text()
    assert "--gradle-version 9.5.0" in text_of("android_demo/README.md")
    assert f"platform {catalogue()['compileSdk']} installed" in " ".join(text_of("android_demo/README.md").split())


def test_the_variants_are_all_there_with_their_purpose():
    from edgeface.convert.variants import VARIANTS

    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text_of("docs/contract.md"), re.M))
    assert list(VARIANTS) == [name for name in rows if name in VARIANTS]
    for name, variant in VARIANTS.items():
        assert variant.weights in rows[name] or variant.trunk in rows[name]
    assert f"the {['zero', 'one', 'two', 'three', 'four', 'five', 'six'][len(VARIANTS)]} variants" in text_of(
        "README.md"
    )


def test_aflw2000_faces_are_as_many_as_the_tables_say():
    from convert.release.tables import SETS

    count = int(re.search(r"(\d+) faces", SETS["aflw2000_3d_val"]).group(1))
    for file in (ROOT / "results").glob("*/aflw2000_3d_val.json"):
        assert f'"n": {count}' in file.read_text(), file


def test_links_lead_somewhere():
    for page in PAGES:
        folder = (ROOT / page).parent
        for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
            file, _, anchor = target.partition("#")
            if "://" in target:
                continue
            assert (folder / file).exists(), f"{page}: {target}"
            if anchor:
                text = (folder / file).read_text() if file else text_of(page)
                heads = [
                    re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)", text, re.M)
                ]
                assert anchor in heads, f"{page}: {target}"


def test_every_page_of_docs_is_linked_from_somewhere():
    text = "".join(text_of(page) for page in PAGES)
    for page in PAGES:
        if page.startswith("docs/"):
            assert Path(page).name in text, page
    assert blocks()

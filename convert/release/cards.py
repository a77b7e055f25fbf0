"""Model cards, docs/models/NAME.md: card.md.j2 filled from results/NAME and the packaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from convert.release.markdown import table
from edgeface import zoo
from edgeface.card import Card, read_card
from edgeface.convert.parity_file import load_parity
from edgeface.files import read_json, sha256
from edgeface.head_pose import ANGLES

HERE = Path(__file__).resolve().parents[2] / "results"
TITLES = {"acdc": "AC-DC, an attentional cascade of U-Nets", "ccr": "CCR, cross-cascading regression"}
SETS = {
    "300w": "300W, its official *common* test set",
    "aflw2000_3d": "199 faces of AFLW2000-3D",
    "aflw": "AFLW, a split of our own",
}
SEARCHED, WORST = 300, 6
"""Rendered test faces that the failures' picture is chosen from, and how many it shows."""
TERMS = {
    "300w": "300W (LFPW, HELEN and AFW): research use",
    "aflw": "AFLW: research use",
    "mtfl": "MTFL (web faces and LFW): research use",
    "youtube_faces": "YouTube Faces, machine-made labels: research use",
    "facesynthetics": "FaceSynthetics: research use",
    "synthetic": "faces rendered by this project: free",
}
NORMALIZERS = {"inter_ocular": "the outer eye corners' distance", "box": "sqrt(w h) of the face's box"}
TEMPLATE = Path(__file__).with_name("card.md.j2")


def page(model: str, released: tuple[str, ...]) -> str:
    """The card of one network.

    Args:
        model: the network's name, as in `results/`.
        released: names of its packaged files, variant included, without the suffix.
    """
    names = [n for n in zoo.available() if n in released]
    cards = {name: read_card(zoo.path(name)) for name in names}
    first = cards[f"{model}_{zoo.DEFAULT_VARIANT}"]
    training = read_json(HERE / model / "training.json")
    run = training["float"]
    scored = [load_parity(path)[0] for path in sorted((HERE / model).glob("*_*.json"))]
    env = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return env.from_string(TEMPLATE.read_text()).render(
        model=model,
        title=TITLES[first.network],
        card=first,
        files=_files(cards),
        inputs=_inputs(cards),
        outputs=", ".join(f"`{role}` {tuple(output.shape)}" for role, output in first.outputs.items()),
        scores=[_scores(one) for one in scored],
        run=run,
        qat=training["qat"],
        begun=begun_from(run),
        sources=_sources(run),
        searched=SEARCHED,
        worst=WORST,
        terms="; ".join(sorted({TERMS[s["set"]] for s in run["config"]["sources"]})),
    )


def begun_from(run: dict[str, Any]) -> dict[str, str] | None:
    """The network whose weights a training run began with: {"name", "digest"}, None where it began from random ones."""
    if not run["config"]["init"]:
        return None
    # A run that does not record the network names it by the file.
    name = run.get("begun_from") or Path(run["config"]["init"]).stem
    return {"name": name, "digest": run.get("begun_from_sha256", "")[:8]}


def _files(cards: dict[str, Card]) -> str:
    rows = []
    for name, card in cards.items():
        path = zoo.path(name)
        cells = [card.markup, card.input.dtype, f"{path.stat().st_size / 1000:.0f}", f"`{sha256(path)}`"]
        rows.append([f"[`{path.name}`](../../edgeface/zoo/{path.name})", *cells])
    return table(["file", "points", "input", "KB", "sha256"], rows)


def _inputs(cards: dict[str, Card]) -> str:
    """The type of the input by variant: float files and int8 files differ."""
    words = {}
    for card in cards.values():
        scale = card.input.scale
        quantized = "" if scale is None else f" (scale {scale:g}, zero point {card.input.zero_point})"
        words[card.variant] = f"{card.input.dtype}{quantized} in `{card.variant}` files"
    return ", ".join(words[variant] for variant in sorted(words))


def _scores(scored: Any) -> dict[str, Any]:
    """One set's scores: its heading's parts and a table of the float and the int8 file, the float one by |yaw|."""
    rows = {row["variant"]: row for row in scored.rows}
    whole, int8 = rows["float"]["scores"], rows["int8_qat"]["scores"]
    normalizer = NORMALIZERS.get(whole["normalizer"], whole["normalizer"].replace("_", " "))
    about = {key: whole[key] for key in ("n", "markup", "predicted_markup", "skipped")}
    return about | {"set": SETS[scored.set], "normalizer": normalizer, "table": _score_table(whole, int8)}


def _score_table(whole: dict[str, Any], int8: dict[str, Any]) -> str:
    head = ["file", "faces", "NME %", "failures %", *(f"{a} MAE" for a in ANGLES), "pose MAE", "geodesic"]
    lines = []
    for name, scores in (("float32", whole), ("int8_qat", int8)):
        lines.append([name, str(scores["n"]), _figure(scores["nme"]), _figure(scores["failure_rate"])] + _pose(scores))
    for b in whole["by_yaw"]:
        if b["n"]:
            title = f"float32, yaw {b['low_deg']:g} to {b['high_deg']:g}"
            lines.append([title, str(b["n"]), _figure(b["nme"]), "", *_pose(b)])
    if not any(any(cell not in ("-", "") for cell in line[4:]) for line in lines):
        head, lines = head[:4], [line[:4] for line in lines]
    return table(head, lines)


def _pose(scores: dict[str, Any]) -> list[str]:
    pose = scores["pose"]
    # A mean over the yaw alone is no pose.
    mean = pose["mean"] if pose["roll"] is not None else None
    return [_figure(value) for value in (*(pose[a] for a in ANGLES), mean, pose["geodesic"])]


def _sources(run: dict[str, Any]) -> str:
    """Every source of training faces, its size, and its share of the batches."""
    total = sum(s["weight"] for s in run["sources"])
    rows = []
    for s in run["sources"]:
        balanced = ", balanced" if s.get("drawn", s["faces"]) > s["faces"] else ""
        rows.append([s["name"] + balanced, f"{s['faces']:,}", f"{100 * s['weight'] / total:.0f} %"])
    return table(["source", "faces", "share"], rows)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

"""A page for every released model, docs/models/NAME.md, drawn from results/NAME and the packaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convert.release.markdown import table
from edgeface import zoo
from edgeface.card import Card, read_card
from edgeface.convert.make_card import sha256
from edgeface.convert.parity_file import load_parity
from edgeface.datasets.profile_views import fit
from edgeface.datasets.profile_views import model as head
from edgeface.files import read_json
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
NORMALISERS = {"inter_ocular": "the outer eye corners' distance", "box": "sqrt(w h) of the face's box"}


def page(model: str, released: tuple[str, ...]) -> str:
    """The card of one network; ``released``: names of its packaged files, variant and all."""
    names = [n for n in zoo.available() if n in released]
    cards = {name: read_card(zoo.path(name)) for name in names}
    first = cards[f"{model}_{zoo.DEFAULT_VARIANT}"]
    training = read_json(HERE / model / "training.json")
    scored = [load_parity(path)[0] for path in sorted((HERE / model).glob("*_*.json"))]
    parts = [
        f"# {model}",
        f"{TITLES[first.network]}: {first.parameters:,} parameters, {first.macs / 1e6:.0f} MMAC a face, version "
        f"{first.version}. Landmarks, head pose and each point's spread from one {first.input.shape[1]} px "
        f"{'gray' if first.input.channels == 1 else 'RGB'} crop.",
        "## Files",
        table(
            ["file", "points", "KB", "sha256"],
            [
                [f"`{n}.tflite`", c.markup, f"{zoo.path(n).stat().st_size / 1000:.0f}", f"`{sha256(zoo.path(n))}`"]
                for n, c in cards.items()
            ],
        ),
        _contract(first),
        "## Scores",
        *[_scores(one) for one in scored],
        "## Training",
        _training(training["float"], training["qat"]),
        "## For what, and for what not",
        _uses(training["float"]["config"]["augment"]),
        f"![The worst of {SEARCHED} rendered test faces]({model}_failures.jpg)",
        f"*The {WORST} worst of {SEARCHED} rendered test faces, by NME: the truth in white, the answer in colour.*",
    ]
    return "\n\n".join(parts) + "\n"


USES = """
For overlays, gaze and attention aids, driver and photo tools on a device, on faces that a detector has found. Not for
identifying people, nor for judging anybody's character, health or intentions; nothing here was tested for that.

- **Extreme pose.** The table by |yaw| says what profiles cost. Beyond 90 degrees, and for faces upside down, nothing
  was measured; in-plane turns were trained to {rotation_deg:g} degrees either way: turn the crop first.
- **Occlusion.** Hands, masks and hair were trained with drawn and pasted covers, not with photographs of them. How far
  `spread` tells a covered point is not measured.
- **Children, skin, age.** The training sets are web photographs, mostly of adults and of celebrities; no set here has
  labels of age or skin tone, so their errors by group are not measured.
- **Small or blurred faces.** Trained down to {low_res:.0f} % of the crop's resolution; errors by size are not measured.
- The training photographs' terms are for research; whether weights trained on them may be sold is a question for a
  lawyer, not for this page. Training on your own faces takes one command.
"""


def _uses(augment: dict[str, Any]) -> str:
    return USES.strip().format(rotation_deg=augment["rotation_deg"], low_res=100 * augment["low_res_min"])


def _contract(card: Card) -> str:
    quantised = "" if card.input.scale is None else f" (scale {card.input.scale:g}, zero point {card.input.zero_point})"
    outputs = ", ".join(f"`{role}` {tuple(output.shape)}" for role, output in card.outputs.items())
    return (
        f"Input `image` {tuple(card.input.shape)} {card.input.dtype}{quantised}, raw 0 to 255; crop: {card.crop.rule}, "
        f"{card.crop.scale:g} times the longer side of the face's box. Outputs: {outputs}. {card.angles}"
    )


def _scores(scored: Any) -> str:
    rows = {row["variant"]: row for row in scored.rows}
    whole, int8 = rows["float"]["scores"], rows["int8_qat"]["scores"]
    truth, answers = whole["markup"], whole["predicted_markup"]
    skipped = "; ".join(f"{n} {why}" for why, n in whole["skipped"].items())
    text = (
        f"**{SETS[scored.set]}** ({whole['n']} faces, {truth}{'' if truth == answers else f' by the {answers} head'}"
        f"{f'; skipped: {skipped}' if skipped else ''}). NME is in percent of "
        f"{NORMALISERS.get(whole['normalizer'], whole['normalizer'].replace('_', ' '))}."
    )
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
    return f"{text}\n\n{table(head, lines)}"


def _pose(scores: dict[str, Any]) -> list[str]:
    pose = scores["pose"]
    # A mean over the yaw alone is no pose.
    mean = pose["mean"] if pose["roll"] is not None else None
    return [_figure(value) for value in (*(pose[a] for a in ANGLES), mean, pose["geodesic"])]


def _training(float_run: dict[str, Any], twin: dict[str, Any]) -> str:
    config = float_run["config"]
    total = sum(s["weight"] for s in float_run["sources"])
    sources = [
        [s["name"] + _copied(s), f"{s['faces']:,}", f"{100 * s['weight'] / total:.0f} %"] for s in float_run["sources"]
    ]
    terms = sorted({TERMS[s["set"]] for s in config["sources"]})
    return "\n\n".join(
        [
            f"{config['steps']:,} steps of {config['batch_size']} faces in {float_run['seconds'] / 60:.0f} minutes on "
            f"{_cores(float_run['machine']['cpus'])} (`configs/{config['name']}.toml`"
            f"{_begun(float_run)}), then {twin['steps']} steps "
            "quantisation-aware, learning from the float network alone.",
            table(["source", "faces", "share"], sources),
            _choices(float_run),
            "Terms of the data: " + "; ".join(terms) + ".",
        ]
    )


def _cores(count: int) -> str:
    return f"{count} CPU core" + ("s" if count > 1 else "")


def _copied(source: dict[str, Any]) -> str:
    # Runs of before poses were evened do not count what is drawn.
    return ", rare poses more often" if source.get("drawn", source["faces"]) > source["faces"] else ""


def _begun(run: dict[str, Any]) -> str:
    if not run["config"]["init"]:
        return ""
    # Older runs did not record the network: its name is the file's.
    digest, before = run.get("begun_from_sha256"), run.get("begun_from") or Path(run["config"]["init"]).stem
    whose = (
        "this network" if before == run["config"]["network"] else f"`{before}`, which grew (`edgeface/models/grow.py`)"
    )
    return f", from earlier weights of {whose}" + (f" (SHA-256 `{digest[:8]}`…)" if digest else "")


def _laid(float_run: dict[str, Any]) -> str:
    """Of heads laid by their outline; runs that do not count what is drawn are of before and learned from others."""
    if not all("drawn" in source for source in float_run["sources"]):
        return ""
    # Runs of before their records held the constants: those of then, which are the code's still.
    used = float_run.get("laid_heads", {"along": fit.ALONG, "raised_deg": fit.RAISED_DEG})
    text = (
        f", how little a contour point's place along the outline counts (`ALONG`, `fit.py` beside it, {used['along']:g}"
        f"), by how much a frontal head is laid too high (`RAISED_DEG`, {used['raised_deg']:g} degrees)"
    )
    if "profile_nod_deg" in used:
        nod = f"{used['profile_nod_deg']:g} degrees, `results/profile_nod.json`"
        text += f", by how much its pitch in profile is labelled higher than it is laid (`PROFILE_NOD_DEG`, {nod})"
    return text


def _choices(float_run: dict[str, Any]) -> str:
    """What the watched faces of AFLW2000-3D chose; what it says of the head is the code's as it stands."""
    config = float_run["config"]
    text = "AFLW2000-3D's faces above were watched as the runs went, and chose between recipes"
    if any(source["turned"] or source["fit_3d"] for source in config["sources"]):
        text += (
            ". They also chose how the head that is laid over photographs differs from the rendered ones "
            f"(`edgeface/datasets/profile_views/model.py`): its depth (`RELIEF`, {head.RELIEF:g} times theirs), how far the "
            f"jaw's angle lies back (`JAW_BACK_CM`, {head.JAW_BACK_CM:g} cm), how far the chin's point lies under the "
            f"chin (`CHIN_BACK_CM`, {head.CHIN_BACK_CM:g} cm), the zero of its pitch (`ZERO_PITCH_DEG`, "
            f"{head.ZERO_PITCH_DEG:g} degrees){_laid(float_run)} and where 300W-LP's points lie on it "
            "(`LABEL_SHIFTS_CM`, "
            f"{len(head.LABEL_SHIFTS_CM)} groups of points; `results/labels.json` tries such shifts on the half of "
            "the faces that did not choose them)"
        )
    return f"{text}: scores on them know that much about them. No test face of another set chose anything."


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

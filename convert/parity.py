"""Every converted file against its float model, in the task's units, on the same faces.

A bound is on *worsening*: an int8 file that scores better than float passes; a float file must also give float's
answers, since nothing in it may differ but rounding. How far its answers are from the float model's
own (``landmark_shift``, ``pose_shift_deg``) is reported beside it, as is every difference by yaw bin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeface import metrics
from edgeface.card import read_card
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError
from edgeface.geometry import Box, square_crop
from edgeface.headpose import ANGLES, geodesic_deg
from edgeface.markup import Protocol
from edgeface.training.evaluate import PreparedFaces, Scores, check_markup, prepare, score
from edgeface.training.networks import Network, load_network

CHUNK = 32


@dataclass(frozen=True)
class Bound:
    """How much worse than float32 a file may be."""

    nme_points: float
    pose_deg: float
    jitter: float
    """As a fraction of float32's."""
    shift: float | None = None
    """How far its landmarks may be from float32's, percent of the crop's width; None: as far as the scores allow."""


_INT8 = Bound(0.05, 0.1, 0.05)
BOUNDS: dict[str, Bound] = {
    # The same arithmetic in another program: whatever is left is rounding.
    "float32": Bound(0.001, 0.002, 0.001, 0.01),
    "float16": Bound(0.01, 0.02, 0.01, 0.1),
    "dynamic": _INT8,
    "int8_ptq": _INT8,
    "int8_qat": _INT8,
    "int8_logits": _INT8,
}
"""A file that misses its bound is mended, not its bound: a looser one is never the fix."""
MIN_BIN_FACES = 50
"""Yaw bins with fewer faces are reported and not judged: there one face moves the mean by more than the bound."""


@dataclass(frozen=True)
class Shaken:
    """Crops of faces whose boxes were shaken, to see how steady the landmarks are."""

    crops: np.ndarray
    """(N * R, S, S, C) uint8, the R shakes of a face together."""
    frames: tuple
    box_size_px: np.ndarray
    """(N,)."""


@dataclass(frozen=True)
class BinDelta:
    low_deg: float
    high_deg: float
    n: int
    nme: float | None
    nme_delta: float | None
    pose_delta: float | None
    geodesic_delta: float | None


@dataclass(frozen=True)
class Parity:
    """One file. Deltas are its score less float's: positive is worse. NME in percent points, angles in degrees."""

    file: str
    variant: str
    scores: Scores
    nme_delta: float
    nme_delta_sem: float
    """Standard error of the paired difference."""
    pose_delta: dict[str, float | None]
    """yaw, pitch, roll, mean; None where the set has no such label."""
    geodesic_delta: float | None
    by_yaw: tuple[BinDelta, ...]
    jitter: float
    """Percent of the box, 2 % shake."""
    jitter_change: float
    """As a fraction of float's."""
    landmark_shift: float
    """Mean distance from float's landmarks, percent of the crop's width."""
    pose_shift_deg: float | None
    """Mean geodesic distance from float's pose."""
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        scores = self.scores.as_dict(per_face=False)
        scores.pop("ced")
        bins = [vars(b) for b in self.by_yaw]
        return {**vars(self), "scores": scores, "by_yaw": bins, "failures": list(self.failures), "passed": self.passed}


def parity(
    model: str | Path,
    files: Sequence[str | Path],
    samples: Sequence[FaceSample],
    protocol: Protocol,
    *,
    jitter_faces: int = 32,
    shakes: int = 8,
    report: Callable[[str], None] = lambda text: None,
) -> list[Parity]:
    """The float model first (against itself: all zero), then every file. InputError: no file, or they do not belong."""
    if not files:
        raise InputError("at least one .tflite must be given. Received: none")
    cards = [read_card(file) for file in files]
    stages = {card.stages for card in cards}
    markups = {card.markup for card in cards}
    if len(stages) > 1 or len(markups) > 1:
        raise InputError(f"files must have one markup and number of stages. Received: {sorted(markups)}, {stages}")
    reference = load_network(model, markups.pop(), stages.pop())
    check_markup(reference.markup, protocol)
    faces = prepare(samples, protocol, reference.side, reference.channels, reference.crop_scale)
    shaken = shake(samples, reference, jitter_faces, shakes)
    report("scoring the float model")
    base = _answers(reference, faces, shaken)
    rows = [_compare(Path(model).name, "float", base, base, faces, shaken, reference)]
    for file, card in zip(files, cards, strict=True):
        report(f"scoring {card.variant}")
        network = load_network(file)
        same = (network.side, network.channels, network.crop_scale, network.markup)
        expected = (reference.side, reference.channels, reference.crop_scale, reference.markup)
        if same != expected:
            raise InputError(f"{file} must take and give what {model} does, {expected}. Received: {same}")
        rows.append(
            _compare(Path(file).name, card.variant, _answers(network, faces, shaken), base, faces, shaken, network)
        )
    return rows


def shake(samples: Sequence[FaceSample], network: Network, faces: int, shakes: int, seed: int = 0) -> Shaken:
    """Crops of the first faces, ``shakes`` each: the box's centre and size moved by 2 % (std) of its longer side."""
    if faces < 1 or shakes < 2:
        raise InputError(f"jitter needs at least 1 face and 2 shakes. Received: {faces} and {shakes}")
    rng = np.random.default_rng(seed)
    crops, frames, sizes = [], [], []
    for sample in samples[:faces]:
        image = sample.load()
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if network.channels == 1 else image
        longer = max(sample.box.width, sample.box.height)
        sizes.append(sample.box.size)
        for dx, dy, grow in 0.02 * longer * rng.standard_normal((shakes, 3)):
            x0, y0, x1, y1 = sample.box.as_xyxy()
            box = Box(x0 + dx - grow / 2, y0 + dy - grow / 2, x1 + dx + grow / 2, y1 + dy + grow / 2)
            frames.append(square_crop(box, network.crop_scale))
            crop = frames[-1].extract(image, network.side)
            crops.append(crop.reshape(network.side, network.side, network.channels))
    return Shaken(np.stack(crops), tuple(frames), np.array(sizes))


@dataclass(frozen=True)
class _Answers:
    faces: dict[str, np.ndarray]
    shaken: np.ndarray


def _answers(network: Network, faces: PreparedFaces, shaken: Shaken) -> _Answers:
    from rich.progress import track

    parts = []
    everything = [faces.crops[i : i + CHUNK] for i in range(0, len(faces), CHUNK)]
    for crops in track(everything, description=f"  {network.name}", transient=True):
        parts.append(network.infer_batch(crops))
    answers = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return _Answers(answers, network.infer_batch(shaken.crops)["landmarks"])


def _compare(
    file: str, variant: str, own: _Answers, base: _Answers, faces: PreparedFaces, shaken: Shaken, network: Network
) -> Parity:
    scores = score(own.faces, faces, network.markup, network.name)
    reference = score(base.faces, faces, network.markup, "float")
    paired = scores.nme_per_face - reference.nme_per_face
    pose_delta = {key: _less(getattr(scores.pose, key), getattr(reference.pose, key)) for key in (*ANGLES, "mean")}
    by_yaw = tuple(
        BinDelta(
            a.low_deg, a.high_deg, a.n, a.nme, _less(a.nme, b.nme), _less(a.pose.mean, b.pose.mean),
            _less(a.pose.geodesic, b.pose.geodesic),
        )
        for a, b in zip(scores.by_yaw, reference.by_yaw, strict=True)
    )  # fmt: skip
    jitter = _jitter(own.shaken, shaken)
    base_jitter = _jitter(base.shaken, shaken)
    poses = (own.faces.get("pose"), base.faces.get("pose"))
    shift = np.linalg.norm(own.faces["landmarks"] - base.faces["landmarks"], axis=-1).mean()
    figures = {
        "nme_delta": float(paired.mean()),
        "pose_delta": pose_delta,
        "by_yaw": by_yaw,
        "landmark_shift": 100 * float(shift),
        "jitter_change": jitter / base_jitter - 1 if base_jitter > 0 else 0.0,
    }
    return Parity(
        file=file,
        variant=variant,
        scores=scores,
        nme_delta_sem=float(paired.std(ddof=1) / np.sqrt(len(paired))) if len(paired) > 1 else 0.0,
        geodesic_delta=_less(scores.pose.geodesic, reference.pose.geodesic),
        jitter=100 * jitter,
        pose_shift_deg=None if poses[0] is None or poses[1] is None else float(geodesic_deg(*poses).mean()),
        failures=judge(BOUNDS[variant], **figures) if variant in BOUNDS else (),
        **figures,
    )


def judge(
    bound: Bound,
    nme_delta: float,
    pose_delta: dict[str, float | None],
    by_yaw: Sequence[BinDelta],
    jitter_change: float,
    landmark_shift: float = 0.0,
) -> tuple[str, ...]:
    """What is worse than the bound allows, in words; () where nothing is."""
    checks = [
        ("NME", nme_delta, bound.nme_points, "points"),
        ("pose MAE", pose_delta["mean"], bound.pose_deg, "degrees"),
    ]
    for b in by_yaw:
        if b.n >= MIN_BIN_FACES:
            where = f"at |yaw| {b.low_deg:g} to {b.high_deg:g}"
            checks += [(f"NME {where}", b.nme_delta, bound.nme_points, "points")]
            checks += [(f"pose MAE {where}", b.pose_delta, bound.pose_deg, "degrees")]
    checks.append(("jitter", 100 * jitter_change, 100 * bound.jitter, "% of float's"))
    failures = [
        f"{what} worse by {delta:.3f} {unit}, allowed {limit:g}"
        for what, delta, limit, unit in checks
        if delta is not None and delta > limit
    ]
    if bound.shift is not None and landmark_shift > bound.shift:
        failures.append(f"landmarks {landmark_shift:.3f} % of the crop off float's, allowed {bound.shift:g}")
    return tuple(failures)


def table(rows: Sequence[Parity]) -> str:
    """For the terminal."""
    first = rows[0].scores
    skipped = "; ".join(f"{n} {why}" for why, n in first.skipped.items()) or "none"
    lines = [
        f"{first.n} faces of {first.protocol}, NME % of {first.normalizer.replace('_', '-')}; skipped: {skipped}; pose "
        f"labels on {first.pose.n}",
        f"{'file':<34}{'NME':>7}{'delta':>8}{'+-':>7}{'pose':>7}{'delta':>8}{'geo':>7}{'jitter':>8}{'change':>8}"
        "  result",
    ]
    for row in rows:
        pose = row.scores.pose
        result = (
            "reference" if row.variant not in BOUNDS else "pass" if row.passed else "FAIL: " + "; ".join(row.failures)
        )
        lines.append(
            f"{row.file:<34}{row.scores.nme:>7.3f}{row.nme_delta:>+8.3f}{row.nme_delta_sem:>7.3f}"
            f"{_figure(pose.mean, 7, 2)}{_figure(row.pose_delta['mean'], 8, 3, '+')}{_figure(pose.geodesic, 7, 2)}"
            f"{row.jitter:>8.3f}{100 * row.jitter_change:>+7.1f}%  {result}"
        )
    return "\n".join(lines)


def _jitter(landmarks: np.ndarray, shaken: Shaken) -> float:
    count = len(shaken.box_size_px)
    px = np.stack([frame.to_image(points) for frame, points in zip(shaken.frames, landmarks, strict=True)])
    return metrics.jitter(px.reshape(count, -1, *px.shape[1:]), shaken.box_size_px)


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _figure(value: float | None, width: int, digits: int, sign: str = "") -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{sign}{width}.{digits}f}"

"""Every converted file against its float model, in the task's units, on the same faces.

What is judged, and how strictly, is in `edgeface.convert.tolerances`. Scores are bounded from one side (a file that
scores better than float passes) and by yaw bin; answers are compared with the float model's own, since a file may score
alike and answer otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeface.box import Box
from edgeface.card import Card, read_card
from edgeface.convert.overflow import activation_overflow
from edgeface.convert.tolerances import BOUNDS, BinDelta, Check, checks, failures, mistaken_angles
from edgeface.convert.worst_faces import save_worst
from edgeface.crop import square_crop
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError
from edgeface.evaluation import metrics
from edgeface.evaluation.evaluate import PreparedFaces, Scores, check_markup, prepare, score
from edgeface.evaluation.figures import figure
from edgeface.evaluation.networks import Network, load_network
from edgeface.evaluation.protocols import Protocol
from edgeface.files import sha256
from edgeface.head_pose import ANGLES, geodesic_deg
from edgeface.progress import track

__all__ = [
    "Parity",
    "ParityRun",
    "WorstFace",
    "shake",
    "table",
]

log = logging.getLogger("edgeface")

CHUNK = 32
WORST = 3
OVERFLOW_FACES = 16
"""Whose activations a float16 file is checked on: its slowest kernels and every tensor are kept."""


@dataclass(frozen=True)
class Shaken:
    """Crops of faces whose boxes were shaken, to see how steady the landmarks are."""

    crops: np.ndarray
    """(N * R, S, S, C) uint8, the R shakes of a face together."""
    frames: tuple
    box_size_px: np.ndarray
    """(N,)."""


@dataclass(frozen=True)
class WorstFace:
    """A face that a file does worse than float, NME in percent points."""

    id: str
    nme: float
    float_nme: float
    nme_delta: float
    index: int
    """Among the faces that were scored."""


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
    """Change of the jitter, as a fraction of float's."""
    landmark_shift: float
    """Mean distance from float's landmarks, percent of the crop's width."""
    pose_shift_deg: float | None
    """Mean geodesic distance from float's pose."""
    pose_shift: dict[str, float] | None
    """yaw, pitch, roll: mean distance of each from float's."""
    worst: tuple[WorstFace, ...]
    checks: tuple[Check, ...]
    """What was judged, each with its tolerance; () for the float model itself."""
    failures: tuple[str, ...]
    flatbuffer_sha256: str | None = None
    """SHA-256 of the file that was scored: a report of another one must not show these figures."""

    @property
    def passed(self) -> bool:
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        scores = self.scores.as_dict(per_face=False)
        # Every fifth point, 41 in all: enough to draw.
        scores["ced"] = {key: values[::5] for key, values in scores["ced"].items()}
        return {
            **vars(self),
            "scores": scores,
            "by_yaw": [vars(b) for b in self.by_yaw],
            "worst": [vars(w) for w in self.worst],
            "checks": [c.as_dict() for c in self.checks],
            "failures": list(self.failures),
            "passed": self.passed,
        }


@dataclass(frozen=True)
class ParityRun:
    """A float model and the converted files that are compared with it, loaded once for any number of sets."""

    model: Path
    reference: Network
    files: tuple[tuple[Path, Card, Network], ...]

    @property
    def markup(self) -> str:
        """What the files predict; the float model is asked for the same."""
        return self.reference.markup

    @classmethod
    def load(cls, model: str | Path, files: Sequence[str | Path]) -> ParityRun:
        """Reads the model and the files.

        InputError: no file, files that differ in markup or stages, that do not take and give what the model does, or
        that were converted from another one.

        Args:
            model: the float `.keras` file.
            files: `.tflite` files that were converted from it.
        """
        if not files:
            raise InputError("at least one .tflite must be given. Received: none")
        cards = [read_card(file) for file in files]
        stages = {card.stages for card in cards}
        markups = {card.markup for card in cards}
        if len(stages) > 1 or len(markups) > 1:
            raise InputError(f"files must have one markup and number of stages. Received: {sorted(markups)}, {stages}")
        for file, card in zip(files, cards, strict=True):
            if not {"landmarks", "maps"} & set(card.outputs):
                raise InputError(f"{file} must give landmarks to be scored. Received: {', '.join(card.outputs)}")
        reference = load_network(model, markups.pop(), stages.pop())
        known = {None, sha256(model)}
        if Path(model).suffix == ".keras":
            from edgeface.models.io import read_info

            known.add(read_info(model).get("halved_from"))
        loaded = []
        for file, card in zip(files, cards, strict=True):
            network = load_network(file)
            same = (network.side, network.channels, network.crop_scale, network.markup)
            expected = (reference.side, reference.channels, reference.crop_scale, reference.markup)
            if same != expected:
                raise InputError(f"{file} must take and give what {model} does, {expected}. Received: {same}")
            if card.float_sha256 not in known:
                raise InputError(
                    f"{file} must be converted from {model}. Received: one of a model {card.float_sha256[:12]}…"
                )
            loaded.append((Path(file), card, network))
        return cls(Path(model), reference, tuple(loaded))

    def score(
        self,
        samples: Sequence[FaceSample],
        protocol: Protocol,
        *,
        jitter_faces: int = 32,
        shakes: int = 8,
        pictures: Path | None = None,
    ) -> list[Parity]:
        """The float model first (compared with itself: all zero), then every file. InputError: the markups differ.

        Args:
            samples: the faces.
            protocol: how they are scored.
            jitter_faces: how many of them are shaken to see how steady the landmarks are.
            shakes: how often each of these is.
            pictures: a folder for pictures of the worst faces; None: none are drawn.
        """
        reference = self.reference
        check_markup(reference.markup, protocol)
        faces = prepare(samples, protocol, reference.side, reference.channels, reference.crop_scale)
        shaken = shake(samples, reference, jitter_faces, shakes)
        log.info("scoring the float model")
        base = _answers(reference, faces, shaken)
        rows = [_compare(self.model.name, "float", base, base, faces, shaken, reference)]
        for file, card, network in self.files:
            log.info("scoring %s", card.variant)
            own = _answers(network, faces, shaken)
            row = _compare(file.name, card.variant, own, base, faces, shaken, network)
            row = replace(row, flatbuffer_sha256=card.flatbuffer_sha256)
            if card.variant == "float16":
                overflow = activation_overflow(file, faces.crops[:OVERFLOW_FACES])
                row = replace(row, failures=row.failures + overflow)
            rows.append(row)
            if pictures is not None:
                save_worst(pictures / f"{protocol.name}_{file.stem}", row.worst, faces, base.faces, own.faces)
        return rows


def shake(samples: Sequence[FaceSample], network: Network, faces: int, shakes: int, seed: int = 0) -> Shaken:
    """Crops of the first faces, ``shakes`` each: the box's center and size moved by 2 % (std) of its longer side.

    Args:
        samples: the faces.
        network: whose input they are cut for.
        faces: how many of them.
        shakes: how often each.
        seed: of the draws.
    """
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
    parts = []
    everything = [faces.crops[i : i + CHUNK] for i in range(0, len(faces), CHUNK)]
    for crops in track(everything, f"  {network.name}", at_least=1):
        parts.append(network.infer_batch(crops))
    answers = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    if bad := [key for key, values in answers.items() if not np.isfinite(values).all()]:
        raise InputError(
            f"{network.name} must answer with finite numbers. Received: NaN or infinity in {', '.join(bad)}"
        )
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
            {angle: _less(getattr(a.pose, angle), getattr(b.pose, angle)) for angle in ANGLES},
        )
        for a, b in zip(scores.by_yaw, reference.by_yaw, strict=True)
    )  # fmt: skip
    jitter = jitter_of(own.shaken, shaken)
    base_jitter = jitter_of(base.shaken, shaken)
    pose, base_pose = own.faces.get("pose"), base.faces.get("pose")
    if (pose is None) != (base_pose is None):
        # A file may be converted without the pose; nothing is compared then.
        pose = base_pose = None
    shift = np.linalg.norm(own.faces["landmarks"] - base.faces["landmarks"], axis=-1).mean()
    off = None if pose is None else dict(zip(ANGLES, np.abs(pose - base_pose).mean(axis=0).tolist(), strict=True))
    figures = {
        "nme_delta": float(paired.mean()),
        "pose_delta": pose_delta,
        "by_yaw": by_yaw,
        "landmark_shift": 100 * float(shift),
        "jitter_change": jitter / base_jitter - 1 if base_jitter > 0 else 0.0,
        "pose_shift": off,
    }
    bound = BOUNDS.get(variant)
    judged = checks(bound, **figures) if bound else ()
    mistaken = mistaken_angles(pose, base_pose, bound.pose_shift_deg) if bound and pose is not None else None
    return Parity(
        file=file,
        variant=variant,
        scores=scores,
        nme_delta_sem=float(paired.std(ddof=1) / np.sqrt(len(paired))) if len(paired) > 1 else 0.0,
        geodesic_delta=_less(scores.pose.geodesic, reference.pose.geodesic),
        jitter=100 * jitter,
        pose_shift_deg=None if pose is None else float(geodesic_deg(pose, base_pose).mean()),
        worst=() if bound is None else _worst(scores, reference),
        checks=judged,
        failures=failures(judged, mistaken),
        **figures,
    )


def _worst(scores: Scores, reference: Scores) -> tuple[WorstFace, ...]:
    """The faces that lost most, the worst first."""
    own, base = scores.nme_per_face, reference.nme_per_face
    order = np.argsort(base - own, kind="stable")[:WORST]
    return tuple(
        WorstFace(scores.ids[i], float(own[i]), float(base[i]), float(own[i] - base[i]), int(i)) for i in order
    )


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
            f"{figure(pose.mean, 7, 2)}{figure(row.pose_delta['mean'], 8, 3, '+')}{figure(pose.geodesic, 7, 2)}"
            f"{row.jitter:>8.3f}{100 * row.jitter_change:>+7.1f}%  {result}"
        )
    return "\n".join([*lines, *_details(rows)])


def _details(rows: Sequence[Parity]) -> list[str]:
    """Deltas by angle and by yaw bin, the worst face, and what each file was held to."""
    bins = rows[0].by_yaw
    head = "".join(f"{angle:>8}" for angle in ANGLES)
    head += "".join(f"{f'{b.low_deg:g}-{b.high_deg:g} ({b.n})':>16}" for b in bins)
    by_yaw = f"{'NME, pose MAE by |yaw|':>{16 * len(bins)}}" if bins else ""
    lines = [f"{'delta of':<34}{'pose MAE':>24}{by_yaw}", f"{'':<34}{head}  worst face"]
    for row in rows:
        if not row.worst:
            continue
        cells = "".join(figure(row.pose_delta[angle], 8, 3, "+") for angle in ANGLES)
        for b in row.by_yaw:
            cells += f"{figure(b.nme_delta, 8, 3, '+')}{figure(b.pose_delta, 8, 3, '+')}"
        lines.append(f"{row.file:<34}{cells}  {row.worst[0].nme_delta:+.2f} {row.worst[0].id}")
    for bound in dict.fromkeys(BOUNDS[row.variant] for row in rows if row.variant in BOUNDS):
        names = ", ".join(row.variant for row in rows if BOUNDS.get(row.variant) == bound)
        lines.append(
            f"{names} held to: NME {bound.nme_points:g} points (a yaw bin {bound.bin_nme_points:g}), pose MAE "
            f"{bound.pose_deg:g} degrees, jitter {100 * bound.jitter:g} %, from float's answers {bound.shift:g} % of "
            f"the crop and {bound.pose_shift_deg:g} degrees"
        )
    return lines


def jitter_of(landmarks: np.ndarray, shaken: Shaken) -> float:
    """Fraction of the box. landmarks: (N * R, K, 2) in the shaken crops' [0, 1]."""
    count = len(shaken.box_size_px)
    px = np.stack([frame.to_image(points) for frame, points in zip(shaken.frames, landmarks, strict=True)])
    return metrics.jitter(px.reshape(count, -1, *px.shape[1:]), shaken.box_size_px)


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b

"""Scores of a network on annotated faces, by the dataset's own protocol; nothing is dropped without being counted."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edgeface.crop import Crop, square_crop
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError, must_be_one_of
from edgeface.evaluation import metrics
from edgeface.evaluation.figures import figure
from edgeface.evaluation.networks import SAME_INDICES, Network
from edgeface.evaluation.protocols import PROTOCOLS, Protocol, normalization
from edgeface.head_pose import ANGLES, geodesic_deg
from edgeface.markup import IBUG68, MARKUPS
from edgeface.progress import track

PROGRESS_FROM = 300
"""Faces from which a progress bar is shown."""


@dataclass(frozen=True)
class PreparedFaces:
    """Faces that can be scored, cut out for one network's input."""

    crops: np.ndarray
    """(N, side, side, channels) uint8."""
    frames: tuple[Crop, ...]
    landmarks_px: np.ndarray
    """(N, K, 2) truth in the image's pixels, NaN unknown."""
    visible: np.ndarray
    """(N, K) bool: what counts."""
    normalizer_px: np.ndarray
    """(N,)."""
    pose_deg: np.ndarray
    """(N, 3), NaN unknown."""
    ids: tuple[str, ...]
    skipped: dict[str, int]
    """{reason: number of faces}."""
    protocol: Protocol

    def __len__(self) -> int:
        return len(self.ids)

    def in_yaw_bins(self) -> np.ndarray:
        """(bins, N) bool by |yaw|: bins are (low, high], the first from 0, the last without end. No bins where no face
        has a yaw."""
        yaw, edges = np.abs(self.pose_deg[:, 0]), self.protocol.yaw_bins_deg
        if not np.isfinite(yaw).any():
            return np.zeros((0, len(self)), bool)
        bins = np.searchsorted(edges[1:-1], yaw, side="left")
        return (np.arange(len(edges) - 1)[:, None] == bins) & np.isfinite(yaw)

    def beyond_pose_limit(self) -> np.ndarray:
        """(N,) bool: an angle beyond what the protocol scores."""
        limit = self.protocol.pose_limit_deg
        return (np.abs(np.nan_to_num(self.pose_deg)) > (np.inf if limit is None else limit)).any(axis=1)


@dataclass(frozen=True)
class PoseScores:
    """Degrees. An angle that no face has is None; geodesic needs all three."""

    n: int
    skipped: dict[str, int]
    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    mean: float | None = None
    """Mean of the known angles' errors."""
    geodesic: float | None = None


@dataclass(frozen=True)
class YawBin:
    low_deg: float
    high_deg: float
    """The last bin also takes what is above it."""
    n: int
    nme: float | None
    pose: PoseScores


@dataclass(frozen=True)
class Scores:
    """NME, failure rate and AUC in percent."""

    model: str
    dataset: str
    protocol: str
    markup: str
    """Markup of the annotations."""
    predicted_markup: str
    """Markup of the network: may differ from ``markup`` where both number the same points."""
    normalizer: str
    threshold: float
    n: int
    skipped: dict[str, int]
    nme: float
    failure_rate: float
    auc: float
    pose: PoseScores
    by_yaw: tuple[YawBin, ...]
    mean_of_bins: float | None
    """NME, the mean of the yaw bins' means (AFLW2000-3D); None where a bin is empty or yaw unknown."""
    ced_errors: np.ndarray
    """Fractions, 0 to the threshold."""
    ced_shares: np.ndarray
    nme_per_face: np.ndarray
    """(N,) percent, in the order of ``ids``."""
    ids: tuple[str, ...]

    def as_dict(self, per_face: bool = True) -> dict[str, Any]:
        """JSON-ready."""
        plain = _plain(self)
        plain["ced"] = {"errors": plain.pop("ced_errors"), "shares": plain.pop("ced_shares")}
        faces, values = plain.pop("ids"), plain.pop("nme_per_face")
        return plain | ({"faces": dict(zip(faces, values, strict=True))} if per_face else {})

    def table(self) -> str:
        """For the terminal."""
        cross = "" if self.markup == self.predicted_markup else f" (predicted: {self.predicted_markup})"
        lines = [
            f"{self.model} on {self.dataset}, protocol {self.protocol}: {self.n} faces, {self.markup}{cross}",
            f"  NME {self.nme:.3f} % of {self.normalizer.replace('_', '-')}"
            f"   FR@{self.threshold:g} {self.failure_rate:.2f} %   AUC@{self.threshold:g} {self.auc:.2f} %",
            f"  pose {_pose_text(self.pose)}",
        ]
        if self.by_yaw:
            lines.append(f"  {'|yaw|':>8}  {'n':>5}  {'NME %':>7}  {'MAE deg':>7}  {'geodesic':>8}")
            for b in self.by_yaw:
                figures = (figure(b.nme, 7, 3), figure(b.pose.mean, 7, 2), figure(b.pose.geodesic, 8, 2))
                lines.append(f"  {f'{b.low_deg:g}-{b.high_deg:g}':>8}  {b.n:>5}  {'  '.join(figures)}")
            lines.append(f"  {'mean of bins':>15}  {figure(self.mean_of_bins, 7, 3)}")
        if self.skipped:
            lines.append("  skipped: " + "; ".join(f"{n} {reason}" for reason, n in self.skipped.items()))
        if self.pose.skipped:
            lines.append("  no pose score: " + "; ".join(f"{n} {reason}" for reason, n in self.pose.skipped.items()))
        return "\n".join(lines)


def evaluate(network: Network, samples: Sequence[FaceSample], protocol: Protocol, dataset: str = "") -> Scores:
    """Cuts the faces out, runs the network and scores it. InputError: no face can be scored, or the markups differ.

    Args:
        network: from `load_network`.
        samples: the faces.
        protocol: how they are scored.
        dataset: the set's name, for tables.
    """
    check_markup(network.markup, protocol)
    faces = prepare(samples, protocol, network.side, network.channels, network.crop_scale)
    predicted = run(network, faces)
    return score(predicted, faces, network.markup, network.name, dataset or "+".join(_names(samples)))


def protocol_for(
    name: str, samples: Sequence[FaceSample], has: Sequence[str], wanted: str | None = None
) -> tuple[Protocol, str]:
    """(protocol, markup to predict) for a set and a network that ``has`` these markups.

    The set's own protocol where the network has its markup (or one with the same indices), else another of the set's
    protocols that fits, else its own on a markup that the faces and the network share. wanted: this markup and no
    other.
    """
    if wanted is not None and wanted not in MARKUPS:
        raise InputError(must_be_one_of("markup", MARKUPS, wanted))
    own = PROTOCOLS.get(name)
    if own is None and any(s.dataset == name for s in samples):
        own = Protocol(name, IBUG68, "box")  # faces of one's own: of any pose, so by the box
    if own is None or own.faces is not None:
        sets = [p.name for p in PROTOCOLS.values() if p.faces is None]
        raise InputError(must_be_one_of("set", sets, name))
    labelled = {m for s in samples for m in s.landmarks_px}
    candidates = [own, *(p for p in PROTOCOLS.values() if p.faces == name)]
    candidates += [dataclasses.replace(own, markup=MARKUPS[m]) for m in has]
    for protocol in candidates:
        truth = protocol.markup.name
        if wanted is not None and not any({wanted, truth} <= same for same in (*SAME_INDICES, {wanted})):
            continue
        # The same indices count as the same markup, on either side, exact matches first.
        family = next((same for same in SAME_INDICES if truth in same), {truth})
        predicted = next((m for m in sorted(family, key=lambda m: m != (wanted or truth)) if m in has), None)
        scored = next((m for m in sorted(family, key=lambda m: m != truth) if m in labelled), None)
        if predicted and scored:
            markup = MARKUPS[scored]
            # Five points have no outer eye corners: the box serves instead, and the score says so.
            normalizer = protocol.normalizer if markup.eye_corners else "box"
            return dataclasses.replace(protocol, markup=markup, normalizer=normalizer), predicted
    needed = wanted or "a markup of the network"
    raise InputError(
        f"{name} must label {needed} ({', '.join(has)}). Received: {', '.join(sorted(labelled)) or 'none'}"
    )


def check_markup(predicted: str, protocol: Protocol) -> None:
    """InputError unless the network's points are the truth's, or number the same ones."""
    truth = protocol.markup.name
    if predicted != truth and not any({predicted, truth} <= same for same in SAME_INDICES):
        raise InputError(f"the network's markup must be {truth} to be scored by {protocol.name}. Received: {predicted}")


def prepare(
    samples: Sequence[FaceSample], protocol: Protocol, side: int, channels: int, crop_scale: float = 1.3
) -> PreparedFaces:
    """Images are read once, here. Faces that the protocol cannot score are counted by reason.

    Args:
        samples: the faces.
        protocol: what of them counts.
        side: of a crop in pixels.
        channels: 3 for RGB, 1 for gray.
        crop_scale: of the crop, in longer sides of the box.
    """
    markup = protocol.markup
    kept, frames, crops, normalizers, masks = [], [], [], [], []
    skipped: Counter[str] = Counter()
    for sample in track(samples, "reading faces"):
        reason, mask, normalizer = _scorable(sample, protocol)
        if reason:
            skipped[reason] += 1
            continue
        frame = square_crop(sample.box, crop_scale)
        image = sample.load()
        if channels == 1:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        crops.append(frame.extract(image, side).reshape(side, side, channels))
        kept.append(sample)
        frames.append(frame)
        masks.append(mask)
        normalizers.append(normalizer)
    if not kept:
        reasons = "; ".join(f"{n} {reason}" for reason, n in skipped.items()) or "an empty set"
        raise InputError(f"at least one face must have {markup.name} to be scored. Received: {reasons}")
    return PreparedFaces(
        np.stack(crops),
        tuple(frames),
        np.stack([s.landmarks_px[markup.name] for s in kept]),
        np.stack(masks),
        np.array(normalizers),
        np.stack([s.pose_deg for s in kept]),
        tuple(s.id for s in kept),
        dict(skipped),
        protocol,
    )


def run(network: Network, faces: PreparedFaces, chunk: int = 64) -> dict[str, np.ndarray]:
    """The network's outputs on all the crops, with progress where there are many.

    Args:
        network: from `load_network`.
        faces: from `prepare`.
        chunk: crops per call.
    """
    starts = range(0, len(faces), chunk)
    shown = track(starts, "running the network", at_least=PROGRESS_FROM // chunk)
    parts = [network.infer_batch(faces.crops[start : start + chunk]) for start in shown]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def score(
    predicted: dict[str, np.ndarray], faces: PreparedFaces, predicted_markup: str, model: str = "", dataset: str = ""
) -> Scores:
    """NME, failure rate, AUC and pose errors of answers that are there already.

    Args:
        predicted: landmarks (N, K, 2) in the crops' [0, 1] and perhaps pose (N, 3) degrees.
        faces: from `prepare`.
        predicted_markup: the network's.
        model: its name, for tables.
        dataset: the set's name, for tables.
    """
    protocol = faces.protocol
    pairs = zip(faces.frames, predicted["landmarks"], strict=True)
    landmarks_px = np.stack([frame.to_image(points) for frame, points in pairs])
    nme = metrics.nme(landmarks_px, faces.landmarks_px, faces.normalizer_px, faces.visible)
    errors, shares = metrics.ced(nme, protocol.threshold)
    everyone = np.ones(len(faces), bool)
    bins = _yaw_bins(nme, predicted.get("pose"), faces)
    filled = bool(bins) and all(b.n for b in bins)
    return Scores(
        model=model,
        dataset=dataset,
        protocol=protocol.name,
        markup=protocol.markup.name,
        predicted_markup=predicted_markup,
        normalizer=protocol.normalizer,
        threshold=protocol.threshold,
        n=len(faces),
        skipped=faces.skipped,
        nme=100 * float(nme.mean()),
        failure_rate=100 * metrics.failure_rate(nme, protocol.threshold),
        auc=100 * metrics.auc(nme, protocol.threshold),
        pose=_pose_scores(predicted.get("pose"), faces, everyone),
        by_yaw=bins,
        mean_of_bins=float(np.mean([b.nme for b in bins])) if filled else None,
        ced_errors=errors,
        ced_shares=shares,
        nme_per_face=100 * nme,
        ids=faces.ids,
    )


def _scorable(sample: FaceSample, protocol: Protocol) -> tuple[str, np.ndarray | None, float]:
    """(why it cannot be scored or "", mask (K,), normalizer in px)."""
    truth = sample.landmarks_px.get(protocol.markup.name)
    if truth is None:
        return f"without {protocol.markup.name}", None, 0.0
    mask = np.isfinite(truth).all(axis=1)
    if protocol.visible_only:
        mask &= sample.visible[protocol.markup.name]
    if not mask.any():
        return f"without a visible point of {protocol.markup.name}", None, 0.0
    size = float(normalization(protocol, truth[None], np.array([sample.box.size]))[0])
    if not (np.isfinite(size) and size > 0):
        return f"without a positive {protocol.normalizer} distance", None, 0.0
    return "", mask, size


def _pose_scores(predicted: np.ndarray | None, faces: PreparedFaces, chosen: np.ndarray) -> PoseScores:
    """Over the chosen faces (N,) bool, by the protocol's limit."""
    if not chosen.any():
        return PoseScores(0, {})
    if predicted is None:
        return PoseScores(0, {"as the network has no pose": int(chosen.sum())})
    truth = faces.pose_deg
    skipped: dict[str, int] = {}
    unlabelled = chosen & ~np.isfinite(truth).any(axis=1)
    if unlabelled.any():
        skipped["without a pose label"] = int(unlabelled.sum())
    chosen = chosen & ~unlabelled
    beyond = chosen & faces.beyond_pose_limit()
    if beyond.any():
        skipped[f"with an angle beyond {faces.protocol.pose_limit_deg:g} degrees"] = int(beyond.sum())
    chosen = chosen & ~beyond
    if not chosen.any():
        return PoseScores(0, skipped)
    mae = metrics.pose_mae(predicted[chosen], truth[chosen])
    whole = chosen & np.isfinite(truth).all(axis=1)
    angles = {name: float(e) if np.isfinite(e) else None for name, e in zip(ANGLES, mae, strict=True)}
    geodesic = float(geodesic_deg(predicted[whole], truth[whole]).mean()) if whole.any() else None
    return PoseScores(int(chosen.sum()), skipped, **angles, mean=float(np.nanmean(mae)), geodesic=geodesic)


def _yaw_bins(nme: np.ndarray, pose: np.ndarray | None, faces: PreparedFaces) -> tuple[YawBin, ...]:
    """NME and pose by |yaw| of the truth; () where no face has a yaw."""
    edges = faces.protocol.yaw_bins_deg
    bins = []
    for low, high, inside in zip(edges, edges[1:], faces.in_yaw_bins(), strict=False):
        mean = 100 * float(nme[inside].mean()) if inside.any() else None
        bins.append(YawBin(low, high, int(inside.sum()), mean, _pose_scores(pose, faces, inside)))
    return tuple(bins)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return [round(float(v), 6) for v in value]
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _pose_text(pose: PoseScores) -> str:
    if not pose.n:
        return "not scored"
    known = [f"{name} {value:.2f}" for name in ANGLES if (value := getattr(pose, name)) is not None]
    geodesic = "" if pose.geodesic is None else f", geodesic {pose.geodesic:.2f}"
    return f"MAE {pose.mean:.2f} deg ({', '.join(known)}{geodesic}) on {pose.n} faces"


def _names(samples: Sequence[FaceSample]) -> list[str]:
    return list(dict.fromkeys(f"{s.dataset}/{s.split}" for s in samples))

"""What a trial's network says of real faces: scores, poses by yaw, the maps' arg max, the spread as a confidence.

Everything is by one head of one stage, on faces cut out once a process. Beside the row of figures each head gives its
errors face by face, so that two arms can be compared pair by pair (`studies.paired`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from scipy.stats import spearmanr

Scored = tuple[tuple[str, str, str], ...]
"""What a network is scored on: set, split, the head that answers."""
Decode = Literal["expectation", "arg max, offset"]
CONFIDENCE_BINS = 10
KEPT = 0.9
"""Share of the faces that stay when the least sure are dropped."""
QUARTER = 0.25
"""Cells that the arg max is moved towards the higher of its two neighbours, along x and along y. From Newell et al.,
"Stacked Hourglass Networks for Human Pose Estimation" (ECCV 2016): "offset by a quarter of a pixel in the direction of
its next highest neighbor". A peak on the border stays where it is along that axis."""
DIGITS = 3
"""Decimals of the values kept per face: percent and degrees."""


def score_stage(
    network, scored: Scored, stage: int, decode: Decode = "expectation", whole: bool = True
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One stage on every (set, split, head): {"set/split head": figures}, {"set/split head|what": a value a face}.

    whole: with yaw bins, the other decodings and the spread as a confidence, beside the plain scores.

    decode: how the maps become the landmarks that are scored. The values a face: ``nme`` (N,) percent, ``pose`` (N, 3)
    signed errors in degrees (NaN where the truth is unknown or beyond the protocol's limit), ``yaw`` (N,) the truth.
    """
    from edgeface.evaluation.evaluate import run

    rows, values, networks = {}, {}, {}
    _, side, _, channels = network.input_shape
    for name, split, markup in scored:
        faces = faces_of(name, split, markup, side, channels)
        if markup not in networks:
            networks[markup] = with_maps(network, markup, stage)
        key = f"{name}/{split} {markup}"
        rows[key], per_face = score_head(run(networks[markup], faces), faces, markup, decode, whole)
        values |= {f"{key}|{what}": array for what, array in per_face.items()}
    return rows, values


def score_head(
    answers: dict[str, np.ndarray], faces, markup: str, decode: Decode, whole: bool
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The figures and the values a face of one head. answers: landmarks, spread, maps and perhaps pose."""
    from edgeface.evaluation.evaluate import score

    maps = answers["maps"]
    points = {
        "expectation": answers["landmarks"],
        "arg max": arg_max(maps),
        "arg max, offset": arg_max(maps, QUARTER),
    }
    by = {way: score(answers | {"landmarks": decoded}, faces, markup) for way, decoded in points.items()}
    scores = by[decode]
    plain = scores.as_dict(per_face=False)
    row = {key: plain[key] for key in ("markup", "n", "skipped", "nme", "failure_rate", "mean_of_bins")}
    signed = pose_errors(answers.get("pose"), faces)
    row["pose"] = _pose(plain["pose"]) | {"signed": signed_means(signed, faces.pose_deg)}
    # What no face has a value of is not kept.
    values = {"nme": scores.nme_per_face, "pose": signed, "yaw": faces.pose_deg[:, 0]}
    values = {k: np.round(v.astype(np.float32), DIGITS) for k, v in values.items() if np.isfinite(v).any()}
    if not whole:
        return row, values
    row["decoded_by"] = decode
    row["nme_by"] = {way: s.nme for way, s in by.items()}
    row["nme_floor"] = {
        way: score({"landmarks": rounded(true_points(faces), maps.shape[1:3], offset)}, faces, markup).nme
        for way, offset in (("arg max", 0.0), ("arg max, offset", QUARTER))
    }
    row["by_yaw"] = []
    for b, inside in zip(plain["by_yaw"], faces.in_yaw_bins(), strict=True):
        pose = _pose(b["pose"]) | {"signed": signed_means(signed[inside], faces.pose_deg[inside])}
        row["by_yaw"].append({"low_deg": b["low_deg"], "high_deg": b["high_deg"], "n": b["n"], "nme": b["nme"]})
        row["by_yaw"][-1]["pose"] = pose
    off = np.linalg.norm(points[decode] - true_points(faces), axis=-1)
    bins = {f"{b['low_deg']:g}-{b['high_deg']:g}": i for b, i in zip(row["by_yaw"], faces.in_yaw_bins(), strict=True)}
    row["confidence"] = confidence(answers["spread"], off, faces.visible, scores.nme_per_face, bins)
    return row, values


@lru_cache(maxsize=16)
def faces_of(name: str, split: str, markup: str, side: int, channels: int):
    """The set's faces for a network's input and head, by the set's protocol for that head."""
    from edgeface.datasets.load import load_set
    from edgeface.evaluation.evaluate import prepare, protocol_for

    samples = load_set(name, split)
    return prepare(samples, protocol_for(name, samples, (markup,))[0], side, channels)


def with_maps(network, markup: str, stage: int):
    """One stage's head as `evaluate` runs it, its maps (B, H, W, K) beside what is decoded of them."""
    import keras

    from edgeface.evaluation.networks import KerasNetwork, deployed
    from edgeface.models.deploy import deploy

    head = deployed(network, network.name, markup, stage).model
    maps = deploy(network, markup, ("landmarks",), stage, head=False).output["maps"]
    return KerasNetwork(keras.Model(network.input, head.output | {"maps": maps}), network.name, markup)


def arg_max(maps: np.ndarray, offset: float = 0.0) -> np.ndarray:
    """(N, H, W, K) -> (N, K, 2) in [0, 1]: the centre of each map's highest cell, moved by ``offset`` cells towards the
    higher neighbour along either axis."""
    count, height, width, points = maps.shape
    cell = maps.reshape(count, height * width, points).argmax(axis=1)
    x, y = cell % width, cell // width
    face, point = np.arange(count)[:, None], np.arange(points)[None]

    def towards(before: np.ndarray, after: np.ndarray, inside: np.ndarray) -> np.ndarray:
        return np.where(inside, offset * np.sign(after - before), 0.0)

    left, right = (maps[face, y, np.clip(x + d, 0, width - 1), point] for d in (-1, 1))
    above, below = (maps[face, np.clip(y + d, 0, height - 1), x, point] for d in (-1, 1))
    moved_x = towards(left, right, (x > 0) & (x < width - 1))
    moved_y = towards(above, below, (y > 0) & (y < height - 1))
    return np.stack([(x + 0.5 + moved_x) / width, (y + 0.5 + moved_y) / height], axis=-1)


def rounded(points: np.ndarray, grid: tuple[int, int], offset: float = 0.0) -> np.ndarray:
    """(N, K, 2) in [0, 1] -> what a perfect arg max on a (height, width) grid would answer: the least error it can
    have. With an offset, the side of the cell on which the point lies is right too."""
    size = np.array([grid[1], grid[0]])
    # NaN, unknown, stays: such points do not count.
    cell = np.clip(np.floor(points * size), 0, size - 1)
    return (cell + 0.5 + offset * np.sign(points * size - cell - 0.5)) / size


def true_points(faces) -> np.ndarray:
    """(N, K, 2) in the crops' [0, 1], NaN unknown."""
    return np.stack([f.to_crop(p) for f, p in zip(faces.frames, faces.landmarks_px, strict=True)])


def pose_errors(predicted: np.ndarray | None, faces) -> np.ndarray:
    """(N, 3) predicted less true degrees; NaN where unknown, or the face beyond the protocol's limit."""
    if predicted is None:
        return np.full((len(faces), 3), np.nan)
    return np.where(faces.beyond_pose_limit()[:, None], np.nan, predicted - faces.pose_deg)


def signed_means(errors: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    """Mean signed errors of (N, 3), None where unknown. ``yaw_outwards``: yaw's towards the profile that the face
    shows, since faces of both sides, turned too little, cancel in yaw's own."""
    columns = {"yaw": errors[:, 0], "pitch": errors[:, 1], "roll": errors[:, 2]}
    columns["yaw_outwards"] = errors[:, 0] * np.sign(truth[:, 0])
    return {name: float(np.nanmean(v)) if np.isfinite(v).any() else None for name, v in columns.items()}


def confidence(
    spread: np.ndarray, error: np.ndarray, visible: np.ndarray, nme: np.ndarray, groups: dict[str, np.ndarray]
) -> dict[str, Any]:
    """How well the spread tells the errors, point by point where points are visible.

    spread, error: (N, K) in crop widths; visible: (N, K) bool; nme: (N,) percent; groups: {name: (N,) bool} of faces.
    ``bins``: [mean spread, mean error, points] of tenths by spread. ``kept_nme``: mean NME without the tenth of the
    faces whose visible points have the widest mean spread; ``kept_nme_oracle``: without the tenth of the largest NME.
    """
    sure, off = spread[visible], error[visible]
    order = np.argsort(sure, kind="stable")
    face = np.where(visible, spread, 0).sum(axis=1) / visible.sum(axis=1)
    keep = round(KEPT * len(nme))
    return {
        "points": int(visible.sum()),
        "rank_correlation": rank_correlation(sure, off),
        "rank_correlation_of_faces": rank_correlation(face, nme),
        "by_yaw": {
            name: rank_correlation(spread[inside][visible[inside]], error[inside][visible[inside]])
            for name, inside in groups.items()
        },
        "bins": [
            [float(sure[part].mean()), float(off[part].mean()), len(part)]
            for part in np.array_split(order, CONFIDENCE_BINS)
        ],
        "kept_nme": float(nme[np.argsort(face, kind="stable")[:keep]].mean()),
        "kept_nme_oracle": float(np.sort(nme)[:keep].mean()),
    }


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's; None where there are too few values or one of the two is constant."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)


def _pose(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: plain[key] for key in ("n", "yaw", "pitch", "roll", "mean", "geodesic")}

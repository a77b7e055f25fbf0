"""Chosen faces -> the crops that a network sees, and the manifest that says which they are."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeface.convert.pose_balance import PoseBins, Selection, select, select_poses
from edgeface.crop import square_crop
from edgeface.datasets.load import SETS, is_own, load_set, set_names
from edgeface.datasets.sample import FaceSample
from edgeface.datasets.synthetic import face_seed, sample_params, synthetic_sample
from edgeface.errors import InputError, must_be_one_of
from edgeface.files import read_json
from edgeface.progress import track
from edgeface.schema import from_dict, must

FORMAT = 1
CROP_SCALE = 1.3
"""What the manifest's hash is over, and what presets are trained at; a network's own is on its file."""
CHECK_SIDE = 64
"""The manifest's hash is over RGB crops of this side, whatever side a network needs."""
EVALUATION_ONLY = ("aflw2000_3d",)
POOL_PER_FACE = 8
"""Rendered faces to choose from, for each one wanted: the rarest pose bins then still have some."""
SYNTHETIC_CROPS = 128
"""Rendered faces, of every pose, for ``synthetic`` among the calibration sets."""

log = logging.getLogger("edgeface")


@dataclass(frozen=True)
class Manifest:
    """Which faces, why they, and how to tell that they are still the same."""

    set: str
    split: str
    seed: int
    ids: tuple[str, ...]
    bins: PoseBins
    coverage: tuple[dict[str, Any], ...]
    """One entry per bin: yaw, pitch, available, chosen; the last one is of unknown pose."""
    pool: int
    """How many faces they were chosen from: the first of the split."""
    estimated_pose: int
    sha256: str
    """SHA-256 of the crops, RGB, 64 x 64, scale 1.3, in order."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        must(self.format == FORMAT, "format", str(FORMAT), self.format)
        distinct = bool(self.ids) and len(set(self.ids)) == len(self.ids)
        must(distinct, "ids", "distinct and at least one", self.ids[:3])

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def build(
    set_name: str, count: int, split: str = "train", seed: int = 0, root: str | Path | None = None
) -> tuple[Manifest, list[FaceSample]]:
    """The manifest and its faces. InputError: an evaluation split, an unknown set, fewer faces than ``count``.

    Args:
        set_name: the set.
        count: how many faces.
        split: a training split.
        seed: of the choice among faces of one pose bin.
        root: the folder that holds the sets; None: EDGEFACE_FACES, EDGEFACE_DATA.
    """
    refuse_evaluation(set_name, split, root)
    if count < 1:
        raise InputError(f"count must be at least 1. Received: {count}")
    samples = load_set(set_name, split, limit=count * POOL_PER_FACE if set_name == "synthetic" else None, root=root)
    bins = PoseBins()
    selection = select(samples, count, bins, seed)
    chosen = [samples[i] for i in selection.indices]
    manifest = Manifest(
        set_name, split, seed, tuple(s.id for s in chosen), bins, _coverage(bins, selection), len(samples),
        selection.estimated, crops_sha256(chosen),
    )  # fmt: skip
    return manifest, chosen


def read_manifest(path: str | Path, root: str | Path | None = None) -> Manifest:
    """Reads a manifest; InputError where the file is not one, has another format or lists evaluation faces.

    Args:
        path: The manifest.
        root: The folder that holds its set, as in `load_set`.
    """
    data, where = read_json(path), f"calibration manifest {path}"
    bins = data.get("bins") if isinstance(data, dict) else None
    # `PoseBins` has defaults, but a manifest must say which bins it was balanced over.
    if isinstance(bins, dict) and not {"yaw_deg", "pitch_deg"} <= set(bins):
        raise InputError(f"{where}: bins must hold yaw_deg and pitch_deg. Received: {bins}")
    found = from_dict(Manifest, data, where)
    refuse_evaluation(found.set, found.split, root)
    return found


def calibration_crops(
    names: Sequence[str], side: int, channels: int, scale: float = CROP_SCALE, root: str | Path | None = None
) -> np.ndarray:
    """The crops of several calibration sets, one after another: (N, side, side, channels) uint8.

    Args:
        names: ``synthetic`` for rendered faces, or paths of manifests.
        side: of a crop in pixels.
        channels: 3 for RGB, 1 for gray.
        scale: of the crop, in longer sides of the box.
        root: the folder that holds the manifests' sets; None: EDGEFACE_FACES, EDGEFACE_DATA.
    """
    parts = []
    for name in names:
        if name == "synthetic":
            log.info("rendering %d faces to calibrate on", SYNTHETIC_CROPS)
            parts.append(synthetic_crops(SYNTHETIC_CROPS, side, channels, scale))
        else:
            log.info("reading the calibration set %s", Path(name).name)
            parts.append(load_calibration(name, side, channels, scale, root=root))
    return np.concatenate(parts)


def rendered_crops(split: str, count: int, side: int, channels: int, scale: float = CROP_SCALE) -> np.ndarray:
    """The first rendered faces of a split, whatever their poses: (N, side, side, channels) uint8.

    Args:
        split: train or test.
        count: how many faces.
        side: of a crop in pixels.
        channels: 3 for RGB, 1 for gray.
        scale: of the crop, in longer sides of the box.
    """
    return cut(load_set("synthetic", split, count), side, channels, scale)


def load_calibration(
    manifest: str | Path, side: int, channels: int, scale: float = CROP_SCALE, root: str | Path | None = None
) -> np.ndarray:
    """The manifest's crops (N, side, side, channels) uint8, cut by ``square_crop(box, scale)``.

    InputError where a face is gone or no longer the same.

    Args:
        manifest: a file of `edgeface calibrate`.
        side: of a crop in pixels.
        channels: 3 for RGB, 1 for gray.
        scale: of the crop, in longer sides of the box.
        root: the folder that holds the sets; None: EDGEFACE_FACES, EDGEFACE_DATA.
    """
    found = read_manifest(manifest, root)
    by_id = {s.id: s for s in load_set(found.set, found.split, limit=found.pool, root=root)}
    missing = [i for i in found.ids if i not in by_id]
    if missing:
        raise InputError(
            f"{manifest}: every face must be in {found.set} {found.split}. Received: none named {missing[0]!r}"
        )
    samples = [by_id[i] for i in found.ids]
    digest = crops_sha256(samples)
    if digest != found.sha256:
        raise InputError(
            f"{manifest}: the crops must have sha256 {found.sha256[:12]}…; build the manifest anew where the images "
            f"(or OpenCV's decoding of them) changed. Received: {digest[:12]}…"
        )
    return cut(samples, side, channels, scale)


def synthetic_crops(count: int, side: int, channels: int, scale: float = CROP_SCALE, seed: int = 0) -> np.ndarray:
    """Pose-balanced rendered faces, without a manifest.

    Args:
        count: how many faces.
        side: of a crop in pixels.
        channels: 3 for RGB, 1 for gray.
        scale: of the crop, in longer sides of the box.
        seed: of the choice among faces of one pose bin.
    """
    # Poses are drawn with a face's parameters: no head need be built to choose by them.
    pool = range(count * POOL_PER_FACE)
    poses = np.array([sample_params(face_seed(i)).pose_deg for i in pool], np.float32).reshape(-1, 3)
    selection = select_poses(poses.astype(np.float64), np.zeros(len(poses), bool), count, seed=seed)
    return cut([synthetic_sample(i) for i in selection.indices], side, channels, scale)


def cut(samples: Sequence[FaceSample], side: int, channels: int, scale: float = CROP_SCALE) -> np.ndarray:
    """The faces' crops, (N, side, side, channels) uint8: RGB, or gray.

    Args:
        samples: the faces.
        side: of a crop in pixels.
        channels: 3 for RGB, 1 for gray.
        scale: of the crop, in longer sides of the box.
    """
    crops = []
    for sample in track(samples, "cutting out faces"):
        image = sample.load()
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if channels == 1 else image
        crops.append(square_crop(sample.box, scale).extract(image, side).reshape(side, side, channels))
    return np.stack(crops)


def crops_sha256(samples: Sequence[FaceSample]) -> str:
    return hashlib.sha256(cut(samples, CHECK_SIDE, 3, CROP_SCALE).tobytes()).hexdigest()


def refuse_evaluation(set_name: str, split: str, root: str | Path | None = None) -> None:
    """A network tuned on faces it is then scored on would be scored too well.

    Args:
        set_name: the set.
        split: its split.
        root: the folder that holds the sets; None: EDGEFACE_FACES, EDGEFACE_DATA.
    """
    if set_name not in SETS and not is_own(set_name, root):
        raise InputError(must_be_one_of("set", set_names(root), set_name))
    if set_name in EVALUATION_ONLY or not str(split).startswith("train"):
        raise InputError(f"a calibration set must come from a training split. Received: {set_name} {split!r}")


def _coverage(bins: PoseBins, selection: Selection) -> tuple[dict[str, Any], ...]:
    rows = []
    for index, (available, chosen) in enumerate(zip(selection.available, selection.chosen, strict=True)):
        yaw, pitch = bins.ranges(index) if index < bins.count else (None, None)
        rows.append({"yaw_deg": yaw, "pitch_deg": pitch, "available": available, "chosen": chosen})
    return tuple(rows)

"""From the config's sets to cut-out faces, rendered or cut out once and kept by what they were made from."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from edgeface.datasets.cut_faces import CutFaces, concat, cut_faces
from edgeface.datasets.load import SYNTHETIC_DEFAULT, is_own, is_pack, load_set
from edgeface.datasets.official import OFFICIAL, fingerprint
from edgeface.datasets.packs import HELD_OUT, PACKS, faces_root
from edgeface.datasets.posefit import filled_pose
from edgeface.datasets.profile_views import fit_3d_labels, turned_faces
from edgeface.datasets.profile_views.views import NOD_DEG, YAW_DEG
from edgeface.datasets.sample import FaceSample
from edgeface.datasets.synthetic import face_seed, render_face
from edgeface.errors import InputError
from edgeface.files import read_json, write_json
from edgeface.training.config import SourceConfig, TrainConfig
from edgeface.training.pipeline import LoadedSource
from edgeface.training.pose_balance import balance_poses
from edgeface.training.usable_faces import cut_usable_faces, faces_without_label, unknown_labels

log = logging.getLogger("edgeface")

SLICE = 250
"""Faces rendered by one job; a single job is done in this process."""
TURN_SEED = 0
"""Seed of the profile views, which are the same in every run."""
RENDER_SIDE = 128
"""Side of the rendered pictures, as `edgeface.datasets.load` gives them."""
SHOWN = 20
"""Faces left out that are named in the log; the record names all."""
SHARED = {"300w_lp": "300w", "aflw": "aflw2000_3d", "aflw_full": "aflw2000_3d"}
"""Datasets as their authors ship them that hold faces on which another is scored: 300W-LP has 300W's test faces,
turned, and AFLW2000-3D is AFLW's first 2000 (the pack named aflw is without them)."""


def seen_by_validation(config: TrainConfig) -> list[str]:
    """A warning for every source that holds faces of the validation: a score on seen faces says little."""
    v = config.validation
    lines = []
    for i, s in enumerate(config.sources if v else ()):
        if s.set == v.set and s.dir == v.dir:
            splits = {c.split or ("train" if c.set == "synthetic" else None) for c in (s, v)}
            seen = len(splits) == 1 or None in splits or (splits < {"train", *HELD_OUT} and "train" in splits)
        else:
            seen = SHARED.get(s.set) == v.set and _is_official(s)
        if seen:
            names = [f"{c.set}/{c.split or 'all'}" for c in (s, v)]
            lines.append(f"validation {names[1]} has faces of sources.{i} ({names[0]}): no measure of unseen faces")
    return lines


def load_sources(config: TrainConfig, markups: tuple[str, ...], cache: Path) -> list[LoadedSource]:
    """The faces of every source of the config; logs what each has and lacks.

    Args:
        config: the run.
        markups: the network's heads.
        cache: the folder that keeps cut-out faces.

    InputError: a source labels none of the heads, or a set cannot be read.
    """
    sources = []
    for i, s in enumerate(config.sources):
        faces, skipped = faces_and_skipped(s, config.cut_size, config.cut_scale, cache)
        pose = s.pose or s.fit_3d or s.fit_pose
        if pose and not s.pose:
            faces = replace(faces, pose_deg=np.full_like(faces.pose_deg, np.nan))
        if s.profile_views:
            faces = replace(faces, pose_deg=faces.pose_deg * np.float32([s.yaw_scale, 1, 1]))
        if s.fit_3d:
            faces = _with_fitted_heads(faces, s.yaw_scale, s.fitted_yaw)
        if s.fit_pose:
            faces = filled_pose(faces)
        label = f"{s.set}/{s.split or 'all'}" + _views(s)
        used = s.markups or tuple(m for m in markups if m in faces.landmarks)
        if not set(used) & set(markups) and not pose:
            raise InputError(
                f"sources.{i} ({label}) must label one of {', '.join(markups)}. Received: {used or 'none'}"
            )
        drawn = balance_poses(faces, s.pose_balance) if s.pose_balance else faces
        more = f", {len(drawn)} with copies of rare poses" if s.pose_balance else ""
        labels = ", ".join(used) or "pose alone"
        log.info("source %s: %d faces%s, weight %g, %s", label, len(faces), more, s.weight, labels)
        _log_what_is_lacking(label, faces, used, pose, skipped)
        sources.append(LoadedSource(drawn, s.weight, label, s.markups or None, pose, skipped, len(drawn) - len(faces)))
    return sources


def _views(source: SourceConfig) -> str:
    if not source.profile_views:
        return ""
    low, high = source.view_yaw
    return f" turned x{source.profile_views}" + (f" to {low:g}-{high:g} deg" if source.view_yaw != YAW_DEG else "")


def _with_fitted_heads(faces: CutFaces, yaw_scale: float, fitted_yaw: float) -> CutFaces:
    """`fit_3d_labels`, the fitted heads' yaw scaled and, by the share ``fitted_yaw``, mixed into the known yaws."""
    labelled = fit_3d_labels(replace(faces, pose_deg=np.full_like(faces.pose_deg, np.nan)))
    known, fitted = faces.pose_deg, labelled.pose_deg * np.float32([yaw_scale, 1, 1])
    mixed = known + np.float32([fitted_yaw, 0, 0]) * (fitted - known)
    pose = np.where(np.isnan(known), fitted, np.where(np.isnan(fitted), known, mixed))
    return replace(labelled, pose_deg=pose)


def _log_what_is_lacking(
    label: str, faces: CutFaces, used: tuple[str, ...], pose: bool, skipped: tuple[str, ...]
) -> None:
    if skipped:
        total = len(faces) + len(skipped)
        log.warning("source %s: %d of %d faces cannot be used and are left out:", label, len(skipped), total)
        for reason in skipped[:SHOWN]:
            log.warning("  %s", reason)
        if len(skipped) > SHOWN:
            log.warning("  and %d more, all of them in the run's config.json", len(skipped) - SHOWN)
    unknown = unknown_labels(faces, used, pose)
    if unknown:
        parts = [f"{c['unknown']} of {name} on {c['on faces']} faces" for name, c in unknown.items()]
        idle = faces_without_label(faces, used, pose)
        parts.append(f"{idle} faces without usable labels" if idle else "every face has a usable label")
        log.info("source %s: unknown labels, left out of the loss: %s", label, ", ".join(parts))


def faces_of_source(source: SourceConfig, size: int, scale: float, cache: Path) -> CutFaces:
    """The faces of one source, from the cache where the same faces were cut out by the same code before.

    Args:
        source: an entry of a config.
        size: side of the crops in pixels.
        scale: side of the crops over the longer side of the face box.
        cache: the folder that keeps cut-out faces.
    """
    return faces_and_skipped(source, size, scale, cache)[0]


def faces_and_skipped(source: SourceConfig, size: int, scale: float, cache: Path) -> tuple[CutFaces, tuple[str, ...]]:
    """`faces_of_source`, and "id: reason" of the faces left out, which the cache keeps beside the others.

    A repaired image is not noticed, since a run that goes on must see the faces it began with: remove the cached file.

    Args:
        source: an entry of a config.
        size: side of the crops in pixels.
        scale: side of the crops over the longer side of the face box.
        cache: the folder that keeps cut-out faces.
    """
    kind = f"-turned{source.profile_views}" if source.profile_views else ""
    path = cache / f"{source.set}-{source.split or 'all'}{kind}-{_key(source, size, scale)}.npz"
    left_out = path.with_suffix(".skipped.json")
    if path.exists():
        try:
            return CutFaces.load(path), tuple(read_json(left_out)) if left_out.exists() else ()
        except InputError:
            path.unlink(missing_ok=True)  # damaged: make it again
    faces, skipped = _cut_out(source, size, scale, cache)
    # The list first: faces without their list would hide what is missing.
    if skipped:
        write_json(left_out, skipped)
    else:
        left_out.unlink(missing_ok=True)
    faces.save(path)
    return faces, skipped


def _cut_out(source: SourceConfig, size: int, scale: float, cache: Path) -> tuple[CutFaces, tuple[str, ...]]:
    if source.profile_views:
        faces, skipped = faces_and_skipped(_unturned(source), size, scale, cache)
        return turned_faces(faces, source.profile_views, TURN_SEED, source.view_yaw, source.view_pitch_std), skipped
    if source.set != "synthetic":
        return cut_usable_faces(load_set(source.set, source.split, source.limit, source.dir), size, scale)
    return _rendered(source, size, scale), ()


def _unturned(source: SourceConfig) -> SourceConfig:
    return replace(source, profile_views=0, view_yaw=YAW_DEG, view_pitch_std=NOD_DEG, yaw_scale=1.0)


def _rendered(source: SourceConfig, size: int, scale: float) -> CutFaces:
    count, split = source.limit or SYNTHETIC_DEFAULT, source.split or "train"
    from rich.progress import track

    # Rendering is most of the work, and each face depends on its seed alone. spawn: a backend may hold threads.
    starts = range(0, count, SLICE)
    if len(starts) == 1:
        return _render(split, 0, count, size, scale)
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_render, split, start, min(start + SLICE, count), size, scale) for start in starts]
        for _ in track(as_completed(jobs), f"rendering {count} faces", len(jobs)):
            pass
        return concat([job.result() for job in jobs])


def _render(split: str, start: int, stop: int, size: int, scale: float) -> CutFaces:
    """Faces [start, stop) of a split, labels and picture from one rendering each."""
    samples = []
    for index in range(start, stop):
        seed = face_seed(index, split=split)
        face = render_face(seed, RENDER_SIDE)
        samples.append(
            FaceSample(
                id=f"synthetic-{seed:010d}",
                dataset="synthetic",
                split=split,
                load=partial(np.asarray, face.image),
                box=face.box,
                landmarks_px=face.landmarks_px,
                visible=face.visible,
                pose_deg=face.pose_deg,
            )
        )
    return cut_faces(samples, size, scale)


def _key(source: SourceConfig, size: int, scale: float) -> str:
    """A hash of what decides the cut-out faces: the request, the annotations and the code that reads or renders."""
    digest = hashlib.sha256(json.dumps([source.set, source.split, source.limit, size, scale]).encode())
    if source.profile_views:
        digest.update(json.dumps([source.profile_views, TURN_SEED, source.view_yaw, source.view_pitch_std]).encode())
    for path in _code(source):
        digest.update(path.read_bytes())
    root = Path(source.dir) if source.dir else faces_root()
    if _is_official(source):
        digest.update(fingerprint(source.set, source.dir).encode())
    elif (source.set in PACKS or is_own(source.set, source.dir)) and root is not None:
        annotations = root / source.set / "annotations.json"
        if annotations.is_file():
            digest.update(annotations.read_bytes())
    return digest.hexdigest()[:16]


def _is_official(source: SourceConfig) -> bool:
    return source.set in OFFICIAL and not is_pack(source.set, source.dir)


def _code(source: SourceConfig) -> list[Path]:
    """The modules that decide what a source's faces are: which faces, their pixels, their labels."""
    package = Path(__file__).resolve().parents[1]
    names = ["crop", "markup", "datasets/cut_faces"]
    if source.set == "synthetic":
        names += ["head_pose", "datasets/synthetic/*"]
    else:
        names += ["box", "images", "datasets/imagefile", "datasets/packs", "datasets/own", "training/usable_faces"]
        names += ["datasets/official/*"] if _is_official(source) else []
    if source.profile_views:
        names += ["head_pose", "box", "datasets/posefit", "datasets/synthetic/*", "datasets/profile_views/*"]
    paths = []
    for name in dict.fromkeys(names):
        # A plain name is not searched for: one that has moved must not drop out of the key in silence.
        paths += sorted(package.glob(f"{name}.py")) if name.endswith("*") else [package / f"{name}.py"]
    return paths

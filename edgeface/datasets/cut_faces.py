"""Faces cut out once, ready to train on: one array of crops, one file."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeface.crop import apply_affine, square_crop
from edgeface.datasets.sample import FaceSample
from edgeface.errors import InputError
from edgeface.files import atomic_write
from edgeface.markup import MARKUPS
from edgeface.progress import track

FORMAT = 1
PROGRESS_FROM = 2000
"""Packing more faces than this takes long enough for a progress bar."""

_PLAIN = ("images", "pose_deg", "box_xyxy", "ids", "dataset", "scale")


@dataclass(frozen=True)
class CutFace:
    """One crop with its labels in pixels of it (integer centers)."""

    image: np.ndarray
    """(P, P, 3) uint8 RGB."""
    landmarks_px: dict[str, np.ndarray]
    """{markup: (K, 2) float32 px}, NaN where not annotated."""
    visible: dict[str, np.ndarray]
    """{markup: (K,) bool}, same keys."""
    pose_deg: np.ndarray
    """(3,) float32 yaw, pitch, roll, NaN where unknown."""
    box_xyxy: np.ndarray
    """(4,) float32 px: the face box, from which a network's own crop is taken."""


@dataclass(frozen=True)
class CutFaces:
    """N crops of one size with their labels in crop pixels (integer centres)."""

    images: np.ndarray
    """(N, P, P, 3) uint8 RGB."""
    landmarks: dict[str, np.ndarray]
    """{markup: (N, K, 2) float32 px}, NaN where not annotated."""
    visible: dict[str, np.ndarray]
    """{markup: (N, K) bool}, same keys."""
    pose_deg: np.ndarray
    """(N, 3) float32 yaw, pitch, roll, NaN where unknown."""
    box_xyxy: np.ndarray
    """(N, 4) float32 px: the face box, from which a network's own crop is taken."""
    ids: np.ndarray
    """(N,) str."""
    dataset: str
    scale: float = 1.6
    """Side of these crops over the longer side of the face box."""

    def __post_init__(self) -> None:
        count, side = self.images.shape[0], self.images.shape[1] if self.images.ndim > 1 else 0
        expected = {
            "images": (self.images, (count, side, side, 3), np.uint8),
            "pose_deg": (self.pose_deg, (count, 3), np.float32),
            "box_xyxy": (self.box_xyxy, (count, 4), np.float32),
        }
        if set(self.landmarks) != set(self.visible) or set(self.landmarks) - set(MARKUPS):
            got = sorted({*self.landmarks, *self.visible})
            raise InputError(f"landmarks and visible must hold the same known markups. Received: {got}")
        for name in self.landmarks:
            size = MARKUPS[name].size
            expected[f"landmarks {name}"] = (self.landmarks[name], (count, size, 2), np.float32)
            expected[f"visible {name}"] = (self.visible[name], (count, size), bool)
        for name, (array, shape, dtype) in expected.items():
            if array.shape != shape or array.dtype != dtype:
                raise InputError(f"{name} must be {np.dtype(dtype)} {shape}. Received: {array.dtype} {array.shape}")
        if self.ids.shape != (count,):
            raise InputError(f"ids must have shape ({count},). Received: {self.ids.shape}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def side(self) -> int:
        return self.images.shape[1]

    def face(self, index: int, markups: Sequence[str] | None = None) -> CutFace:
        """The face at that index.

        Args:
            index: 0 to N - 1.
            markups: whose labels; None: all.
        """
        names = self.landmarks if markups is None else markups
        return CutFace(
            self.images[index],
            {name: self.landmarks[name][index] for name in names},
            {name: self.visible[name][index] for name in names},
            self.pose_deg[index],
            self.box_xyxy[index],
        )

    def take(self, indices: np.ndarray | Sequence[int]) -> CutFaces:
        """The faces at those indices (or under that mask), in that order."""
        indices = np.asarray(indices)
        return CutFaces(
            self.images[indices],
            {k: v[indices] for k, v in self.landmarks.items()},
            {k: v[indices] for k, v in self.visible.items()},
            self.pose_deg[indices],
            self.box_xyxy[indices],
            self.ids[indices],
            self.dataset,
            self.scale,
        )

    def fingerprint(self) -> str:
        """sha256 over every array's name, type, shape and bytes: the same faces and labels give the same string."""
        digest = hashlib.sha256()
        for name, array in sorted(self._arrays().items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """One .npz, the same bytes for the same faces; written aside, then renamed."""
        with atomic_write(path) as aside, open(aside, "wb") as file:
            np.savez(file, format=np.array(FORMAT), sha256=np.array(self.fingerprint()), **self._arrays())

    @classmethod
    def load(cls, path: str | Path) -> CutFaces:
        """InputError where the file is missing, not such a file, of another format, or changed since it was written."""
        path = Path(path)
        try:
            with open(path, "rb") as file:
                stored = np.load(file, allow_pickle=False)
                if not isinstance(stored, np.lib.npyio.NpzFile):
                    raise InputError(f"{path} must be a file of cut-out faces. Received: a single array")
                data = {name: stored[name] for name in stored.files}
        except FileNotFoundError:
            raise InputError(f"{path} must be a file of cut-out faces. Received: no such file") from None
        except InputError:
            raise
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} must be a file of cut-out faces. Received: {error}") from None
        missing = sorted({"format", "sha256", *_PLAIN} - set(data))
        if missing:
            raise InputError(f"{path} must hold {', '.join(missing)}. Received: {sorted(data)}")
        if data["format"].tolist() != FORMAT:
            raise InputError(f"{path} must be of format {FORMAT}. Received: {data['format']}")
        by_kind: dict[str, dict[str, np.ndarray]] = {"landmarks": {}, "visible": {}}
        for name, array in data.items():
            kind, _, markup = name.partition("/")
            if markup and kind in by_kind:
                by_kind[kind][markup] = array
        plain = {name: data[name] for name in _PLAIN} | {"dataset": str(data["dataset"]), "scale": float(data["scale"])}
        try:
            faces = cls(**plain, **by_kind)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        if faces.fingerprint() != str(data["sha256"]):
            raise InputError(f"{path} must match its sha256 {data['sha256']}. Received: {faces.fingerprint()}")
        return faces

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {name: np.asarray(getattr(self, name)) for name in _PLAIN}
        arrays |= {f"landmarks/{name}": points for name, points in self.landmarks.items()}
        return arrays | {f"visible/{name}": flags for name, flags in self.visible.items()}


def cut_faces(samples: Sequence[FaceSample], size: int = 160, scale: float = 1.6) -> CutFaces:
    """Cuts every face out by the crop rule ``square`` with a wider ``scale``, so that augmentation has margin.

    A markup that only some samples have is NaN and not visible on the others.

    Args:
        samples: at least one.
        size: side of the crops in pixels.
        scale: side of the crops over the longer side of the face box.
    """
    if not samples:
        raise InputError("samples must hold at least one face. Received: none")
    if size < 1 or not scale > 0:
        raise InputError(f"size must be >= 1 and scale > 0. Received: {size} and {scale}")
    count = len(samples)
    markups = sorted({name for sample in samples for name in sample.landmarks_px})
    images = np.empty((count, size, size, 3), np.uint8)
    landmarks = {name: np.full((count, MARKUPS[name].size, 2), np.nan, np.float32) for name in markups}
    visible = {name: np.zeros((count, MARKUPS[name].size), bool) for name in markups}
    boxes = np.empty((count, 4), np.float32)
    for i, sample in enumerate(track(samples, "cutting faces out", at_least=PROGRESS_FROM)):
        crop = square_crop(sample.box, scale)
        matrix = crop.matrix(size)
        images[i] = crop.extract(sample.load(), size)
        boxes[i] = apply_affine(matrix, np.reshape(sample.box.as_xyxy(), (2, 2))).ravel()
        for name, points in sample.landmarks_px.items():
            landmarks[name][i] = apply_affine(matrix, points)
            visible[name][i] = sample.visible[name]
    return CutFaces(
        images=images,
        landmarks=landmarks,
        visible=visible,
        pose_deg=np.stack([s.pose_deg for s in samples]).astype(np.float32),
        box_xyxy=boxes,
        ids=np.array([s.id for s in samples]),
        dataset=_joined(s.dataset for s in samples),
        scale=scale,
    )


def concat(parts: Sequence[CutFaces]) -> CutFaces:
    """One after the other; sides and scales must agree, a markup missing from one is NaN there."""
    if not parts:
        raise InputError("concat needs at least one. Received: none")
    kinds = sorted({(p.side, p.scale) for p in parts})
    if len(kinds) > 1:
        raise InputError(f"parts must share side and scale. Received: {kinds}")
    sizes = {name: MARKUPS[name].size for p in parts for name in p.landmarks}

    def nan(part: CutFaces, name: str) -> np.ndarray:
        return np.full((len(part), sizes[name], 2), np.nan, np.float32)

    def hidden(part: CutFaces, name: str) -> np.ndarray:
        return np.zeros((len(part), sizes[name]), bool)

    return CutFaces(
        images=np.concatenate([p.images for p in parts]),
        landmarks={
            n: np.concatenate([p.landmarks[n] if n in p.landmarks else nan(p, n) for p in parts]) for n in sizes
        },
        visible={n: np.concatenate([p.visible[n] if n in p.visible else hidden(p, n) for p in parts]) for n in sizes},
        pose_deg=np.concatenate([p.pose_deg for p in parts]),
        box_xyxy=np.concatenate([p.box_xyxy for p in parts]),
        ids=np.concatenate([p.ids for p in parts]),
        dataset=_joined(p.dataset for p in parts),
        scale=parts[0].scale,
    )


def _joined(names) -> str:
    return "+".join(dict.fromkeys(names))

"""The one file that travels: faces as uint8 crops, their labels, and all that the run must know. numpy alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.errors import InputError
from edgeface.files import atomic_write, write_bytes

FORMAT = 1
STEP_PX = 64.0
"""Labels are kept in 1/64 px: 0.008 px of rounding, half the size."""


@dataclass(frozen=True)
class Pack:
    """N faces, source after source. Labels in pixels of the crops; NaN where a loss must not look."""

    images: np.ndarray
    """(N, P, P, C) uint8."""
    landmarks: dict[str, np.ndarray]
    """{markup: (N, K, 2) float32}; hidden points that the configuration does not use are NaN already."""
    pose_deg: np.ndarray
    """(N, 3) float32."""
    box_center: np.ndarray
    """(N, 2) float32."""
    box_side: np.ndarray
    """(N,) float32, the longer side."""
    count: np.ndarray
    """(S,) faces of each source."""
    weight: np.ndarray
    """(S,) shares."""
    about: dict[str, Any]
    """``config``, ``network``, ``model``, ``loss``, ``loss_kind``, ``info``, ``sources``."""

    def save(self, path: str | Path) -> None:
        # A row as differences from pixel to pixel: what deflate finds more to repeat in. Back by a running sum.
        rows = np.diff(self.images, axis=2, prepend=np.zeros_like(self.images[:, :, :1]))
        arrays = {"format": np.array(FORMAT), "rows": rows, "about": np.array(json.dumps(self.about))}
        arrays |= {"pose_deg": self.pose_deg, "box_center": self.box_center, "box_side": self.box_side}
        arrays |= {"count": self.count, "weight": self.weight}
        arrays |= {f"landmarks/{k}": np.round(v * STEP_PX) / STEP_PX for k, v in self.landmarks.items()}
        with atomic_write(path) as aside, open(aside, "wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Pack:
        path = Path(path)
        try:
            # Opened here: numpy leaves a file open whose archive is damaged.
            with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                data = {name: file[name] for name in file.files}
            if int(data["format"]) != FORMAT:
                raise InputError(f"{path} must be a pack of format {FORMAT}. Received: {data['format']}")
            return cls(
                np.cumsum(data["rows"], axis=2, dtype=np.uint8),
                {k.partition("/")[2]: v.astype(np.float32) for k, v in data.items() if k.startswith("landmarks/")},
                *(data[k] for k in ("pose_deg", "box_center", "box_side", "count", "weight")),
                json.loads(str(data["about"])),
            )
        except InputError:
            raise
        except Exception as error:  # zip, zlib, numpy and json each have their own
            raise InputError(f"{path} must be a pack of convert.gpu_training.pack. Received: {error}") from None


def split(path: Path, size: int) -> None:
    """Cuts a file into ``NAME.part00`` … of at most ``size`` bytes; a file that is small enough stays whole."""
    for old in path.parent.glob(f"{path.name}.part*"):
        old.unlink()
    data = path.read_bytes()
    if len(data) <= size:
        return
    for i, start in enumerate(range(0, len(data), size)):
        write_bytes(path.with_name(f"{path.name}.part{i:02d}"), data[start : start + size])
    path.unlink()


def join(path: Path) -> None:
    """The whole file again, from its parts where there are some."""
    parts = sorted(path.parent.glob(f"{path.name}.part*"))
    if parts:
        write_bytes(path, b"".join(part.read_bytes() for part in parts))
        for part in parts:
            part.unlink()

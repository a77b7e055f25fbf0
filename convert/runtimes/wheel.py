"""The built wheel's own `edgeface live`, on this machine and as arm64 under emulation, on one and the same video."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from convert.runtimes import arm64
from convert.runtimes.base import ROOT, RefusedError, installing, run
from edgeface.files import sha256

PROJECT = Path(__file__).parents[2]
KEYS = ("landmarks_px", "pose_deg", "spread_px", "box_xyxy")
FLOAT_LIMIT = 0.01
"""Pixels and degrees that a float file's first frame may differ by. Its sums are in another order on another processor:
1e-6 of a crop, or a tenth of a printed digit. Later frames are not judged: an answer is the next frame's crop, of which
pixels then round the other way, and six frames later a landmark of a flat map has moved by tenths of a pixel, as it
has on one and the same processor when the first box is moved by 0.0001 px."""

SPREAD_LIMIT = 0.0015
"""Pixels that a spread of a file whose convolutions are int8 may differ by: one printed digit, not two. All else that
is printed must be the same; a spread is a root, taken in float of what maps that are the same to the bit give."""


@dataclass(frozen=True)
class Row:
    """A file on a core, against the same wheel on this machine."""

    file: str
    core: str
    frames: int
    faces: int
    """Faces in all frames together."""
    lines_equal: int
    """JSON lines that are equal to the last digit."""
    worst: dict[str, float]
    """By `KEYS`: the largest difference in the frames that are judged, all of them or the first."""
    verdict: str


def build(folder: Path = ROOT / "wheel") -> Path:
    """The project's wheel as it stands; its folder also holds it unpacked, for this machine."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    installing("the wheel", [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder])
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return wheel


def install_arm64(wheel: Path) -> Path:
    """The wheel and what it requires, all of it wheels, for aarch64; the folder."""
    return arm64.install("edgeface", [wheel], stamp=sha256(wheel))


def write_lossless(path: Path, frames: Sequence[np.ndarray], fps: float) -> None:
    """RGB frames as FFV1, which every processor decodes to the same bytes (JPEG's decoders differ by a level)."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), fps, (width, height))
    try:
        if not writer.isOpened():
            raise RefusedError("OpenCV must write FFV1 video. Received: a build without it")
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()


def live_here(wheel: Path, argv: Sequence[str | Path]) -> list[str]:
    """JSON lines of the wheel's `edgeface live` on this machine."""
    env = {"PYTHONPATH": str(wheel.parent / "unpacked"), "PYTHONSAFEPATH": "1"}
    return _lines(run([sys.executable, "-m", "edgeface", "live", *argv, "--json", "--no-window"], 600, env))


def live_arm64(wheels: Path, core: str, argv: Sequence[str | Path]) -> list[str]:
    """JSON lines of the script `edgeface` that came with the wheel, on an emulated core."""
    command, env = arm64.python(core, wheels)
    return _lines(run([*command, wheels / "bin" / "edgeface", "live", *argv, "--json", "--no-window"], 900, env))


def compared(file: str, core: str, integer: bool, lines: Sequence[str], reference: Sequence[str]) -> Row:
    """integer: the file's convolutions are int8, so its lines must be the same but for a spread's last digit."""
    pairs = list(zip(*([json.loads(line)["faces"] for line in each] for each in (lines, reference)), strict=False))
    paired = len(lines) == len(reference) and all([f["id"] for f in a] == [f["id"] for f in b] for a, b in pairs)
    faces = [both for a, b in pairs for both in zip(a, b, strict=True)] if paired else []
    judged = faces if integer else [both for a, b in pairs[:1] for both in zip(a, b, strict=False)]
    worst = {key: max((_gap(mine[key], other[key]) for mine, other in judged), default=0.0) for key in KEYS}
    limits = {key: FLOAT_LIMIT for key in KEYS}
    if integer:
        limits = {key: SPREAD_LIMIT if key == "spread_px" else 0.0 for key in KEYS}
    holds = bool(faces) and all(gap <= limits[key] for key, gap in worst.items())
    equal = sum(mine == other for mine, other in zip(lines, reference, strict=False))
    return Row(file, core, len(lines), len(faces), equal, worst, "pass" if holds else "fail")


def _gap(mine: list | None, other: list | None) -> float:
    """The largest difference of two (nested) lists; 0 where a model computes neither."""
    return 0.0 if mine is None and other is None else float(np.abs(np.subtract(mine, other)).max())


def _lines(output: str) -> list[str]:
    """The JSON in what a program printed: stdout and stderr come together."""
    return [line for line in output.splitlines() if line.startswith("{")]

"""The face detector's file: downloaded once, by its hash, into the user's cache."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from edgeface.errors import InputError

YUNET_NAME = "face_detection_yunet_2026may.onnx"
YUNET_URL = f"https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/{YUNET_NAME}"
"""YuNet (Wu et al., Machine Intelligence Research 2023; MIT licence), as the OpenCV Zoo ships it since May 2026."""
YUNET_SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"


def cache_folder() -> Path:
    """EDGEFACE_CACHE where it is set, else `edgeface` in the place that the system keeps caches in."""
    if given := os.environ.get("EDGEFACE_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "edgeface" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "edgeface"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeface"


def yunet_file() -> Path:
    """The detector in the cache, downloaded where it is not; InputError says both other ways to one."""
    path = cache_folder() / YUNET_NAME
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == YUNET_SHA256:
        return path
    try:
        import pooch  # the extra `detector`; what is cached already, or given as a path, does without
    except ImportError:
        raise _missing(path, "no package 'pooch' to download it with") from None
    try:
        downloader = pooch.HTTPDownloader(timeout=20)
        pooch.get_logger().setLevel("WARNING")
        pooch.retrieve(YUNET_URL, f"sha256:{YUNET_SHA256}", path.name, path.parent, downloader=downloader)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; pooch's on a wrong hash is a ValueError
        raise _missing(path, f"{type(error).__name__} on {YUNET_URL}") from None
    return path


def _missing(path: Path, reason: str) -> InputError:
    return InputError(
        "the face detector must be downloaded once or be given as a file: go online and "
        f'pip install "edgeface[detector]", or put {YUNET_NAME} of the OpenCV Zoo at {path}, or name its path '
        f"(--detector PATH), or give the face's place (--box, --full-frame). Received: {reason}"
    )

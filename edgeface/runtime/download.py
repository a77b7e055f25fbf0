"""The face detector's file: downloaded once, by its hash, into the user's cache."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from edgeface.errors import InputError
from edgeface.files import sha256, write_bytes

YUNET_NAME = "face_detection_yunet_2026may.onnx"
YUNET_URL = f"https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/{YUNET_NAME}"
"""YuNet (Wu et al., Machine Intelligence Research 2023; MIT licence), as the OpenCV Zoo ships it since May 2026."""
MAX_BYTES = 1_000_000
MAX_SECONDS = 60.0
SILENCE_SECONDS = 20.0
"""How long the other end may say nothing."""
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
    """The detector in the cache, downloaded where it is not; one line on stderr says so.

    Raises:
        InputError: it cannot be downloaded; the message names the other ways to a detector.
    """
    path = cache_folder() / YUNET_NAME
    try:
        if path.is_file() and sha256(path) == YUNET_SHA256:
            return path
    except OSError as error:
        raise _missing(path, f"{path} cannot be read ({error.strerror or error})") from None
    print(f"edgeface: downloading the face detector once (230 KB) to {path}", file=sys.stderr, flush=True)
    try:
        data = _download(YUNET_URL)
    except (OSError, HTTPException, ValueError) as error:  # urllib's own errors are OSErrors
        raise _missing(path, f"{type(error).__name__} on {YUNET_URL}") from None
    if hashlib.sha256(data).hexdigest() != YUNET_SHA256:
        raise _missing(path, f"another file than the detector at {YUNET_URL}")
    write_bytes(path, data)
    return path


def _download(url: str) -> bytes:
    """The file at an address: at most `MAX_BYTES`, within `MAX_SECONDS`, however slowly it comes."""
    deadline = time.monotonic() + MAX_SECONDS
    data = bytearray()
    with urlopen(url, timeout=SILENCE_SECONDS) as answer:
        while part := answer.read1(1 << 16):
            data += part
            if len(data) > MAX_BYTES:
                raise ValueError("more bytes than the detector has")
            if time.monotonic() > deadline:
                raise TimeoutError("the download takes too long")
    return bytes(data)


def _missing(path: Path, reason: str) -> InputError:
    return InputError(
        "the face detector must be downloaded once or be given as a file: go online and run `edgeface zoo fetch "
        f"detector`, or put {YUNET_NAME} of the OpenCV Zoo at {path}, or name its path (--detector PATH), or give the "
        f"face's place (--box, --full-frame). Received: {reason}"
    )

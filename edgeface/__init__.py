"""Facial landmarks and head pose, together, on a phone or a Raspberry Pi.

    import edgeface

    for face in edgeface.find_faces("photo.jpg"):          # the detector's file is downloaded once
        print(face.landmarks_px, face.pose.yaw_deg)        # (K, 2) pixels; degrees

    predictor = edgeface.Predictor.load("acdc_s")          # edgeface.list_models() lists what is packaged
    face = predictor.predict("photo.jpg", box=(120, 80, 260, 230))

These names need NumPy, OpenCV and a TensorFlow Lite interpreter, and are imported at their first use. Training,
evaluation, quantization and conversion are packages of their own: `edgeface.training`, `edgeface.evaluation`,
`edgeface.quantize`, `edgeface.convert`. (The face *recognition* network EdgeFace is another project.)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Box": "edgeface.box",
    "Face": "edgeface.runtime.predictor",
    "FaceDetector": "edgeface.runtime.detector",
    "FaceFinder": "edgeface.runtime.find",
    "HeadPose": "edgeface.head_pose",
    "InputError": "edgeface.errors",
    "OneEuro": "edgeface.runtime.smoothing",
    "Predictor": "edgeface.runtime.predictor",
    "Tracker": "edgeface.runtime.tracker",
    "TrackerConfig": "edgeface.runtime.tracker",
    "draw_face": "edgeface.runtime.show",
    "find_faces": "edgeface.runtime.find",
    "list_models": "edgeface.zoo",
    "open_source": "edgeface.runtime.cameras",
    "read_image": "edgeface.images",
}

__all__ = [
    "Box",
    "Face",
    "FaceDetector",
    "FaceFinder",
    "HeadPose",
    "InputError",
    "OneEuro",
    "Predictor",
    "Tracker",
    "TrackerConfig",
    "__version__",
    "draw_face",
    "find_faces",
    "list_models",
    "open_source",
    "read_image",
]

if TYPE_CHECKING:
    from edgeface.box import Box
    from edgeface.errors import InputError
    from edgeface.head_pose import HeadPose
    from edgeface.images import read_image
    from edgeface.runtime.cameras import open_source
    from edgeface.runtime.detector import FaceDetector
    from edgeface.runtime.find import FaceFinder, find_faces
    from edgeface.runtime.predictor import Face, Predictor
    from edgeface.runtime.show import draw_face
    from edgeface.runtime.smoothing import OneEuro
    from edgeface.runtime.tracker import Tracker, TrackerConfig
    from edgeface.zoo import list_models


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562), so that edgeface.models and edgeface.quantize load without OpenCV or an interpreter.
    if name not in _HOME:
        raise AttributeError(f"module 'edgeface' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

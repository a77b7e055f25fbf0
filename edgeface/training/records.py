"""What a run writes down of itself: faces, constants, versions and machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any

import keras

from edgeface.datasets.profile_views import fit
from edgeface.runtime.machine import versions
from edgeface.training.config import TrainConfig
from edgeface.training.pipeline import LoadedSource, cores
from edgeface.training.usable_faces import unknown_labels


def source_facts(sources: Sequence[LoadedSource]) -> list[dict[str, Any]]:
    """What was trained on, and what was not: faces left out with their reasons, labels that are unknown.

    ``drawn`` counts a face of a rare pose as often as it is drawn beside the others (`SourceConfig.pose_balance`), and
    so do the unknown labels.
    """
    return [
        {
            "name": s.name,
            "faces": s.distinct,
            "weight": s.weight,
            "drawn": len(s.faces),
            "skipped": list(s.skipped),
            "unknown": unknown_labels(s.faces, s.markups or tuple(s.faces.landmarks), s.pose),
        }
        for s in sources
    ]


def head_fit_facts(config: TrainConfig) -> dict[str, Any]:
    """{"laid_heads": constants} of a run that learns from 3D heads fitted to photographs, else {}."""
    fits_heads = any(s.fit_3d or s.profile_views for s in config.sources)
    return {"laid_heads": fit.constants()} if fits_heads else {}


def network_facts(network: keras.Model) -> dict[str, Any]:
    """Name, size and input of a network."""
    return {"name": network.name, "parameters": network.count_params(), "input": list(network.input_shape[1:])}


def environment() -> dict[str, Any]:
    """Versions and machine."""
    found = versions("keras", "tensorflow", "jax", "numpy", "opencv-python", "grain")
    found["backend"] = keras.backend.backend()
    machine = {"system": f"{platform.system()} {platform.machine()}", "cpus": cores()}
    return {"versions": found, "machine": machine | lowered_precision()}


def lowered_precision() -> dict[str, str]:
    """{"onednn_fpmath": mode} where TensorFlow's oneDNN is set to multiply float32 in fewer bits; else {}."""
    mode = os.environ.get("TF_SET_ONEDNN_FPMATH_MODE")
    return {"onednn_fpmath": mode} if mode else {}

"""Keras on TensorFlow, for the commands that convert: called ahead of anything that imports Keras."""

from __future__ import annotations

import os


def start_tensorflow() -> None:
    """The converter reads what Keras's TensorFlow backend exports, whatever KERAS_BACKEND says."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    from edgeface.training.backend import start_keras

    start_keras()

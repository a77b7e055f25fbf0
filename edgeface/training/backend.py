"""Choosing and starting a Keras backend, for commands: before anything else imports Keras; a setting for a while."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edgeface.quiet import held_stderr

_CHATTER = re.compile(rb"^(WARNING: All log messages before absl|[IWE]0000 )")


def choose_backend() -> str:
    """Sets KERAS_BACKEND unless the user did: tensorflow where it is installed (the fastest on a CPU), else jax."""
    if "KERAS_BACKEND" not in os.environ:
        has_tensorflow = importlib.util.find_spec("tensorflow") is not None
        os.environ["KERAS_BACKEND"] = "tensorflow" if has_tensorflow else "jax"
    return os.environ["KERAS_BACKEND"]


def start_keras(distribute: bool = False) -> str:
    """Chooses the backend and imports it without the start-up lines that no setting of its own silences.

    distribute: JAX unless the user chose, and it meets the other processes that the environment names.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if distribute:
        os.environ.setdefault("KERAS_BACKEND", "jax")
    backend = choose_backend()
    if "keras" not in sys.modules or distribute:
        with held_stderr(drop=_CHATTER):
            import keras

            if distribute and backend == "jax":
                from edgeface.training.distribution import join

                join()
            # The first operation looks for devices, and says so.
            keras.ops.zeros((1,))
    return backend


@contextmanager
def override_setting(read: Callable[[], Any], write: Callable[[Any], Any], value: Any) -> Iterator[None]:
    """Within it a setting has ``value``; afterwards what it had before.

    Args:
        read: () -> the setting's value.
        write: (value), which sets it.
        value: what it is to be.
    """
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)

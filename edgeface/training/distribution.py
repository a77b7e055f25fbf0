"""Training on all devices of all hosts: Keras's data parallelism on JAX.

Every device sees a slice of one global batch and the arithmetic is that of the whole: losses are means over the
batch's known labels and batch normalisation takes the batch's statistics, whatever the number of devices. So a run may
go on with another number, and ends with the same weights but for the order of float sums.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import keras
import numpy as np

from edgeface.errors import InputError
from edgeface.training.backend import override_setting

log = logging.getLogger("edgeface")

ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
"""With KERAS_DISTRIBUTION_NUM_PROCESSES and _PROCESS_ID: what `keras.distribution.initialize` reads."""


@dataclass(frozen=True)
class Team:
    """Who trains together. Every process draws its rows of each batch; the first one alone speaks and writes files."""

    devices: int = 1
    processes: int = 1
    process: int = 0

    @property
    def first(self) -> bool:
        return self.process == 0

    def rows(self, batch_size: int) -> tuple[int, int]:
        """[start, stop) of this process's rows of a batch; InputError where the devices cannot share it evenly."""
        if batch_size % self.devices:
            raise InputError(f"batch_size must be a multiple of the {self.devices} devices. Received: {batch_size}")
        share = batch_size // self.processes
        return self.process * share, (self.process + 1) * share


def join() -> None:
    """Meets the other processes, where the environment names some. Before the first operation of the backend."""
    import jax

    if ADDRESSES not in os.environ or jax.distributed.is_initialized():
        return
    # A seed, or Keras would agree on one through a collective of its own; a run sets its config's.
    keras.utils.set_random_seed(0)
    try:
        keras.distribution.initialize()
    except (RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{ADDRESSES} and its kind must name processes that meet. Received: {first}") from error


@contextmanager
def distributed(wanted: bool) -> Iterator[Team]:
    """Within it, where wanted, Keras spreads batches over all devices, and only the first process logs. One device: as
    without it."""
    if not wanted:
        yield team()
        return
    if keras.backend.backend() != "jax":
        raise InputError(f"distribution must run on JAX, KERAS_BACKEND=jax. Received: {keras.backend.backend()}")
    if len(keras.distribution.list_devices()) == 1:
        yield Team()
        return
    # Every process draws its own rows: there is nothing for Keras to shard.
    with keras.distribution.DataParallel(auto_shard_dataset=False).scope():
        members = team()
        level = log.level if members.first else logging.ERROR
        with override_setting(lambda: log.level, log.setLevel, level):
            yield members


def team() -> Team:
    """The team of the distribution in force; alone where there is none."""
    current = keras.distribution.distribution()
    if current is None:
        return Team()
    import jax

    owned = Counter(device.process_index for device in jax.devices())
    if len(set(owned.values())) > 1:
        got = ", ".join(f"{count} on process {process}" for process, count in sorted(owned.items()))
        raise InputError(f"every process must have as many devices as the others. Received: {got}")
    return Team(int(current.device_mesh.devices.size), jax.process_count(), jax.process_index())


def undistributed():
    """A context in which variables are this process's own, on one device."""
    if keras.distribution.distribution() is None:
        return nullcontext()
    return override_setting(keras.distribution.distribution, keras.distribution.set_distribution, None)


def check_agreement(members: Team, what: str) -> None:
    """InputError where the processes do not begin with the same state.

    Args:
        members: the processes.
        what: the state as text, which must be the same on all.
    """
    if members.processes == 1:
        return
    from jax.experimental import multihost_utils

    mine = np.frombuffer(hashlib.sha256(what.encode()).digest()[:4], np.uint32)
    of_all = np.asarray(multihost_utils.process_allgather(mine)).ravel()
    if (of_all != of_all[0]).any():
        odd = int(np.argmax(of_all != of_all[0]))
        raise InputError(
            f"all {members.processes} processes must see the same folder and faces. Received: other ones on process "
            f"{odd} than on process 0; here: {what}"
        )

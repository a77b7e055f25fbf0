"""One training in one life, and again in many: `python -m tests.training.lives DIR KILLS SEED` prints what it saw.

Modules are imported once and every life is a fork, made before the backend has started a thread. Each is a process of
its own that a real SIGKILL ends: no handler, no flush, no `finally`.
"""

from __future__ import annotations

import io
import logging
import os
import random
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeface.training.checkpoint import read_rows
from tests.training import tiny

STEPS, EPOCH_STEPS = 120, 4
START_S = 2.0
"""About how long a life builds and compiles before its first step."""


def config():
    return tiny.config(steps=STEPS, epoch_steps=EPOCH_STEPS, batch_size=4)


def born(out: Path, before: Callable[[], None] = lambda: None) -> int:
    """Starts a life that trains in ``out``; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        log = os.open(f"{out}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        before()
        logging.basicConfig(format="%(message)s")
        logging.getLogger("edgeface").setLevel(logging.INFO)
        from edgeface.training.train import train

        train(config(), out)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """Waits; 0, a positive exit code or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed(out: Path, rows: int, delay_s: float) -> dict:
    """A life that is killed ``delay_s`` after metrics.csv has ``rows`` rows (0: after its birth)."""
    pid, start = born(out), time.monotonic()
    while len(read_rows(out / "metrics.csv")) < rows:
        if os.waitpid(pid, os.WNOHANG)[0]:
            raise SystemExit(f"a life ended by itself: {Path(f'{out}.log').read_text()[-2000:]}")
        time.sleep(0.002)
    time.sleep(delay_s)
    os.kill(pid, signal.SIGKILL)
    code = ended(pid)
    return {"rows": len(read_rows(out / "metrics.csv")), "after_s": round(time.monotonic() - start, 2), "code": code}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_in_a_write(save: int) -> None:
    """The life's ``save``-th checkpoint is cut in its middle."""
    real, count = np.savez, 0

    def savez(file, **arrays):
        nonlocal count
        count += "network" in str(list(arrays))
        if count < save:
            return real(file, **arrays)
        data = io.BytesIO()
        real(data, **arrays)
        file.write(data.getvalue()[: data.tell() // 2])
        file.flush()
        die()

    np.savez = savez


def dies_before_a_rename(name: str, turn: int = 1) -> None:
    """The ``turn``-th time that a finished file would get this name, it does not."""
    real, count = os.replace, 0

    def replace(source, target):
        nonlocal count
        count += Path(target).name == name
        if count == turn:
            die()
        real(source, target)

    os.replace = replace


def sabotaged(out: Path, before: Callable[[], None]) -> dict:
    """A life that ends itself, by the same signal, at a chosen instruction."""
    code = ended(born(out, before))
    return {"rows": len(read_rows(out / "metrics.csv")), "code": code, "left": hidden(out)}


def hidden(out: Path) -> list[str]:
    """The suffixes of what kills have left."""
    return sorted(path.suffix for path in out.glob(".*"))


def weights(path: Path) -> dict[str, bytes]:
    """Every array of a .keras file."""
    import h5py

    arrays = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()].tobytes()} if hasattr(item, "shape") else {}))
    return arrays


def state(path: Path) -> dict[str, bytes]:
    """Every array of a checkpoint by part and place: names that Keras makes up may differ."""
    with np.load(path) as file:
        return {name[:14]: file[name].tobytes() for name in file.files}


def main(folder: Path, kills: int, seed: int) -> dict:
    import edgeface.training.train  # noqa: F401  every life has it

    tiny.use_tiny_faces(setattr)
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    whole, parts = folder / "whole", folder / "parts"
    start = time.monotonic()
    code = ended(born(whole))
    if code:
        raise SystemExit(f"the uninterrupted run ended with {code}: {Path(f'{whole}.log').read_text()[-2000:]}")
    took = time.monotonic() - start
    spent = [float(row["seconds"]) for row in read_rows(whole / "metrics.csv")]
    pace = sorted(b - a for a, b in zip(spent, spent[1:], strict=False))[len(spent) // 2]
    # Every third kill hits a start, the others the training; a random while later than the row that is waited for.
    rows = sorted(rng.sample(range(1, STEPS // EPOCH_STEPS - 4), kills))
    lives = []
    for i, row in enumerate(rows):
        if i % 3 == 1:
            lives.append(killed(parts, 0, rng.uniform(0, START_S)))
        else:
            lives.append(killed(parts, row, rng.uniform(0, 1.5 * pace)))
    cut = [
        sabotaged(parts, lambda: dies_in_a_write(1)),
        sabotaged(parts, lambda: dies_before_a_rename("checkpoint.npz", 2)),
        sabotaged(parts, lambda: dies_before_a_rename("model.keras")),
    ]
    code = ended(born(parts))
    one, other = state(whole / "checkpoint.npz"), state(parts / "checkpoint.npz")
    first, second = weights(whole / "model.keras"), weights(parts / "model.keras")
    return {
        "backend": os.environ.get("KERAS_BACKEND"),
        "uninterrupted_s": round(took, 1),
        "kills": lives,
        "cut": cut,
        "code": code,
        "arrays": [len(one), len(first)],
        "same_state": one == other,
        "same_model": first == second,
        "same_curve": tiny.curve(whole) == tiny.curve(parts),
        "rows": [int(row["step"]) for row in tiny.curve(parts)],
        "hidden": hidden(parts),
        "files": sorted(path.name for path in parts.iterdir()),
        "resumed": Path(f"{parts}.log").read_text().count("going on from step"),
    }


if __name__ == "__main__":
    import json

    if os.environ.get("KERAS_BACKEND") == "jax":
        sys.modules["tensorflow"] = None  # saves its import
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))

"""Peak memory of a file: how much a fresh process grows by loading it and running it.

A process of its own for every measurement, so that nothing another file left behind is counted or reused. Its libraries
are imported first and do not count; the pages of code that the interpreter touches only when it runs do.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from edgeface.errors import InputError

RUNS = 3
TIMES = 3

TIMEOUT_S = 300


def peak_memory(path: str | Path, threads: int = 1, times: int = TIMES) -> float | None:
    """Bytes: the median over ``times`` processes; None where the system does not tell (no /proc).

    Args:
        path: a `.tflite` file.
        threads: of the interpreter.
        times: how many processes.
    """
    if not _STATUS.exists():
        return None
    if times < 1:
        raise InputError(f"times must be at least 1. Received: {times}")
    return float(statistics.median(_in_fresh_process(path, threads) for _ in range(times)))


def grown_bytes(path: str | Path, threads: int = 1) -> int:
    """By how much this process's resident memory rose, at its peak, over loading the file and running it.

    Args:
        path: a `.tflite` file.
        threads: of the interpreter.
    """
    import numpy as np

    from edgeface.runtime.interpreter import TFLiteModel, interpreter_class

    interpreter_class()
    crop = None
    _forget_peak()
    before = _status_bytes("VmRSS")
    model = TFLiteModel(path, threads=threads)
    for _ in range(RUNS):
        crop = np.zeros(model.card.input.shape[1:], np.uint8) if crop is None else crop
        model.infer(crop)
    return max(_status_bytes("VmHWM") - before, 0)


_STATUS = Path("/proc/self/status")


def _in_fresh_process(path: str | Path, threads: int) -> int:
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
    command = [sys.executable, "-m", "edgeface.convert.memory", str(path), str(threads)]
    env = {**os.environ, "PYTHONPATH": paths}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise InputError(f"{path} must load and run within {TIMEOUT_S} s. Received: nothing yet") from None
    if done.returncode:
        raise InputError(f"{path} must run in a process of its own. Received: {done.stderr.strip()[-400:]}")
    return int(json.loads(done.stdout.splitlines()[-1])["grown_bytes"])


def _forget_peak() -> None:
    """The kernel's mark of the highest resident size, set back to the present one."""
    # Without the right to do so, the peak of the imports stays: then growth may come out too large, never too small.
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _status_bytes(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise InputError(f"/proc/self/status must tell {field}. Received: no such line")


if __name__ == "__main__":
    try:
        print(json.dumps({"grown_bytes": grown_bytes(sys.argv[1], int(sys.argv[2]))}))
    except InputError as error:
        sys.exit(f"error: {error}")

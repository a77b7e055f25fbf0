"""Instructions of one inference on an emulated arm64 core: a figure that a slower kernel moves, and nothing else does.

It is no latency: a core runs one to four of them in a cycle, and waits for its memory. But it repeats to a few in a
million, where milliseconds on a shared machine repeat to a tenth.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from convert.runtimes import arm64
from convert.runtimes.base import ROOT, WORKERS, RefusedError, installing, need_programs, run
from convert.runtimes.golden import golden_crops
from convert.runtimes.interpreters import LITERT
from edgeface.card import read_card
from edgeface.runtime.interpreter import quantize

RUNS = 3
PLUGIN = ROOT / "instructions.so"


def install() -> Path:
    """qemu with plugins (Debian's static one has none), the plugin, LiteRT for aarch64; the wheels' folder."""
    need_programs({"qemu-aarch64": "qemu-user", "gcc": "gcc"})
    source = WORKERS / "instructions.c"
    ROOT.mkdir(parents=True, exist_ok=True)
    installing("the counting plugin", ["gcc", "-shared", "-fPIC", "-O2", "-o", PLUGIN, source])
    return arm64.install("ai-edge-litert", LITERT)


def count(file: Path, core: str, wheels: Path) -> int:
    """One inference of a golden face on one thread, after a first one; the least of `RUNS`."""
    card = read_card(file)
    with tempfile.TemporaryDirectory(prefix="edgeface-") as folder:
        crop = Path(folder) / "crop.npy"
        np.save(crop, quantize(golden_crops(card, 1), card.input))
        command, env = arm64.python(core, wheels, ("qemu-aarch64", "-plugin", PLUGIN))
        return least(run([*command, WORKERS / "marked.py", file.absolute(), crop, str(RUNS)], 900, env))


def least(output: str) -> int:
    """The least distance of two marks in what the emulator printed."""
    marks = [int(line.split()[1]) for line in output.splitlines() if line.startswith("INSTRUCTIONS ")]
    if len(marks) != 2 * RUNS:
        raise RefusedError(f"the plugin must print {2 * RUNS} marks. Received: {len(marks)}")
    return min(end - start for start, end in zip(marks[::2], marks[1::2], strict=True))

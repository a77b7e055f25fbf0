"""Run in a process of its own: a model with one byte flipped, position after position. Prints one line each.

python flips.py MODEL POSITION...: "POSITION refused" for an InputError, "POSITION same" for the whole file's own
answer, "POSITION WRONG" otherwise. What kills the process leaves its position without a line.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from edgeface.card import read_card
from edgeface.errors import InputError
from edgeface.runtime.interpreter import TFLiteModel


def answer(path: Path, crop: np.ndarray) -> dict[str, np.ndarray]:
    return TFLiteModel(path).infer(crop)


def main(model: str, positions: list[str]) -> None:
    data = Path(model).read_bytes()
    crop = np.random.default_rng(0).integers(0, 256, read_card(model).input.shape[1:], dtype=np.uint8)
    right = answer(Path(model), crop)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flipped.tflite"
        for position in map(int, positions):
            path.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
            print(position, end=" ", flush=True)
            try:
                got = answer(path, crop)
            except InputError:
                print("refused", flush=True)
                continue
            same = got.keys() == right.keys() and all((got[role] == right[role]).all() for role in right)
            print("same" if same else "WRONG", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

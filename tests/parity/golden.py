"""Golden vectors of the host decode: what an `int8_logits` file gives on rendered faces, and what it stands for.

    python -m tests.parity.golden ACDC_int8_logits.tflite CCR_int8_logits.tflite

writes golden.json: int8 tensors as the interpreter gives them, their scale and zero point, and the landmarks, spread
and pose that any decode (Python's, Kotlin's) must make of them. The answers are worked out here, in float64 and by the
definitions, not by the code that is checked. A few landmarks of each file: the file stays small.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).with_name("golden.json")
LANDMARKS = (8, 30, 36)
"""Chin, nose tip, outer eye corner of the 68."""


def case(path: Path, face: int) -> dict[str, Any]:
    """One file on one rendered face, JSON-ready."""
    from edgeface.convert.calibration_set import cut
    from edgeface.datasets.load import load_set
    from edgeface.runtime.interpreter import TFLiteModel

    model = TFLiteModel(path)
    card, rule = model.card, model.card.decode
    crop = cut(load_set("synthetic", "test", face + 1)[face:], card.input.side, card.input.channels)[0]
    stored = model.run(crop, raw=True)
    maps = _tensor(stored["maps"][0][..., list(LANDMARKS)], card.outputs["maps"])
    landmarks, spread = expectation(maps, rule.sharpness)
    found = {
        "from": card.preset, "sharpness": rule.sharpness, "maps": maps,
        "landmarks": np.round(landmarks, 7).tolist(), "spread": np.round(spread, 7).tolist(),
    }  # fmt: skip
    if "pose_logits" in stored:
        found["pose_logits"] = _tensor(stored["pose_logits"][0], card.outputs["pose_logits"])
        found |= {"bins": rule.bins, "bins_low_deg": rule.bins_low_deg, "bins_high_deg": rule.bins_high_deg}
    elif "pose_features" in stored:
        found["pose_features"] = _tensor(stored["pose_features"][0], card.outputs["pose_features"])
        found |= {"pose_kernel": rule.pose_kernel, "pose_bias": rule.pose_bias}
    return found | {"pose_deg": np.round(pose(found), 5).tolist()}


def real(tensor: dict[str, Any]) -> np.ndarray:
    """A stored tensor's real values, float64."""
    return (np.array(tensor["values"], np.float64).reshape(tensor["shape"]) - tensor["zero_point"]) * tensor["scale"]


def expectation(maps: dict[str, Any], sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """landmarks (K, 2) and spread (K,) by definition: mean and standard deviation of the softmax over cell centres."""
    values = sharpness * real(maps)
    height, width, points = values.shape
    y, x = np.mgrid[:height, :width]
    x, y = (x.ravel() + 0.5) / width, (y.ravel() + 0.5) / height
    landmarks, spread = [], []
    for k in range(points):
        weight = np.exp(values[..., k].ravel() - values[..., k].max())
        weight /= weight.sum()
        mean = np.array([weight @ x, weight @ y])
        landmarks.append(mean)
        spread.append(np.sqrt(weight @ ((x - mean[0]) ** 2 + (y - mean[1]) ** 2)))
    return np.array(landmarks), np.array(spread)


def pose(found: dict[str, Any]) -> np.ndarray:
    """(3,) degrees: the mean of the bins' centres, or one dense layer on the features' mean."""
    if "pose_logits" in found:
        logits = real(found["pose_logits"])
        step = (found["bins_high_deg"] - found["bins_low_deg"]) / found["bins"]
        centres = found["bins_low_deg"] + step * (np.arange(found["bins"]) + 0.5)
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weight @ centres / weight.sum(axis=1)
    return real(found["pose_features"]).mean(axis=(0, 1)) @ np.array(found["pose_kernel"]) + found["pose_bias"]


def _tensor(values: np.ndarray, spec) -> dict[str, Any]:
    return {
        "shape": list(values.shape), "scale": spec.scale, "zero_point": spec.zero_point,
        "values": values.ravel().tolist(),
    }  # fmt: skip


def text(cases: list[dict[str, Any]]) -> str:
    """JSON with one tensor a line."""
    import json

    parts = (",\n ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in one.items()) for one in cases)
    return "[{" + "},\n{".join(parts) + "}]\n"


if __name__ == "__main__":
    from edgeface.files import write_text

    write_text(GOLDEN, text([case(Path(path), face) for face, path in enumerate(sys.argv[1:], 3)]))

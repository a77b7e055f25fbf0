"""NME on upright and turned faces, pose by yaw: ``python -m studies.resolution.study MODEL.keras ...``."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

OUT = Path(__file__).parent / "resolution.json"
TURNS_DEG = (0, 30, 45, 60, 90)


def main(models: list[str]) -> int:
    from edgeface.training.backend import start_keras

    start_keras()
    from edgeface.datasets.packs import read_pack
    from edgeface.evaluation.evaluate import evaluate, protocol_for
    from edgeface.evaluation.networks import load_network
    from edgeface.files import sha256
    from studies.rows import keep, plain

    for model in models:
        network = load_network(model, "ibug68")
        turned = {
            f"300w/{split}": {str(a): _turned(network, read_pack("300w", split), a) for a in TURNS_DEG}
            for split in ("train_held_out", "test")
        }
        samples = read_pack("aflw2000_3d", "val")
        protocol, markup = protocol_for("aflw2000_3d", samples, ("ibug68_3d",), None)
        scores = evaluate(load_network(model, markup), samples, protocol).as_dict(per_face=False)
        row: dict[str, Any] = {"model": Path(model).name, "sha256": sha256(model), "side": network.side}
        row |= {"turned": turned, "aflw2000_3d/val": {k: scores[k] for k in ("n", "nme", "mean_of_bins", "by_yaw")}}
        row["aflw2000_3d/val"]["pose_mae"] = scores["pose"]["mean"]
        keep(OUT, plain(row), ("model",), f"python -m studies.resolution.study {' '.join(models)}")
    return 0


def _turned(network, samples, angle_deg: float) -> dict[str, float]:
    """NME in percent of the inter-ocular distance, and the share above 10 %, of the true box turned in the plane."""
    t = math.radians(angle_deg)
    turn = np.array([[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]])
    from edgeface.box import Box
    from edgeface.crop import Crop

    crops, frames, truth = [], [], []
    for sample in samples:
        points = sample.landmarks_px["ibug68"].astype(float)
        box = Box.around(points @ turn.T)
        # A crop turned against the face shows what the upright crop of the turned picture would.
        center = tuple((np.array(box.center) @ turn).tolist())
        frames.append(Crop(center, max(box.width, box.height) * network.crop_scale, -angle_deg))
        gray = cv2.cvtColor(sample.load(), cv2.COLOR_RGB2GRAY)
        crops.append(frames[-1].extract(gray, network.side).reshape(network.side, network.side, 1))
        truth.append(points)
    found = [network.infer_batch(np.stack(crops[i : i + 64]))["landmarks"] for i in range(0, len(crops), 64)]
    errors = [
        np.linalg.norm(frame.to_image(landmarks) - points, axis=1).mean() / np.linalg.norm(points[36] - points[45])
        for landmarks, frame, points in zip(np.concatenate(found), frames, truth, strict=True)
    ]
    return {"n": len(errors), "nme": 100 * float(np.mean(errors)), "failures": float(np.mean(np.array(errors) > 0.1))}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

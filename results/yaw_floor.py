"""How near to AFLW's labels a yaw can come: ``python -m results.yaw_floor [--points FILE.keras] [--by FILE.keras]``.

AFLW's yaw was computed from up to 21 points that somebody marked, so that it carries that hand's errors. Kernel ridge
regression learns it from the training faces in two ways: from the marked points themselves, errors and all, which no
network sees; and from what a network that never learned this yaw finds in the same pixels, its points and its pose. By
tenths of the training faces, each answered by the other nine (the ridge is chosen there, and the network has seen those
faces' points), and on the test faces. A network trained to give the yaw stands beside them.

Writes yaw_floor.json beside this file. Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from results.command import run

HERE = Path(__file__).parent
OUT = HERE / "yaw_floor.json"
WEIGHTS = HERE.parent / "weights"
SET, SPLITS, MARKUP = "aflw", ("train", "test"), "aflw21"
LEAST_POINTS = 10
"""A face with fewer marked points is left out of the regression from them, and counted."""
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0)
TENTHS = 10
WIDTH, LINEAR = 2.0, 0.3
"""The kernel: a Gaussian so many standard deviations wide along each of the scaled features, and a share of their
inner product, by which what lies outside the training faces is continued as a line."""
DRAWS = 2000


class KernelRidge:
    """y (N,) from features x (N, F), each scaled to unit variance."""

    def __init__(self, x: np.ndarray, y: np.ndarray, ridge: float) -> None:
        self.middle, self.spread, self.level = x.mean(axis=0), x.std(axis=0) + 1e-6, y.mean()
        self.known = self._scaled(x)
        kernel = self._kernel(self.known) + ridge * np.eye(len(x))
        self.weights = np.linalg.solve(kernel, y - self.level)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self._kernel(self._scaled(x)) @ self.weights + self.level

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        return (x - self.middle) / self.spread

    def _kernel(self, x: np.ndarray) -> np.ndarray:
        inner, size = x @ self.known.T, x.shape[1]
        apart = (x**2).sum(axis=1)[:, None] + (self.known**2).sum(axis=1) - 2 * inner
        return np.exp(-apart / (2 * size * WIDTH**2)) + LINEAR * inner / size


def in_turn(x: np.ndarray, y: np.ndarray, ridge: float, tenths: int = TENTHS) -> np.ndarray:
    """(N,): every face answered by a regression that has not seen it. The tenths are the same at every call."""
    answers, part = np.empty(len(y)), np.random.default_rng(0).permutation(len(y)) % tenths
    for i in range(tenths):
        answers[part == i] = KernelRidge(x[part != i], y[part != i], ridge)(x[part == i])
    return answers


def shapes(points: np.ndarray) -> np.ndarray:
    """(N, K, 2), NaN unknown -> (N, 3 K): moved to their middle, scaled to one size, unknown ones 0, and which are
    known."""
    known = np.isfinite(points[..., 0])
    moved = points - np.nanmean(points, axis=1, keepdims=True)
    size = np.sqrt(np.nanmean((moved**2).sum(axis=-1), axis=1))
    moved = np.nan_to_num(moved / size[:, None, None])
    return np.concatenate([moved.reshape(len(points), -1), known], axis=1)


def away(answers: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Mean distance, its 95 % interval over draws of the faces, the median. Degrees."""
    off = np.abs(answers - labels)
    draws = np.random.default_rng(0).integers(0, len(off), (DRAWS, len(off)))
    low, high = np.quantile(off[draws].mean(axis=1), (0.025, 0.975))
    return {"n": len(off), "mae_deg": float(off.mean()), "interval": [float(low), float(high)]} | {
        "median_deg": float(np.median(off))
    }


def row(way: str, x: dict[str, np.ndarray], y: dict[str, np.ndarray], lacking: int = 0) -> dict[str, Any]:
    """One regression's figures. x, y: by split; lacking: faces of both splits left out."""
    train, test = SPLITS
    tried = {ridge: in_turn(x[train], y[train], ridge) for ridge in RIDGES}
    ridge = min(tried, key=lambda r: np.abs(tried[r] - y[train]).mean())
    learned = KernelRidge(x[train], y[train], ridge)
    scores = {train: away(tried[ridge], y[train]), test: away(learned(x[test]), y[test])}
    return {"way": way, "ridge": ridge, "left_out": lacking, "scores": scores}


def found_by(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(features, prepared faces) by split: the points of the last stage's every head, and the pose."""
    from edgeface.models.io import load_model
    from results.scoring import faces_of

    network, _ = load_model(path)
    _, side, _, channels = network.input_shape
    stages = sorted({name.split("_")[0] for name in network.output})
    last = {k: v for k, v in network.output.items() if k.startswith(stages[-1]) and not k.endswith("spread")}
    features, faces = {}, {}
    for split in SPLITS:
        faces[split] = faces_of(SET, split, MARKUP, side, channels)
        answers = network.predict(faces[split].crops.astype(np.float32), batch_size=32, verbose=0)
        parts = [answers[k] if answers[k].ndim == 2 else shapes(answers[k]) for k in last]
        features[split] = np.concatenate(parts, axis=1)
    return features, faces


def learned_yaw(path: Path) -> dict[str, Any]:
    """The test faces' figures of a network that was trained to give this yaw."""
    from edgeface.models.io import load_model
    from edgeface.training.evaluate import run as answers_of
    from edgeface.training.networks import deployed
    from results.scoring import faces_of

    network, _ = load_model(path)
    _, side, _, channels = network.input_shape
    faces = faces_of(SET, SPLITS[1], MARKUP, side, channels)
    labels = faces.pose_deg[:, 0]
    known = np.isfinite(labels)
    yaw = answers_of(deployed(network, network.name, MARKUP), faces)["pose"][:, 0]
    return away(yaw[known], labels[known])


def main(args: list[str] | None = None) -> int:
    from convert.latency import machine
    from convert.metadata import commit, sha256
    from edgeface.files import write_json
    from results.rows import plain

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=Path, default=WEIGHTS / "acdc_m.keras", help="finds the points")
    parser.add_argument("--by", type=Path, default=WEIGHTS / "ccr_s.keras", help="was trained to give AFLW's yaw")
    options = parser.parse_args(args)
    features, faces = found_by(options.points)
    marked, seen, labels, of_marked, lacking = {}, {}, {}, {}, 0
    for split in SPLITS:
        yaw, points = faces[split].pose_deg[:, 0], faces[split].landmarks_px
        known = np.isfinite(yaw)
        enough = known & (np.isfinite(points[..., 0]).sum(axis=1) >= LEAST_POINTS)
        lacking += int((known & ~enough).sum())
        seen[split], labels[split] = features[split][known], yaw[known].astype(float)
        marked[split], of_marked[split] = shapes(points[enough]), yaw[enough].astype(float)
    rows = [row("the marked points", marked, of_marked, lacking), row("what a network finds", seen, labels)]
    network = {"file": options.by.name, "sha256": sha256(options.by), "score": learned_yaw(options.by)}
    about = {"command": "python -m results.yaw_floor", "commit": commit(), "machine": machine(), "set": SET}
    about |= {"points": {"file": options.points.name, "sha256": sha256(options.points)}, "network": network}
    write_json(OUT, plain(about | {"rows": rows}))
    for r in rows:
        print(f"{r['way']}: " + ", ".join(f"{s} {r['scores'][s]['mae_deg']:.2f} deg" for s in SPLITS))
    print(f"{options.by.name}: {SPLITS[1]} {network['score']['mae_deg']:.2f} deg")
    return 0


if __name__ == "__main__":
    run(main)

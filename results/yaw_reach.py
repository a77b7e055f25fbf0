"""How near to AFLW's labels a plain regression's yaw comes: ``python -m results.yaw_reach``.

AFLW's yaw was computed from up to 21 points that somebody marked, so that it carries that hand's errors. Kernel ridge
regression learns it from the training faces and their mirror images in two ways: from the marked points themselves,
errors and all, which no network sees; and from the points and the pose that a network finds in the same pixels whose
last training left this yaw out. Every training face is answered by a regression fitted to the other nine tenths, where
the ridge is chosen, the test faces by one fitted to all. The second way has seen the training faces' points (and early
ancestors of its network the yaw of some), so that the test faces' figures are those to read. A network that was trained
to give this yaw is scored on the same faces. None of the three is a bound: a better regression could come nearer.

Writes yaw_reach.json beside this file. Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeface.headpose import mirror
from edgeface.markup import MARKUPS
from results.command import run

if TYPE_CHECKING:
    import keras

    from edgeface.training.evaluate import PreparedFaces

HERE = Path(__file__).parent
OUT = HERE / "yaw_reach.json"
WEIGHTS = HERE.parent / "weights"
SET, TRAIN, TEST, MARKUP = "aflw", "train", "test", "aflw21"
LEAST_POINTS = 10
"""Faces with fewer marked points are left out of every row, and counted."""
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


def learn(faces: np.ndarray, mirrored: np.ndarray, yaw_deg: np.ndarray, ridge: float) -> KernelRidge:
    """From the faces and their mirror images, whose yaw is the negative."""
    return KernelRidge(np.concatenate([faces, mirrored]), np.concatenate([yaw_deg, -yaw_deg]), ridge)


def in_turn(faces: np.ndarray, mirrored: np.ndarray, yaw_deg: np.ndarray, ridge: float) -> np.ndarray:
    """(N,): every face answered by a regression that has seen neither it nor its mirror image."""
    answers, part = np.empty(len(yaw_deg)), np.random.default_rng(0).permutation(len(yaw_deg)) % TENTHS
    for i in range(TENTHS):
        others = part != i
        answers[~others] = learn(faces[others], mirrored[others], yaw_deg[others], ridge)(faces[~others])
    return answers


def shapes(points: np.ndarray) -> np.ndarray:
    """(N, K, 2), NaN unknown -> (N, 3 K): moved to their middle, scaled to one size, unknown ones 0, and which are
    known."""
    known = np.isfinite(points[..., 0])
    moved = points - np.nanmean(points, axis=1, keepdims=True)
    size = np.sqrt(np.nanmean((moved**2).sum(axis=-1), axis=1))
    moved = np.nan_to_num(moved / size[:, None, None])
    return np.concatenate([moved.reshape(len(points), -1), known], axis=1)


def mirror_points(points: np.ndarray, markup: str) -> np.ndarray:
    """(N, K, 2) as they would be marked in the mirrored image, up to a shift."""
    mirrored = np.empty_like(points)
    mirrored[:, list(MARKUPS[markup].mirror)] = points * (-1, 1)
    return mirrored


def both_ways(points: dict[str, np.ndarray], pose_deg: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, F) of the faces and of their mirror images. points: {markup: (N, K, 2)}; pose_deg: (N, 3)."""
    faces = [shapes(p) for p in points.values()]
    mirrored = [shapes(mirror_points(p, markup)) for markup, p in points.items()]
    if pose_deg is not None:
        faces, mirrored = [*faces, pose_deg], [*mirrored, mirror(pose_deg)]
    return np.concatenate(faces, axis=1), np.concatenate(mirrored, axis=1)


def mean_and_interval(values: np.ndarray) -> dict[str, Any]:
    """The mean and its 95 % interval over draws of the faces."""
    draws = np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return {"mean_deg": float(values.mean()), "interval": [float(low), float(high)]}


def row(
    way: str, features: dict[str, tuple[np.ndarray, np.ndarray]], yaw_deg: dict[str, np.ndarray]
) -> tuple[dict[str, Any], np.ndarray]:
    """One regression's figures and its distances on the test faces. features, yaw_deg: by split."""
    labels = yaw_deg[TRAIN]
    tried = {ridge: np.abs(in_turn(*features[TRAIN], labels, ridge) - labels) for ridge in RIDGES}
    ridge = min(tried, key=lambda r: tried[r].mean())
    off = np.abs(learn(*features[TRAIN], labels, ridge)(features[TEST][0]) - yaw_deg[TEST])
    return {"way": way, "ridge": ridge, TRAIN: mean_and_interval(tried[ridge]), TEST: mean_and_interval(off)}, off


def found_by(network: keras.Model, faces: PreparedFaces) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """({markup: points (N, K, 2)}, pose (N, 3) degrees) of the last stage."""
    from edgeface.models.deploy import landmark_markups, stage_count

    answers = network.predict(faces.crops.astype(np.float32), batch_size=32, verbose=0)
    last = f"s{stage_count(network)}"
    return {m: answers[f"{last}_{m}"] for m in landmark_markups(network)}, answers[f"{last}_pose"]


def main(args: list[str] | None = None) -> int:
    from convert.latency import machine
    from convert.metadata import commit, sha256, versions
    from edgeface.files import write_json
    from edgeface.models.io import load_model
    from results.rows import plain
    from results.scoring import faces_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=Path, default=WEIGHTS / "acdc_m.keras", help="the network that finds points")
    parser.add_argument("--trained", type=Path, default=WEIGHTS / "ccr_s.keras", help="the one trained for AFLW's yaw")
    options = parser.parse_args(args)
    finds, trained = (load_model(path)[0] for path in (options.points, options.trained))
    marked, seen, yaw_deg, counts = {}, {}, {}, {}
    for split in (TRAIN, TEST):
        faces = faces_of(SET, split, MARKUP, *_side_and_channels(finds))
        yaw = faces.pose_deg[:, 0].astype(float)
        used = np.isfinite(yaw) & (np.isfinite(faces.landmarks_px[..., 0]).sum(axis=1) >= LEAST_POINTS)
        points, pose_deg = found_by(finds, faces)
        marked[split] = both_ways({MARKUP: faces.landmarks_px[used].astype(float)})
        seen[split] = both_ways({m: p[used].astype(float) for m, p in points.items()}, pose_deg[used])
        yaw_deg[split] = yaw[used]
        few = {f"fewer than {LEAST_POINTS} points, or no yaw": int((~used).sum())}
        counts[split] = {"n": int(used.sum()), "left_out": faces.skipped | few}
    own = faces_of(SET, TEST, MARKUP, *_side_and_channels(trained))
    off = np.abs(found_by(trained, own)[1][used, 0] - yaw_deg[TEST])
    name = options.trained.stem
    rows = [{"way": f"`{name}` itself", TEST: mean_and_interval(off)}]
    for way, features in (("the marked points", marked), (f"what `{options.points.stem}` finds", seen)):
        one, other = row(way, features, yaw_deg)
        rows.append(one | {f"{name} less": mean_and_interval(off - other)})
    about = {"command": "python -m results.yaw_reach", "commit": commit(), "machine": machine(), "set": SET}
    about |= {"versions": versions("keras", "tensorflow"), "faces": counts, "trained": name}
    about["networks"] = {path.name: sha256(path) for path in (options.points, options.trained)}
    write_json(OUT, plain(about | {"rows": rows}))
    for r in rows:
        print(f"{r['way']}: " + ", ".join(f"{s} {r[s]['mean_deg']:.2f} deg" for s in (TRAIN, TEST) if s in r))
    return 0


def _side_and_channels(network: keras.Model) -> tuple[int, int]:
    _, side, _, channels = network.input_shape
    return side, channels


if __name__ == "__main__":
    run(main)

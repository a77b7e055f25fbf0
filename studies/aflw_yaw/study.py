"""How near to AFLW's labels a plain regression's yaw comes: ``python -m studies.aflw_yaw.study``.

AFLW's yaw was computed from up to 21 points that somebody marked, so that it carries that hand's errors. Kernel ridge
regression learns it from the training faces and their mirror images in three ways: from the marked points themselves,
errors and all, which no network sees; from the points and the pose that one network finds in the same pixels; and from
what several find, each in the picture and in its mirror image. Their last training left this yaw out. Every training
face is answered by a regression fitted to the other nine tenths, where the ridge is chosen, the test faces by one
fitted to all; to all answers the mean is added by which the training faces' labels lie to one side of theirs. The
networks have seen the training faces' points (and their early ancestors the yaw of some), so that the test faces'
figures are those to read. A network that was trained to give this yaw is scored on the same faces. None of these is a
bound: a better regression could come nearer.

Writes yaw_reach.json beside this file. Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.release.command import run
from convert.release.paired import difference
from edgeface.head_pose import mirror
from edgeface.markup import MARKUPS

if TYPE_CHECKING:
    import keras

HERE = Path(__file__).parent
OUT = HERE / "yaw_reach.json"
WEIGHTS = HERE.parents[1] / "weights"
SET, TRAIN, TEST, MARKUP = "aflw", "train", "test", "aflw21"
FINDERS = ("acdc_m", "acdc_s", "acdc_n")
LEAST_POINTS = 10
"""Faces with fewer marked points are left out of every row, and counted."""
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0)
TENTHS = 10
WIDTH, LINEAR = 2.0, 0.3
"""The kernel: a Gaussian so many standard deviations wide along each of the scaled features, and a share of their
inner product, by which what lies outside the training faces is continued as a line."""


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
    found = difference([values], [np.zeros_like(values)])
    return {"mean_deg": found.mean, "interval": [found.low, found.high]}


@dataclass(frozen=True)
class Answers:
    """What one way gives for the test faces, (N,) degrees, and its figures."""

    yaw_deg: np.ndarray
    figures: dict[str, Any]


def answers(way: str, features: dict[str, tuple[np.ndarray, np.ndarray]], yaw_deg: dict[str, np.ndarray]) -> Answers:
    """A regression's. features: by split, of faces and mirror images; yaw_deg: by split, the labels."""
    labels = yaw_deg[TRAIN]
    tried = {ridge: in_turn(*features[TRAIN], labels, ridge) for ridge in RIDGES}
    ridge = min(tried, key=lambda r: np.abs(tried[r] - labels).mean())
    # Mirror images teach a yaw that is the same to both sides; these labels are not.
    aside = float((labels - tried[ridge]).mean())
    found = learn(*features[TRAIN], labels, ridge)(features[TEST][0]) + aside
    figures = {"way": way, "ridge": ridge, "labels_aside_deg": aside}
    figures[TRAIN] = mean_and_interval(np.abs(tried[ridge] + aside - labels))
    return Answers(found, figures | {TEST: mean_and_interval(np.abs(found - yaw_deg[TEST]))})


def beside(trained: np.ndarray, way: Answers, labels: np.ndarray) -> dict[str, Any]:
    """A trained network's test answers beside a way's: how much nearer to the labels the way is, how far the two are
    from each other, and how much their errors have in common."""
    off, other = trained - labels, way.yaw_deg - labels
    return {
        "less": mean_and_interval(np.abs(off) - np.abs(other)),
        "apart_deg": float(np.abs(trained - way.yaw_deg).mean()),
        "errors_correlate": float(np.corrcoef(off, other)[0, 1]),
    }


def found_by(network: keras.Model, crops: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """({markup: points (N, K, 2)}, pose (N, 3) degrees) of the last stage. crops: (N, S, S, C)."""
    from edgeface.models.deploy import landmark_markups, stage_count

    given = network.predict(crops.astype(np.float32), batch_size=32, verbose=0)
    last = f"s{stage_count(network)}"
    return {m: given[f"{last}_{m}"].astype(float) for m in landmark_markups(network)}, given[f"{last}_pose"]


def found_twice(network: keras.Model, crops: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`found_by`, the mean of the picture's and of its mirror image's; points up to a shift."""
    (points, pose_deg), (turned, turned_deg) = found_by(network, crops), found_by(network, crops[:, :, ::-1])
    return {m: (p + mirror_points(turned[m], m)) / 2 for m, p in points.items()}, (pose_deg + mirror(turned_deg)) / 2


def found_features(
    find: Callable[..., Any], network: keras.Model, crops: np.ndarray, used: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`both_ways` of what ``find`` finds on the faces that are used."""
    points, pose_deg = find(network, crops)
    return both_ways({m: p[used] for m, p in points.items()}, pose_deg[used])


def main(args: list[str] | None = None) -> int:
    from convert.release.rows import plain
    from convert.release.scoring import faces_of
    from edgeface.convert.latency import machine
    from edgeface.convert.make_card import commit, sha256, versions
    from edgeface.files import write_json
    from edgeface.models.io import load_model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", nargs="+", type=Path, default=[WEIGHTS / f"{n}.keras" for n in FINDERS],
                        help="the networks that find points; the first one alone as well")  # fmt: skip
    parser.add_argument("--trained", type=Path, default=WEIGHTS / "ccr_s.keras", help="the one trained for AFLW's yaw")
    options = parser.parse_args(args)
    finders, trained = [load_model(path)[0] for path in options.points], load_model(options.trained)[0]
    marked, seen, often, yaw_deg, counts = {}, {}, {}, {}, {}
    for split in (TRAIN, TEST):
        given = [faces_of(SET, split, MARKUP, *_side_and_channels(network)) for network in finders]
        yaw, landmarks_px = given[0].pose_deg[:, 0].astype(float), given[0].landmarks_px.astype(float)
        used = np.isfinite(yaw) & (np.isfinite(landmarks_px[..., 0]).sum(axis=1) >= LEAST_POINTS)
        marked[split] = both_ways({MARKUP: landmarks_px[used]})
        seen[split] = found_features(found_by, finders[0], given[0].crops, used)
        several = [found_features(found_twice, n, g.crops, used) for n, g in zip(finders, given, strict=True)]
        often[split] = tuple(np.concatenate(part, axis=1) for part in zip(*several, strict=True))
        yaw_deg[split] = yaw[used]
        few = {f"fewer than {LEAST_POINTS} points, or no yaw": int((~used).sum())}
        counts[split] = {"n": int(used.sum()), "left_out": given[0].skipped | few}
    own = faces_of(SET, TEST, MARKUP, *_side_and_channels(trained))
    own_yaw = found_by(trained, own.crops)[1][used, 0]
    rows = [{"way": f"`{options.trained.stem}` itself", TEST: mean_and_interval(np.abs(own_yaw - yaw_deg[TEST]))}]
    names = [f"`{path.stem}`" for path in options.points]
    ways = {"the marked points": marked, f"what {names[0]} finds": seen}
    ways[f"what {', '.join(names)} find, twice each"] = often
    for way, features in ways.items():
        found = answers(way, features, yaw_deg)
        rows.append(found.figures | beside(own_yaw, found, yaw_deg[TEST]))
    about = {"command": "python -m studies.aflw_yaw.study", "commit": commit(), "machine": machine(), "set": SET}
    about |= {"versions": versions("keras", "tensorflow"), "faces": counts, "trained": options.trained.stem}
    about["networks"] = {path.name: sha256(path) for path in (*options.points, options.trained)}
    write_json(OUT, plain(about | {"rows": rows}))
    for r in rows:
        print(f"{r['way']}: " + ", ".join(f"{s} {r[s]['mean_deg']:.2f} deg" for s in (TRAIN, TEST) if s in r))
    return 0


def _side_and_channels(network: keras.Model) -> tuple[int, int]:
    _, side, _, channels = network.input_shape
    return side, channels


if __name__ == "__main__":
    run(main)

"""How fast faces are rendered and fed: ``python -m convert.release.speed`` writes results/speed.json."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import cv2

from convert.release.record import record
from edgeface.datasets.synthetic import face_seed, render_face, sample_labels
from edgeface.files import write_json
from edgeface.training.config import SourceConfig
from edgeface.training.pipeline import LoadedSource, Views, batches, measure_throughput
from edgeface.training.source_faces import faces_of_source

FACES, ROUNDS, SIDE = 60, 5, 128


def rate(work) -> float:
    """Median faces a second over the rounds; each round has faces of its own."""
    work(0)
    rates = []
    for r in range(1, ROUNDS + 1):
        start = time.perf_counter()
        for i in range(FACES):
            work(r * FACES + i)
        rates.append(FACES / (time.perf_counter() - start))
    return round(statistics.median(rates), 1)


def feed(channels: int) -> float:
    """Faces a second that the input pipeline delivers, default augmentation, two threads."""
    made = faces_of_source(SourceConfig("synthetic", "train", limit=500), 160, 1.6, Path("runs/cache"))
    source = LoadedSource(made, 1.0, "synthetic")
    faces = batches([source], Views(SIDE, channels, ("ibug68",)))
    return round(measure_throughput(faces, steps=60, warmup=5), 1)


def main() -> int:
    cv2.setNumThreads(1)
    figures = {
        "rendered_faces_per_second_one_thread": rate(lambda i: render_face(face_seed(i), SIDE)),
        "labels_per_second_one_thread": rate(lambda i: sample_labels(face_seed(i), SIDE)),
        "augmented_gray_faces_per_second": feed(1),
        "augmented_rgb_faces_per_second": feed(3),
    }
    about = {"side_px": SIDE} | record("python -m convert.release.speed", "numpy", "opencv-python", "grain")
    write_json(
        Path(__file__).resolve().parents[2] / "results" / "speed.json",
        figures | about,
    )
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

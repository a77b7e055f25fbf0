"""A small set of rendered faces in the project's own annotation format, as a user would write one."""

from __future__ import annotations

from pathlib import Path

from edgeface.datasets.synthetic import face_seed, render_face
from edgeface.files import write_json
from edgeface.images import write_image

CONFIG = """
network = "acdc_n"
steps = 6
epoch_steps = 3
batch_size = 4
learning_rate = 1e-3
pack_size = 48
[model]
stages = 1
side = 32
stem = [8]
widths = [8]
markups_2d = ["ibug68"]
markups_3d = []
[[sources]]
set = "{name}"
split = "train"
[validation]
set = "{name}"
split = "test"
"""
"""A training config of seconds for a set of that name."""


def write(folder: Path, train: int = 12, test: int = 4, side: int = 96) -> None:
    """Images and annotations.json into ``folder``, whose name is the set's.

    Args:
        folder: A new folder.
        train: Faces of the split train.
        test: Faces of the split test.
        side: Side of the images in pixels.
    """
    records = []
    for split, count in (("train", train), ("test", test)):
        (folder / "images" / split).mkdir(parents=True)
        for index in range(count):
            face = render_face(face_seed(index, 5, split), side)
            write_image(folder / "images" / split / f"{index}.png", face.image)
            angles = (round(float(angle), 2) for angle in face.pose_deg)
            records.append(
                {
                    "file": f"{split}/{index}.png",
                    "split": split,
                    "landmarks": {"ibug68": face.landmarks_px["ibug68"].round(2).tolist()},
                    "pose": dict(zip(("yaw", "pitch", "roll"), angles, strict=True)),
                }
            )
    write_json(folder / "annotations.json", records)

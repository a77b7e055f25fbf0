"""What the pages' code finds on a reader's disk: pictures, a video, files of models, a set of faces."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np

from edgeface import zoo
from edgeface.datasets.synthetic import face_seed, render_face
from edgeface.images import write_image
from tests.docs.pages import Block, blocks

MODELS = {
    "my_model.tflite": "acdc_n",
    "acdc_s_int8_qat.tflite": "acdc_s",
    "runs/my_faces_files/my_faces_int8_qat.tflite": "acdc_n",
}
RENDERED = {"anna/0001.png": 44, "ben.png": 42, "anna/0002.png": 47}
"""Faces of the rendered test split that docs/own_faces.md has the points of."""
SIDE = 128


def annotations() -> Block:
    (block,) = (b for b in blocks("json") if b.note == "my_faces/annotations.json")
    return block


def write(folder: Path) -> None:
    face = render_face(face_seed(1, 3, "test"), 256).image
    canvas = np.full((360, 480, 3), 90, np.uint8)
    canvas[40:296, 60:316] = face
    write_image(folder / "photo.jpg", canvas)
    write_image(folder / "face.jpg", face)
    (folder / "photos").mkdir()
    write_image(folder / "photos" / "one.png", face)
    writer = cv2.VideoWriter(str(folder / "talk.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 30.0, (480, 360))
    for _ in range(6):
        writer.write(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
    writer.release()
    for name, model in MODELS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(zoo.path(model), folder / name)
    own = folder / "faces" / "my_faces"
    for name, index in RENDERED.items():
        (own / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(own / "images" / name, render_face(face_seed(index, split="test"), SIDE).image)
    (own / "annotations.json").write_text(annotations().text)
    assert {record["file"] for record in json.loads(annotations().text)} == set(RENDERED)

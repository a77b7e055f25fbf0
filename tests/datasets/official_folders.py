"""Datasets of a few rendered faces, written exactly as their authors ship them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

from edgeface.datasets.synthetic import PoseRanges, face_seed, render_face
from edgeface.head_pose import mirror
from edgeface.markup import MARKUPS

SIDE = 96
NO_EARS = [i for i in range(21) if i not in (12, 16)]


@dataclass(frozen=True)
class Face:
    """What a dataset has to give back: pixel centres at integers, degrees."""

    image: np.ndarray
    points: dict[str, np.ndarray]
    visible: dict[str, np.ndarray]
    pose_deg: np.ndarray

    def mirrored(self) -> Face:
        points = {
            name: np.column_stack([SIDE - 1 - p[:, 0], p[:, 1]])[list(MARKUPS[name].mirror)]
            for name, p in self.points.items()
        }
        visible = {name: v[list(MARKUPS[name].mirror)] for name, v in self.visible.items()}
        return Face(np.ascontiguousarray(self.image[:, ::-1]), points, visible, mirror(self.pose_deg))


def rendered(count: int) -> list[Face]:
    """Faces that are turned and tilted, so that signs show, with some points hidden."""
    faces = []
    for i in range(count):
        face = render_face(face_seed(i), SIDE, PoseRanges())
        faces.append(Face(face.image, face.landmarks_px, face.visible, np.asarray(face.pose_deg)))
    return faces


def write_image(path: Path, face: Face) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(face.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 100])
    return path


def pts_text(points: np.ndarray) -> str:
    lines = [f"{x:.6f} {y:.6f}" for x, y in points]
    return "\n".join(["version: 1", f"n_points:  {len(points)}", "{", *lines, "}"]) + "\n"


def write_300w(root: Path, faces: list[Face]) -> Path:
    """One face a part, in turn: afw, the two trainsets, the two testsets, ibug."""
    folders = ("afw", "helen/trainset", "lfpw/trainset", "helen/testset", "lfpw/testset", "ibug")
    for i, (folder, face) in enumerate(zip(folders, faces, strict=False)):
        image = write_image(root / folder / f"image_{i:03d}{'.png' if 'lfpw' in folder else '.jpg'}", face)
        image.with_suffix(".pts").write_text(pts_text(face.points["ibug68"] + 1))  # MATLAB counts from 1
    return root


def pose_para(pose_deg: np.ndarray) -> np.ndarray:
    """(1, 7) pitch, yaw, roll in radians, translation, scale."""
    yaw, pitch, roll = np.deg2rad(pose_deg)
    return np.array([[pitch, yaw, roll, 40.0, 50.0, -70.0, 0.0005]], np.float32)


def write_300w_lp(root: Path, faces: list[Face], flip_landmarks: bool = False) -> Path:
    """Every face in HELEN, and mirrored in HELEN_Flip. The authors' landmarks/ has no folder for the mirrored ones."""
    for i, face in enumerate(faces):
        for folder, seen in (("HELEN", face), ("HELEN_Flip", face.mirrored())):
            image = write_image(root / folder / f"HELEN_{i}_1_0.jpg", seen)
            before = np.full((2, 68), 7.0)  # pt2d: the points before the turn, a trap
            savemat(
                image.with_suffix(".mat"),
                {"Pose_Para": pose_para(seen.pose_deg), "pt2d": before, "Shape_Para": np.zeros((199, 1))},
                do_compression=True,
            )
            if folder.endswith("_Flip") and not flip_landmarks:
                continue
            landmarks = root / "landmarks" / folder / f"{image.stem}_pts.mat"
            landmarks.parent.mkdir(parents=True, exist_ok=True)
            savemat(landmarks, {"pts_2d": seen.points["ibug68"] + 1.0, "pts_3d": seen.points["ibug68_3d"] + 1.0})
    (root / "Code").mkdir(exist_ok=True)
    return root


def write_aflw2000_3d(root: Path, faces: list[Face]) -> Path:
    for i, face in enumerate(faces):
        image = write_image(root / f"image{2 * i + 2:05d}.jpg", face)
        visible = face.visible["aflw21"][:, None]
        savemat(
            image.with_suffix(".mat"),
            {
                "Pose_Para": pose_para(face.pose_deg),
                "pt3d_68": np.vstack([face.points["ibug68_3d"].T + 1.0, np.linspace(-9, 9, 68)]).astype(np.float32),
                "pt2d": np.where(visible, face.points["aflw21"] + 1.0, -1.0).T,
            },
        )
    (root / "Code").mkdir(exist_ok=True)
    return root


def write_aflw(root: Path, faces: list[Face]) -> Path:
    """aflw/data/aflw.sqlite and aflw/data/flickr/{0,2}/. The first two faces share an image, side by side."""
    data = root / "data"
    data.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(data / "aflw.sqlite")
    database.executescript(
        """
        CREATE TABLE Faces (face_id INTEGER PRIMARY KEY, file_id TEXT, db_id TEXT);
        CREATE TABLE FaceImages (image_id INTEGER PRIMARY KEY, db_id TEXT, file_id TEXT, filepath TEXT, bw INTEGER,
                                 width INTEGER, height INTEGER);
        CREATE TABLE FacePose (face_id INTEGER, roll REAL, pitch REAL, yaw REAL, annot_type_id INTEGER);
        CREATE TABLE FaceRect (face_id INTEGER, x INTEGER, y INTEGER, w INTEGER, h INTEGER, annot_type_id INTEGER);
        CREATE TABLE FeatureCoords (face_id INTEGER, feature_id INTEGER, x REAL, y REAL, annot_type_id INTEGER);
        CREATE TABLE FeatureCoordTypes (feature_id INTEGER, descr TEXT, code TEXT, x REAL, y REAL, z REAL);
        """
    )
    for name, group, width in aflw_images(faces):
        file_id = Path(name).name
        joined = Face(np.concatenate([face.image for _, face, _ in group], axis=1), {}, {}, group[0][1].pose_deg)
        write_image(data / "flickr" / name, joined)
        database.execute("INSERT INTO FaceImages VALUES (NULL, 'flickr', ?, ?, 0, ?, ?)", (file_id, name, width, SIDE))
        for face_id, face, dx in group:
            yaw, pitch, roll = np.deg2rad(face.pose_deg).tolist()
            database.execute("INSERT INTO Faces VALUES (?, ?, 'flickr')", (face_id, file_id))
            database.execute(
                "INSERT INTO FacePose VALUES (?, ?, ?, ?, 1)", (face_id, -roll, pitch, yaw)
            )  # its own sign
            database.execute("INSERT INTO FaceRect VALUES (?, ?, 10, 70, 70, 1)", (face_id, dx + 10))
            for i in np.flatnonzero(face.visible["aflw21"]):
                x, y = face.points["aflw21"][i].tolist()
                database.execute("INSERT INTO FeatureCoords VALUES (?, ?, ?, ?, 1)", (face_id, int(i) + 1, x + dx, y))
    database.commit()
    database.close()
    return root


def aflw_images(faces: list[Face]) -> list[tuple[str, list[tuple[int, Face, int]], int]]:
    """(path, [(face_id, face, its offset in x)], width) of every image of `write_aflw`."""
    pair = [(39341, faces[0], 0), (39342, faces[1], SIDE)]
    rest = [(f"2/image{i:05d}.jpg", [(39341 + i, face, 0)], SIDE) for i, face in enumerate(faces[2:], 2)]
    return [("0/image00001.jpg", pair, 2 * SIDE), *rest]


def write_aflw_full(root: Path, faces: list[Face]) -> Path:
    """aflw/AFLWinfo_release.mat over `write_aflw`'s images. ``ra`` puts the last face first."""
    rows = [(name, face, dx) for name, group, _ in aflw_images(faces) for _, face, dx in group]
    xy = np.stack([face.points["aflw21"][NO_EARS] + (dx, 0) for _, face, dx in rows])
    names = np.empty((len(rows), 1), object)
    names[:, 0] = [name for name, _, _ in rows]
    savemat(
        root / "AFLWinfo_release.mat",
        {
            "nameList": names,
            "data": np.concatenate([xy[..., 0], xy[..., 1]], axis=1),
            "mask_new": np.stack([face.visible["aflw21"][NO_EARS] for _, face, _ in rows]).astype(np.float64),
            "bbox": np.zeros((len(rows), 4)),
            "ra": np.roll(np.arange(1, len(rows) + 1), 1)[None].astype(np.float64),
        },
    )
    return root


def write_wflw(root: Path, faces: list[Face]) -> Path:
    """The last face trains, the others test; face i has attribute i % 6, and i % 6 = 0 blur too."""
    lists = root / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True, exist_ok=True)
    lines = []
    for i, face in enumerate(faces):
        name = f"{i}--Parade/{i}_Parade_marchingband_1_{i}.jpg"
        write_image(root / "WFLW_images" / name, face)
        attributes = ["1" if k == i % 6 or (k == 5 and i % 6 == 0) else "0" for k in range(6)]
        coordinates = [f"{v:.6f}" for v in face.points["wflw98"].ravel()]
        lines.append(" ".join([*coordinates, "10", "12", "80", "85", *attributes, name]))
    (lists / "list_98pt_rect_attr_train.txt").write_text(lines[-1] + "\n")
    (lists / "list_98pt_rect_attr_test.txt").write_text("\n".join(lines[:-1]) + "\n")
    return root


def write_celeba(root: Path, faces: list[Face]) -> Path:
    """Anno/, Eval/, Img/ as they are downloaded; whole pixels; face i is in split i % 3."""
    names = [f"{i + 1:06d}.jpg" for i in range(len(faces))]
    for name, face in zip(names, faces, strict=True):
        write_image(root / "Img" / "img_celeba" / name, face)
    points = [" ".join(str(round(v)) for v in face.points["mtfl5"].ravel().tolist()) for face in faces]
    header = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    tables = {
        "Anno/list_landmarks_celeba.txt": [str(len(faces)), header, *_lines(names, points)],
        "Anno/list_bbox_celeba.txt": [
            str(len(faces)),
            "image_id x_1 y_1 width height",
            *_lines(names, ["10    12 70 72"] * len(faces)),
        ],
        "Eval/list_eval_partition.txt": _lines(names, [str(i % 3) for i in range(len(faces))]),
    }
    for name, lines in tables.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("\n".join(lines) + "\n")
    return root


def write_celeba_aligned(root: Path, faces: list[Face]) -> Path:
    """All in one folder, as most programs have it."""
    write_celeba(root / "tmp", faces)
    (root / "tmp/Img/img_celeba").rename(root / "img_align_celeba")
    (root / "tmp/Anno/list_landmarks_celeba.txt").rename(root / "list_landmarks_align_celeba.txt")
    (root / "tmp/Eval/list_eval_partition.txt").rename(root / "list_eval_partition.txt")
    (root / "tmp/Anno/list_bbox_celeba.txt").unlink()
    for folder in ("tmp/Img", "tmp/Anno", "tmp/Eval", "tmp"):
        (root / folder).rmdir()
    return root


def _lines(names: list[str], rest: list[str]) -> list[str]:
    return [f"{name} {text}" for name, text in zip(names, rest, strict=True)]

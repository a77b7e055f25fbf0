"""One reader for each annotation tool: a file or folder of it -> the faces that it marks.

Where a format counts pixels from: COCO, dlib: the first pixel's center is (0, 0). CVAT, labelme, Label Studio: the
image's corner is (0, 0). ``.pts`` (iBUG): the first pixel's center is (1, 1), as in MATLAB.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np

from edgeface.datasets.importers.marked import EDGE, Marked, files_in, number, pairs, points_of, read_xml
from edgeface.errors import InputError
from edgeface.files import read_json

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def read_coco(source: Path, size: int) -> Iterator[Marked]:
    """COCO keypoints: ``images`` and ``annotations`` with ``keypoints`` x, y, v in the markup's order.

    v: 0 not marked, 1 marked though hidden, 2 seen.
    """
    for path in files_in(source, ".json"):
        data = read_json(path)
        if not isinstance(data, dict) or not isinstance(data.get("images"), list):
            raise InputError(f"{path} must be COCO: an object with images and annotations. Received: something else")
        files = {i.get("id"): i.get("file_name") for i in data["images"] if isinstance(i, dict)}
        for index, record in enumerate(data.get("annotations") or []):
            where = f"{path}, annotation {index}"
            file = files.get(record.get("image_id")) if isinstance(record, dict) else None
            if not isinstance(file, str):
                yield Marked(where, "", problem="its image_id must be that of an image")
                continue
            yield _read(where, file, lambda record=record: _coco_points(record, size))


def _coco_points(record: dict[str, Any], size: int) -> tuple[np.ndarray, np.ndarray]:
    values = record.get("keypoints")
    if not isinstance(values, list) or len(values) != 3 * size:
        got = f"{len(values) / 3:g} points" if isinstance(values, list) else "none"
        raise InputError(f"keypoints must be x, y, v of the markup's {size} points. Received: {got}")
    points = pairs(zip(values[0::3], values[1::3], strict=True), size)
    codes = np.array([number(v, "v") for v in values[2::3]])
    points[codes == 0] = np.nan
    return points, codes > 1


def read_cvat(source: Path, size: int) -> Iterator[Marked]:
    """CVAT for images 1.1: ``<points>`` with all points of a face, or a ``<skeleton>`` with one element for each."""
    for path in files_in(source, ".xml"):
        for image in read_xml(path).iter("image"):
            file = image.get("name", "")
            for index, element in enumerate(e for e in image if e.tag in ("points", "skeleton")):
                where = f"{path}, {file}, face {index}"
                yield _read(where, file, lambda element=element: _cvat_points(element, size))


def _cvat_points(element, size: int) -> tuple[np.ndarray, np.ndarray | None]:
    if element.tag == "points":
        values = [pair.split(",") for pair in element.get("points", "").split(";") if pair]
        return pairs(values, size) - EDGE, None
    marks, hidden = {}, {}
    for point in element.iter("points"):
        if point.get("outside") == "1":
            continue
        (x, y), label = pairs([point.get("points", "").split(",")], 1)[0], point.get("label", "")
        marks[label], hidden[label] = (x - EDGE, y - EDGE), (float(point.get("occluded") == "1"), 0.0)
    points = points_of(marks, size)
    return points, points_of(hidden, size)[:, 0] == 0


def read_labelme(source: Path, size: int) -> Iterator[Marked]:
    """labelme: one JSON file per image. A face is a shape with all its points, or points with labels of their own.

    Points of several faces in one image are distinguished by ``group_id``.
    """
    for path in files_in(source, ".json"):
        data = read_json(path)
        if not isinstance(data, dict) or not isinstance(data.get("shapes"), list):
            yield Marked(str(path), "", problem="it must be labelme's: an object with shapes")
            continue
        file = str(data.get("imagePath") or path.with_suffix("").name).replace("\\", "/")
        file = file if Path(file).is_absolute() else str(path.parent / file)
        single: dict[Any, list[dict]] = defaultdict(list)
        for index, shape in enumerate(s for s in data["shapes"] if isinstance(s, dict)):
            if shape.get("shape_type") == "point":
                single[shape.get("group_id")].append(shape)
            elif shape.get("shape_type") in ("points", "linestrip", "line", "polygon"):
                where = f"{path}, shape {index}"
                yield _read(where, file, lambda s=shape: (pairs(s.get("points") or [], size) - EDGE, None))
        for group, shapes in single.items():
            where = f"{path}, group {group}"
            yield _read(where, file, lambda shapes=shapes: (points_of(_labelme_marks(shapes), size), None))


def _labelme_marks(shapes: list[dict]) -> dict[str, tuple[float, float]]:
    marks = {}
    for shape in shapes:
        label = str(shape.get("label"))
        if label in marks:
            raise InputError(
                f"a point must be marked once, or faces distinguished by group_id. Received: {label!r} twice"
            )
        x, y = pairs(shape.get("points") or [], 1)[0]
        marks[label] = (x - EDGE, y - EDGE)
    return marks


def read_labelstudio(source: Path, size: int) -> Iterator[Marked]:
    """Label Studio's JSON export: key points in percent of the image; faces distinguished by ``parentID``."""
    for path in files_in(source, ".json"):
        tasks = read_json(path)
        if not isinstance(tasks, list):
            raise InputError(f"{path} must be Label Studio's export, a list of tasks. Received: something else")
        for index, task in enumerate(t for t in tasks if isinstance(t, dict)):
            data = task.get("data") or {}
            file = next((_plain_name(v) for v in data.values() if _is_image(v)), "")
            for done in task.get("annotations") or []:
                if done.get("was_cancelled"):
                    continue
                faces: dict[Any, list[dict]] = defaultdict(list)
                for result in done.get("result") or []:
                    if isinstance(result, dict) and result.get("type") == "keypointlabels":
                        faces[result.get("parentID")].append(result)
                for face, results in faces.items():
                    where = f"{path}, task {task.get('id', index)}, face {face}"
                    yield _read(where, file, lambda r=results: (points_of(_percent_marks(r), size), None))


def _percent_marks(results: list[dict]) -> dict[str, tuple[float, float]]:
    marks = {}
    for result in results:
        value = result.get("value") or {}
        labels = value.get("keypointlabels") or [""]
        width, height = (number(result.get(f"original_{side}"), f"original_{side}") for side in ("width", "height"))
        x, y = number(value.get("x"), "x"), number(value.get("y"), "y")
        if str(labels[0]) in marks:
            raise InputError(f"a point must be marked once in a face. Received: {labels[0]!r} twice")
        marks[str(labels[0])] = (x / 100 * width - EDGE, y / 100 * height - EDGE)
    return marks


def _is_image(value: Any) -> bool:
    return isinstance(value, str) and _plain_name(value).lower().endswith(IMAGE_SUFFIXES)


def _plain_name(value: str) -> str:
    """The file in a task's address: a path, ``/data/upload/1/name`` or ``/data/local-files/?d=folder/name``."""
    parsed = urlparse(value)
    local = parse_qs(parsed.query).get("d")
    return unquote(local[0] if local else parsed.path)


def read_dlib(source: Path, size: int) -> Iterator[Marked]:
    """dlib's imglab: ``<image file><box><part name x y/>``; a box marked ``ignore`` is no face."""
    for path in files_in(source, ".xml"):
        for image in read_xml(path).iter("image"):
            file = image.get("file", "").replace("\\", "/")
            for index, box in enumerate(image.iter("box")):
                if box.get("ignore") in ("1", "true"):
                    continue
                parts = list(box.iter("part"))
                yield _read(
                    f"{path}, {file}, box {index}",
                    str(path.parent / file),
                    lambda parts=parts: (
                        points_of(
                            {p.get("name", ""): (number(p.get("x"), "x"), number(p.get("y"), "y")) for p in parts},
                            size,
                        ),
                        None,
                    ),
                )


def read_pts(source: Path, size: int) -> Iterator[Marked]:
    """iBUG's ``.pts``: one file per face, beside its image."""
    for path in files_in(source, ".pts"):
        beside = [path.with_suffix(s) for low in IMAGE_SUFFIXES for s in (low, low.upper())]
        image = next((p for p in beside if p.is_file()), None)
        if image is None:
            yield Marked(str(path), "", problem="there is no image of its name beside it")
            continue
        yield _read(str(path), str(image), lambda path=path: (_pts_points(path, size), None))


def _pts_points(path: Path, size: int) -> np.ndarray:
    text = path.read_text("utf-8-sig", errors="replace")
    start, end = text.find("{"), text.find("}")
    if not 0 <= start < end:
        raise InputError("a .pts file must list its points in braces. Received: none")
    return pairs((line.split() for line in text[start + 1 : end].splitlines() if line.strip()), size) - 1


def _read(where: str, file: str, points) -> Marked:
    """The face, or what is wrong with it."""
    try:
        found, visible = points()
    except (InputError, OSError) as error:
        return Marked(where, file, problem=str(error))
    if not np.isfinite(found).any():
        return Marked(where, file, problem="no point is marked")
    return Marked(where, file, found, visible)

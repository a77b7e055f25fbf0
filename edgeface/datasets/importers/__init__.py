"""Annotations of other tools into the project's own form: COCO, CVAT, labelme, Label Studio, dlib and ``.pts``."""

from edgeface.datasets.importers.write import FORMATS, Imported, import_faces

__all__ = ["FORMATS", "Imported", "import_faces"]

"""The embedded faces: a 3D head of our own, rendered with every markup and its exact pose from a seed."""

from edgeface.datasets.synthetic.params import FaceParams, PoseRanges, sample_params
from edgeface.datasets.synthetic.render import FaceLabels, RenderedFace, render_face, render_params, sample_labels
from edgeface.datasets.synthetic.samples import (
    SPLIT_SEEDS,
    face_seed,
    synthetic_sample,
    synthetic_samples,
    write_contact_sheet,
)

__all__ = [
    "SPLIT_SEEDS",
    "FaceLabels",
    "FaceParams",
    "PoseRanges",
    "RenderedFace",
    "face_seed",
    "render_face",
    "render_params",
    "sample_labels",
    "sample_params",
    "synthetic_sample",
    "synthetic_samples",
    "write_contact_sheet",
]

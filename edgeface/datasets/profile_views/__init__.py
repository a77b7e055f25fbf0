"""Large poses from small ones: real faces turned by a 3D head fitted to their 68 points.

The idea of 300W-LP's face profiling (Zhu et al., "Face Alignment Across Large Poses", CVPR 2016), with our own head.
"""

from edgeface.datasets.profile_views.views import fit_3d_labels, turned_faces

__all__ = ["turned_faces", "fit_3d_labels"]

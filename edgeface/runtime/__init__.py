"""On the device: numpy, OpenCV and an interpreter, nothing else."""

from edgeface.runtime.interpreter import TFLiteModel
from edgeface.runtime.predictor import Face, Predictor

__all__ = ["Face", "Predictor", "TFLiteModel"]

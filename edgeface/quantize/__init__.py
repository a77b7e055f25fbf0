"""Quantisation-aware training for functional Keras 3 models, on any backend.

    twin = quantize_aware(model)            # fake-quantised clone: same inputs, same output keys, weights copied in
    calibrate(twin, batches)                # every activation range from data
    twin.compile(...); twin.fit(...)        # fine-tune; ranges keep moving slowly, or not at all (Recipe.ranges)
    assert not uncalibrated(twin)
    coverage(twin)                          # every layer that is still float, and why
    tuned = to_float(twin, model)           # the tuned weights in the float structure

and, where they pay: `equalise` before, `correct_bias` after `calibrate`, `sensitivity` to see which tensor hurts.
docs/qat.md shows it on a network from end to end.

    data = to_int8(twin)                    # the .tflite file; the one step that needs TensorFlow
"""

from edgeface.quantize.bias_correction import correct_bias
from edgeface.quantize.coverage import Uncovered, coverage
from edgeface.quantize.equalize import equalise
from edgeface.quantize.export import to_int8
from edgeface.quantize.layers import FakeQuant, FloatGate, QuantKernel
from edgeface.quantize.ranges import METHODS, calibrate, uncalibrated
from edgeface.quantize.recipe import Recipe
from edgeface.quantize.sensitivity import Sensitivity, sensitivity
from edgeface.quantize.twin import quantize_aware, to_float

__all__ = [
    "METHODS",
    "FakeQuant",
    "FloatGate",
    "QuantKernel",
    "Recipe",
    "Sensitivity",
    "Uncovered",
    "calibrate",
    "correct_bias",
    "coverage",
    "equalise",
    "quantize_aware",
    "sensitivity",
    "to_float",
    "to_int8",
    "uncalibrated",
]

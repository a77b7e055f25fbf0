"""Quantization-aware training and int8 export for functional Keras 3 models.

    quantized = quantize_aware(model)       # fake-quantized copy: same inputs, same output keys, weights copied in
    calibrate(quantized, batches)           # every activation range from data
    quantized.compile(...); quantized.fit(...)
    coverage(quantized)                     # every layer that is still float, and why
    data = to_int8(quantized)               # the .tflite file; the one step that needs TensorFlow
    tuned = to_float(quantized, model)      # the tuned weights in the float structure

Where they pay: `equalize` before, `correct_bias` after `calibrate`, `sensitivity` to see which tensor costs most.
docs/quantize.md shows it on a network from end to end. Keras and numpy are all that this needs, and of the rest of
edgeface it uses `errors` and `quiet` alone.
"""

from edgeface.quantize.annotations import FixedRange, KeepFloat, SameScale
from edgeface.quantize.bias_correction import correct_bias
from edgeface.quantize.coverage import Uncovered, coverage
from edgeface.quantize.equalize import equalize
from edgeface.quantize.export import to_int8
from edgeface.quantize.layers import FakeQuant, FloatGate, QuantKernel
from edgeface.quantize.ranges import METHODS, calibrate, uncalibrated
from edgeface.quantize.recipe import Recipe
from edgeface.quantize.rewrite import quantize_aware
from edgeface.quantize.sensitivity import Sensitivity, sensitivity
from edgeface.quantize.verification import Difference, Verification, verify
from edgeface.quantize.weights import to_float

__all__ = [
    "METHODS",
    "Difference",
    "FakeQuant",
    "FixedRange",
    "FloatGate",
    "KeepFloat",
    "QuantKernel",
    "Recipe",
    "SameScale",
    "Sensitivity",
    "Uncovered",
    "Verification",
    "calibrate",
    "correct_bias",
    "coverage",
    "equalize",
    "quantize_aware",
    "sensitivity",
    "to_float",
    "to_int8",
    "uncalibrated",
    "verify",
]

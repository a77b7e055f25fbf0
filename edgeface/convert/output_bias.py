"""Corrects the constant bias of a calibrated file's answers.

Rounding weights and activations moves the answers by noise and by a constant. Fine-tuning removes the constant; a file
that is only calibrated keeps it (0.2 degrees of yaw, on the networks here, with 0.6 of noise). It is measured on the
calibration crops and added to the answers, as bias correction does layer by layer (Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2), here where the answers are float
already.
"""

from __future__ import annotations

import keras
import numpy as np

from edgeface.models.layers import FloatLayer

CORRECTED = ("landmarks", "pose")
BATCH = 32


class Offset(FloatLayer):
    """Its input plus a constant of one face's shape."""

    def __init__(self, offset, **kwargs):
        super().__init__(**kwargs)
        self.offset = np.asarray(offset, np.float32)

    def call(self, answers):
        return answers + self.offset

    def compute_output_shape(self, input_shape):
        return input_shape


def offsets(model: keras.Model, data: bytes, crops: np.ndarray) -> dict[str, np.ndarray]:
    """{"landmarks": (K, 2), "pose": (3,)}, what of them there is: the deployable model's mean answers over the crops
    (N, S, S, C) uint8 less those of the file made from it.

    Args:
        model: the float model, from `deploy`.
        data: the flatbuffer that was made from it.
        crops: (N, S, S, C) uint8.
    """
    from ai_edge_litert.interpreter import Interpreter

    keys = [key for key in CORRECTED if key in model.output]
    float_answers = model.predict(crops.astype(np.float32), batch_size=BATCH, verbose=0)
    run = Interpreter(model_content=data).get_signature_runner()
    answers = [run(image=crop[None]) for crop in crops]
    return {key: (float_answers[key] - np.concatenate([a[key] for a in answers])).mean(axis=0) for key in keys}


def moved(model: keras.Model, by: dict[str, np.ndarray]) -> keras.Model:
    """The deployable model with constants added to its answers; layers and weights are shared.

    Args:
        model: from `deploy`.
        by: {output: constant}, from `offsets`.
    """
    outputs = {
        key: Offset(by[key], name=f"{key}_offset")(tensor) if key in by else tensor
        for key, tensor in model.output.items()
    }
    return keras.Model(model.input, outputs, name=model.name)

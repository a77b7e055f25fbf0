"""Deployable face models -> `.tflite` bytes of one variant.

A deployable model is functional, takes ``image`` (B, S, S, C) raw 0..255 and returns a dict of outputs
(`edgeface.models.deploy`). The file has a fixed batch of 1; its tensors are named as the outputs are.
`edgeface.quantize.to_int8` converts any other quantized model.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeface.convert.gpu_rewrite import for_gpu
from edgeface.convert.variants import Variant
from edgeface.errors import InputError
from edgeface.quantize.export import converter_for, rename_ends, require_tensorflow, write_saved_model
from edgeface.quantize.kinds import keeps_float
from edgeface.quantize.tflite_graph import read_graph
from edgeface.quiet import held_stderr

if TYPE_CHECKING:
    import keras

KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
"""Operators with weights."""


@contextlib.contextmanager
def exported(model: keras.Model) -> Iterator[Exported]:
    """A deployable model as TensorFlow reads it; several variants can share it, which halves their time."""
    require_tensorflow()
    _must_be_deployable(model)
    with tempfile.TemporaryDirectory() as folder:
        with held_stderr():
            write_saved_model(model, folder)
        yield Exported(model, folder)


@dataclass(frozen=True)
class Exported:
    model: keras.Model
    folder: str

    def to_tflite(self, variant: Variant, crops: np.ndarray | None = None) -> bytes:
        """The flatbuffer of one variant, not yet checked (`edgeface.convert.gate` does).

        The model must be the float one, or the quantized one where ``variant.needs_qat``; without its head
        where ``variant.head_on_host``. crops: (N, S, S, C) uint8, representative, where ``variant.needs_calibration``.
        """
        if variant.needs_calibration:
            crops = _checked_crops(crops, self.model)
        with held_stderr():
            converter = converter_for(self.folder)
            if variant.needs_calibration:
                data = _post_training(converter, self.model, variant, crops)
            else:
                data = _direct(converter, variant)
        data = rename_ends(data)
        return for_gpu(data) if variant.integer else data


def to_tflite(model: keras.Model, variant: Variant, crops: np.ndarray | None = None) -> bytes:
    """One variant of one model, see `Exported.to_tflite`."""
    with exported(model) as saved:
        return saved.to_tflite(variant, crops)


def _direct(converter, variant: Variant) -> bytes:
    import tensorflow as tf

    if variant.weights != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant.weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if variant.integer:
        # Every range comes from the model's fake-quants, so there is no representative set.
        converter.inference_input_type = tf.as_dtype(variant.input_dtype)
        if variant.head_on_host:
            converter.inference_output_type = tf.int8
    return converter.convert()


def _post_training(converter, model: keras.Model, variant: Variant, crops: np.ndarray) -> bytes:
    """Ranges by running the crops, then int8 everywhere but in the layers that are kept float.

    What `QuantizationDebugger` does with a list of denied nodes, without the instrumented second model it also builds.
    Nodes are found by the Keras layer that made them; those that make an output have lost that name, but in a model
    with its head they belong to it.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.python.util import modify_model_io_type

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ({"image": crop[None]} for crop in with_full_range(crops))
    converter._experimental_calibrate_only = True
    calibrated = converter.convert()
    kept = {layer.name for layer in model.layers if keeps_float(layer)}
    graph = read_graph(bytes(calibrated))
    nodes = [
        graph.name(op)
        for op in graph.ops
        if _is_of(graph.name(op), op.type, kept) or (not variant.head_on_host and set(op.outputs) & set(graph.outputs))
    ]
    data = mlir_quantize(calibrated, denylisted_nodes=nodes, disable_per_channel_for_dense_layers=True)
    return bytes(modify_model_io_type(data, tf.uint8, tf.int8 if variant.head_on_host else tf.float32))


def with_full_range(crops: np.ndarray) -> Iterator[np.ndarray]:
    """(S, S, C) float32 each. Two pixels of the first pin the input's range to 0..255: scale 1, zero point 0."""
    for index, crop in enumerate(crops.astype(np.float32)):
        if index == 0:
            crop[0, 0], crop[0, 1] = 0.0, 255.0
        yield crop


def _is_of(tensor_name: str, operator: str, layers: set[str]) -> bool:
    """Whether an operator comes from one of these Keras layers, by the name of the tensor that it makes.

    ``model_1/s1_mask_1/Max;model_1/…``: a fused operator has a part for each that went into it. One part is enough, but
    not for an operator with weights: the converter moves a layer's constant addends into the next one's bias.
    """
    found = []
    for part in tensor_name.split(";"):
        scopes = set(part.split("/")[:-1])
        found.append(bool((scopes | {re.sub(r"_\d+$", "", scope) for scope in scopes}) & layers))
    return all(found) if operator in KERNELS else any(found)


def _must_be_deployable(model: keras.Model) -> None:
    inputs = [tensor.name for tensor in model.inputs]
    output = getattr(model, "output", None)
    if inputs != ["image"] or not isinstance(output, dict):
        raise InputError(
            "model must take one input named image and return a dict of outputs (edgeface.models.deploy). "
            f"Received: inputs {inputs}, outputs {type(output).__name__}"
        )


def _checked_crops(crops: np.ndarray | None, model: keras.Model) -> np.ndarray:
    shape = tuple(model.inputs[0].shape[1:])
    if crops is None or crops.dtype != np.uint8 or crops.shape[1:] != shape or len(crops) == 0:
        got = None if crops is None else f"{crops.dtype} {crops.shape}"
        raise InputError(f"representative crops must be uint8 (N, {', '.join(map(str, shape))}). Received: {got}")
    return crops

"""Deployable Keras models -> `.tflite` bytes: with `convert.tfmot` the only place that imports tensorflow.

A deployable model is functional, takes ``image`` (B, S, S, C) raw 0..255 and returns a dict of outputs
(`edgeface.models.deploy`). The file has a fixed batch of 1; its tensors are named as the outputs are. `to_int8` takes
the quantisation-aware twin of any other functional model.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeface.convert.gpu_rewrite import for_gpu
from edgeface.convert.variants import Variant
from edgeface.errors import InputError
from edgeface.quantize.tflite_graph import read_graph

if TYPE_CHECKING:
    import keras

SIGNATURE = "serving_default"
KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
"""Operators with weights."""


@contextlib.contextmanager
def exported(model: keras.Model) -> Iterator[Exported]:
    """A deployable model as TensorFlow reads it; several variants can share it, which halves their time."""
    _must_run_on_tensorflow()
    _must_be_deployable(model)
    with tempfile.TemporaryDirectory() as folder:
        with _quiet():
            _export(model, folder)
        yield Exported(model, folder)


@dataclass(frozen=True)
class Exported:
    model: keras.Model
    folder: str

    def to_tflite(self, variant: Variant, crops: np.ndarray | None = None) -> bytes:
        """The flatbuffer of one variant, not yet checked (`edgeface.convert.gate` does).

        The model must be the float one, or the quantisation-aware twin where ``variant.needs_qat``; without its head
        where ``variant.head_on_host``. crops: (N, S, S, C) uint8, representative, where ``variant.needs_calibration``.
        """
        if variant.needs_calibration:
            crops = _checked_crops(crops, self.model)
        with _quiet():
            converter = _converter(self.folder)
            if variant.needs_calibration:
                data = _post_training(converter, self.model, variant, crops)
            else:
                data = _direct(converter, variant)
        data = _renamed(data)
        return for_gpu(data) if variant.integer else data


def to_tflite(model: keras.Model, variant: Variant, crops: np.ndarray | None = None) -> bytes:
    """One variant of one model, see `Exported.to_tflite`."""
    with exported(model) as saved:
        return saved.to_tflite(variant, crops)


def to_int8(twin: keras.Model, inputs: str = "uint8", outputs: str = "float32") -> bytes:
    """The `.tflite` of any calibrated twin (`edgeface.quantize`), faces or not, with a fixed batch of 1.

    Input and output tensors are named as the twin's inputs and its outputs' keys (or the layers that make them).
    inputs: "uint8" (scale 1 for a twin of raw 0..255 images), "int8" or "float32". outputs: "float32" or "int8".
    InputError: a range that is not set, a shape that is not fixed, two outputs of one name, an input or output that is
    float whatever was asked, bits other than 8 (the converter takes 16 for an activation without a word, and writes
    what the interpreter refuses or computes wrongly), or a file that is not what the twin's `coverage` says.
    """
    import tensorflow as tf

    from edgeface.quantize import uncalibrated
    from edgeface.quantize.coverage_check import check
    from edgeface.quantize.keras_graph import layers_by_name

    _must_run_on_tensorflow()
    if inputs not in ("uint8", "int8", "float32") or outputs not in ("float32", "int8"):
        got = f"{inputs!r} and {outputs!r}"
        raise InputError(f"inputs must be uint8, int8 or float32, and outputs float32 or int8. Received: {got}")
    if missing := uncalibrated(twin):
        raise InputError(f"every range of the twin must be set: calibrate it. Received: none for {', '.join(missing)}")
    other = [layer.name for layer in layers_by_name(twin).values() if getattr(layer, "bits", 8) != 8]
    if other:
        raise InputError(f"every tensor of the twin must have 8 bits. Received: others for {', '.join(other[:3])}")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        _export(twin, folder)
        converter = _converter(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = getattr(tf, inputs)
        converter.inference_output_type = getattr(tf, outputs)
        try:
            data = _renamed(converter.convert())
        except Exception as error:  # the converter raises what it likes; its log is on stderr
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise InputError(f"twin must be one that TFLite can convert. Received: {reason.strip()[:300]}") from error
    graph = read_graph(data)
    check(graph, twin, _output_layers(twin))
    for side, wanted, indices, where in (
        ("inputs", inputs, graph.inputs, "first"),
        ("outputs", outputs, graph.outputs, "last"),
    ):
        if any(graph.tensors[i].dtype != wanted for i in indices):
            raise InputError(f"{side} must be float32 for a twin whose {where} layer is float. Received: {wanted!r}")
    return data


def _direct(converter, variant: Variant) -> bytes:
    import tensorflow as tf

    if variant.weights != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant.weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if variant.integer:
        # Every range comes from the twin's fake-quants, so there is no representative set.
        converter.inference_input_type = tf.as_dtype(variant.input_dtype)
        if variant.head_on_host:
            converter.inference_output_type = tf.int8
    return converter.convert()


def _post_training(converter, model: keras.Model, variant: Variant, crops: np.ndarray) -> bytes:
    """Ranges by running the crops, then int8 everywhere but in the float islands.

    What `QuantizationDebugger` does with a list of denied nodes, without the instrumented second model it also builds.
    Nodes are found by the Keras layer that made them; those that make an output have lost that name, but in a model
    with its head they belong to it.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.python.util import modify_model_io_type

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ({"image": crop[None]} for crop in _with_full_range(crops))
    converter._experimental_calibrate_only = True
    calibrated = converter.convert()
    islands = {layer.name for layer in model.layers if getattr(layer, "float_island", False)}
    graph = read_graph(bytes(calibrated))
    nodes = [
        graph.name(op)
        for op in graph.ops
        if _is_of(graph.name(op), op.type, islands)
        or (not variant.head_on_host and set(op.outputs) & set(graph.outputs))
    ]
    data = mlir_quantize(calibrated, denylisted_nodes=nodes, disable_per_channel_for_dense_layers=True)
    return bytes(modify_model_io_type(data, tf.uint8, tf.int8 if variant.head_on_host else tf.float32))


def _export(model: keras.Model, folder: str) -> None:
    """A SavedModel with a fixed batch of 1 and constants for variables, so that batch norm folds.

    Keras's `ExportArchive` gives the same file in four times the time: it traces the model anew for each of its steps,
    and the variables are frozen again by every conversion.
    """
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise InputError(f"every input must have a fixed shape. Received: {tensor.name} {tuple(tensor.shape)}")
    specs = [tf.TensorSpec((1, *t.shape[1:]), t.dtype, name=t.name) for t in model.inputs]
    traced = tf.function(
        lambda *tensors: _named_outputs(
            model, model(keras.tree.pack_sequence_as(model.input, list(tensors)), training=False)
        ),
        input_signature=specs,
        autograph=False,
    )
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    # Freezing flattens the outputs; this puts their names back.
    names = sorted(_named_outputs(model, model.output))
    module = tf.Module()
    module.run = tf.function(
        lambda *tensors: dict(zip(names, frozen(*tensors), strict=True)), input_signature=specs, autograph=False
    )
    # Activations such as SiLU bring a gradient of their own, which a frozen function cannot be saved with.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, folder, signatures={SIGNATURE: module.run}, options=options)


def _named_outputs(model: keras.Model, outputs) -> dict:
    """A dict of outputs as it is; others by the names of the layers that make them. InputError: one name for two."""
    if isinstance(outputs, dict):
        return outputs
    import keras

    names = [t._keras_history.operation.name for t in keras.tree.flatten(model.output)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            "outputs must have distinct names: make the model's outputs a dict. "
            f"Received: several of layer {', '.join(twice)}"
        )
    return dict(zip(names, keras.tree.flatten(outputs), strict=True))


def _output_layers(model: keras.Model) -> dict[str, str]:
    """Output name -> the layer that makes it."""
    import keras

    return keras.tree.map_structure(lambda t: t._keras_history.operation.name, _named_outputs(model, model.output))


def _converter(folder: str):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
    # tflite-runtime 2.14 cannot load per-channel FULLY_CONNECTED weights, and crashes on some on arm64.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return converter


def _with_full_range(crops: np.ndarray) -> Iterator[np.ndarray]:
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


def _renamed(data: bytes) -> bytes:
    """Gives input and output tensors their signature's names (``image``, ``landmarks``, …) without moving a byte.

    The converter's names (``serving_default_image:0``) are mostly longer, so the new ones fit where the old ones are;
    one that does not goes to the file's end. The weights keep the alignment that the converter gave them, which writing
    the flatbuffer anew would not promise.
    """
    from ai_edge_litert import schema_py_generated as schema

    patched = bytearray(data)
    model = schema.Model.GetRootAs(data, 0)
    main, signature = model.Subgraphs(0), model.SignatureDefs(0)
    sides = ((signature.InputsLength(), signature.Inputs), (signature.OutputsLength(), signature.Outputs))
    for entry in (get(i) for length, get in sides for i in range(length)):
        tensor, new = main.Tensors(entry.TensorIndex()), entry.Name()
        # A flatbuffer string: its length as 32 bits, its bytes, a zero. A tensor's name is its field 3: slot 4 + 2 * 3;
        # it holds how far behind it the string starts.
        field = tensor._tab.Offset(10) + tensor._tab.Pos
        start, room = field + int.from_bytes(data[field : field + 4], "little"), len(tensor.Name())
        if len(new) > room:
            start, room = len(patched), len(new) + -(len(new) + 1) % 4  # what follows starts at a multiple of 4
            patched[field : field + 4] = (start - field).to_bytes(4, "little")
        patched[start : start + 5 + room] = len(new).to_bytes(4, "little") + new.ljust(room + 1, b"\0")
    return bytes(patched)


def _must_run_on_tensorflow() -> None:
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise InputError(
            f"conversion must run on Keras's TensorFlow backend (set KERAS_BACKEND=tensorflow). Received: {backend}"
        )


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Holds back what the converter's C++ prints on stderr; shows it where the conversion fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            log.seek(0)
            os.write(kept, log.read()[-4000:])
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)

"""Quantized Keras models -> int8 `.tflite` bytes. The only module of the package that imports TensorFlow, when called.

`to_int8` is the whole way for any model. Its parts (`write_saved_model`, `converter_for`, `rename_ends`) serve float
models too.
"""

from __future__ import annotations

import tempfile
from typing import Any

import keras

from edgeface.errors import InputError
from edgeface.quantize.coverage_check import check
from edgeface.quantize.keras_graph import layers_by_name, named_outputs, output_layers
from edgeface.quantize.ranges import uncalibrated
from edgeface.quantize.tflite_graph import read_graph
from edgeface.quantize.value_check import check_biases, check_values
from edgeface.quantize.verification import require_equal
from edgeface.quiet import held_stderr

SIGNATURE = "serving_default"
INPUT_DTYPES, OUTPUT_DTYPES = ("uint8", "int8", "float32"), ("float32", "int8")


def to_int8(
    model: keras.Model,
    data: Any = None,
    *,
    inputs: str = "uint8",
    outputs: str = "float32",
    verify: bool = True,
    tolerance: float = 2.0,
) -> bytes:
    """The `.tflite` flatbuffer of a calibrated quantized model, with a fixed batch of 1.

    The file is run and held against the model before it is returned. Its input and output tensors are named as the
    model's inputs and its outputs' keys (or the layers that make them).

    Args:
        model: made by `quantize_aware`, calibrated or trained.
        data: what file and model are compared on: inputs (N, ...), or batches as for `calibrate`. None: random values
            over the range of every input.
        inputs: dtype of the file's inputs: "uint8" (scale 1 where the model reads raw 0..255 images), "int8" or
            "float32".
        outputs: dtype of the file's outputs: "float32" or "int8".
        verify: whether to compare the file with the model, see `edgeface.quantize.verify`.
        tolerance: how many int8 steps an output of the file may differ from the model's on average.

    Raises:
        InputError: a range is not set; a shape is not fixed; two outputs have one name; an input or output is float32
            whatever was asked for; a tensor has other than 8 bits (the converter accepts 16 for an activation, and
            writes what the interpreter refuses or computes wrongly); a range or weight is not finite or absurd; a bias
            does not fit int32; or the file is not what `coverage(model)` says, or does not compute what the model does.
    """
    import tensorflow as tf

    require_tensorflow()
    if inputs not in INPUT_DTYPES or outputs not in OUTPUT_DTYPES:
        got = f"{inputs!r} and {outputs!r}"
        raise InputError(f"inputs must be uint8, int8 or float32, and outputs float32 or int8. Received: {got}")
    if missing := uncalibrated(model):
        raise InputError(f"every activation range must be set: calibrate the model. Unset: {', '.join(missing)}")
    other = [layer.name for layer in layers_by_name(model).values() if getattr(layer, "bits", 8) != 8]
    if other:
        raise InputError(f"every tensor must have 8 bits. Received: others for {', '.join(other[:3])}")
    check_values(model)
    with tempfile.TemporaryDirectory() as folder, held_stderr():
        write_saved_model(model, folder)
        converter = converter_for(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = getattr(tf, inputs)
        converter.inference_output_type = getattr(tf, outputs)
        try:
            file = rename_ends(converter.convert())
        except Exception as error:  # the converter raises what it likes; its log is on stderr
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise InputError(f"model must be one that TFLite can convert. Received: {reason.strip()[:300]}") from error
    graph = read_graph(file)
    check(graph, model, output_layers(model))
    check_biases(graph, output_layers(model))
    for side, wanted, indices, where in (
        ("inputs", inputs, graph.inputs, "first"),
        ("outputs", outputs, graph.outputs, "last"),
    ):
        if any(graph.tensors[i].dtype != wanted for i in indices):
            raise InputError(f"{side} must be float32 for a model whose {where} layer is float. Received: {wanted!r}")
    if verify:
        require_equal(file, model, data, tolerance)
    return file


def write_saved_model(model: keras.Model, folder: str) -> None:
    """Write a SavedModel with a fixed batch of 1 and constants for variables, so that batch norm folds.

    Keras's `ExportArchive` gives the same file in four times the time: it traces the model anew for each of its steps,
    and the variables are frozen again by every conversion.

    Args:
        model: functional, all dimensions but the batch's fixed.
        folder: where to write it; an existing directory.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise InputError(f"every input must have a fixed shape. Received: {tensor.name} {tuple(tensor.shape)}")
    specs = [tf.TensorSpec((1, *t.shape[1:]), t.dtype, name=t.name) for t in model.inputs]
    traced = tf.function(
        lambda *tensors: named_outputs(
            model, model(keras.tree.pack_sequence_as(model.input, list(tensors)), training=False)
        ),
        input_signature=specs,
        autograph=False,
    )
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    # Freezing flattens the outputs; this puts their names back.
    names = sorted(named_outputs(model, model.output))
    module = tf.Module()
    module.run = tf.function(
        lambda *tensors: dict(zip(names, frozen(*tensors), strict=True)), input_signature=specs, autograph=False
    )
    # Activations such as SiLU bring a gradient of their own, which a frozen function cannot be saved with.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, folder, signatures={SIGNATURE: module.run}, options=options)


def converter_for(folder: str) -> Any:
    """The `TFLiteConverter` of a SavedModel that `write_saved_model` wrote."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
    # tflite-runtime 2.14 cannot load per-channel FULLY_CONNECTED weights, and crashes on some on arm64.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return converter


def rename_ends(data: bytes) -> bytes:
    """The file with input and output tensors named as in its signature (``image``, ...); no other byte moves.

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


def require_tensorflow() -> None:
    """InputError unless Keras runs on TensorFlow, the only backend whose models the converter reads."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise InputError(
            f"conversion must run on Keras's TensorFlow backend (set KERAS_BACKEND=tensorflow). Received: {backend}"
        )

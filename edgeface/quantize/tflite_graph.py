"""A `.tflite` flatbuffer as plain values: what `edgeface.convert.gate` judges and cards are filled from."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeface.errors import InputError


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    """-1 where it is only known at run time."""
    dtype: str
    """float32, float16, int8, uint8, int32, …"""
    constant: bool
    """Its values are in the file."""
    dynamic: bool
    """A dimension is only known at run time."""
    scale: float | None = None
    """Scale of a per-tensor quantized tensor; None for a per-channel one."""
    zero_point: int | None = None
    scales: tuple[float, ...] = ()
    """One per tensor or one per channel; () where it is not quantized."""
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    """The channels' axis of a per-channel tensor."""
    largest: float = 0.0
    """Largest magnitude of a constant in float16, float32 or int32; NaN where one is not a number."""

    @property
    def elements(self) -> int:
        count = 1
        for n in self.shape:
            count *= n
        return count


@dataclass(frozen=True)
class Op:
    type: str
    """CONV_2D, …; a custom operator is ``CUSTOM:its name``."""
    inputs: tuple[int, ...]
    """Tensor indices; absent optional inputs are left out."""
    outputs: tuple[int, ...]
    version: int = 1


@dataclass(frozen=True)
class Graph:
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_names: dict[str, int]
    """By the signature: name -> tensor index."""
    output_names: dict[str, int]
    subgraphs: int
    signatures: int
    bytes: int

    def dtype(self, op: Op) -> str:
        """What an op computes in: the dtype of its result; a QUANTIZE or DEQUANTIZE shows both ends."""
        result = self.tensors[op.outputs[0]].dtype
        if op.type in ("QUANTIZE", "DEQUANTIZE"):
            return f"{self.tensors[op.inputs[0]].dtype}->{result}"
        return result

    def name(self, op: Op) -> str:
        return self.tensors[op.outputs[0]].name

    def layer(self, op: Op) -> str:
        """The Keras layer that an op comes from, see `keras_layer`."""
        return keras_layer(self.name(op))

    def where(self, op: Op) -> str:
        """An op for a message: its type, its name and its layer."""
        name, layer = self.name(op), self.layer(op)
        return f"{op.type} {name!r}" + (f" (layer {layer})" if layer != name else "")


def keras_layer(tensor_name: str) -> str:
    """``m_1/s1_in_relu_1/Relu;m_1/s1_in_conv_1/add`` -> ``s1_in_relu + s1_in_conv``: one operator of two fused layers.

    The number behind a layer's name counts its calls. A name without a scope (an output's, say) stands for itself.
    """
    layers = []
    for part in tensor_name.split(";"):
        scopes = part.split("/")
        # The model, the layer, and what the layer made; nested layers have more scopes between.
        if len(scopes) >= 3:
            layers.append(re.sub(r"_\d+$", "", scopes[1]))
    return " + ".join(dict.fromkeys(layers)) or tensor_name


def read_graph(source: str | Path | bytes) -> Graph:
    """InputError where the file is missing, not a `.tflite`, or damaged."""
    from ai_edge_litert import schema_py_generated as schema

    data, where = source, "the model"
    if not isinstance(source, bytes):
        where = str(source)
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise InputError(f"{where} must be a .tflite file. Received: {error.strerror or error}") from None
    if data[4:8] != b"TFL3":
        raise InputError(f"{where} must be a .tflite file. Received: {len(data)} bytes of something else")
    flatbuffer = _without_archive(data)
    try:
        model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
        return _graph(model, schema, len(flatbuffer))
    except (struct.error, IndexError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{where} must be an undamaged .tflite file. Received: {error}") from None


def _without_archive(data: bytes) -> bytes:
    """A file may end in a ZIP archive of its metadata, TFLite's own convention: the flatbuffer ahead of it."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return data[: min((member.header_offset for member in archive.infolist()), default=len(data))]
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return data


def _graph(model, schema, size: int) -> Graph:
    op_names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    dtypes = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}

    def op_type(code) -> str:
        # Old writers fill only the 8-bit field, new ones both.
        builtin = op_names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        return builtin if builtin != "CUSTOM" else f"CUSTOM:{_text(code.customCode)}"

    types = [(op_type(code), code.version) for code in model.operatorCodes]
    main = model.subgraphs[0]
    signatures = model.signatureDefs or []
    named = [{_text(t.name): t.tensorIndex for t in (side or [])} for side in _sides(signatures)]
    return Graph(
        tensors=tuple(_tensor(t, model.buffers, dtypes) for t in main.tensors),
        ops=tuple(
            Op(
                types[op.opcodeIndex][0],
                tuple(int(i) for i in op.inputs if i >= 0),
                tuple(int(i) for i in op.outputs),
                types[op.opcodeIndex][1],
            )
            for op in main.operators
        ),
        inputs=tuple(int(i) for i in main.inputs),
        outputs=tuple(int(i) for i in main.outputs),
        input_names=named[0],
        output_names=named[1],
        subgraphs=len(model.subgraphs),
        signatures=len(signatures),
        bytes=size,
    )


def _sides(signatures) -> tuple:
    return (signatures[0].inputs, signatures[0].outputs) if signatures else ((), ())


def _tensor(tensor, buffers, dtypes) -> Tensor:
    shape = tuple(int(n) for n in (tensor.shape if tensor.shape is not None else ()))
    signature = tensor.shapeSignature if tensor.shapeSignature is not None else ()
    quantization = tensor.quantization
    scales = quantization.scale if quantization is not None and quantization.scale is not None else ()
    zero_points = quantization.zeroPoint if len(scales) and quantization.zeroPoint is not None else ()
    data = buffers[tensor.buffer].data
    dtype = dtypes[tensor.type]
    single = len(scales) == 1
    dynamic = any(n < 0 for n in (*shape, *signature))
    return Tensor(
        name=_text(tensor.name),
        shape=tuple(int(n) for n in signature) if dynamic and len(signature) else shape,
        dtype=dtype,
        constant=data is not None and len(data) > 0,
        dynamic=dynamic,
        scale=float(scales[0]) if single else None,
        zero_point=int(quantization.zeroPoint[0]) if single else None,
        scales=tuple(float(v) for v in scales),
        zero_points=tuple(int(v) for v in zero_points),
        axis=int(quantization.quantizedDimension) if len(scales) else 0,
        largest=_largest(data, dtype),
    )


def _largest(data, dtype: str) -> float:
    if data is None or dtype not in ("float16", "float32", "int32") or len(data) == 0:
        return 0.0
    values = np.frombuffer(bytes(data), dtype)
    return float(np.abs(values.astype("float64") if dtype == "int32" else values).max())


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode(errors="replace")

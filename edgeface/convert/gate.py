"""Every converted file is opened again and checked against its variant's contract; every failure is named.

The rules for an int8 trunk: convolutions, resizing, pooling, padding and activations are never in float; exponentials,
divisions and roots are never in int8 (an int8 softmax moves landmarks by tens of pixels), but for the exponential that
makes a mask of one channel, of which nothing is summed; anything else may be in float only in a *float island*, a
connected region of float operators that holds an EXP (soft-argmax, attention mask, bin expectation) or a
FULLY_CONNECTED with at most three results (the pose).

Every failure names the operator and, by its tensor's name, the Keras layer (or layers, where the converter fused them)
that it came from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeface.card import read_card, split_card
from edgeface.convert.op_versions import too_new
from edgeface.convert.overflow import FLOAT16_MAX, activation_overflow
from edgeface.convert.quantization_check import wrong_parameters
from edgeface.convert.variants import Variant, variant
from edgeface.errors import InputError
from edgeface.quantize.tflite_graph import Graph, Op, Tensor, keras_layer, read_graph

INPUT_NAME = "image"
HEAD_OUTPUTS = ("landmarks", "pose", "spread")
HOST_OUTPUTS = ("maps", "pose_logits", "pose_features", "pose")
INPUT_GRIDS = {"uint8": (1.0, 0), "int8": (1.0, -128)}
"""Scale and zero point of raw 0..255."""
ALWAYS_INT8 = frozenset(
    (
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "TRANSPOSE_CONV",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "MAX_POOL_2D",
        "AVERAGE_POOL_2D",
        "PAD",
        "PADV2",
        "MIRROR_PAD",
        "LOGISTIC",
        "RELU",
        "RELU6",
        "LEAKY_RELU",
        "PRELU",
        "HARD_SWISH",
        "TANH",
    )
)
ALWAYS_FLOAT = frozenset(("EXP", "SOFTMAX", "LOG_SOFTMAX", "DIV", "SQRT", "RSQRT", "POW", "LOG"))
FULL_MAP = frozenset(("ADD", "MUL", "CONCATENATION"))
"""Where they span a whole map, in float only ahead of an EXP: elsewhere they are the trunk's. A MUL by one constant is
free: it scales what a float subgraph reads."""
REFUSED = frozenset(
    (
        "GATHER_ND",
        "GATHER",
        "ARG_MAX",
        "ARG_MIN",
        "CAST",
        "SHAPE",
        "WHILE",
        "IF",
        "CALL",
        "CALL_ONCE",
        "VAR_HANDLE",
        "READ_VARIABLE",
    )
)
"""Operators that GPU delegates or NPUs do not take, or that betray a dynamic shape or an unfrozen variable."""
MIN_QUANTIZED_WEIGHTS = 1024
"""The converter leaves smaller constants in float when it quantizes weights alone."""


@dataclass(frozen=True)
class OpCount:
    type: str
    dtype: str
    count: int


@dataclass(frozen=True)
class GateReport:
    """What a file holds, and what of it breaks the contract."""

    file: str
    variant: str
    bytes: int
    operators: tuple[OpCount, ...]
    float_operators: int
    """Operators that compute in float, without DEQUANTIZE."""
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    failures: tuple[str, ...]
    gpu: str = "not asked for"
    """What the GPU delegate's engine says of the file, see `edgeface.convert.gpu`."""

    @property
    def passed(self) -> bool:
        return not self.failures


class GateError(InputError):
    """A converted file that is not what its variant promises."""


def gate(
    path: str | Path,
    expected: Variant | None = None,
    *,
    name: str | None = None,
    gpu: bool = False,
    crops: np.ndarray | None = None,
    faces: int = 0,
) -> GateReport:
    """The report on a file.

    Args:
        path: a `.tflite` file.
        expected: the variant it must be; by default what its card says.
        name: what to call it; by default its own name.
        gpu: also compile it for the GPU delegate's engine, where a Vulkan driver is installed (a software one will do),
            which must take every variant but ``dynamic`` whole.
        crops: (N, S, S, C) uint8, on which a float16 file must stay within float16.
        faces: how many faces to render for that, where no crops are given; 0: none.
    """
    expected = variant(read_card(path).variant) if expected is None else expected
    graph = read_graph(path)
    report = check(graph, expected, name or Path(path).name)
    if expected.weights == "float16" and report.passed and (crops is not None or faces):
        crops = _rendered(faces, graph, path) if crops is None else crops
        report = replace(report, failures=activation_overflow(path, crops))
    return _with_gpu(report, path) if gpu else report


def _rendered(count: int, graph: Graph, path: str | Path) -> np.ndarray:
    """Rendered faces for a file's input, cut as its card says; as presets have them where it carries none."""
    from edgeface.convert.calibration_set import CROP_SCALE, rendered_crops

    _, side, _, channels = graph.tensors[graph.input_names[INPUT_NAME]].shape
    carded = split_card(Path(path).read_bytes(), path)[1] is not None
    scale = read_card(path).crop.scale if carded else CROP_SCALE
    return rendered_crops("test", count, side, channels, scale)


def _with_gpu(report: GateReport, path: str | Path) -> GateReport:
    from edgeface.convert.gpu import compile_on_gpu

    result = compile_on_gpu(path)
    if not result.available:
        return replace(report, gpu=f"not checked: {result.reason or 'no Vulkan driver'}")
    if result.accepted:
        return replace(report, gpu=f"every operator taken by {result.driver}")
    refused = f"refused by the GPU engine: {', '.join(result.refused) or result.reason}"
    # int8 weights under float arithmetic are for CPUs: what a GPU makes of such a file is reported, not judged.
    failures = report.failures if report.variant == "dynamic" else (*report.failures, refused)
    return replace(report, gpu=refused, failures=failures)


def require(report: GateReport) -> GateReport:
    """The report itself; GateError where it has failures."""
    if report.failures:
        more = f" (and {len(report.failures) - 3} more)" if len(report.failures) > 3 else ""
        first = "; ".join(report.failures[:3])
        raise GateError(f"{report.file} must meet the contract of {report.variant}. Received: {first}{more}")
    return report


def check(graph: Graph, expected: Variant, name: str = "model") -> GateReport:
    """The contract, rule by rule.

    Args:
        graph: the file's operators and tensors.
        expected: the variant it must be.
        name: what to call it.
    """
    rules = [_structure, _interface, _int8_trunk if expected.integer else _float_trunk]
    counts = Counter((op.type, graph.dtype(op)) for op in graph.ops)
    return GateReport(
        file=name,
        variant=expected.name,
        bytes=graph.bytes,
        operators=tuple(OpCount(*key, count) for key, count in sorted(counts.items())),
        float_operators=sum(_computes_in_float(graph, op) for op in graph.ops),
        inputs={key: graph.tensors[i] for key, i in graph.input_names.items()},
        outputs={key: graph.tensors[i] for key, i in graph.output_names.items()},
        failures=tuple(failure for rule in rules for failure in rule(graph, expected)),
    )


def _structure(graph: Graph, expected: Variant) -> list[str]:
    failures = []
    if graph.subgraphs != 1 or graph.signatures != 1:
        failures.append(f"{graph.subgraphs} subgraphs and {graph.signatures} signatures, not one of each")
    failures += [f"operator {graph.where(op)}" for op in graph.ops if op.type.startswith("CUSTOM:")]
    failures += [f"operator {graph.where(op)}, refused" for op in graph.ops if op.type in REFUSED]
    failures += too_new(graph, REFUSED)
    for tensor in graph.tensors:
        if tensor.dynamic:
            failures.append(f"{_named(tensor)} of dynamic shape {tensor.shape}")
        elif len(tensor.shape) > 4:
            failures.append(f"{_named(tensor)} of more than 4 dimensions {tensor.shape}")
        if not tensor.largest < float("inf"):
            failures.append(f"weights {_named(tensor)[7:]} with a value that is not finite")
        elif tensor.dtype == "float16" and tensor.largest >= FLOAT16_MAX:
            # The converter cuts what is beyond float16 down to its largest number.
            failures.append(f"weights {_named(tensor)[7:]} that overflow float16, which ends at {FLOAT16_MAX:g}")
    return failures


def _named(tensor: Tensor) -> str:
    layer = keras_layer(tensor.name)
    return f"tensor {tensor.name!r}" + (f" (layer {layer})" if layer != tensor.name else "")


def _interface(graph: Graph, expected: Variant) -> list[str]:
    failures = []
    if set(graph.input_names) != {INPUT_NAME}:
        return [f"inputs {sorted(graph.input_names)}, not one named {INPUT_NAME!r}"]
    image = graph.tensors[graph.input_names[INPUT_NAME]]
    if len(image.shape) != 4 or image.shape[0] != 1 or image.shape[3] not in (1, 3):
        failures.append(f"input of shape {image.shape}, not (1, S, S, 1 or 3)")
    if image.dtype != expected.input_dtype:
        failures.append(f"input of {image.dtype}, not {expected.input_dtype}")
    elif (image.scale, image.zero_point) != (grid := INPUT_GRIDS.get(image.dtype, (None, None))):
        failures.append(
            f"input with scale {image.scale} and zero point {image.zero_point}, not {grid[0]:g} and {grid[1]}"
        )
    allowed = HOST_OUTPUTS if expected.head_on_host else HEAD_OUTPUTS
    if not graph.output_names or set(graph.output_names) - set(allowed):
        failures.append(f"outputs {sorted(graph.output_names)}, not among {', '.join(allowed)}")
    if set(graph.output_names.values()) != set(graph.outputs) or set(graph.input_names.values()) != set(graph.inputs):
        failures.append("a signature that does not name every input and output of the graph")
    for name, index in {**graph.input_names, **graph.output_names}.items():
        if graph.tensors[index].name != name:
            # Not every runtime reads signatures.
            failures.append(f"{name} is a tensor called {graph.tensors[index].name!r}")
    for name, index in graph.output_names.items():
        tensor = graph.tensors[index]
        # A pose that no bins encode comes from a float island, on the device in every variant.
        dtypes = ("int8",) if expected.head_on_host and name != "pose" else ("float32",)
        if tensor.dtype not in dtypes:
            failures.append(f"output {name} of {tensor.dtype}, not {dtypes[0]}")
    return failures


def _float_trunk(graph: Graph, expected: Variant) -> list[str]:
    """No int8 arithmetic; the weights are stored as the variant says."""
    failures = [f"{graph.where(op)} in int8" for op in graph.ops if graph.dtype(op) == "int8"]
    large = [t for t in graph.tensors if t.constant and t.elements >= MIN_QUANTIZED_WEIGHTS]
    for tensor in large:
        if tensor.dtype in ("float32", "float16", "int8") and tensor.dtype != expected.weights:
            failures.append(f"weights {_named(tensor)[7:]} in {tensor.dtype}, not {expected.weights}")
    if expected.weights == "float32":
        # Also the small ones: the reference has no quantized tensor at all.
        small = [t for t in graph.tensors if t.elements < MIN_QUANTIZED_WEIGHTS and t.dtype in ("float16", "int8")]
        failures += [f"tensor {t.name!r} in {t.dtype}" for t in small]
    return failures


def _int8_trunk(graph: Graph, expected: Variant) -> list[str]:
    wrong: dict[int, str] = {}
    ahead_of_exp = _ancestors(graph, {i for i, op in enumerate(graph.ops) if op.type == "EXP"})
    for index, op in enumerate(graph.ops):
        if not _computes_in_float(graph, op):
            if op.type in ALWAYS_FLOAT and not _is_mask(graph, op):
                wrong[index] = f"in {graph.dtype(op)}"
        elif _belongs_to_trunk(graph, op, index in ahead_of_exp):
            wrong[index] = f"of shape {graph.tensors[op.outputs[0]].shape} left in float"
    for region in _float_regions(graph):
        island = any(graph.ops[i].type == "EXP" or _is_pose(graph, graph.ops[i]) for i in region)
        if not island and not wrong.keys() & set(region):
            wrong[region[0]] = "in float, outside every float island"
    return [f"{graph.where(graph.ops[i])} {why}" for i, why in wrong.items()] + wrong_parameters(graph)


def _belongs_to_trunk(graph: Graph, op: Op, ahead_of_exp: bool) -> bool:
    """Whether no float island has a use for such an operator."""
    if op.type in FULL_MAP:
        shape = graph.tensors[op.outputs[0]].shape
        spans_a_map = len(shape) == 4 and min(shape[1:3]) > 1
        return spans_a_map and not ahead_of_exp and not _scales(graph, op)
    return op.type in ALWAYS_INT8 or (op.type == "FULLY_CONNECTED" and not _is_pose(graph, op))


def _is_pose(graph: Graph, op: Op) -> bool:
    return op.type == "FULLY_CONNECTED" and graph.tensors[op.outputs[0]].shape[-1] <= 3


def _is_mask(graph: Graph, op: Op) -> bool:
    """An exponential with one channel: an attention mask, by a look-up table. A soft-argmax has one a landmark."""
    return op.type == "EXP" and graph.tensors[op.outputs[0]].shape[-1] == 1


def _scales(graph: Graph, op: Op) -> bool:
    """A product with one constant number."""
    factors = [graph.tensors[i] for i in op.inputs]
    return op.type == "MUL" and any(t.constant and t.elements == 1 for t in factors)


def _computes_in_float(graph: Graph, op: Op) -> bool:
    """Its result is float, or an input that is not a constant is; QUANTIZE and DEQUANTIZE do not count."""
    if op.type in ("QUANTIZE", "DEQUANTIZE"):
        return False
    at = [graph.tensors[i] for i in op.outputs] + [t for i in op.inputs if not (t := graph.tensors[i]).constant]
    return any(t.dtype.startswith("float") for t in at)


def _float_regions(graph: Graph) -> list[list[int]]:
    """Connected regions of float operators, joined by the float tensors that one of them makes and another reads."""
    floats = [i for i, op in enumerate(graph.ops) if _computes_in_float(graph, op)]
    made_by = {t: i for i in floats for t in graph.ops[i].outputs}
    region = {i: i for i in floats}

    def root(i: int) -> int:
        while region[i] != i:
            i = region[i]
        return i

    for i in floats:
        for t in graph.ops[i].inputs:
            if t in made_by:
                region[root(i)] = root(made_by[t])
    regions: dict[int, list[int]] = {}
    for i in floats:
        regions.setdefault(root(i), []).append(i)
    return list(regions.values())


def _ancestors(graph: Graph, ops: set[int]) -> set[int]:
    """Float operators whose results reach one of ``ops`` without being quantized."""
    made_by = {t: i for i, op in enumerate(graph.ops) if _computes_in_float(graph, op) for t in op.outputs}
    found, todo = set(), list(ops)
    while todo:
        for t in graph.ops[todo.pop()].inputs:
            maker = made_by.get(t)
            if maker is not None and maker not in found:
                found.add(maker)
                todo.append(maker)
    return found

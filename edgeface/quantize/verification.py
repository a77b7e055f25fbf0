"""A written file against the model it was made from: both are run on the same data and compared in int8 steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import tree

from edgeface.errors import InputError
from edgeface.quantize.keras_graph import Slot, inputs_of, named_outputs, outputs_of, read_graph
from edgeface.quantize.kinds import inherits, selects
from edgeface.quantize.layers import FakeQuant
from edgeface.quantize.tflite_graph import Graph, Tensor
from edgeface.quantize.tflite_graph import read_graph as read_file

SAMPLES = 16
"""How many samples of the data are compared."""
PEAK = 10.0
"""The largest difference of an int8 output may be this many times the largest mean difference that is allowed."""


@dataclass(frozen=True)
class Difference:
    """How far a tensor of the file is from the model's."""

    name: str
    """Output name, or the FakeQuant that makes the tensor."""
    mean_steps: float
    """Mean absolute difference over all samples and elements, in steps."""
    max_steps: float
    """Largest absolute difference, in steps."""
    step: float
    """Size of a step: that of the tensor's grid; for a float output 1/255 of its spread or largest value."""
    quantized: bool
    """Whether the tensor has a grid."""


@dataclass(frozen=True)
class Verification:
    """The comparison of a file with its model."""

    outputs: tuple[Difference, ...]
    layers: tuple[Difference, ...]
    """Activations in the graph's order, those of them that the file holds as tensors."""
    samples: int

    def failures(self, tolerance: float) -> tuple[Difference, ...]:
        """Outputs that differ by more than `tolerance` steps on average, or int8 ones by ten times that anywhere."""
        return tuple(
            d
            for d in self.outputs
            if not d.mean_steps <= tolerance or (d.quantized and not d.max_steps <= PEAK * tolerance)
        )


def verify(file: str | Path | bytes, model: keras.Model, data: Any = None, *, layers: bool = True) -> Verification:
    """Run a file and the quantized model it was made from on the same data, and compare them.

    Args:
        file: the `.tflite`, as a path or its bytes.
        model: the quantized model.
        data: inputs as the model takes them, (N, ...); or batches, as for `calibrate`. The first 16 samples are used.
            None: random values over the range of every input.
        layers: compare the activations inside too.

    Returns:
        The differences per output and per layer, in steps of each tensor's grid.

    Raises:
        InputError: the file cannot be run, or takes other inputs than the model.
    """
    content = file if isinstance(file, bytes) else Path(file).read_bytes()
    graph = read_file(content)
    samples = _random_inputs(model) if data is None else _samples(model, data)
    names = [tensor.name for tensor in model.inputs]
    if set(names) != set(graph.input_names):
        raise InputError(f"the file must take the inputs {sorted(names)}. Received: {sorted(graph.input_names)}")
    activations = outputs_of(model, FakeQuant) if layers else {}
    expected, inside = _answers(model, activations, samples)
    answers, tensors = _run(content, graph, names, samples, keep=layers)
    grids = _output_grids(model)
    outputs = tuple(_difference(name, answers[name], expected[name], grids.get(name)) for name in expected)
    found = []
    for name, values in inside.items():
        grid = _grid(activations[name])
        matches = [tensors[i] for i in _candidates(graph, name, grid, values.shape[1:]) if i in tensors]
        differences = [_difference(name, match, values, grid) for match in matches]
        found += [min(differences, key=lambda d: d.mean_steps)] if differences else []
    return Verification(outputs, tuple(found), len(samples[0]))


def require_equal(file: bytes, model: keras.Model, data: Any, tolerance: float) -> None:
    """InputError where the file differs from its model by more than `tolerance` steps; names where it begins."""
    failed = verify(file, model, data, layers=False).failures(tolerance)
    if not failed:
        return
    inside = verify(file, model, data).layers
    first = next((d for d in inside if not d.mean_steps <= tolerance), None)
    where = f"; it begins at layer {first.name} ({first.mean_steps:.1f} steps)" if first else ""
    got = ", ".join(f"{d.name} {d.mean_steps:.1f} on average and {d.max_steps:.0f} at most" for d in failed[:3])
    raise InputError(
        f"the file must compute what the model does, within {tolerance:g} steps on average "
        f"(verify=False writes it all the same). Received: {got}{where}"
    )


def _samples(model: keras.Model, data: Any) -> list[np.ndarray]:
    """The first samples of the data, one array per input."""
    whole = isinstance(data, dict) or hasattr(data, "shape")
    parts: list[list[np.ndarray]] = []
    for batch in [data] if whole else data:
        parts.append([np.asarray(keras.ops.convert_to_numpy(x)) for x in tree.flatten(inputs_of(model, batch))])
        if sum(len(part[0]) for part in parts) >= SAMPLES:
            break
    if not parts:
        raise InputError("data must hold at least one sample. Received: none")
    found = [np.concatenate(arrays)[:SAMPLES].astype("float32") for arrays in zip(*parts, strict=True)]
    if len(found) != len(model.inputs):
        raise InputError(f"data must hold {len(model.inputs)} inputs. Received: {len(found)}")
    return found


def _random_inputs(model: keras.Model) -> list[np.ndarray]:
    """Coarse random patterns over the range of every input; normal values for a float one."""
    rng = np.random.default_rng(0)
    graph = read_graph(model)
    found = []
    for slot, tensor in zip(tree.flatten(graph.inputs), graph.input_tensors, strict=True):
        shape = tuple(tensor.shape[1:])
        readers = [call.layer for call in graph.readers[slot] if call is not None]
        quant = next((layer for layer in readers if isinstance(layer, FakeQuant)), None)
        values = rng.uniform(size=(SAMPLES, *shape)) if quant else rng.normal(size=(SAMPLES, *shape))
        if len(shape) == 3:  # blocks of 4 x 4 pixels: noise alone averages out behind the first layers
            values = values[:, ::4, ::4].repeat(4, 1).repeat(4, 2)[:, : shape[0], : shape[1]]
        if quant:
            low, high = quant.range()
            values = low + values * (high - low)
        found.append(values.astype("float32"))
    return found


def _answers(model: keras.Model, activations: dict, samples: list[np.ndarray]) -> tuple[dict, dict]:
    """(outputs by name, activations by name) of the model."""
    both = keras.Model(model.inputs, [tree.flatten(model.output), list(activations.values())])
    outputs, inside = both(samples, training=False)
    outputs = named_outputs(model, tree.pack_sequence_as(model.output, list(outputs)))
    numpy = keras.ops.convert_to_numpy
    return {k: numpy(v) for k, v in outputs.items()}, {k: numpy(v) for k, v in zip(activations, inside, strict=True)}


def _run(content: bytes, graph: Graph, names: list[str], samples: list[np.ndarray], keep: bool) -> tuple[dict, dict]:
    """(outputs by name, tensors by index) of the file, in real values."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    how = {}
    if keep:  # a delegate keeps no tensor between its operators
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        how = {"experimental_preserve_all_tensors": True, "experimental_op_resolver_type": resolver}
    try:
        interpreter = Interpreter(model_content=content, **how)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the file must be one that the interpreter runs. Received: {str(error)[:300]}") from error
    wanted = set(graph.output_names.values())
    if keep:
        wanted |= {i for op in graph.ops for i in op.outputs if graph.tensors[i].dtype in ("int8", "uint8")}
    found: dict[int, list[np.ndarray]] = {i: [] for i in wanted}
    for row in range(len(samples[0])):
        for name, values in zip(names, samples, strict=True):
            index = graph.input_names[name]
            interpreter.set_tensor(index, _stored(values[row : row + 1], graph.tensors[index]))
        interpreter.invoke()
        for index in wanted:
            found[index].append(_real(interpreter.get_tensor(index), graph.tensors[index]))
    tensors = {i: np.concatenate(values) for i, values in found.items() if np.ndim(values[0])}
    return {name: tensors[i] for name, i in graph.output_names.items()}, tensors


def _stored(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    if tensor.scale is None:
        return values.astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    return np.clip(np.round(values / tensor.scale) + tensor.zero_point, limits.min, limits.max).astype(tensor.dtype)


def _real(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    if tensor.scale is None:
        return values.astype("float32")
    return (values.astype("float32") - tensor.zero_point) * np.float32(tensor.scale)


def _grid(tensor: Any) -> tuple[float, float]:
    return tensor._keras_history.operation.range()


def _output_grids(model: keras.Model) -> dict[str, tuple[float, float]]:
    """Output name -> the (low, high) of its grid, for those that have one."""
    graph = read_graph(model)
    grids: dict[Slot, tuple[float, float]] = {}
    for call in graph.calls:
        if isinstance(call.layer, FakeQuant):
            grids[call.outputs[0]] = call.layer.range()
        elif (inherits(call.layer) or selects(call.layer)) and all(slot in grids for slot in call.inputs):
            grids.update(dict.fromkeys(call.outputs, grids[call.inputs[0]]))
    return {name: grids[slot] for name, slot in named_outputs(model, graph.outputs).items() if slot in grids}


def _difference(name: str, got: np.ndarray, expected: np.ndarray, grid: tuple[float, float] | None) -> Difference:
    if got.shape != expected.shape:
        raise InputError(f"{name} must have shape {expected.shape[1:]} in the file. Received: {got.shape[1:]}")
    # A float output that hardly varies on these samples must not be judged by that variation.
    width = grid[1] - grid[0] if grid else max(float(np.ptp(expected)), float(np.abs(expected).max())) or 1.0
    steps = np.abs(got.astype("float64") - expected) / (width / 255)
    return Difference(name, float(steps.mean()), float(steps.max()), width / 255, grid is not None)


def _candidates(graph: Graph, name: str, grid: tuple[float, float], shape: tuple[int, ...]) -> list[int]:
    """Tensors of the file that may be this activation: of its grid and shape, and of its name where any has it."""
    step = (grid[1] - grid[0]) / 255
    alike = {
        i: name in graph.layer(op).split(" + ")
        for op in graph.ops
        for i in op.outputs
        if (t := graph.tensors[i]).scale and abs(t.scale - step) < 1e-4 * step and t.shape[1:] == tuple(shape)
    }
    return [i for i, named in alike.items() if named] or list(alike)

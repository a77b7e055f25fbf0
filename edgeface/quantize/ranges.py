"""Activation ranges from data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from rich.progress import track

from edgeface.errors import InputError, must_be_one_of
from edgeface.quantize.keras_graph import inputs_of, layers_by_name, read_graph
from edgeface.quantize.layers import FakeQuant

METHODS = ("minmax", "percentile", "mse", "ema")
_SAMPLE = 1_000_000  # values a tensor of which a percentile is taken
_BINS = 2048  # of a tensor's histogram: an eighth of an int8 step
_SHRINKS = 0.981 ** np.arange(92)
"""Factors of a range's ends, tried for the least squared error: steps of 2 % by ratio. Two tensors of the same extremes
often get different ones; were their scales in a ratio such as 9 to 8, integers would fall on ties when one is turned
into the other, and x86 breaks ties to even, arm64 upward: an int8 file would answer differently on the two.
"""


def calibrate(
    model: keras.Model,
    batches: Iterable[Any],
    method: str = "minmax",
    percentile: float = 99.99,
    ema_decay: float = 0.9,
    progress: bool = True,
) -> int:
    """Set every activation range of a quantized model from data.

    Kernels are rounded meanwhile, activations pass unrounded, so that no range depends on another.

    Args:
        model: made by `quantize_aware`; changed in place.
        batches: of inputs or (inputs, targets), as the model takes them.
        method: how a range is found.
            "minmax": the extremes of all batches: nothing that was seen is clipped. (An attention map's peak is an
            outlier by nature: clip it and the landmark moves.)
            "percentile": the mean over the batches of the (100 - percentile)th and percentile-th percentile.
            "mse": the range whose rounding and clipping together have the least mean squared error on all batches'
            values (Nagel et al., "A White Paper on Neural Network Quantization", 2021, section 3.1.2): ends shrunk
            from the extremes in steps of 2 % (by ratio), together, then each alone.
            "ema": a moving average of the batches' extremes.
        percentile: for "percentile", in (50, 100].
        ema_decay: for "ema", the share of the old range that is kept at each batch.
        progress: show a progress bar.

    Returns:
        How many batches were read.

    Raises:
        InputError: an unknown method, a percentile outside its interval, no batch, a value that is not finite, or
            images that lie outside `Recipe.input_range` (by more than a step) or fill less than a twentieth of it.
    """
    if method not in METHODS:
        raise InputError(must_be_one_of("method", METHODS, method))
    if not 50 < percentile <= 100:
        raise InputError(f"percentile must be in (50, 100]. Received: {percentile}")
    observed: dict[str, list[tuple[float, float]]] = {}
    odd: list[str] = []
    histograms: dict[str, list[np.ndarray]] = {}
    everything, of_images = _fake_quants(model), _input_ranges(model)
    images = {quant.name: (np.inf, -np.inf) for quant in of_images}
    quants = [q for q in everything if q.fixed_range is None]

    def observer(name: str):
        def observe(tensor) -> None:
            values = keras.ops.convert_to_numpy(tensor)
            ends = float(values.min()), float(values.max())
            if not np.isfinite(ends).all():
                # Raised later: here, Keras would wrap the message in its own.
                odd.append(f"{ends[0]} to {ends[1]} at layer {name}")
                return
            if name in images:
                lowest, highest = images[name]
                images[name] = min(lowest, ends[0]), max(highest, ends[1])
                return
            if method == "percentile":
                flat = values.ravel()[:: max(1, values.size // _SAMPLE)]
                ends = tuple(np.percentile(flat, [100 - percentile, percentile]))
            elif method == "mse":
                counts, edges = np.histogram(values, _BINS)
                histograms.setdefault(name, []).append(np.stack([(edges[1:] + edges[:-1]) / 2, counts]))
            observed.setdefault(name, []).append(ends)

        return observe

    count = 0
    try:
        for quant in everything:
            seen = quant.fixed_range is None or quant.name in images
            quant.observer = observer(quant.name) if seen else _ignore
        for batch in track(batches, "calibrating", disable=not progress, transient=True):
            model(inputs_of(model, batch), training=False)
            if odd:
                raise InputError(f"activations must be finite. Received: {odd[0]}")
            count += 1
    finally:
        for quant in everything:
            quant.observer = None
    if not count:
        raise InputError("batches must hold at least one batch. Received: none")
    for quant in of_images:
        _must_fit(quant, *images[quant.name])
    for quant in quants:
        ends = _merged(np.array(observed[quant.name]), method, ema_decay)
        if method == "mse":
            ends = least_squares_range(*np.concatenate(histograms[quant.name], axis=1), *ends, quant.bits)
        quant.set_range(*ends)
    return count


def least_squares_range(
    values: np.ndarray, counts: np.ndarray, low: float, high: float, bits: int
) -> tuple[float, float]:
    """The range within [low, high], 0 taken in, whose grid of 2**bits steps has the least squared error on the values.

    values, counts: (N,) a histogram's centres and how many values each stands for.
    """
    low, high = min(low, 0.0), max(high, 0.0)

    def cost(ends: tuple[float, float]) -> float:
        step = max(ends[1] - ends[0], 1e-12) / (2**bits - 1)
        zero = np.round(-ends[0] / step)  # the grid is moved so that 0 is on it, as fake-quant does
        rounded = (np.clip(np.round(values / step) + zero, 0, 2**bits - 1) - zero) * step
        return float((counts * (rounded - values) ** 2).sum())

    best = min(((low * s, high * s) for s in _SHRINKS), key=cost)
    best = min([best, *((low * s, best[1]) for s in _SHRINKS)], key=cost)
    return min([best, *((best[0], high * s) for s in _SHRINKS)], key=cost)


def uncalibrated(model: keras.Model) -> list[str]:
    """Names of the activation ranges that neither data nor training has set: such a model cannot be converted."""
    return [q.name for q in _fake_quants(model) if q.fixed_range is None and not keras.ops.convert_to_numpy(q.steps)]


def _fake_quants(model: keras.Model) -> list[FakeQuant]:
    found = [layer for layer in layers_by_name(model).values() if isinstance(layer, FakeQuant)]
    if not found:
        raise InputError(f"model must be made by quantize_aware. Received: {model.name}, without a quantized tensor")
    return found


def _input_ranges(model: keras.Model) -> list[FakeQuant]:
    """The fixed ranges that network inputs are read with."""
    graph = read_graph(model)
    inputs = set(keras.tree.flatten(graph.inputs))
    found = [c.layer for c in graph.calls if isinstance(c.layer, FakeQuant) and set(c.inputs) <= inputs]
    return [layer for layer in found if layer.fixed_range is not None]


def _must_fit(quant: FakeQuant, lowest: float, highest: float) -> None:
    """InputError unless images from `lowest` to `highest` suit the range that they are rounded to."""
    low, high = quant.fixed_range
    step = (high - low) / (2**quant.bits - 1)
    if lowest < low - step or highest > high + step or highest - lowest < 0.05 * (high - low):
        raise InputError(
            f"images must lie in Recipe.input_range ({low:g}, {high:g}) and fill it. "
            f"Received: {lowest:g} to {highest:g} at {quant.name}"
        )


def _ignore(tensor) -> None:
    """Observer of a fixed range."""


def _merged(ends: np.ndarray, method: str, decay: float) -> tuple[float, float]:
    """One range from the batches' ends, (batches, 2)."""
    if method in ("minmax", "mse"):
        return float(ends[:, 0].min()), float(ends[:, 1].max())
    if method == "percentile":
        return float(ends[:, 0].mean()), float(ends[:, 1].mean())
    mean = ends[0]
    for row in ends[1:]:
        mean = decay * mean + (1 - decay) * row
    return float(mean[0]), float(mean[1])

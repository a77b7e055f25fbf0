"""`quantize_aware`: from a float functional model to its fake-quantized copy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import layers, tree

from edgeface.errors import InputError
from edgeface.quantize.annotations import KeepFloat, annotation_of
from edgeface.quantize.keras_graph import Call, Graph, Slot, layers_by_name, read_graph
from edgeface.quantize.kinds import (
    FIXED_RANGES,
    KERNELS,
    ROUNDING,
    activation_of,
    declared_range,
    inherits,
    is_ranged,
    joining_of,
    keeps_float,
    moves,
    reason_against,
    relu_of,
    selects,
)
from edgeface.quantize.layers import FakeQuant, FloatGate, QuantKernel
from edgeface.quantize.recipe import Recipe
from edgeface.quantize.weights import copy_named, copy_weights


def quantize_aware(model: keras.Model, recipe: Recipe | None = None) -> keras.Model:
    """A fake-quantized copy of a functional model: same inputs, same output structure and keys, weights copied in.

    - Conv2D, DepthwiseConv2D, Conv2DTranspose or Dense + BatchNormalization + ReLU become one QuantKernel (batch norm
      folded, see there) and one FakeQuant. They are fused where each alone reads the other; for a layer called at
      several places, where the batch norm is the same at all. Any other 4-D batch norm becomes a depthwise QuantKernel.
    - Add, Multiply, Subtract (binary; longer ones in steps), GlobalAveragePooling2D, Concatenate, LeakyReLU,
      Rescaling(scale), sigmoid and tanh keep their layer and get a FakeQuant.
    - Pooling, resizing, padding and reshaping inherit their input's range; bilinear resizing and average pooling, which
      round in int8, by a second call of the FakeQuant that made it.
    - Layers with `quantization = KeepFloat()` stay float: they read int8 values through a FloatGate (unless they say
      `exact_entry`), and what int8 layers read of them gets a FakeQuant. So do layers that the recipe keeps float.
    - Shared layers stay shared: one set of weights, but one range (one FakeQuant) for each call.

    The fused group's **last layer names its FakeQuant**: `get_layer("stem_relu").output` and
    `get_layer("maps").output` are the quantized values; a weighted layer that is last itself becomes `maps_raw`.

    The ranges are unset: `calibrate` them, or train (the first batch sets them, unless
    `Recipe.ranges` is "frozen"). Layers compute in float32.

    Args:
        model: functional or built Sequential, trained, channels last, float32 inputs; it is not changed.
        recipe: the choices; None: `Recipe()`.

    Raises:
        InputError: a layer without an int8 form (unless recipe.allow_float), a model that is not functional, an input
            that is not float32, a name in recipe.keep_float or recipe.wide that is not there, or a name that two layers
            share.
    """
    recipe = recipe or Recipe()
    graph = read_graph(model)
    missing = sorted(set(recipe.keep_float) - set(layers_by_name(model)))
    if missing:
        raise InputError(f"keep_float must name layers of the model. Received: {', '.join(missing)}")
    if odd := [f"{t.name} {t.dtype}" for t in graph.input_tensors if t.dtype != "float32"]:
        raise InputError(f"inputs must be float32 (to_int8 makes them uint8). Received: {', '.join(odd)}")
    quantized = _Builder(graph, recipe).build(model.name)
    ranges = {name for name, layer in layers_by_name(quantized).items() if isinstance(layer, FakeQuant)}
    unknown = sorted(set(recipe.wide) - ranges)
    if unknown:
        raise InputError(f"wide must name activation ranges of the quantized model. Received: {', '.join(unknown)}")
    return quantized


@dataclass(frozen=True)
class _Value:
    """A tensor of the quantized model."""

    tensor: Any
    quantized: bool
    origin: str  # name of the layer or input that made it
    fixed_range: tuple[float, float] | None = None  # where it is known beforehand
    grid: FakeQuant | None = None  # whose range it has, where quantized


class _Builder:
    """One pass over the float graph's calls; `values` holds what each of its tensors became."""

    def __init__(self, graph: Graph, recipe: Recipe):
        self.graph = graph
        self.recipe = recipe
        self.values: dict[Slot, _Value] = {}
        self.on_grid: dict[Slot, _Value] = {}  # float tensors that quantized layers read
        self.gated: dict[tuple[Slot, bool], Any] = {}  # quantized tensors that float layers read; a firm gate's
        self.layers: dict[int, Any] = {}  # id(float layer) -> its layer in the quantized model
        self.reserved = {layer.name for layer in self._float_layers()}
        self.taken = {tensor.name for tensor in graph.input_tensors}
        self.norms = self._foldable_norms()
        self.done: set[Call] = set()  # calls that an earlier one took in

    def _float_layers(self):
        return {id(c.layer): c.layer for c in self.graph.calls}.values()

    # -- the walk

    def build(self, name: str) -> keras.Model:
        for slot, tensor in zip(tree.flatten(self.graph.inputs), self.graph.input_tensors, strict=True):
            placeholder = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)
            self.values[slot] = _Value(placeholder, False, tensor.name, self.recipe.input_range)
        for call in self.graph.calls:
            if call not in self.done:
                self._add(call)
        ends = tree.map_structure(lambda slot: self.values[slot].tensor, (self.graph.inputs, self.graph.outputs))
        return keras.Model(*ends, name=name)

    def _add(self, call: Call) -> None:
        layer, kind = call.layer, type(call.layer)
        if keeps_float(layer) or layer.name in self.recipe.keep_float:
            return self._keep(call)
        reason = reason_against(layer) or self._reason_against_call(call)
        if reason:
            if self.recipe.allow_float:
                return self._keep(call)
            raise InputError(
                f"every layer must have an int8 form, declare KeepFloat, or be named in Recipe.keep_float. "
                f"Received: {layer.name} ({kind.__name__}): {reason}"
            )
        if kind in KERNELS or kind is layers.BatchNormalization:
            return self._kernel(call)
        if joining_of(layer):
            return self._join(call)
        if selects(layer):
            return self._select(call)
        if inherits(layer):
            return self._inherit(call)
        if relu_of(layer):
            tensor = self._quantized(call.inputs[0]).tensor
            return self._set(call, self._fake_quant(tensor, self._name(call), activation=relu_of(layer)))
        if declared_range(layer):
            return self._set(call, self._fake_quant(self._run(call), self._name(call), declared_range(layer)))
        if is_ranged(layer):
            return self._set(call, self._fake_quant(self._run(call), self._name(call)))
        if kind is layers.Rescaling:
            known = self._quantized(call.inputs[0]).fixed_range
            scale = float(layer.scale) if known and not hasattr(layer.scale, "__len__") else None
            known = (known[0] * scale, known[1] * scale) if scale and scale > 0 else None
            return self._set(call, self._fake_quant(self._run(call), self._name(call), known))
        fixed = FIXED_RANGES[activation_of(layer)]
        return self._set(call, self._fake_quant(self._run(call), self._name(call), fixed))

    # -- kinds of call

    def _keep(self, call: Call) -> None:
        """The layer stays as it is."""
        layer, weighted = call.layer, bool(getattr(call.layer, "weights", None))
        declared = annotation_of(layer) or KeepFloat()
        gated = not getattr(declared, "exact_entry", False)
        # A gate need not be firm where nothing can take it in: a layer that declares KeepFloat and has no weights, or
        # starts with a mean. All others are layers of any kind.
        firm = not keeps_float(layer) or (weighted and not declared.mean_dense)
        tensors = {slot: self._float(slot, firm) if gated else self.values[slot].tensor for slot in call.inputs}
        clone = self._clone(layer)
        results = call.run(clone, tensors)
        if weighted:
            copy_weights(layer, clone)
        for slot, tensor in zip(call.outputs, results, strict=True):
            self.values[slot] = _Value(tensor, False, call.layer.name)

    def _inherit(self, call: Call) -> None:
        sources = [self.values[slot] for slot in call.inputs]
        inside = call.inputs[0] not in tree.flatten(self.graph.inputs)
        if moves(call.layer) and inside and not any(v.quantized for v in sources):
            return self._keep(call)
        source = self._quantized(call.inputs[0])
        for slot, tensor in zip(call.outputs, self._results(call, suffix=""), strict=True):
            if type(call.layer) in ROUNDING:
                tensor = source.grid(tensor, observe=False)
            self.values[slot] = replace(source, tensor=tensor, origin=call.layer.name)

    def _join(self, call: Call) -> None:
        """Add, Multiply, Subtract, Average; three or more inputs in steps, each with a range."""
        kind = joining_of(call.layer)
        average = kind is layers.Average
        tensors = [self._quantized(slot).tensor for slot in call.inputs]
        total = tensors[0]
        relu, last = self._following_relu(call)
        for i, tensor in enumerate(tensors[1:], 1):
            is_last = i == len(tensors) - 1
            step = self._name(call, "_raw" if is_last else f"_step{i}_raw")
            total = (layers.Add if average else kind)(name=step, dtype="float32")([total, tensor])
            if not is_last:
                total = self._fake_quant(total, self._name(call, f"_step{i}")).tensor
        if average:
            total = self._fake_quant(total, self._name(call, "_sum")).tensor
            total = layers.Rescaling(1 / len(tensors), name=self._name(call, "_scale"), dtype="float32")(total)
        self._set(last, self._fake_quant(total, self._name(last), activation=relu))

    def _select(self, call: Call) -> None:
        """Maximum, Minimum: every input on one grid, which holds them all, and the output on it too."""
        values = {slot: self._quantized(slot) for slot in call.inputs}
        tensors = {slot: value.tensor for slot, value in values.items()}
        grid = values[call.inputs[0]].grid
        if any(value.grid is not grid for value in values.values()):
            # A factor of almost 1 becomes the int8 operator that changes the scale: of two fake-quants in a row the
            # converter drops one.
            scale = layers.Rescaling(1.0 + 2.0**-20, name=self._name(call, "_scale"), dtype="float32")
            first, *others = tensors = {slot: scale(tensor) for slot, tensor in tensors.items()}
            common = self._fake_quant(tensors[first], self._name(call, "_common"), also=[tensors[s] for s in others])
            grid = common.grid
            tensors = {first: common.tensor} | {slot: grid(tensors[slot], observe=False) for slot in others}
        (result,) = call.run(self._clone(call.layer), tensors)
        self._set(call, _Value(result, True, call.layer.name, None, grid))

    def _kernel(self, call: Call) -> None:
        """A weighted layer or a batch norm alone, with the batch norm and the ReLU that follow it."""
        layer, norm, last = call.layer, self.norms.get(id(call.layer)), call
        if norm is not None:
            last = self.graph.only_reader(call.outputs[0])
            self.done.add(last)
        x = self._quantized(call.inputs[0]).tensor
        own = activation_of(layer)
        relu, last = (None, last) if own != "linear" else self._following_relu(last)
        if id(layer) not in self.layers:
            self.layers[id(layer)] = self._quant_kernel(layer, norm, renamed=last.layer is layer)
        x = self.layers[id(layer)](x)
        self._fill(layer, norm)
        if own in FIXED_RANGES:
            x = self._fake_quant(x, self._name(call, f"_before_{own}")).tensor
            x = layers.Activation(own, name=self._name(call, f"_{own}"), dtype="float32")(x)
            return self._set(call, self._fake_quant(x, self._name(call), FIXED_RANGES[own]))
        relu = own if own in ("relu", "relu6") else relu
        # The converter leaves a transposed convolution with a fused ReLU in float. A learned range may grow beyond 6.
        saturate = relu is not None and KERNELS.get(type(layer)) == "transpose"
        if saturate and relu == "relu6" and self.recipe.ranges == "learned":
            x, saturate = self._fake_quant(x, self._name(call, "_before_relu6")).tensor, False
        return self._set(last, self._fake_quant(x, self._name(last), activation=relu, saturate=saturate))

    def _quant_kernel(self, layer, norm, renamed: bool) -> QuantKernel:
        name = self._unique(layer.name + ("_raw" if renamed else ""), own=layer.name)
        if isinstance(layer, layers.BatchNormalization):
            op, shape, norm, how = "affine", (1, 1, layer.moving_mean.shape[0], 1), layer, {"use_bias": False}
        else:
            op, shape = KERNELS[type(layer)], tuple(layer.kernel.shape)
            regularizer = getattr(layer, "depthwise_regularizer", None) or getattr(layer, "kernel_regularizer", None)
            how = {"use_bias": layer.use_bias, "kernel_of": layer.name, "kernel_regularizer": regularizer}
            if op != "dense":
                how |= {"strides": layer.strides, "padding": layer.padding, "dilation": layer.dilation_rate}
        if norm is not None:
            how |= {"norm": {"epsilon": norm.epsilon, "scale": norm.scale, "center": norm.center}, "norm_of": norm.name}
        return QuantKernel(op, shape, bits=self.recipe.weight_bits, name=name, trainable=layer.trainable, **how)

    def _fill(self, layer, norm) -> None:
        quant = self.layers[id(layer)]
        if isinstance(layer, layers.BatchNormalization):
            norm = layer
        else:
            copy_named(layer, quant, ("kernel", "bias"))
        if norm is not None:
            copy_named(norm, quant, ("gamma", "beta", "moving_mean", "moving_variance"))

    # -- fusing

    def _foldable_norms(self) -> dict[int, Any]:
        """id(weighted layer) -> the BatchNormalization that folds into it."""
        found = {}
        for layer in self._float_layers():
            if type(layer) not in KERNELS or activation_of(layer) != "linear" or reason_against(layer):
                continue
            if layer.name in self.recipe.keep_float:
                continue
            readers = [self.graph.only_reader(call.outputs[0]) for call in self.graph.calls_of[id(layer)]]
            norm = readers[0].layer if readers[0] is not None else None
            if type(norm) is not layers.BatchNormalization or norm.name in self.recipe.keep_float:
                continue
            same = all(reader is not None and reader.layer is norm for reader in readers)
            if same and len(readers) == len(self.graph.calls_of[id(norm)]) and _normalizes_channels(norm):
                found[id(layer)] = norm
        return found

    def _following_relu(self, call: Call) -> tuple[str | None, Call]:
        """("relu" or "relu6", its call) where that alone reads this call's output, else (None, this call)."""
        reader = self.graph.only_reader(call.outputs[0])
        if reader is None or not relu_of(reader.layer) or reader.layer.name in self.recipe.keep_float:
            return None, call
        self.done.add(reader)
        return relu_of(reader.layer), reader

    def _reason_against_call(self, call: Call) -> str | None:
        """Why a layer has no int8 form at this place."""
        kind = type(call.layer)
        given = tree.flatten((call.args, call.kwargs))
        together = joining_of(call.layer) or kind is layers.Concatenate or selects(call.layer)
        if together and not all(isinstance(v, Slot) for v in given):
            return "one of its inputs is a constant, not a layer's output"
        if len(call.outputs) != 1 and not inherits(call.layer):
            return f"it has {len(call.outputs)} outputs, each of which would need a range"
        if kind is not layers.BatchNormalization:
            return None
        if len(self.values[call.inputs[0]].tensor.shape) != 4 or not _normalizes_channels(call.layer):
            return "a batch norm that folds into no layer must normalize the channels of a 4-D tensor"
        return None

    # -- tensors

    def _quantized(self, slot: Slot) -> _Value:
        """The value behind `slot`, on a grid; a float one is put on it once, for all that read it quantized."""
        value = self.values[slot]
        if value.quantized:
            return value
        if slot not in self.on_grid:
            name = self._unique(f"{value.origin}_quant")
            self.on_grid[slot] = self._fake_quant(value.tensor, name, value.fixed_range)
        return self.on_grid[slot]

    def _float(self, slot: Slot, firm: bool):
        """The tensor behind `slot` for a float layer: through a gate where it is on a grid."""
        value = self.values[slot]
        if not value.quantized:
            return value.tensor
        if (slot, firm) not in self.gated:
            gate = FloatGate(firm, name=self._unique(f"{value.origin}_float"))
            self.gated[slot, firm] = gate(value.tensor)
        return self.gated[slot, firm]

    def _fake_quant(
        self, tensor, name: str, fixed_range=None, activation: str | None = None, saturate: bool = False, also=()
    ) -> _Value:
        recipe = self.recipe
        layer = FakeQuant(
            bits=16 if name in recipe.wide else recipe.activation_bits,
            activation=activation,
            fixed_range=fixed_range,
            moving=recipe.ranges == "ema",
            ema_decay=recipe.ema_decay,
            freeze_after=recipe.freeze_ranges_after_steps,
            learned=recipe.ranges == "learned",
            saturate=saturate,
            name=name,
        )
        return _Value(layer(tensor, also=list(also)) if also else layer(tensor), True, name, fixed_range, layer)

    def _run(self, call: Call):
        """The layer's one output on quantized inputs."""
        (result,) = self._results(call, "_raw")
        return result

    def _results(self, call: Call, suffix: str) -> list:
        """The layer's outputs on quantized inputs."""
        tensors = {slot: self._quantized(slot).tensor for slot in call.inputs}
        return call.run(self._clone(call.layer, suffix), tensors)

    def _set(self, call: Call, value: _Value) -> None:
        self.values[call.outputs[0]] = value

    def _clone(self, layer, suffix: str = ""):
        """The copy of a layer that keeps its class; one per float layer."""
        if not isinstance(layer, keras.layers.Layer):
            return layer  # a keras operation has no state
        if id(layer) not in self.layers:
            name = self._unique(layer.name + suffix, own=layer.name)
            self.layers[id(layer)] = type(layer).from_config({**layer.get_config(), "name": name, "dtype": "float32"})
        return self.layers[id(layer)]

    def _name(self, call: Call, suffix: str = "") -> str:
        """The layer's name, with _2 behind it on its second call and so on, and a suffix."""
        layer, turn = call.layer, self.graph.calls_of[id(call.layer)].index(call) + 1
        own = layer.name if isinstance(layer, keras.layers.Layer) else None  # an operation keeps its own name
        return self._unique(layer.name + (f"_{turn}" if turn > 1 else "") + suffix, own)

    def _unique(self, name: str, own: str | None = None) -> str:
        """`name`, or the first of name_2, name_3, … that is neither taken nor another layer's in the float model."""
        candidate, count = name, 1
        while candidate in self.taken or (candidate in self.reserved and candidate != own):
            count += 1
            candidate = f"{name}_{count}"
        self.taken.add(candidate)
        return candidate


def _normalizes_channels(norm) -> bool:
    return norm.axis in (-1, norm.input_spec.ndim - 1)

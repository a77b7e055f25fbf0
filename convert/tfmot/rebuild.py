"""A functional Keras 3 model, call by call, in `tf_keras` with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from edgeface.errors import InputError
from edgeface.quantize.annotations import FixedRange, SameScale, annotation_of
from edgeface.quantize.keras_graph import Call, read_graph
from edgeface.quantize.kinds import declared_range, keeps_float

FLOAT, GRID, RANGED, INHERITING = "float", "grid", "ranged", "inheriting"
"""Kinds of layer that are not a class of Keras 3: see `edgeface.models.layers` and `Grid`."""

# What each Keras 3 class is built from in tf_keras: the arguments that both know by one name.
_CONV = ("kernel_size", "strides", "padding", "dilation_rate", "use_bias", "activation")
KINDS: dict[type, tuple[str, ...]] = {
    keras.layers.Conv2D: ("filters", *_CONV),
    keras.layers.DepthwiseConv2D: ("depth_multiplier", *_CONV),
    keras.layers.Conv2DTranspose: ("filters", *_CONV),
    keras.layers.Dense: ("units", "use_bias", "activation"),
    keras.layers.BatchNormalization: ("axis", "momentum", "epsilon", "center", "scale"),
    keras.layers.ReLU: ("max_value", "negative_slope", "threshold"),
    keras.layers.Activation: ("activation",),
    keras.layers.Add: (),
    keras.layers.Multiply: (),
    keras.layers.Concatenate: ("axis",),
    keras.layers.UpSampling2D: ("size", "interpolation"),
    keras.layers.MaxPooling2D: ("pool_size", "strides", "padding"),
    keras.layers.AveragePooling2D: ("pool_size", "strides", "padding"),
    keras.layers.GlobalAveragePooling2D: ("keepdims",),
    keras.layers.ZeroPadding2D: ("padding",),
    keras.layers.Reshape: ("target_shape",),
    keras.layers.Rescaling: ("scale", "offset"),
}

Wrap = Callable[[tf_keras.layers.Layer, str], tf_keras.layers.Layer]
"""(layer, its Keras 3 class's name or one of the kinds above) -> the layer that is called in its place."""


@tf_keras.utils.register_keras_serializable("edgeface")
class KerasThree(tf_keras.layers.Layer):
    """A Keras 3 layer as it is, inside a tf_keras graph: its `call` on this layer's weights.

    gate: its input is int8 and must not draw its first operators in: the factor of `edgeface.quantize.FloatGate`.
    """

    def __init__(self, layer, gate: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.gate = gate
        # In a list: tf_keras would take the layer for one of its own.
        self._hidden = [keras.saving.deserialize_keras_object(layer) if isinstance(layer, dict) else layer]

    @property
    def fixed_range(self) -> tuple[float, float] | None:
        """Range of its output, where the Keras 3 layer declares one."""
        return declared_range(self._hidden[0])

    def build(self, input_shape):
        layer = self._hidden[0]
        if not layer.built:
            layer.build(tuple(input_shape))
            layer.built = True
        self._mirrors = [
            self.add_weight(name=v.name, shape=tuple(v.shape), trainable=v.trainable, initializer="zeros")
            for v in layer.weights
        ]
        super().build(input_shape)

    def call(self, inputs):
        layer = self._hidden[0]
        inputs = inputs * (1.0 + 2.0**-20) if self.gate else inputs
        state = [(v, tf.convert_to_tensor(own)) for v, own in zip(layer.weights, self._mirrors, strict=True)]
        with keras.StatelessScope(state_mapping=state):
            return layer.call(inputs)

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self._hidden[0])
        return super().get_config() | {"layer": layer, "gate": self.gate}


@tf_keras.utils.register_keras_serializable("edgeface")
class Grid(tf_keras.layers.Layer):
    """Where a float layer's result is read by int8 layers: an identity, for tfmot to hang a range on."""

    def call(self, inputs):
        return tf.identity(inputs)


@dataclass(frozen=True)
class Rebuilt:
    """model: its outputs are a list, in the order of ``keys``. shared: layers that are called more than once.
    split: sums of more than two inputs, which became chains of sums of two."""

    model: tf_keras.Model
    keys: tuple[str, ...]
    shared: tuple[str, ...]
    split: tuple[str, ...]

    def by_key(self, outputs: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.keys, outputs, strict=True))


def rebuild(model: keras.Model, wrap: Wrap = lambda layer, kind: layer) -> Rebuilt:
    """The same function in tf_keras. The model must have one input and a dict of outputs; `KeepFloat`
    layers stay the very Keras 3 layers they are.

    InputError: a layer whose class is not in `KINDS` and is not kept float.
    """
    return _Builder(model, wrap).build()


class _Builder:
    def __init__(self, model: keras.Model, wrap: Wrap):
        self.model, self.wrap, self.graph = model, wrap, read_graph(model)
        self.tensors: dict[Any, Any] = {}  # Slot -> tensor
        self.floats: dict[Any, str] = {}  # Slot of a float layer's result -> the layer's name
        self.on_grid: dict[Any, Any] = {}  # such a Slot -> its tensor on a grid
        self.layers: dict[int, Any] = {}  # id(Keras 3 layer) -> what is called in its place
        self.plain: list[tuple[Any, Any]] = []  # (Keras 3 layer, the tf_keras layer with its weights)
        self.split: list[str] = []

    def build(self) -> Rebuilt:
        (image,) = self.graph.input_tensors
        (slot,) = keras.tree.flatten(self.graph.inputs)
        self.tensors[slot] = tf_keras.Input(tuple(image.shape[1:]), name=image.name)
        for call in self.graph.calls:
            for made, tensor in zip(call.outputs, self._called(call), strict=True):
                self.tensors[made] = tensor
        keys = tuple(sorted(self.graph.outputs))
        outputs = [self.tensors[self.graph.outputs[key]] for key in keys]
        rebuilt = tf_keras.Model(self.tensors[slot], outputs, name=self.model.name)
        for layer, own in self.plain:
            own.set_weights(layer.get_weights())
        calls = {id(c.layer): c.layer.name for c in self.graph.calls if len(self.graph.calls_of[id(c.layer)]) > 1}
        return Rebuilt(rebuilt, keys, tuple(calls.values()), tuple(self.split))

    def _called(self, call: Call) -> list:
        layer = call.layer
        if keeps_float(layer):
            for slot in call.outputs:
                self.floats[slot] = layer.name
            gate = not (annotation_of(layer).exact_entry or call.inputs[0] in self.floats)
            own = self._own(layer, lambda: KerasThree(_copy(layer), gate, name=layer.name), FLOAT)
            return keras.tree.flatten(own(self.tensors[call.inputs[0]]))
        declared = _declared(layer)
        if declared is None and type(layer) not in KINDS:
            raise InputError(
                f"every layer must have a tf_keras counterpart or declare KeepFloat. Received: {layer.name} "
                f"({type(layer).__name__})"
            )
        inputs = [self._grid(slot) for slot in call.inputs]
        if type(layer) is keras.layers.Add and len(inputs) > 2:
            # The steps of a longer sum have no range in tfmot, and so would be float.
            self.split.append(layer.name)
            total = inputs[0]
            for step, tensor in enumerate(inputs[1:], 1):
                name = layer.name if step == len(inputs) - 1 else f"{layer.name}_step{step}"
                total = self.wrap(tf_keras.layers.Add(name=name), "Add")([total, tensor])
            return [total]
        if declared:
            own = self._own(layer, lambda: KerasThree(_copy(layer), name=layer.name), declared)
        else:
            own = self._own(layer, lambda: _counterpart(layer), type(layer).__name__)
        return [own(inputs if len(inputs) > 1 else inputs[0])]

    def _own(self, layer, make: Callable[[], Any], kind: str):
        if id(layer) not in self.layers:
            plain = make()
            if layer.weights:
                self.plain.append((layer, plain))
            self.layers[id(layer)] = self.wrap(plain, kind)
        return self.layers[id(layer)]

    def _grid(self, slot):
        if slot not in self.floats:
            return self.tensors[slot]
        if slot not in self.on_grid:
            grid = self.wrap(Grid(name=f"{self.floats[slot]}_{slot.index}_grid"), GRID)
            self.on_grid[slot] = grid(self.tensors[slot])
        return self.on_grid[slot]


def _declared(layer) -> str | None:
    """The kind of a layer of our own that is not kept float."""
    return {FixedRange: RANGED, SameScale: INHERITING}.get(type(annotation_of(layer)))


def _counterpart(layer):
    """The tf_keras layer of the same class, name and arguments, without weights yet."""
    config = layer.get_config()
    arguments = {key: config[key] for key in KINDS[type(layer)]}
    return getattr(tf_keras.layers, type(layer).__name__)(name=layer.name, **arguments)


def _copy(layer):
    """A Keras 3 layer of its own: one in two graphs would have its weights twice."""
    return type(layer).from_config(layer.get_config())

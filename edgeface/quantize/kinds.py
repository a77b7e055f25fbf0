"""Which Keras layer becomes what in int8. Exact classes: a subclass may compute something else."""

from __future__ import annotations

from keras import layers

from edgeface.quantize.annotations import FixedRange, KeepFloat, SameScale, annotation_of

KERNELS = {
    layers.Conv2D: "conv",
    layers.DepthwiseConv2D: "depthwise",
    layers.Conv2DTranspose: "transpose",
    layers.Dense: "dense",
}

# Move, select or average values, so their output keeps their input's scale (TFLite demands it of most).
INHERITING = (
    layers.Identity,
    layers.Reshape,
    layers.Flatten,
    layers.Permute,
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.ZeroPadding2D,
    layers.Cropping2D,
    layers.UpSampling2D,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.GlobalMaxPooling2D,
)
# Of these, the ones that average, so that the int8 operator rounds its result to the grid.
ROUNDING = (layers.UpSampling2D, layers.AveragePooling2D)
# And the ones that may stand between two float layers without being called work.
MOVING = (layers.Identity, layers.Reshape, layers.Flatten, layers.Permute)

# Operations of keras.ops and indexing, by the names of their classes, which Keras does not export.
_MOVING_OPERATIONS = ("Reshape", "Transpose", "Squeeze", "ExpandDims", "GetItem", "Split")
_SELECTING_OPERATIONS = ("Maximum", "Minimum")
_RANGED_OPERATIONS = ("Absolute",)
_JOINING_OPERATIONS = {"Add": layers.Add, "Subtract": layers.Subtract, "Multiply": layers.Multiply}

# Elementwise, of two inputs; each step of a longer sum needs a range of its own. An average is a sum, scaled.
JOINING = (layers.Add, layers.Subtract, layers.Multiply, layers.Average)

# Give one of their inputs' values: the int8 kernels have one scale for all inputs and the output.
SELECTING = (layers.Maximum, layers.Minimum)

# One operator, one observed output range.
RANGED = (layers.Concatenate, layers.GlobalAveragePooling2D, layers.LeakyReLU)

# The TFLite kernels prescribe these output ranges: scale 1/256 and 1/128.
FIXED_RANGES = {"sigmoid": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}


def keeps_float(layer) -> bool:
    """Whether a layer declares that it computes in float32."""
    return isinstance(annotation_of(layer), KeepFloat)


def inherits(layer) -> bool:
    """Whether a layer's output keeps its input's range; custom layers declare it: ``quantization = SameScale()``."""
    linear = type(layer) is layers.Activation and activation_of(layer) == "linear"
    moves = type(layer) in INHERITING or operation_of(layer) in _MOVING_OPERATIONS
    return linear or moves or isinstance(annotation_of(layer), SameScale)


def moves(layer) -> bool:
    """Whether a layer only moves values, so that between two float layers it is no work."""
    return type(layer) in MOVING or operation_of(layer) in _MOVING_OPERATIONS


def joining_of(layer) -> type | None:
    """The Keras class of an elementwise operator of several inputs, also where it is written ``a + b``; else None."""
    return type(layer) if type(layer) in JOINING else _JOINING_OPERATIONS.get(operation_of(layer))


def selects(layer) -> bool:
    """Whether a layer gives one of its inputs' values at each place."""
    return type(layer) in SELECTING or operation_of(layer) in _SELECTING_OPERATIONS


def is_ranged(layer) -> bool:
    """Whether a layer is one int8 operator with an observed output range."""
    return type(layer) in RANGED or operation_of(layer) in _RANGED_OPERATIONS


def operation_of(layer) -> str | None:
    """The class name of a bare Keras operation (`keras.ops` on symbolic tensors), None for a layer."""
    return None if isinstance(layer, layers.Layer) else type(layer).__name__


def declared_range(layer) -> tuple[float, float] | None:
    """The output range (low, high) that a custom layer declares, `FixedRange`; what lies outside saturates."""
    declared = annotation_of(layer)
    return (declared.low, declared.high) if isinstance(declared, FixedRange) else None


def activation_of(layer) -> str | None:
    """Name of a layer's activation function; "linear" for none."""
    function = getattr(layer, "activation", None)
    return "linear" if function is None else getattr(function, "__name__", type(function).__name__)


def relu_of(layer) -> str | None:
    """ "relu" or "relu6" for a layer that is just that, else None."""
    if type(layer) is layers.ReLU and not layer.negative_slope and not layer.threshold:
        return {None: "relu", 6.0: "relu6"}.get(layer.max_value)
    if type(layer) is layers.Activation and activation_of(layer) in ("relu", "relu6"):
        return activation_of(layer)
    return None


def reason_against(layer) -> str | None:
    """Why a layer has no int8 form here, or None. Batch norm's depends on its place: see `rewrite`."""
    kind = type(layer)
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "its data_format is not channels_last"
    if kind in KERNELS:
        if activation_of(layer) not in ("linear", "relu", "relu6", *FIXED_RANGES):
            return f"its activation {activation_of(layer)} has no int8 form here"
        if getattr(layer, "groups", 1) != 1:
            return "grouped convolutions have no int8 form here"
        if getattr(layer, "depth_multiplier", 1) != 1:
            return "its depth_multiplier is not 1"
        if getattr(layer, "output_padding", None) is not None:
            return "its output_padding is set"
        if kind is layers.Conv2DTranspose and tuple(layer.dilation_rate) != (1, 1):
            return "its dilation_rate is not 1"
        return None
    if kind is layers.Rescaling:
        return None if _is_zero(layer.offset) else "its offset is not 0"
    if kind is layers.Activation and activation_of(layer) in FIXED_RANGES:
        return None
    if kind is layers.UpSampling2D and layer.interpolation not in ("nearest", "bilinear"):
        return f"its interpolation {layer.interpolation} has no int8 form here"
    if inherits(layer) or declared_range(layer):
        # The converter would round them silently, and nothing here knows how.
        weighted = getattr(layer, "weights", None)
        return "it has weights, which only Keras' own layers may have in int8" if weighted else None
    if relu_of(layer):
        return None
    if joining_of(layer) or selects(layer) or is_ranged(layer) or kind is layers.BatchNormalization:
        return None
    if kind is layers.Activation:
        return f"activation {activation_of(layer)} has no int8 form here"
    return f"class {kind.__name__} has no int8 form here"


def _is_zero(value) -> bool:
    return not hasattr(value, "__len__") and float(value) == 0.0

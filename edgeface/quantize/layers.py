"""The layers of a quantized model: FakeQuant (activations), QuantKernel (weights), FloatGate (where int8 ends).

They always compute in float32, whatever the dtype policy: bfloat16 has 8 significant bits, too few to tell the steps of
an int8 grid apart. `fake_quant_with_min_max_vars` is called inside `call` only: on a symbolic tensor Keras drops its
num_bits, narrow_range and axis.
"""

from __future__ import annotations

import math

import keras
from keras import ops
from keras.quantizers import fake_quant_with_min_max_vars

_SMALLEST_WIDTH = 1e-4  # of an activation range: a tensor that was all zero still needs a scale
LEARNING_GAIN = 100.0
"""A learned range moves this much faster than a weight: a step of Adam at rate r changes it by a factor of up to
exp(100 r). (TQT, the same parametrisation, trains thresholds at 1e-2 beside weights at 1e-6.)"""
_LEAST = -3e38  # all but the least float32
_ACTIVATIONS = {None: lambda x: x, "relu": ops.relu, "relu6": ops.relu6}


@keras.saving.register_keras_serializable("edgeface")
class FakeQuant(keras.layers.Layer):
    """Optional ReLU, then rounding to a per-tensor grid of 2**bits steps over [low, high], which always holds 0.

    State: low, high, steps (observations so far), each a non-trainable scalar.

    Args:
        bits: of the grid; TFLite computes 8.
        activation: None, "relu" or "relu6", computed before rounding.
        fixed_range: (low, high) for good. None: `calibrate` sets the range.
        moving: in training the range follows the batches: range += (1 - ema_decay) * (batch range - range).
        ema_decay: share of the old range that is kept, in [0, 1).
        freeze_after: training steps after which a moving range stands still; None: never.
        learned: the optimizer moves the range: low * exp(100 log_low) and high * exp(100 log_high) of two trainable
            scalars that start at 0 (logarithms, so that both keep their sign and Adam's steps are relative: TQT, Jain
            et al., MLSys 2020). Their gradient is that of LSQ (Esser et al., ICLR 2020; with a low end of its own:
            LSQ+): it knows the rounding inside the range, where fake-quant's own gradient sees only what is clipped.
            What is computed is the same fake-quant, so the file does not change.
        saturate: outside training the activation is left to the ends of the range, which clip just as it does: TFLite
            has no int8 kernel of a transposed convolution with a ReLU fused behind it.
    """

    def __init__(
        self,
        bits: int = 8,
        activation: str | None = None,
        fixed_range: tuple[float, float] | None = None,
        moving: bool = True,
        ema_decay: float = 0.99,
        freeze_after: int | None = None,
        learned: bool = False,
        saturate: bool = False,
        **kwargs,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.bits = bits
        self.activation = activation
        self.saturate = saturate
        self.fixed_range = None if fixed_range is None else tuple(float(v) for v in fixed_range)
        self.moving = moving
        self.ema_decay = ema_decay
        self.freeze_after = freeze_after
        self.learned = learned and fixed_range is None
        self.observer = None  # while set (ranges.calibrate): called with each tensor, which then passes unrounded

    def build(self, input_shape):
        low, high = self.fixed_range or (0.0, 1.0)
        self.low = self._scalar("low", low)
        self.high = self._scalar("high", high)
        self.steps = self._scalar("steps", 0.0)
        if self.learned:
            self.log_low = self._scalar("log_low", 0.0, trainable=True)
            self.log_high = self._scalar("log_high", 0.0, trainable=True)

    def _scalar(self, name: str, value: float, trainable: bool = False):
        return self.add_weight(
            shape=(), initializer=keras.initializers.Constant(value), trainable=trainable, dtype="float32", name=name
        )

    def call(self, inputs, also=(), observe=True, training=False):
        """Round to the grid.

        Args:
            inputs: any float tensor.
            also: further tensors that this grid is for, of any shape: the range holds their values too.
            observe: False: only round to the range as it is (what a resize makes of a tensor on this grid).
            training: whether the range may follow the values.
        """
        clips = self.saturate and not training and self.observer is None
        x = _ACTIVATIONS[self.activation if observe and not clips else None](inputs)
        if self.observer is not None:
            if observe:
                self.observer(_joined(x, also))
            return x
        low, high = ops.convert_to_tensor(self.low), ops.convert_to_tensor(self.high)
        if training and observe and (self.moving or self.learned) and self.fixed_range is None:
            low, high = self._follow(_joined(x, also), low, high)
        if not self.learned:
            return fake_quant_with_min_max_vars(x, low, high, num_bits=self.bits)
        # LSQ, section 2.2: the gradient of a range, a sum over a tensor's values, is scaled to a weight's size. (Adam
        # does not mind the scale, but a clipped global norm does.)
        scale = 1.0 / (math.prod(x.shape[1:]) * (2**self.bits - 1)) ** 0.5
        low, high = low * _gain(self.log_low, scale), high * _gain(self.log_high, scale)
        return (
            _learnable(x, low, high, self.bits)
            if training
            else fake_quant_with_min_max_vars(x, low, high, num_bits=self.bits)
        )

    def range(self) -> tuple[float, float]:
        """(low, high) as they are now."""
        low, high = float(ops.convert_to_numpy(self.low)), float(ops.convert_to_numpy(self.high))
        if not self.learned:
            return low, high
        gains = [math.exp(LEARNING_GAIN * float(ops.convert_to_numpy(v))) for v in (self.log_low, self.log_high)]
        return low * gains[0], high * gains[1]

    def _follow(self, x, low, high):
        """The range after this batch; the state moves with it."""
        steps = ops.convert_to_tensor(self.steps)
        rate = ops.where(steps == 0, 1.0, 1.0 - self.ema_decay if self.moving and not self.learned else 0.0)
        if self.freeze_after is not None:
            rate = ops.where(steps > self.freeze_after, 0.0, rate)  # the first observation is not a training step
        x = ops.stop_gradient(x)
        low = low + rate * (ops.minimum(ops.min(x), 0.0) - low)
        high = high + rate * (ops.maximum(ops.max(x), 0.0) - high)
        high = ops.maximum(high, low + _SMALLEST_WIDTH)
        self.low.assign(low)
        self.high.assign(high)
        self.steps.assign(steps + 1.0)
        return low, high

    def set_range(self, low: float, high: float) -> None:
        """Fix the present range: 0 is taken in, and a width too small for a scale is widened."""
        low = min(float(low), 0.0)
        self.low.assign(low)
        self.high.assign(max(float(high), 0.0, low + _SMALLEST_WIDTH))
        if self.learned:
            self.log_low.assign(0.0)
            self.log_high.assign(0.0)
        self.steps.assign(max(float(ops.convert_to_numpy(self.steps)), 1.0))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {
            "bits": self.bits,
            "activation": self.activation,
            "fixed_range": self.fixed_range,
            "moving": self.moving,
            "ema_decay": self.ema_decay,
            "freeze_after": self.freeze_after,
            "learned": self.learned,
            "saturate": self.saturate,
        }


def _joined(x, also):
    """All values of several tensors, flat; `x` itself where it is alone."""
    return ops.concatenate([ops.reshape(t, (-1,)) for t in (x, *also)]) if also else x


def _gain(log, gradient_scale: float):
    """exp(100 log), whose gradient on `log` is scaled as if the gain were not there."""
    log = ops.convert_to_tensor(log)
    still = ops.stop_gradient(log)
    return ops.exp(LEARNING_GAIN * still + gradient_scale * (log - still))


def _rounded(x):
    """round(x), straight through."""
    return x + ops.stop_gradient(ops.round(x) - x)


def _learnable(x, low, high, bits: int):
    """Fake-quant's value, with LSQ's gradient on the ends of its range."""
    rounded = fake_quant_with_min_max_vars(x, ops.stop_gradient(low), ops.stop_gradient(high), num_bits=bits)
    largest = float(2**bits - 1)
    step = (high - low) / largest
    # On fake-quant's own grid, whose zero point is rounded; else the residue of the rounding would be another's.
    zero = _rounded(-low / step)
    level = _rounded(ops.clip(x / step + zero, 0.0, largest))
    smooth = (level - zero) * step
    return smooth + ops.stop_gradient(rounded - smooth)


@keras.saving.register_keras_serializable("edgeface")
class FloatGate(keras.layers.Layer):
    """Where int8 values enter a float layer: times 1 + 2**-20, one multiplication that must be float.

    Without it the converter pulls the float layer's first operators into int8, with ranges of its own making (a mean
    after a fake-quant keeps the input's scale; a matmul between two fake-quants has its weights rounded). A factor of 1
    would be optimized away.

    Args:
        firm: a maximum with less than any value behind it. The converter folds the factor alone into a kernel or a ReLU
            that reads it, and takes that layer into int8; past a maximum it does not.
    """

    def __init__(self, firm: bool = False, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.firm = firm

    def call(self, inputs):
        x = inputs * (1.0 + 2.0**-20)
        return ops.maximum(x, _LEAST) if self.firm else x

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"firm": self.firm}


@keras.saving.register_keras_serializable("edgeface")
class QuantKernel(keras.layers.Layer):
    """A linear layer with its batch norm folded in and its kernel rounded to symmetric narrow-range integers.

    One scale per output channel for conv, depthwise and affine. "dense" and "transpose" have one scale for the kernel:
    the TFLite converter rejects per-channel fake-quants there (it transposes the kernel and loses the axis), and
    tflite-runtime 2.14 on arm64 crashes on a per-channel FULLY_CONNECTED.

    Batch norm uses its **frozen moving statistics in training too**; kernel, bias, gamma and beta stay trainable. What
    is trained is then exactly what is exported (kernel * gamma / sqrt(variance + epsilon), rounded); batch statistics
    would give training another kernel than the file has, and would be estimated on small fine-tuning batches. So start
    from a trained model.

    Args:
        op: "conv", "depthwise", "transpose", "dense", or "affine": a batch norm alone, as a 1x1 depthwise convolution.
        kernel_shape: of the Keras kernel; for "affine" (1, 1, C, 1), all ones, not a weight.
        strides, padding, dilation: as in Keras, where `op` has them.
        use_bias: whether the layer has a bias of its own.
        norm: None or {"epsilon", "scale", "center"} of the folded BatchNormalization.
        bits: of the kernel's grid; TFLite computes 8.
        kernel_of, norm_of: names of the float layers whose weights these are (`to_float`).
        kernel_regularizer: as in Keras.
    """

    def __init__(
        self,
        op: str,
        kernel_shape: tuple[int, ...],
        strides=(1, 1),
        padding: str = "valid",
        dilation=(1, 1),
        use_bias: bool = True,
        norm: dict | None = None,
        bits: int = 8,
        kernel_of: str | None = None,
        norm_of: str | None = None,
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.op = op
        self.kernel_shape = tuple(kernel_shape)
        self.strides = tuple(strides)
        self.padding = padding
        self.dilation = tuple(dilation)
        self.use_bias = use_bias
        self.norm = None if norm is None else dict(norm)
        self.bits = bits
        self.kernel_of = kernel_of
        self.norm_of = norm_of
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.exact = False  # while set (switches): the kernel is not rounded
        self.observer = None  # while set (bias.correct_bias): called with each output, returns what to go on with

    @property
    def channels(self) -> int:
        """Output channels."""
        shape = self.kernel_shape
        if self.op in ("depthwise", "affine"):
            return shape[2] * shape[3]
        return shape[2] if self.op == "transpose" else shape[-1]

    @property
    def channel_shape(self) -> tuple[int, ...]:
        """What a per-output-channel vector is reshaped to, to multiply the kernel."""
        return {
            "depthwise": self.kernel_shape[2:],
            "affine": self.kernel_shape[2:],
            "transpose": (self.channels, 1),
        }.get(self.op, (self.channels,))

    def build(self, input_shape):
        vector = (self.channels,)
        if self.op != "affine":
            self.kernel = self.add_weight(shape=self.kernel_shape, name="kernel", regularizer=self.kernel_regularizer)
        self.bias = self.add_weight(shape=vector, initializer="zeros", name="bias") if self.use_bias else None
        self.gamma = self.beta = None
        if self.norm:
            if self.norm["scale"]:
                self.gamma = self.add_weight(shape=vector, initializer="ones", name="gamma")
            if self.norm["center"]:
                self.beta = self.add_weight(shape=vector, initializer="zeros", name="beta")
            self.moving_mean = self.add_weight(shape=vector, initializer="zeros", trainable=False, name="moving_mean")
            self.moving_variance = self.add_weight(
                shape=vector, initializer="ones", trainable=False, name="moving_variance"
            )

    def folded(self):
        """(kernel, bias or None) in float, batch norm folded in."""
        kernel = ops.ones(self.kernel_shape) if self.op == "affine" else ops.convert_to_tensor(self.kernel)
        if not self.norm:
            return kernel, self.bias
        factor = ops.rsqrt(self.moving_variance + self.norm["epsilon"])
        if self.gamma is not None:
            factor = factor * self.gamma
        shift = -self.moving_mean if self.bias is None else self.bias - self.moving_mean
        shift = shift * factor
        if self.beta is not None:
            shift = shift + self.beta
        return kernel * ops.reshape(factor, self.channel_shape), shift

    def _round(self, kernel):
        # An outermost weight must lie strictly inside the range, or its gradient would go to the range instead.
        margin = 1 + 1e-6
        size = ops.stop_gradient(ops.abs(kernel))
        largest = ops.max(size)
        if self.op in ("dense", "transpose"):
            reach = ops.maximum(largest, 1e-6) * margin
            return fake_quant_with_min_max_vars(kernel, -reach, reach, num_bits=self.bits, narrow_range=True)
        if self.op != "conv":
            # Channels last, for JAX: there Keras' fake-quant heeds `axis` in the gradient alone. (rewrite.py takes no
            # depthwise kernel with a multiplier.)
            kernel, size = ops.swapaxes(kernel, 2, 3), ops.swapaxes(size, 2, 3)
        reach = ops.max(size, axis=(0, 1, 2))
        # A dead channel (gamma 0) must not get a scale so small that its int32 bias overflows.
        reach = ops.maximum(reach, ops.maximum(1e-3 * largest, 1e-6)) * margin
        kernel = fake_quant_with_min_max_vars(kernel, -reach, reach, num_bits=self.bits, narrow_range=True, axis=3)
        return kernel if self.op == "conv" else ops.swapaxes(kernel, 2, 3)

    def call(self, inputs):
        kernel, bias = self.folded()
        kernel = kernel if self.exact else self._round(kernel)
        how = {"strides": self.strides, "padding": self.padding}
        if self.op == "dense":
            x = ops.matmul(inputs, kernel)
        elif self.op == "conv":
            x = ops.conv(inputs, kernel, dilation_rate=self.dilation, **how)
        elif self.op == "transpose":
            x = ops.conv_transpose(inputs, kernel, dilation_rate=self.dilation, **how)
        else:
            x = ops.depthwise_conv(inputs, kernel, dilation_rate=self.dilation, **how)
        x = x if bias is None else x + bias
        return x if self.observer is None else self.observer(self, x)

    def get_config(self):
        return super().get_config() | {
            "op": self.op,
            "kernel_shape": self.kernel_shape,
            "strides": self.strides,
            "padding": self.padding,
            "dilation": self.dilation,
            "use_bias": self.use_bias,
            "norm": self.norm,
            "bits": self.bits,
            "kernel_of": self.kernel_of,
            "norm_of": self.norm_of,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }

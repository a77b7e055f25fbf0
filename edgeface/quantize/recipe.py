"""The choices of quantization-aware training."""

from __future__ import annotations

from dataclasses import dataclass

from edgeface.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Choices of `quantize_aware`. The defaults are what TFLite's int8 operators need.

    Args:
        weight_bits, activation_bits: 8 for TFLite; fewer only to study the effect (2 to 16).
        ranges: "ema": in training, activation ranges follow the batches' min and max; "frozen": only `calibrate` sets
            them; "learned": `calibrate` sets where they start and the optimizer moves them (LSQ, see `FakeQuant`).
        ema_decay: share of the old range kept at each training step, in [0, 1).
        freeze_ranges_after_steps: training steps after which the ranges stand still; None: never.
        input_range: range of every network input, (0, 255) for raw images: the uint8 file then has scale 1 and zero
            point 0. None: observed like any other tensor.
        wide: names of activation ranges (a FakeQuant's, as `sensitivity` lists them) that get 16 bits: to study which
            tensor is to blame. TFLite has no kernels that mix them with int8, so `to_int8` refuses such a model.
        keep_float: names of layers that shall stay float.
        allow_float: a layer without an int8 form stays float (see `coverage`) instead of raising InputError.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    ranges: str = "ema"
    ema_decay: float = 0.99
    freeze_ranges_after_steps: int | None = None
    input_range: tuple[float, float] | None = (0.0, 255.0)
    wide: tuple[str, ...] = ()
    keep_float: tuple[str, ...] = ()
    allow_float: bool = False

    def __post_init__(self):
        for name in ("weight_bits", "activation_bits"):
            bits = getattr(self, name)
            if bits not in range(2, 17):
                raise InputError(f"{name} must be an integer from 2 to 16. Received: {bits}")
        if self.ranges not in ("ema", "frozen", "learned"):
            raise InputError(f"ranges must be 'ema', 'frozen' or 'learned'. Received: {self.ranges!r}")
        if not 0 <= self.ema_decay < 1:
            raise InputError(f"ema_decay must be in [0, 1). Received: {self.ema_decay}")
        steps = self.freeze_ranges_after_steps
        if steps is not None and steps < 0:
            raise InputError(f"freeze_ranges_after_steps must be None or at least 0. Received: {steps}")
        if self.input_range is not None:
            low, high = self.input_range
            if not low <= 0 < high:
                raise InputError(f"input_range must satisfy low <= 0 < high. Received: {self.input_range}")
        for name in ("keep_float", "wide"):
            if isinstance(getattr(self, name), str):
                raise InputError(f"{name} must be a tuple of layer names. Received: {getattr(self, name)!r}")

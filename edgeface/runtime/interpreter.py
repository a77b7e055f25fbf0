"""A converted model and its card, run by whichever TensorFlow Lite interpreter is installed."""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgeface.card import Card, InputSpec, OutputSpec, read_card, split_card
from edgeface.codecs import BinnedAngles, IntegralHeatmap, LinearPose
from edgeface.errors import InputError

INTERPRETERS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
"""In order of preference: LiteRT is maintained, tflite-runtime is what 32-bit Raspberry Pi OS has."""
MAX_THREADS = 256
"""The interpreter ends the process where the system cannot start as many threads as it is asked for."""


def interpreter_module() -> ModuleType:
    """The first package of `INTERPRETERS` that imports; InputError says how to install one."""
    failures = []
    for name in INTERPRETERS:
        try:
            module = importlib.import_module(name)
            _ = module.Interpreter
            return module
        except (ImportError, AttributeError, OSError) as error:
            failures.append(f"{name.split('.')[0]}: {error}")
    raise InputError(
        "a TensorFlow Lite interpreter must be installed: pip install ai-edge-litert "
        f'(or, for Python 3.11 with numpy < 2, pip install "edgeface[tflite]"). Received: {"; ".join(failures)}'
    )


def interpreter_class() -> type:
    """The `Interpreter` of `interpreter_module`."""
    return interpreter_module().Interpreter


def quantize(values: np.ndarray, spec: InputSpec) -> np.ndarray:
    """What an input tensor holds for raw values.

    Args:
        values: Any shape, 0..255.
        spec: The input's dtype, scale and zero point.
    """
    if spec.scale is None:
        return values.astype(spec.dtype)
    if spec.dtype == "uint8" and spec.scale == 1.0 and spec.zero_point == 0:
        return values
    info = np.iinfo(spec.dtype)
    return np.clip(np.rint(values / spec.scale) + spec.zero_point, info.min, info.max).astype(spec.dtype)


def dequantize(stored: np.ndarray, spec: OutputSpec) -> np.ndarray:
    """The real values of an output tensor, float32.

    Args:
        stored: Any shape, as the tensor holds it.
        spec: The output's dtype, scale and zero point.
    """
    if spec.scale is None:
        return stored if spec.dtype == "float32" else stored.astype(np.float32)
    return (stored.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)


class TFLiteModel:
    """A `.tflite` with its card.

    Safe to share between threads: the interpreter owns its buffers, so callers take turns at it, and every answer is
    a copy of its own. Threads that are to run at once need a model each.
    """

    def __init__(self, path: str | Path, threads: int = 1, delegate: str | Path | None = None) -> None:
        """Loads a file, after its hash and its tensors are checked against its card.

        Args:
            path: A `.tflite` with a card inside.
            threads: How many threads the interpreter (XNNPACK) uses, at most `MAX_THREADS`.
            delegate: The path of a delegate's shared library, such as libedgetpu.so.1.

        Raises:
            InputError: no such file, not a `.tflite`, no card in it, damaged, or not what its card says; no such
                delegate.
        """
        if not 1 <= threads <= MAX_THREADS:
            raise InputError(f"threads must be at least 1 and at most {MAX_THREADS}. Received: {threads}")
        self.path = Path(path)
        self.card: Card = read_card(self.path)
        content = _verified_flatbuffer(self.path, self.card)
        module = interpreter_module()
        delegates = [] if delegate is None else [_load_delegate(module, delegate)]
        self._lock = threading.Lock()
        try:
            # The interpreter keeps no copy: the bytes must live as long as it does.
            self._content = content
            self._interpreter = module.Interpreter(
                model_content=content, num_threads=threads, experimental_delegates=delegates
            )
            self._interpreter.allocate_tensors()
        except (ImportError, AttributeError) as error:
            raise InputError(f"tflite-runtime needs numpy < 2. Received: numpy {np.__version__}, {error}") from error
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.path} must be a model that the interpreter loads. Received: {_line(error)}"
            ) from None
        self._input = self._one_input()
        self._outputs = {role: self._tensor_of(spec) for role, spec in self.card.outputs.items()}

    def infer(self, crop: np.ndarray) -> dict[str, np.ndarray]:
        """One face, decoded. What an `int8_logits` file leaves to the host is done here.

        Args:
            crop: (S, S, C) uint8, the model's input pixels.

        Returns:
            Those of ``landmarks`` (K, 2) in the crop's [0, 1], ``pose`` (3,) degrees and ``spread`` (K,) in crop widths
            that the file computes.
        """
        return self.decode(self.run(crop))

    def run(self, crop: np.ndarray, *, raw: bool = False) -> dict[str, np.ndarray]:
        """The file's own outputs by role, batch axis kept.

        Args:
            crop: (S, S, C) uint8, the model's input pixels.
            raw: As the tensors store them (int8 where they are); otherwise dequantized to real values.

        Raises:
            InputError: another shape or type of crop, or a model that does not run.
        """
        expected = self.card.input.shape[1:]
        if not isinstance(crop, np.ndarray) or crop.dtype != np.uint8 or crop.shape != expected:
            got = f"{crop.dtype} {crop.shape}" if isinstance(crop, np.ndarray) else type(crop).__name__
            raise InputError(f"crop must be a uint8 array {expected}. Received: {got}")
        values = quantize(crop, self.card.input)[None]
        with self._lock:
            self._interpreter.set_tensor(self._input, values)
            try:
                self._interpreter.invoke()
            except (ValueError, RuntimeError) as error:
                raise InputError(f"{self.path} must be a model that runs. Received: {_line(error)}") from None
            stored = {role: self._interpreter.get_tensor(index) for role, index in self._outputs.items()}
        return stored if raw else {role: dequantize(stored[role], spec) for role, spec in self.card.outputs.items()}

    def decode(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What `infer` gives, from the outputs of `run` or of another runtime: real values by role, batch of 1."""
        answer = {role: outputs[role][0] for role in ("landmarks", "pose", "spread") if role in outputs}
        rule = self.card.decode
        if "maps" in outputs:
            codec = IntegralHeatmap(rule.map_height, rule.map_width)
            answer["landmarks"], answer["spread"] = codec.decode(rule.sharpness * outputs["maps"][0])
        if "pose_logits" in outputs:
            angles = BinnedAngles(rule.bins_low_deg, rule.bins_high_deg, rule.bins)
            answer["pose"] = angles.decode(outputs["pose_logits"][0])
        if "pose_features" in outputs:
            answer["pose"] = LinearPose(rule.pose_kernel, rule.pose_bias).decode(outputs["pose_features"][0])
        return answer

    def _one_input(self) -> int:
        details = self._interpreter.get_input_details()
        if len(details) != 1:
            raise InputError(f"{self.path} must have one input. Received: {len(details)}")
        self._must_match(details[0], self.card.input, "input")
        return details[0]["index"]

    def _tensor_of(self, spec: OutputSpec) -> int:
        """The tensor of an output: by its name in the signature, else by tensor name, else by the card's index."""
        details = self._interpreter.get_output_details()
        by_index = {detail["index"]: detail for detail in details}
        signatures = self._interpreter.get_signature_list()
        found = None
        if signatures:
            runner = self._interpreter.get_signature_runner(next(iter(signatures)))
            found = by_index.get(runner.get_output_details().get(spec.name, {}).get("index"))
        if found is None:
            found = next((detail for detail in details if detail["name"] == spec.name), None)
        if found is None and spec.index is not None and 0 <= spec.index < len(details):
            found = details[spec.index]
        if found is None:
            names = [detail["name"] for detail in details]
            raise InputError(f"{self.path} must have the output {spec.name!r} of its card. Received: {names}")
        self._must_match(found, spec, spec.name)
        return found["index"]

    def _must_match(self, detail: dict[str, Any], spec: InputSpec | OutputSpec, what: str) -> None:
        got = (tuple(int(n) for n in detail["shape"]), np.dtype(detail["dtype"]).name)
        if got != (tuple(spec.shape), spec.dtype):
            raise InputError(
                f"{self.path}: {what} must be {spec.dtype} {tuple(spec.shape)}. Received: {got[1]} {got[0]}"
            )
        # A file that casts to int8 itself has no scale of its own; the card's is all there is.
        scale, zero_point = detail["quantization"]
        if scale and not (spec.scale and np.isclose(spec.scale, scale, rtol=1e-5) and spec.zero_point == zero_point):
            rule = f"have the scale and zero point of its card, {spec.scale} and {spec.zero_point}"
            raise InputError(f"{self.path}: {what} must {rule}. Received: {scale} and {zero_point}")


def _verified_flatbuffer(path: Path, card: Card) -> bytes:
    """The model without its card, after its hash is checked: the interpreter may crash on damaged bytes."""
    if card.flatbuffer_sha256 is None:
        raise InputError(f"the card inside {path} must hold flatbuffer_sha256. Received: none")
    content, _ = split_card(path.read_bytes(), path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.flatbuffer_sha256:
        raise InputError(f"{path} must have sha256 {card.flatbuffer_sha256[:12]}… (its card). Received: {digest[:12]}…")
    return content


def _load_delegate(module: ModuleType, path: str | Path) -> Any:
    try:
        ctypes.CDLL(str(path))  # first, as the packages' own loading of a missing library ends in a second error
        return module.load_delegate(str(path))
    except (ValueError, OSError, RuntimeError, AttributeError) as error:
        raise InputError(f"delegate must be a TensorFlow Lite delegate library. Received: {path}, {error}") from None


def _line(error: Exception) -> str:
    return json.dumps(str(error).strip().split("\n")[0])[1:-1]

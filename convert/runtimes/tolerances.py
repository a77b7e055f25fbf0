"""How far each runtime may be from LiteRT on this machine, and why. The one place for these numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """Between two sets of answers. Landmarks: Euclidean, % of the crop's side (1 % = 1.28 px at 128). Pose: degrees."""

    landmarks_max_percent: float | None = None
    landmarks_mean_percent: float | None = None
    pose_max_deg: float | None = None
    pose_mean_deg: float | None = None


@dataclass(frozen=True)
class Tolerance:
    """The worst point of the worst face, and the worst angle; the means where they say more than the worst."""

    landmarks_max_percent: float
    pose_max_deg: float
    landmarks_mean_percent: float | None = None
    pose_mean_deg: float | None = None
    steps: int = 0
    """How many steps an integer output may differ by; 0 is bit-exact."""

    def holds(self, found: Difference, steps: int | None) -> bool:
        """steps: None where the file has no integer output."""
        pairs = [
            (found.landmarks_max_percent, self.landmarks_max_percent),
            (found.landmarks_mean_percent, self.landmarks_mean_percent),
            (found.pose_max_deg, self.pose_max_deg),
            (found.pose_mean_deg, self.pose_mean_deg),
            (steps, self.steps),
        ]
        return all(value is None or allowed is None or value <= allowed for value, allowed in pairs)


SAME_ARITHMETIC = Tolerance(1e-3, 1e-3)
"""The same numbers in another order of additions. A coordinate is a sum over 1024 cells of values below 1: float32
leaves about 1e-4 % of the crop, and 1e-4 of a pose of 90 degrees. Ten times that is a hundredth of a pixel's tenth.
Integer outputs are bit-exact: integer arithmetic has no order."""

OTHER_INT8_KERNELS = Tolerance(2.0, 1.0, landmarks_mean_percent=0.25, pose_mean_deg=0.4, steps=8)
"""tflite-runtime computes int8 with TensorFlow Lite's own kernels, LiteRT with XNNPACK's, the GPU engine by imitation
in float: an addition, a product or a resize may round to the next step, and some ninety operators pass that on. LiteRT
without XNNPACK differs from LiteRT with it by just as much, so it is no fault of the runtime. The bound on the mean is
what quantisation itself costs the same faces (0.16 to 0.27 % and 0.4 degrees to float32); the worst point is one behind
the head, whose map is flat."""

GPU_FLOAT32 = SAME_ARITHMETIC
"""The engine's own kernels, float32 on SwiftShader and WebGPU: sums in another order, no more."""

GPU_FLOAT16 = Tolerance(0.5, 1.0, landmarks_mean_percent=0.1, pose_mean_deg=0.1)
"""Real float16 arithmetic: 11 bits, so a coordinate near 1 is stored to 0.05 % and an angle of 64 degrees to 0.06, and
the trunk's rounding comes on top. The bound that matters is the mean: a tenth of a percent is an eighth of a pixel at
128. Single faces go further in pose (of 48, three by more than 0.33 and one by 0.6 degrees)."""

ON_GPU = ("gpu", "gpu-f16", "browser-webgpu")


def tolerance(runtime: str, integer: bool) -> Tolerance:
    """integer: the file's convolutions are int8."""
    if integer and (runtime.endswith("tflite-runtime") or runtime in ON_GPU):
        return OTHER_INT8_KERNELS
    if runtime == "gpu-f16":
        return GPU_FLOAT16
    return GPU_FLOAT32 if runtime in ON_GPU else SAME_ARITHMETIC

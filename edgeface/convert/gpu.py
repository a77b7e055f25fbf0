"""The GPU delegate's own engine (ML Drift, through WebGPU) on a software Vulkan driver: a real compile, no GPU needed.

`ai-edge-litert` carries the engine; the driver is SwiftShader (it comes with Chromium; float32 arithmetic) or Mesa's
lavapipe (real float16 arithmetic). What it shows: the engine takes every operator and computes the same numbers. What
it does not: a phone's driver, or any speed.
"""

from __future__ import annotations

import ctypes.util
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeface.errors import InputError, must_be_one_of
from edgeface.quantize.tflite_graph import Tensor, read_graph

WORKER = Path(__file__).parent / "gpu_worker.py"
UNPACKED = Path("runs/runtimes/lavapipe").absolute()
"""Where `python -m convert.runtimes gpu-f16` unpacks a lavapipe new enough beside the system."""
DRIVERS = ("swiftshader", "lavapipe")
ADAPTERS = {"swiftshader": "SwiftShader", "lavapipe": "llvmpipe"}
"""What the engine calls each driver in its log: a run on any other adapter is not the run that was asked for."""
ICD_FILES = {
    "swiftshader": ("/usr/lib/chromium/vk_swiftshader_icd.json", "/opt/google/chrome/vk_swiftshader_icd.json"),
    "lavapipe": ("/usr/share/vulkan/icd.d/lvp_icd.json", "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json"),
}
HOW_TO_GET = {
    "swiftshader": "apt-get install chromium libvulkan1",
    "lavapipe": "python -m convert.runtimes gpu-f16 (unpacks Mesa 24 or later), or mesa-vulkan-drivers 24 or later",
}

STALLED, ATTEMPTS = "Failed to lock custom tensor buffer", 3
"""The engine gives up on a result after about a minute, which lavapipe on a busy machine needs for its first compiles.
The shaders compiled by then are in the cache: another attempt starts where that one stopped."""


@dataclass(frozen=True)
class GpuResult:
    """Whether the engine takes a file."""

    available: bool
    """False: there is no driver, or the engine does not start on it: nothing is known of the file."""
    accepted: bool
    refused: tuple[str, ...]
    """Operator types that the engine does not take, as it names them."""
    reason: str
    """Empty where accepted; else the engine's words."""
    driver: str
    """The adapter as the engine names it."""


@dataclass(frozen=True)
class Driver:
    name: str
    icd: Path

    def environment(self) -> dict[str, str]:
        """What a process needs to see this driver and no other."""
        env = os.environ | {"VK_ICD_FILENAMES": str(self.icd), "VK_DRIVER_FILES": str(self.icd)}
        root = self.icd.parents[4] if self.icd.is_relative_to(UNPACKED) else None
        # Chromium brings a Vulkan loader of its own, for machines that have none.
        beside = [self.icd.parent] if ctypes.util.find_library("vulkan") is None else []
        libraries = [*beside, *(root.glob("usr/lib/*-linux-gnu") if root else [])]
        if libraries:
            env["LD_LIBRARY_PATH"] = os.pathsep.join(
                [*map(str, libraries), *filter(None, [env.get("LD_LIBRARY_PATH")])]
            )
        # lavapipe compiles every shader with LLVM: tens of seconds once, nothing after.
        env["MESA_SHADER_CACHE_DIR"] = str(UNPACKED.parent / "mesa-cache")
        return env


def find_driver(name: str | None = None) -> Driver | None:
    """The software Vulkan driver of that name, or the first of `DRIVERS` that is installed; None where none is."""
    if name is not None and name not in DRIVERS:
        raise InputError(must_be_one_of("driver", DRIVERS, name))
    for each in DRIVERS if name is None else (name,):
        files = [Path(f) for f in ICD_FILES[each]]
        if each == "lavapipe":
            files.insert(0, UNPACKED / "usr/share/vulkan/icd.d/lvp_icd.json")
        for icd in files:
            if icd.is_file():
                return Driver(each, icd)
    return None


def compile_on_gpu(path: str | Path, driver: str | None = None, timeout_s: float = 300) -> GpuResult:
    """Compiles a `.tflite` for the GPU alone and runs it once. driver: None takes whichever is installed.

    Float16 arithmetic is asked for on lavapipe, which has it; SwiftShader computes in float32 whatever is asked.
    """
    return try_on_gpu(path, None, driver, timeout_s)[0]


def run_on_gpu(
    path: str | Path, crops: np.ndarray, driver: str | None = None, timeout_s: float = 600
) -> dict[str, np.ndarray]:
    """crops (N, S, S, C) uint8 -> the file's outputs by name as stored, (N, ...).

    InputError where there is no driver or the engine does not take the file.
    """
    result, outputs = try_on_gpu(path, crops, driver, timeout_s)
    if outputs is None:
        raise InputError(f"{path} must be a file that the GPU engine takes. Received: {result.reason}")
    return outputs


def try_on_gpu(
    path: str | Path, crops: np.ndarray | None, driver: str | None, timeout_s: float
) -> tuple[GpuResult, dict[str, np.ndarray] | None]:
    """`compile_on_gpu` and `run_on_gpu` at once. The outputs are None where there are no crops, or no acceptance."""
    # A damaged file is refused here, in plain words.
    graph = read_graph(path)
    chosen = find_driver(driver)
    if chosen is None:
        wanted = DRIVERS if driver is None else (driver,)
        reason = f"no software Vulkan driver: {' or '.join(HOW_TO_GET[d] for d in wanted)}"
        return GpuResult(False, False, (), reason, ""), None
    with tempfile.TemporaryDirectory(prefix="edgeface-gpu-") as folder:
        given, out = Path(folder) / "crops.npy", Path(folder) / "out.npz"
        command = [sys.executable, str(WORKER), str(path)]
        if crops is not None:
            np.save(given, as_stored(crops, graph.tensors[graph.inputs[0]]))
            command += [str(given), str(out)]
        if chosen.name == "lavapipe":
            command.append("--float16")
        for _ in range(ATTEMPTS):
            log, code = _watch(command, chosen.environment(), timeout_s)
            if code == 0 or STALLED not in log:
                break
        result = judge(log, code, chosen.name, timeout_s)
        if not result.accepted or crops is None:
            return result, None
        with np.load(out) as loaded:
            return result, dict(loaded)


def as_stored(crops: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Raw 0..255 values as the input tensor holds them; what has its dtype already stays as it is."""
    if crops.dtype.name == tensor.dtype:
        return np.ascontiguousarray(crops)
    if tensor.dtype in ("int8", "uint8") and tensor.scale is not None:
        info = np.iinfo(tensor.dtype)
        crops = np.clip(np.rint(crops / tensor.scale) + tensor.zero_point, info.min, info.max)
    return crops.astype(tensor.dtype)


def _watch(command: list[str], env: dict[str, str], timeout_s: float) -> tuple[str, int | None]:
    """What it wrote and its exit code; None: it ran out of time."""
    try:
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s)
        return done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").decode(errors="replace"), None


def judge(log: str, code: int | None, driver: str, timeout_s: float = 0) -> GpuResult:
    """The engine's log, read. code: the process's exit code, None where it was stopped."""
    adapter = next(iter(re.findall(r"Selected adapter: (.*?), arch=", log)), "")
    if "No adapters found" in log or (not adapter and "COMPILED" not in log and code not in (None, 0)):
        return GpuResult(False, False, (), f"the engine does not start on {driver}: {_last(log)}", "")
    if ADAPTERS[driver] not in adapter:
        return GpuResult(False, False, (), f"the engine must run on {driver}. Received: {adapter or 'no adapter'}", "")
    refused = _refusals(log)
    invalid = next(iter(re.findall(r"Validation error: (.*)", log)), None)
    misread = next(iter(re.findall(r"Shape mismatch in (.*)", log)), None)
    if code is None:
        reason = f"not compiled and run within {timeout_s:g} s"
    elif refused:
        reason = "; ".join(refused)
    elif invalid is not None:
        # The engine does not look at this itself: it reports success and every output is zero.
        reason = f"the engine wrote a shader that is not valid: {invalid}"
    elif misread is not None:
        # 2.3.0 does this with int8 1x1 convolutions of stride 2: it forgets the stride, and answers with nonsense.
        reason = f"the engine misreads a shape and computes something else: {misread}"
    elif code != 0:
        where = "while running" if "COMPILED" in log else "while compiling"
        reason = f"the engine died {where} (exit code {code}): {_last(log)}"
    else:
        return GpuResult(True, True, (), "", adapter)
    names = tuple(line.split(":", 1)[0] for line in refused)
    return GpuResult(True, False, names, reason, adapter)


def _refusals(log: str) -> list[str]:
    """The lines ``OPERATOR: why`` under the engine's heading."""
    head = re.search(
        r"Following operations are not supported by GPU delegate:\n(.*?)\n[^\n]*operations will run", log, re.S
    )
    if head is None:
        return []
    return [line for line in head.group(1).splitlines() if re.match(r"(CUSTOM |[A-Z0-9_]+:)", line)]


def _last(log: str) -> str:
    """The line that says most of what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    wrong = [
        line for line in lines if re.search(r"error|failed|no adapters|cannot", line, re.I) and "plugin" not in line
    ]
    return (wrong or lines or ["it said nothing"])[-1][:300]

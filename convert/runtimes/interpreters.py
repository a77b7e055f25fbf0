"""LiteRT and tflite-runtime, on this machine and as arm64 under emulation."""

from __future__ import annotations

import sys
from functools import partial

from convert.runtimes import arm64
from convert.runtimes.base import ROOT, Reply, Runtime, by_interpreter, make_environment
from convert.runtimes.golden import Case

TFLITE_RUNTIME = ("tflite-runtime==2.14.0", "numpy<2")
"""The last release; it breaks under numpy 2 without saying so, hence an environment of its own."""
LITERT = ("ai-edge-litert==2.3.0",)


def _nothing() -> None:
    pass


def _litert(case: Case) -> Reply:
    return by_interpreter(case, [sys.executable], {})


def _install_tflite_runtime() -> None:
    make_environment(ROOT / "tflite-runtime", TFLITE_RUNTIME)


def _tflite_runtime(case: Case) -> Reply:
    return by_interpreter(case, [ROOT / "tflite-runtime" / "bin" / "python"], {"PYTHONPATH": ""})


def _name(packages: tuple[str, ...]) -> str:
    return packages[0].split("==")[0]


def _install_arm64(packages: tuple[str, ...]) -> None:
    arm64.install(_name(packages), packages)


def _arm64(case: Case, core: str, packages: tuple[str, ...]) -> Reply:
    command, env = arm64.python(core, arm64.install(_name(packages), packages))
    reply = by_interpreter(case, command, env, timeout_s=900)
    return Reply(reply.outputs, f"{reply.engine} as {core}")


LITERT_X86 = Runtime("litert", _nothing, _litert)
TFLITE_X86 = Runtime("tflite-runtime", _install_tflite_runtime, _tflite_runtime)
ARM64 = tuple(
    Runtime(name, partial(_install_arm64, packages), partial(_arm64, core=core, packages=packages))
    for name, core, packages in (
        ("arm64-a72", "cortex-a72", LITERT),
        ("arm64-a76", "cortex-a76", LITERT),
        ("arm64-a72-tflite-runtime", "cortex-a72", TFLITE_RUNTIME),
    )
)

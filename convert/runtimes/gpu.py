"""The GPU engine on software drivers: float32 (SwiftShader) and real float16 (lavapipe)."""

from __future__ import annotations

import re
from functools import partial

from convert.runtimes.base import RefusedError, Reply, Runtime, UnavailableError, by_role, need_programs
from convert.runtimes.debian import unpack
from convert.runtimes.golden import Case
from edgeface.convert.gpu import UNPACKED, find_driver, try_on_gpu

MESA = ("mesa-vulkan-drivers",)
TIME_LIMIT_S = 900
"""lavapipe compiles some two hundred shaders with LLVM on the first run of a file."""


def _install_swiftshader() -> None:
    if find_driver("swiftshader") is None:
        need_programs({"chromium": "chromium"})
    if find_driver("swiftshader") is None:
        raise UnavailableError("a chromium with vk_swiftshader_icd.json must be installed. Received: one without it")


def _install_lavapipe() -> None:
    """Mesa of bookworm-backports, unpacked (Debian 12's own 22.3 lacks what the engine needs), else the system's."""
    try:
        unpack(MESA, UNPACKED, "amd64", backports=True, with_depends=True)
    except UnavailableError:
        if find_driver("lavapipe") is None:
            raise


def _answer(case: Case, driver: str) -> Reply:
    verdict, outputs = try_on_gpu(case.path, case.crops, driver, TIME_LIMIT_S)
    if not verdict.available:
        raise UnavailableError(f"{driver} must start. Received: {verdict.reason}")
    if not verdict.accepted:
        raise RefusedError(f"the GPU engine must take the file. Received: {verdict.reason}")
    return Reply(by_role(case, outputs), re.sub(r"\s+", " ", f"ML Drift through WebGPU, {verdict.driver}"))


GPU = Runtime("gpu", _install_swiftshader, partial(_answer, driver="swiftshader"))
GPU_FLOAT16 = Runtime("gpu-f16", _install_lavapipe, partial(_answer, driver="lavapipe"))

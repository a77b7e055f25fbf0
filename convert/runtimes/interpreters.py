"""LiteRT and tflite-runtime, on this machine and as arm64 under emulation."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

from convert.runtimes.base import (
    ROOT,
    Reply,
    Runtime,
    by_interpreter,
    installing,
    make_environment,
    need_programs,
)
from convert.runtimes.debian import unpack
from convert.runtimes.golden import Case
from edgeface.files import write_text

TFLITE_RUNTIME = ("tflite-runtime==2.14.0", "numpy<2")
"""The last release; it breaks under numpy 2 without saying so, hence an environment of its own."""
LITERT = ("ai-edge-litert==2.3.0",)
SYSROOT_PACKAGES = (
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    "libexpat1",
    "libssl3",
    "libffi8",
    "libbz2-1.0",
    "liblzma5",
    "libuuid1",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
)
CORES = {
    "cortex-a72": ("0xd08", "fp asimd evtstrm crc32 cpuid"),
    "cortex-a76": (
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs",
    ),
}
"""Raspberry Pi 4 and 5: CPU part and features as their kernels print them. A kernel picks its routines by these."""
EMULATOR = "qemu-aarch64-static"
PLATFORMS = ("manylinux_2_36", "manylinux_2_35", "manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_27")
PLATFORMS += ("manylinux_2_26", "manylinux_2_24", "manylinux_2_17", "manylinux2014")


def _nothing() -> None:
    pass


def _litert(case: Case) -> Reply:
    return by_interpreter(case, [sys.executable], {})


def _install_tflite_runtime() -> None:
    make_environment(ROOT / "tflite-runtime", TFLITE_RUNTIME)


def _tflite_runtime(case: Case) -> Reply:
    return by_interpreter(case, [ROOT / "tflite-runtime" / "bin" / "python"], {"PYTHONPATH": ""})


def _install_arm64(packages: tuple[str, ...]) -> None:
    """An arm64 Python 3.11 userland, and the packages' aarch64 wheels beside it."""
    need_programs({EMULATOR: "qemu-user-static"})
    unpack(SYSROOT_PACKAGES, ROOT / "sysroot-arm64", "arm64")
    folder = _wheels(packages)
    stamp = " ".join(packages)
    if (folder / ".ready").is_file() and (folder / ".ready").read_text() == stamp:
        return
    shutil.rmtree(folder, ignore_errors=True)
    common = ["--quiet", "--python-version", "3.11", "--only-binary", ":all:", "--target", folder, *packages]
    if shutil.which("uv"):
        pip = ["uv", "pip", "install", "--python-platform", f"aarch64-{PLATFORMS[0]}"]
    else:
        pip = [sys.executable, "-m", "pip", "install", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3"]
        pip += ["--abi", "none", *(part for p in PLATFORMS for part in ("--platform", f"{p}_aarch64"))]
    installing(f"{packages[0]} for aarch64", [*pip, *common])
    (folder / ".ready").write_text(stamp)


def _wheels(packages: tuple[str, ...]) -> Path:
    return ROOT / ("wheels-arm64-" + packages[0].split("==")[0])


def _arm64(case: Case, core: str, packages: tuple[str, ...]) -> Reply:
    sysroot = ROOT / "sysroot-arm64"
    part, features = CORES[core]
    lines = ["processor : %d", f"Features : {features}", "CPU implementer : 0x41", "CPU architecture: 8"]
    lines += ["CPU variant : 0x0", f"CPU part : {part}", "CPU revision : 3", ""]
    write_text(sysroot / "proc" / "cpuinfo", "\n".join("\n".join(lines) % n for n in range(4)) + "\n")
    for name in ("possible", "present"):
        write_text(sysroot / "sys" / "devices" / "system" / "cpu" / name, "0-3\n")
    # Without QEMU_CPU, qemu 7.2 emulates a core on which int8 comes out wrong.
    env = {"QEMU_CPU": core, "PYTHONPATH": str(_wheels(packages)), "PYTHONHOME": str(sysroot / "usr"), "LC_ALL": "C"}
    python = sysroot / "usr" / "bin" / "python3.11"
    reply = by_interpreter(case, [EMULATOR, "-L", sysroot, python], env, timeout_s=900)
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

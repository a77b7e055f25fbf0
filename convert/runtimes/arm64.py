"""An arm64 Python under emulation: Raspberry Pi 4 and 5 by their cores, without a Raspberry Pi."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from convert.runtimes.base import ROOT, installing, need_programs
from convert.runtimes.debian import unpack
from edgeface.files import write_text

SYSROOT = ROOT / "sysroot-arm64"
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
    # What opencv-python's wheel takes from the system: there on a desktop, and with `apt install libgl1 libglib2.0-0`.
    "libgl1",
    "libglib2.0-0",
    "libglvnd0",
    "libglx0",
    "libpcre2-8-0",
    "libx11-6",
    "libxau6",
    "libxcb1",
    "libxdmcp6",
    "libbsd0",
    "libmd0",
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


def install(name: str, packages: Sequence[str | Path], stamp: str | None = None) -> Path:
    """An arm64 Python 3.11 userland, and the packages' aarch64 wheels; nothing is compiled. The wheels' folder.

    stamp: what tells these packages from others of the name, where their own words do not.
    """
    need_programs({EMULATOR: "qemu-user-static"})
    unpack(SYSROOT_PACKAGES, SYSROOT, "arm64")
    folder = ROOT / f"wheels-arm64-{name}"
    stamp = stamp or " ".join(map(str, packages))
    if (folder / ".ready").is_file() and (folder / ".ready").read_text() == stamp:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    common = ["--quiet", "--python-version", "3.11", "--only-binary", ":all:", "--target", folder, *packages]
    if shutil.which("uv"):
        pip = ["uv", "pip", "install", "--python-platform", f"aarch64-{PLATFORMS[0]}"]
    else:
        pip = [sys.executable, "-m", "pip", "install", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3"]
        pip += ["--abi", "none", *(part for p in PLATFORMS for part in ("--platform", f"{p}_aarch64"))]
    installing(f"{name} for aarch64", [*pip, *common])
    (folder / ".ready").write_text(stamp)
    return folder


def python(core: str, wheels: Path, emulator: Sequence[str | Path] = (EMULATOR,)) -> tuple[list, dict[str, str]]:
    """The command of an arm64 Python that sees these wheels, and its environment. One core at a time."""
    part, features = CORES[core]
    lines = ["processor : %d", f"Features : {features}", "CPU implementer : 0x41", "CPU architecture: 8"]
    lines += ["CPU variant : 0x0", f"CPU part : {part}", "CPU revision : 3", ""]
    write_text(SYSROOT / "proc" / "cpuinfo", "\n".join("\n".join(lines) % n for n in range(4)) + "\n")
    for name in ("possible", "present"):
        write_text(SYSROOT / "sys" / "devices" / "system" / "cpu" / name, "0-3\n")
    # Without QEMU_CPU, qemu 7.2 emulates a core on which int8 comes out wrong.
    env = {"QEMU_CPU": core, "PYTHONPATH": str(wheels), "PYTHONHOME": str(SYSROOT / "usr"), "LC_ALL": "C"}
    return [*emulator, "-L", SYSROOT, SYSROOT / "usr" / "bin" / "python3.11"], env

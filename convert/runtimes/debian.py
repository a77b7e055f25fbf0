"""Debian packages unpacked beside the system: no chroot, nothing installed, another architecture if need be.

The mirror is the one that this machine's apt already uses.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from convert.runtimes.base import UnavailableError, installing

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITE = "bookworm"
SYSTEM = re.compile(r"^(libc6|gcc-.*|libgcc-s1|libstdc\+\+6|zlib1g|debconf|.*-common|libx11-data)$")
"""Never unpacked for this machine's own architecture: a second C library beside the first one breaks programs."""


def unpack(
    packages: Sequence[str], folder: Path, arch: str, backports: bool = False, with_depends: bool = False
) -> Path:
    """The packages' files under ``folder``. with_depends: and those of what they need, `SYSTEM` left out."""
    stamp = " ".join(packages)
    if (folder / ".ready").is_file() and (folder / ".ready").read_text() == stamp:
        return folder
    what = f"{packages[0]} and {len(packages) - 1} more ({arch})"
    if shutil.which("apt-get") is None or not KEYRING.is_file():
        raise UnavailableError(f"{what} must come from Debian's archive. Received: a machine without apt and its keys")
    work = folder.with_name(f".{folder.name}.apt")
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    for each in ("lists/partial", "cache/archives/partial", "debs"):
        (work / each).mkdir(parents=True)
    (work / "status").write_text("")
    suites = [SUITE, f"{SUITE}-backports"] if backports else [SUITE]
    entry = f"deb [arch={arch} signed-by={KEYRING}] {mirror()}"
    (work / "sources.list").write_text("".join(f"{entry} {suite} main\n" for suite in suites))
    options = {
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::Lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    installing(what, [*apt, "update"])
    target = ["-t", suites[-1]]
    if with_depends:
        plan = installing(what, [*apt, *target, "install", "-s", "--no-install-recommends", *packages])
        packages = [p for p in re.findall(r"^Inst (\S+)", plan, re.M) if not SYSTEM.match(p)]
    installing(what, ["env", "-C", work / "debs", *apt, *target, "download", *packages])
    debs = sorted((work / "debs").glob("*.deb"))
    if len(debs) != len(packages):
        raise UnavailableError(f"{what} must be {len(packages)} packages. Received: {len(debs)}")
    folder.mkdir(parents=True)
    for deb in debs:
        installing(what, ["dpkg-deb", "-x", deb, folder])
    shutil.rmtree(work)
    (folder / ".ready").write_text(stamp)
    return folder


def mirror() -> str:
    """The address that apt has Debian's main archive from."""
    listing = installing(
        "apt's sources",
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(CODENAME)", "Created-By: Packages"],
    )
    for line in listing.splitlines():
        uri, *rest = line.split()
        if rest == ["Debian", SUITE]:
            return uri
    raise UnavailableError(f"apt must know Debian's {SUITE} (run apt-get update first). Received: other archives alone")

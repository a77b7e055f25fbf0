"""The Kotlin of ``android_demo/core`` on this machine's JVM: the compiler is an npm package, the JDK any from 17 on."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from convert.runtimes.base import RefusedError, UnavailableError, installing, need_programs, run
from edgeface.files import write_text

DEMO = Path(__file__).parents[2] / "android_demo"
CORE = DEMO / "core" / "src"
ROOT = Path(__file__).parents[2] / "runs" / "android"
"""The compiler and what it compiled; removing the folder removes it all."""
PACKAGE = "kotlin-compiler@2.4.20"
LIBRARY = ROOT / "kotlin" / "node_modules" / "kotlin-compiler" / "lib"
MAIN = "edgeface.core.GoldenKt"
JDK = 17
JAVA = ("java", "-Xmx700m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""For programs that end within seconds: no optimising compiler, no thread a core for garbage."""


def install() -> None:
    """The compiler under `ROOT`; does nothing where it is there. UnavailableError says what is missing."""
    need_programs({"java": "openjdk-17-jre-headless", "npm": "npm"})
    _check_java()
    folder, ready = ROOT / "kotlin", ROOT / "kotlin" / ".ready"
    if ready.is_file() and ready.read_text() == PACKAGE:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # --prefix: else npm looks for a package.json further up. No lock: it would carry the registry's address.
    flags = ["--silent", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    installing(PACKAGE, ["npm", "install", *flags, "--prefix", folder, PACKAGE])
    ready.write_text(PACKAGE)


def missing() -> str | None:
    """Why core cannot be compiled as things are; None where it can."""
    if shutil.which("java") is None:
        return "no java"
    try:
        _check_java()
    except UnavailableError as error:
        return str(error)
    ready = ROOT / "kotlin" / ".ready"
    if not ready.is_file() or ready.read_text() != PACKAGE:
        return f"{PACKAGE} is not installed: make test-android installs it under runs/"
    return None


def sources() -> list[Path]:
    return sorted(CORE.rglob("*.kt"))


def compile_core() -> Path:
    """The folder of classes of core and its golden test."""
    return compile_sources("core", sources())


def compile_sources(name: str, files: Sequence[Path], classes: Path | None = None) -> Path:
    """Kotlin (and Java, to refer to) -> ``ROOT/name``, anew where something changed; warnings are errors.

    RefusedError names the first of them.
    """
    digest = hashlib.sha256(f"{PACKAGE} {_language()}".encode())
    for file in (*files, *sorted(classes.rglob("*.class") if classes else ())):
        digest.update(file.name.encode() + file.read_bytes())
    out, stamp = ROOT / name, ROOT / f"{name}.sha256"
    with _alone(name):
        if stamp.is_file() and stamp.read_text() == digest.hexdigest():
            return out
        shutil.rmtree(out, ignore_errors=True)
        _compile(files, out, classes)
        write_text(stamp, digest.hexdigest())
    return out


def _compile(files: Sequence[Path], out: Path, classes: Path | None) -> None:
    path = [LIBRARY / "kotlin-stdlib.jar", *([classes] if classes else [])]
    options = ["-no-stdlib", "-no-reflect", "-cp", ":".join(map(str, path)), "-d", str(out)]
    level = ["-language-version", _language(), "-jvm-target", "11", "-Xjdk-release=11", "-Werror"]
    compiler = [*JAVA, "-cp", f"{LIBRARY}/*", "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
    done = subprocess.run(
        [*compiler, *options, *level, *map(str, files)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode != 0:
        wrong = [line for line in done.stderr.splitlines() if "error:" in line or "warning:" in line]
        raise RefusedError(f"Kotlin must compile. Received: {'; '.join(wrong[:8]) or done.stderr.strip()[-600:]}")


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Two processes that test at the same time compile once."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def golden(classes: Path, folder: Path) -> str:
    """What the golden test printed; RefusedError holds its failing lines."""
    path = f"{classes}:{LIBRARY / 'kotlin-stdlib.jar'}"
    command = [*JAVA, "-cp", path, MAIN, str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
        told = "; ".join(failed[:20]) or done.stderr.strip()[-600:]
        raise RefusedError(f"the Kotlin side must agree with Python. Received: {told}")
    return done.stdout


def _language() -> str:
    """The version of Kotlin that the Gradle build uses: 2.3 of 2.3.21."""
    catalogue = (DEMO / "gradle" / "libs.versions.toml").read_text()
    return re.search(r'^kotlin = "(\d+\.\d+)', catalogue, re.M).group(1)


def _check_java() -> None:
    found = re.search(r'version "(\d+)', run(["java", "-version"], 60))
    if found is None or int(found.group(1)) < JDK:
        raise UnavailableError(f"java must be of version {JDK} or later. Received: {found and found.group(1)}")

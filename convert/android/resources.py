"""The demo's resources and manifest, linked by aapt2 against Debian's framework; its Kotlin, type-checked."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from convert.android import kotlin
from convert.runtimes.base import RefusedError, need_programs, run

APP = kotlin.DEMO / "app" / "src" / "main"
FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
PACKAGES = ("aapt", "android-framework-res")
NEWER = ("uses-native-library",)
"""Elements of the manifest that Debian's framework (Android 10) does not know; they are left out before linking."""


def install() -> None:
    """Debian's aapt2 and framework, installed where we are root."""
    need_programs({"aapt2": "aapt"})
    if not FRAMEWORK.is_file():
        need_programs({"a framework for aapt2": "android-framework-res"})


def missing() -> str | None:
    """Why nothing can be linked as things are; None where it can."""
    if shutil.which("aapt2") is None or not FRAMEWORK.is_file():
        return f"no aapt2 or no framework: make test-android installs {' and '.join(PACKAGES)}"
    return None


def link(folder: Path, res: Path = APP / "res", manifest: Path = APP / "AndroidManifest.xml") -> Path:
    """Compiles and links into ``folder``; the folder with the generated R.java. RefusedError holds aapt2's words."""
    folder.mkdir(parents=True, exist_ok=True)
    compiled, own = folder / "res.zip", folder / "AndroidManifest.xml"
    own.write_text(linkable(manifest.read_text()))
    _aapt2(["compile", "--dir", res, "-o", compiled])
    versions = (kotlin.DEMO / "gradle" / "libs.versions.toml").read_text()
    minimum, target = (re.search(rf'^{key} = "(\d+)"', versions, re.M).group(1) for key in ("minSdk", "targetSdk"))
    java = folder / "java"
    levels = ["--min-sdk-version", minimum, "--target-sdk-version", target]
    out = ["--java", java, "-o", folder / "out.apk"]
    _aapt2(["link", "--manifest", own, "-I", FRAMEWORK, *levels, *out, compiled])
    return java


def linkable(manifest: str) -> str:
    """As the Gradle plugin would hand it on: with the package, without what is to be removed.

    And without elements `NEWER` than Debian's framework.
    """
    build = (kotlin.DEMO / "app" / "build.gradle.kts").read_text()
    namespace = re.search(r'namespace = "([^"]+)"', build).group(1)
    manifest = re.sub(r'<[\w-]+\b[^>]*tools:node="remove"[^>]*/>', "", manifest)
    for element in NEWER:
        manifest = re.sub(rf"<{element}\b[^>]*/>", "", manifest)
    return manifest.replace("<manifest ", f'<manifest package="{namespace}" ', 1)


def type_check(declarations: Path, r_java: Path, folder: Path, further: Sequence[Path] = ()) -> None:
    """The app's Kotlin, and ``further`` files, against ``declarations`` of the Android API and R.java.

    declarations: one text, in which every package line begins a file of its own.
    """
    core = kotlin.compile_core()
    stubs = folder / "stubs"
    stubs.mkdir(parents=True, exist_ok=True)
    files = []
    for number, part in enumerate(re.split(r"(?m)^(?=package )", declarations.read_text())):
        if part.startswith("package "):
            name, body = part.split("\n", 1)
            files.append(stubs / f"Stub{number}.kt")
            files[-1].write_text(f"{name}\n\nimport stubs.none\n{body}")
    sources = sorted((APP / "kotlin").rglob("*.kt"))
    if not sources:
        raise RefusedError(f"{APP} must hold Kotlin. Received: none")
    kotlin.compile_sources("app", [*sources, *further, *files, *sorted(r_java.rglob("*.java"))], core)


def _aapt2(arguments: list[str | Path]) -> str:
    return run(["aapt2", *arguments], 120)

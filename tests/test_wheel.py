"""The built wheel in an environment of its own, with no checkout near: what a user installs does what the docs say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeface.files import read_json
from tests import own_set

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Installed:
    """A virtual environment that sees this one's packages, `edgeface` not among them, and its own install."""

    bin: Path
    gained: tuple[str, ...]
    """What the install added to site-packages, sorted."""

    def run(self, *argv: object, cwd: Path, **env: str) -> subprocess.CompletedProcess:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "EDGEFACE", "KERAS"))}
        command = [str(self.bin / str(argv[0])), *map(str, argv[1:])]
        return subprocess.run(command, cwd=cwd, env=kept | env, capture_output=True, text=True, timeout=600)


def install(folder: Path, *what: object) -> Installed:
    """Installs ``what`` without its dependencies into a new environment in ``folder``."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (site,) = (folder / "lib").glob("python*/site-packages")
    paths = dict.fromkeys(sysconfig.get_paths()[key] for key in ("purelib", "platlib"))
    # The .pth files in there are not read, so the editable install of this checkout stays out.
    (site / "others.pth").write_text("\n".join(paths))
    before = {file.name for file in site.iterdir()}
    if uv := shutil.which("uv"):
        command = [uv, "pip", "install", "--python", python, "--offline"]
    else:
        command = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--quiet"]
    options = ["--no-deps", "--no-build-isolation"]
    done = subprocess.run([*map(str, [*command, *options, *what])], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Installed(python.parent, tuple(sorted({file.name for file in site.iterdir()} - before)))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Installed:
    return install(tmp_path_factory.mktemp("env") / "venv", wheel)


def test_what_is_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"edgeface"}
    package = {name.removeprefix("edgeface/") for name in names}
    for file in ("py.typed", "convert/report/peers.json", "convert/templates/report.html.j2", "cli/__init__.py"):
        assert file in package, file
    here = {str(file.relative_to(ROOT / "edgeface")) for file in (ROOT / "edgeface" / "zoo").glob("*.tflite")}
    assert here == {name for name in package if name.endswith(".tflite")}


def test_it_installs_edgeface_alone(installed, tmp_path):
    assert [name.split("-")[0] for name in installed.gained] == ["edgeface", "edgeface"], installed.gained
    # In a repository of another project, whose commit must not be taken for ours.
    subprocess.run(["git", "init", "-q", str(installed.bin.parent)], check=True)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(installed.bin.parent)]
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    program = """
import edgeface, importlib.util
from edgeface.runtime.machine import commit
print(edgeface.Predictor.load("acdc_s"))
assert commit() is None
assert not any(map(importlib.util.find_spec, ("convert", "calibration", "results", "studies", "scripts", "tests")))
assert "site-packages" in edgeface.__file__
"""
    done = installed.run("python", "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "acdc_s" in done.stdout


def test_own_faces_from_check_to_report(installed, tmp_path):
    """Every command of a project, in an empty folder: each ends with 0, the pages and files are there.

    Six steps teach no pose, and an untrained one need not be within its tolerance: the files leave it out.
    """
    own_set.write(tmp_path / "faces" / "mine", test=4)
    (tmp_path / "mine.toml").write_text(own_set.CONFIG.format(name="mine"))
    model, files = "runs/mine/model.keras", "runs/files"
    chain = [
        "data check mine",
        "train mine.toml",
        f"evaluate {model} --set mine --ced ced.png --json scores.json",
        "calibrate --set mine --count 6 --out runs/mine.json",
        f"qat {model} --out runs/qat --steps 4",
        f"convert {model} --out {files} --qat runs/qat/qat.keras --calibration runs/mine.json "
        "--variants float32,int8_ptq,int8_qat --outputs landmarks,spread --name mine",
        f"gate {files}",
        f"parity {model} {files} --set mine --jitter-faces 2",
        f"report {files} --out report --rounds 1 --threads 1 --memory-runs 1 --crops 1",
        "zoo list",
        f"predict faces/mine/images/test/0.png --model {files}/mine_int8_qat.tflite --json",
    ]
    env = {"cwd": tmp_path, "EDGEFACE_FACES": "faces", "TF_CPP_MIN_LOG_LEVEL": "3"}
    # The first and the last run by the installed script; those between share one start of TensorFlow.
    apart = (chain[0], chain[-1])
    between = [line.split() for line in chain if line not in apart]
    program = f"""
from edgeface.cli import main
for argv in {between!r}:
    assert main(argv) == 0, argv
"""
    for done in (
        installed.run("edgeface", *apart[0].split(), **env),
        installed.run("python", "-c", program, **env),
        installed.run("edgeface", *apart[1].split(), **env),
    ):
        assert done.returncode == 0, f"{done.args}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert json.loads(done.stdout)["markup"] == "ibug68"
    assert read_json(tmp_path / "scores.json")["n"] == 4
    report = read_json(tmp_path / "report" / "report.json")
    assert {row["variant"] for row in report["rows"]} == {"float32", "int8_ptq", "int8_qat"}
    assert report["commit"] is None and report["peers"]["peers"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "mine_int8_qat" in page and "data:image/" in page
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "ced.png", "faces", "mine.toml", "report", "runs", "scores.json",
    ]  # fmt: skip


def test_an_editable_install_puts_edgeface_alone_on_the_path(tmp_path):
    pytest.importorskip("editables")
    editable = install(tmp_path / "venv", "--editable", ROOT)
    program = """
import importlib.util, edgeface
print(edgeface.__file__)
outside = ("convert", "calibration", "results", "studies", "scripts", "tests", "demo_web")
assert not [name for name in outside if importlib.util.find_spec(name)]
"""
    done = editable.run("python", "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == ROOT / "edgeface" / "__init__.py"

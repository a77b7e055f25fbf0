"""The device half runs where keras, tensorflow, jax, scipy and grain are not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCKED = ("keras", "tensorflow", "tf_keras", "jax", "scipy", "grain", "matplotlib", "rich", "tyro", "h5py")

PROLOGUE = f"""
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""


def run(program: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", PROLOGUE + program], capture_output=True, text=True, cwd=ROOT)


def device_half() -> list[str]:
    """Modules at the top of edgeface, in runtime and in zoo, found and not listed: a new one is held to it as well."""
    files = [f for folder in ("", "runtime", "zoo") for f in sorted((ROOT / "edgeface" / folder).glob("*.py"))]
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files if f.name != "__main__.py"]
    return [name.removesuffix(".__init__") for name in names]


def test_the_device_half_imports_alone():
    modules = device_half()
    assert {"edgeface", "edgeface.cli", "edgeface.card", "edgeface.runtime.predictor", "edgeface.zoo"} <= set(modules)
    program = f"""
import importlib
for name in {modules!r}:
    importlib.import_module(name)
loaded = sorted(n for n in sys.modules if n.startswith(("edgeface.training", "edgeface.models", "edgeface.datasets")))
assert not loaded, loaded
"""
    done = run(program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["predict", "--help"],
        ["live", "--help"],
        ["bench", "--help"],
        ["bench", "--model", "acdc_n", "--runs", "1"],
        ["zoo", "list"],
        ["data", "--help"],
        ["train", "--help"],
        ["evaluate", "--help"],
    ],
)
def test_its_commands_run(argv):
    done = run(f"from edgeface.cli import main\nsys.exit(main({argv!r}))")
    # The interpreter says on stderr which delegate it made.
    assert (done.returncode, [line for line in done.stderr.splitlines() if "delegate" not in line]) == (0, [])
    assert done.stdout


@pytest.mark.parametrize("argv", [["train", "any.toml"], ["evaluate", "any.keras", "--set", "synthetic"]])
def test_the_others_name_their_extra(argv):
    done = run(f"from edgeface.cli import main\nsys.exit(main({argv!r}))")
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert f"edgeface {argv[0]} must have its extra: pip install" in done.stderr and '"edgeface[' in done.stderr


def test_the_block_blocks():
    assert "No module named 'keras'" in run("import keras").stderr

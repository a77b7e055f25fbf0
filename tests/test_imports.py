"""The device half runs where keras, tensorflow, jax, scipy and grain are not installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeface.cli.command import Group, every_command
from edgeface.images import write_image

ROOT = Path(__file__).resolve().parents[1]
BLOCKED = ("keras", "tensorflow", "tf_keras", "jax", "scipy", "grain", "matplotlib", "rich", "h5py")

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
    """Modules at the top of edgeface and in cli, runtime and zoo, found and not listed: a new one is among them."""
    files = [f for folder in ("", "cli", "runtime", "zoo") for f in sorted((ROOT / "edgeface" / folder).glob("*.py"))]
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files if f.name != "__main__.py"]
    return [name.removesuffix(".__init__") for name in names]


def command_words() -> list[list[str]]:
    """["predict"], ["zoo"], ["zoo", "list"] ..."""
    from edgeface.cli import COMMANDS

    named = {name: command for commands in COMMANDS.values() for name, command in commands.items()}
    groups = [[name] for name, command in named.items() if isinstance(command, Group)]
    return [*groups, *([*words.split()] for words in every_command(named))]


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


def ended(done: subprocess.CompletedProcess) -> list[str]:
    """The lines on stderr. The interpreter says there which delegate it made."""
    return [line for line in done.stderr.splitlines() if "delegate" not in line]


def test_its_commands_run(tmp_path):
    """Every --help, and every command of the device half, in one process that has nothing but the base install."""
    write_image(tmp_path / "face.png", np.full((128, 128, 3), 90, np.uint8))
    helps = [[*words, "--help"] for words in [[], *command_words()]]
    runs = [
        ["zoo", "list"],
        ["zoo", "path", "acdc_n"],
        ["zoo", "info", "acdc_n", "--json"],
        ["bench", "--model", "acdc_n", "--runs", "1"],
        ["predict", str(tmp_path / "face.png"), "--out", str(tmp_path / "drawn.png")],
        ["live", str(tmp_path), "--full-frame", "--no-window", "--limit", "1"],
    ]
    program = f"""
import contextlib, io
from edgeface.cli import main
for argv in {helps + runs!r}:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        assert main(argv) == 0, argv
    assert printed.getvalue() or argv[0] == "live", argv
above = ("training", "models", "datasets", "evaluation", "quantize", "convert")
loaded = sorted(n for n in sys.modules if n.startswith(tuple(f"edgeface.{{name}}" for name in above)))
assert not loaded, loaded
"""
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drawn.png").is_file()
    assert [line for line in ended(done) if not line.startswith("edgeface: ")] == []


@pytest.mark.slow
def test_the_others_name_their_extra(tmp_path):
    config = tmp_path / "any.toml"
    config.write_text('network = "acdc_n"\n[[sources]]\nset = "synthetic"\n')
    commands = {
        "Training": ["train", str(config)],
        "Evaluation": ["evaluate", "any.keras", "--set", "synthetic"],
        "Reading annotated faces": ["data", "check", "synthetic"],
        "Quantization-aware training": ["qat", "any.keras", "--out", str(tmp_path / "qat")],
        "Conversion": ["convert", "any.keras", "--out", str(tmp_path / "files")],
        "Parity": ["parity", "any.keras", "any.tflite"],
        "The report": ["report", str(tmp_path)],
    }
    shutil.copy(ROOT / "edgeface" / "zoo" / "acdc_n_float16.tflite", tmp_path)
    program = f"""
from edgeface.cli import main
sys.exit(sum(main(argv) != 2 for argv in {list(commands.values())!r}))
"""
    done = run(program)
    lines = [line for line in ended(done) if line.startswith("edgeface: ")]
    assert (done.returncode, len(lines)) == (0, len(commands)), done.stderr
    for what, line in zip(commands, lines, strict=True):
        start = re.escape(f'edgeface: {what} needs optional packages: pip install "edgeface[')
        assert re.fullmatch(rf'{start}\w+\]" \(missing: \w+\)', line)


def test_the_block_blocks():
    assert "No module named 'keras'" in run("import keras").stderr

"""One tiny model, converted once to every variant: once a source tree, not once a process or a session."""

from __future__ import annotations

import fcntl
import hashlib
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeface.convert.convert_all import Converted, Job, convert_all
from edgeface.models.deploy import deploy
from edgeface.models.io import model_info, save_model
from tests.convert import tiny

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class TinyFiles:
    model: Path
    """The float `.keras` file."""
    folder: Path
    files: dict[str, Converted]
    """By variant."""
    crops: np.ndarray
    expected: dict[str, np.ndarray]
    """The float Keras model's answers on the crops."""


def source_key() -> str:
    """Changes with anything that a conversion may depend on."""
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "edgeface").rglob("*.py"), *Path(__file__).parent.glob("[ct]*.py")]):
        digest.update(path.name.encode() + path.read_bytes())
    digest.update(str([version(name) for name in ("keras", "tensorflow", "numpy", "ai-edge-litert")]).encode())
    return digest.hexdigest()[:16]


def made_once(folder: Path, make: Callable[[Path], None], to: Path) -> Path:
    """What ``make`` writes for this source tree, copied to ``to``; the processes of a session wait for one another."""
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / source_key()
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not current.is_dir():
            for old in folder.glob("*/"):
                shutil.rmtree(old)
            unfinished = folder / "unfinished"
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(current)
        return Path(shutil.copytree(current, to))


def _convert(folder: Path) -> None:
    trained = tiny.trained_like(tiny.ACDC)
    save_model(trained, folder / "tiny.keras", model_info(tiny.ACDC, training={"steps": 7}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeface.convert.calibration_set.synthetic_crops", lambda *_: tiny.crops(tiny.ACDC, 16))
        done = convert_all(Job(folder / "tiny.keras", folder / "out"))
    answers = deploy(trained).predict_on_batch(tiny.crops(tiny.ACDC, 8).astype(np.float32))
    expected = {key: np.asarray(value) for key, value in answers.items()}
    (folder / "made.pickle").write_bytes(pickle.dumps((done, expected)))


@pytest.fixture(scope="session")
def tiny_files(request, tmp_path_factory) -> TinyFiles:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter reads what Keras's TensorFlow backend exports")
    cache = getattr(request.config, "cache", None)
    # Without pytest's cache the processes of a session share the parent of their temporary folders.
    shared = cache.mkdir("tiny_files") if cache else tmp_path_factory.getbasetemp().parent / "tiny_files"
    folder = made_once(shared, _convert, tmp_path_factory.mktemp("tiny") / "files")
    done, expected = pickle.loads((folder / "made.pickle").read_bytes())
    files = {c.card.variant: replace(c, path=folder / "out" / c.path.name) for c in done}
    return TinyFiles(folder / "tiny.keras", folder / "out", files, tiny.crops(tiny.ACDC, 8), expected)

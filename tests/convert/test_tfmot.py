"""The tensorflow-model-optimization reference, in a process of its own: tfmot turns `tf.keras` into Keras 2."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgeface.models.deploy import deploy
from edgeface.models.io import model_info, save_model
from tests.convert import tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("tensorflow_model_optimization", "tf_keras")),
        reason="tensorflow-model-optimization is not installed: the extra edgeface[tfmot] is optional",
    ),
]

STEPS, BATCH = {"acdc": 3, "ccr": 0}, 4  # one is trained, the other calibrated alone: seconds
CONFIGS = {"acdc": tiny.ACDC, "ccr": replace(tiny.CCR, stages=2, unit="conv")}  # a sum of four joins two blocks
SCRIPT = """
import sys
from convert.tfmot.__main__ import main
for name in ("acdc", "ccr"):
    main([f"{name}.keras", "--out", name, "--batches", f"{name}.npz"])

import keras
from convert.tfmot.rebuild import rebuild
image = keras.Input((4, 4, 1), name="image")
try:
    rebuild(keras.Model(image, {"x": keras.layers.LayerNormalization(name="odd")(image)}))
except ValueError as error:
    print(f"refused: {error}")
"""


@dataclass(frozen=True)
class Reference:
    folder: Path
    facts: dict[str, dict[str, Any]]
    expected: dict[str, dict[str, np.ndarray]]
    """The float Keras model's answers."""
    crops: dict[str, np.ndarray]
    printed: str


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Reference:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter reads what Keras's TensorFlow backend exports")
    folder = tmp_path_factory.mktemp("tfmot")
    expected, crops = {}, {}
    for name, config in CONFIGS.items():
        model = tiny.trained_like(config)
        save_model(model, folder / f"{name}.keras", model_info(config))
        crops[name] = tiny.crops(config, 8)
        save_tiny_batches(model, config, STEPS[name], folder / f"{name}.npz")
        answers = deploy(model).predict_on_batch(crops[name].astype(np.float32))
        expected[name] = {key: np.asarray(value) for key, value in answers.items()}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r}){SCRIPT}"],
        cwd=folder, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    facts = {name: json.loads((folder / name / "tfmot.json").read_text()) for name in CONFIGS}
    return Reference(folder, facts, expected, crops, done.stdout)


def save_tiny_batches(model, config, steps: int, path: Path) -> None:
    """As `convert.tfmot.tuning.save_batches`, without importing what only the other process may."""
    images = np.stack([tiny.crops(config, BATCH, seed) for seed in range(max(steps, 1))])[:steps]
    rng = np.random.default_rng(0)
    targets = {"target_pose": rng.uniform(-40, 40, (steps, BATCH, 3)).astype(np.float32)}
    for key, spread in model.output.items():
        if key.startswith("s1_") and key.endswith("_spread"):
            shape = (steps, BATCH, spread.shape[1], 2)
            targets[f"target_{key[3:-7]}"] = rng.uniform(0.3, 0.7, shape).astype(np.float32)
    calibration = tiny.crops(config, 32)[None].copy()
    calibration[0, 0, 0, :2] = [[0], [255]]
    rates = np.full(steps, 1e-5, np.float32)
    np.savez(path, images=images, calibration=calibration, learning_rates=rates, clip=1.0, **targets)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_rebuilt_graph_is_the_same_function(reference, name):
    differences = reference.facts[name]["largest_difference_of_the_rebuilt_graph"]
    assert {"landmarks", "spread", "pose"} <= differences.keys()
    # Of the crop's width; float32 sums in another order. Pose is in degrees, up to 120 of them.
    assert max(differences["landmarks"], differences["spread"]) < 1e-5
    assert differences["pose"] < 1e-3


@pytest.mark.parametrize("name", CONFIGS)
def test_tfmots_file_is_int8_and_runs(reference, name):
    from ai_edge_litert.interpreter import Interpreter

    facts = reference.facts[name]
    assert facts["gate"] == [] and facts["steps"] == STEPS[name]
    dtypes = {(op, dtype) for op, dtype, _ in facts["operators"]}
    assert ("CONV_2D", "int8") in dtypes and ("CONV_2D", "float32") not in dtypes
    path = reference.folder / name / "tfmot.tflite"
    assert path.stat().st_size == facts["bytes"]
    run = Interpreter(str(path)).get_signature_runner()
    outs = [run(image=crop[None]) for crop in reference.crops[name]]
    got = np.concatenate([out["landmarks"] for out in outs])
    assert got.shape == reference.expected[name]["landmarks"].shape
    # Not 0.3, which ranges that were never set give; untrained maps are noisy, so not 0.001 either.
    assert np.abs(got - reference.expected[name]["landmarks"]).mean() < 0.05


def test_what_tfmot_does_not_do_by_itself_is_on_record(reference):
    acdc, ccr = reference.facts["acdc"], reference.facts["ccr"]
    assert {"s1_fuse_image", "s1_fuse_hidden", "s1_fuse_excite"} <= acdc["customised"].keys()
    assert "tfmot does not support Multiply" in acdc["customised"]["s1_fuse_image"]
    assert "gtn_ibug68" in acdc["shared_layers"] and "s2_ibug68" in acdc["float"]
    assert "split into sums of two" in ccr["customised"]["s1_out"]


def test_an_unknown_layer_is_refused_by_name(reference):
    assert (
        "must have a tf_keras counterpart or declare KeepFloat. Received: odd (LayerNormalization)" in reference.printed
    )


def test_a_row_is_kept_until_its_settings_change(tmp_path, monkeypatch):
    import convert.release.tfmot as comparison

    monkeypatch.setattr(comparison, "OUT", tmp_path / "tfmot.json")
    settings = {"steps": 3, "learning_rate": 1e-5, "float_sha256": "a"}
    figures = {"landmark_shift_percent_of_crop": 0.125, "nme_delta": -0.0042}
    row = {"model": "acdc_s", "arm": "tfmot", "bytes": 1234, "gate": [], "scores": {"300w/test": figures}}
    comparison._keep(row | settings)
    comparison._keep(row | settings | {"arm": "ours"})
    assert comparison._row("acdc_s", "tfmot", settings)["bytes"] == 1234
    assert comparison._row("acdc_s", "tfmot", settings | {"float_sha256": "b"}) is None
    comparison._keep(row | settings | {"float_sha256": "b", "bytes": 999})
    assert [r["bytes"] for r in comparison._rows()] == [1234, 999]
    text = comparison.table(comparison._rows())
    assert text.count("acdc_s") == 2 and "-0.0042" in text and "0.1250" in text

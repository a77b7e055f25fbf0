"""One training on one device, on two and in two processes: `python -m tests.training.team devices|process DIR`.

devices: this process has two (virtual) ones, the environment says. process: one of two that the environment names.
"""

from __future__ import annotations

import json
import shutil
import sys
from itertools import islice
from pathlib import Path

import numpy as np

from tests.training import tiny

MORE = """
name = "tiny"
steps = 10
epoch_steps = 4
clip = 1.0
validation = { set = "mtfl", split = "train", limit = 5 }
"""
"""What makes `tiny.TOML` the same as `tiny.config`."""


def weights(path: Path) -> list[np.ndarray]:
    import keras

    return keras.saving.load_model(path / "model.keras", compile=False).get_weights()


def apart(one: Path, other: Path) -> dict[str, float]:
    """Largest difference of the weights (moving averages too; relative where an array goes beyond 1), of the losses."""
    curves = zip(tiny.curve(one), tiny.curve(other), strict=True)
    relative = [abs(float(a["loss"]) - float(b["loss"])) / float(a["loss"]) for a, b in curves]
    pairs = zip(weights(one), weights(other), strict=True)
    return {
        "weights": max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1)) for a, b in pairs),
        "loss": max(relative),
    }


def halves(run) -> dict[str, float]:
    """What one step would differ by if each device took means over its own half of the batch, largest of 8 batches."""
    from edgeface.datasets.cut_faces import cut_faces
    from edgeface.models.presets import build
    from edgeface.training.losses import AcdcLoss, acdc_loss
    from edgeface.training.pipeline import LoadedSource, Views, batches
    from edgeface.training.train import network_config_of

    network = build(network_config_of(run))
    source = LoadedSource(cut_faces(tiny.samples(12), run.cut_size), 1.0, "tiny")
    faces = batches([source], Views(32, 1, ("mtfl5",), run.augment, 0, 4), threads=0)
    loss, moments = 0.0, 0.0
    for x, y in islice(iter(faces), 8):
        predicted = {k: np.asarray(v) for k, v in network(x["image"], training=False).items()}

        def of(rows, predicted=predicted, y=y):
            def part(tensors):
                return {k: v[rows] for k, v in tensors.items()}

            return float(acdc_loss(part(y), part(predicted), AcdcLoss()))

        whole = of(slice(0, 4))
        loss = max(loss, abs((of(slice(0, 2)) + of(slice(2, 4))) / 2 - whole) / whole)
        image = x["image"]
        apart = (image[:2].var() + image[2:].var()) / 2
        moments = max(moments, abs(float(apart / image.var()) - 1))
    return {"loss": loss, "variance": moments}


def devices(folder: Path) -> dict:
    import keras

    from edgeface.training.train import train

    run = tiny.config()
    train(run, folder / "one")
    train(run, folder / "two", distribute=True)
    # Killed on one number of devices, gone on with on another.
    tiny.run_killed_at(run, folder / "one_two", 8, setattr)
    shutil.copytree(folder / "one_two", folder / "for_processes")
    train(run, folder / "one_two", distribute=True)
    tiny.run_killed_at(run, folder / "two_one", 8, setattr, distribute=True)
    train(run, folder / "two_one")
    train(tiny.config(precision="mixed_bfloat16"), folder / "half", distribute=True)
    try:
        train(tiny.config(batch_size=3), folder / "odd", distribute=True)
        refused = ""
    except ValueError as error:
        refused = str(error)
    names = ("two", "one_two", "two_one")
    return {
        "devices": keras.distribution.list_devices(),
        "used": json.loads((folder / "two" / "config.json").read_text())["devices"],
        "same": {name: apart(folder / "one", folder / name) for name in names},
        "half": apart(folder / "one", folder / "half"),
        "halves": halves(run),
        "refused": refused,
        "distribution_left": keras.distribution.distribution() is not None,
    }


def process(folder: Path) -> dict:
    """The command, in one of two processes: refused on folders that differ, then going on in the shared one."""
    import contextlib
    import io
    import os

    from edgeface import cli

    index = os.environ["KERAS_DISTRIBUTION_PROCESS_ID"]
    (folder / f"{index}.toml").write_text(tiny.TOML.format(more=MORE))
    command = ["train", str(folder / f"{index}.toml"), "--distribute", "--out"]
    # Process 0 sees a checkpoint of step 4, process 1 an empty folder.
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        differing = cli.main([*command, str(folder / "for_processes" if index == "0" else folder / "elsewhere")])
    with tiny.logged() as said:
        code = cli.main([*command, str(folder / "for_processes")])
    import jax

    return {
        "differing": [differing, errors.getvalue()],
        "code": code,
        "said": said,
        "processes": jax.process_count(),
        "devices": jax.device_count(),
        "wrote_elsewhere": sorted(path.name for path in folder.glob("elsewhere/*")),
        "apart": apart(folder / "one", folder / "for_processes") if index == "0" else None,
    }


if __name__ == "__main__":
    sys.modules["tensorflow"] = None  # saves its import
    tiny.use_tiny_faces(setattr)
    print(json.dumps({"devices": devices, "process": process}[sys.argv[1]](Path(sys.argv[2]))))

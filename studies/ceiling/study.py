"""What a ceiling on the activations costs float and gains int8: ``python -m studies.ceiling.study WEIGHTS.keras ...``.

Trained networks whose ReLUs have none are given one, and not trained further. Their scores say what it costs. With
none and with one of 6, which TFLite knows, they are rounded to int8, ranges calibrated and nothing tuned
(`edgeface.quantize`), and the answers on AFLW2000-3D's 199 faces are held against the float network's own: no label blurs
that distance. The largest activations of the last stage, on frontal faces and on profiles, say why.

Writes ceiling.json beside this file. Needs the folder of annotated faces (EDGEFACE_FACES).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from convert.release.command import run
from edgeface.errors import InputError

HERE = Path(__file__).parent
OUT = HERE / "ceiling.json"
CEILINGS = (None, 8.0, 6.0, 4.0)
IN_INT8 = (None, 6.0)
"""TFLite has a fused activation for these; others would be an operator more."""
POSED, COMMON = ("aflw2000_3d", "val", "ibug68_3d"), ("300w", "test", "ibug68")
CALIBRATED_ON, BATCH = ("300w", "train"), 32


def with_ceiling(network, ceiling: float | None):
    """The network with its ReLUs ending there (None: as it is), the weights the same. InputError: they end already."""
    from keras import layers

    from edgeface.models.blocks import capped

    ended = [x.name for x in network.layers if type(x) is layers.ReLU and x.max_value is not None]
    if ended:
        raise InputError(f"a network's ReLUs must have no ceiling yet. Received: one of {ended[0]}")
    if ceiling is None:
        return network
    lower = capped(network, ceiling)
    lower.set_weights(network.get_weights())
    return lower


def largest(network, crops: np.ndarray, groups: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest activation of the last stage's ReLUs on each group of the crops; groups: {name: (N,) bool}."""
    import keras
    from keras import layers

    from edgeface.models.deploy import stage_count

    prefix = f"s{stage_count(network)}_"
    relus = [x for x in network.layers if type(x) is layers.ReLU and x.name.startswith(prefix)]
    peaks = [keras.ops.max(x.output, axis=(1, 2, 3)) for x in relus]
    found = keras.Model(network.input, keras.ops.stack(peaks, axis=1)).predict(crops, batch_size=BATCH, verbose=0)
    return {name: float(found[inside].max()) for name, inside in groups.items()}


def rounded(network, crops: np.ndarray):
    """Its int8 twin, calibrated on crops (N, S, S, C)."""
    import edgeface.quantize as qat

    twin = qat.quantize_aware(network)
    qat.calibrate(twin, [crops[i : i + BATCH] for i in range(0, len(crops), BATCH)], "mse", progress=False)
    return twin


def distances(exact: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, float]:
    """Of two networks' answers: root mean square of the angles' differences in degrees; mean shift of the landmarks in
    percent of the crop."""
    apart = np.linalg.norm(other["landmarks"] - exact["landmarks"], axis=-1)
    pose = float(np.sqrt(np.mean((other["pose"] - exact["pose"]) ** 2)))
    return {"pose_rms_deg": pose, "landmarks_percent": 100 * float(apart.mean())}


def rows_of(path: Path) -> list[dict[str, Any]]:
    from convert.release.measure import CALIBRATION_FACES
    from convert.release.rows import plain
    from convert.release.scoring import faces_of
    from edgeface.convert.calibration_set import cut, synthetic_crops
    from edgeface.convert.convert_all import SYNTHETIC_CROPS
    from edgeface.convert.make_card import sha256
    from edgeface.datasets.load import load_set
    from edgeface.evaluation.evaluate import run as answer
    from edgeface.evaluation.evaluate import score
    from edgeface.evaluation.networks import deployed
    from edgeface.models.io import load_model

    network, info = load_model(path)
    _, side, _, channels = network.input_shape
    posed, common = (faces_of(*one, side, channels) for one in (POSED, COMMON))
    turned = np.abs(posed.pose_deg[:, 0])
    groups = {"frontal": turned < 30, "profile": turned > 60}
    photographs = cut(load_set(*CALIBRATED_ON, CALIBRATION_FACES), side, channels)
    crops = np.concatenate([photographs, synthetic_crops(SYNTHETIC_CROPS, side, channels)]).astype(np.float32)
    rows = []
    for ceiling in CEILINGS:
        lower = with_ceiling(network, ceiling)
        exact = answer(deployed(lower, path.stem, POSED[2]), posed)
        scores = score(exact, posed, POSED[2]).as_dict(per_face=False)
        row = {"model": path.stem, "sha256": sha256(path), "ceiling": ceiling, "n": scores["n"]}
        row |= {"mean_of_bins": scores["mean_of_bins"], "pose_mae": scores["pose"]["mean"]}
        row["common_nme"] = score(answer(deployed(lower, path.stem, COMMON[2]), common), common, COMMON[2]).nme
        row["largest"] = largest(lower, posed.crops.astype(np.float32), groups)
        if ceiling in IN_INT8:
            row["int8"] = distances(exact, answer(deployed(rounded(lower, crops), path.stem, POSED[2]), posed))
        rows.append(plain(row))
    return rows


def main(args: list[str] | None = None) -> int:
    from convert.release.rows import keep

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    for path in parser.parse_args(args).models:
        for row in rows_of(path):
            keep(OUT, row, ("sha256", "ceiling"), "python -m studies.ceiling.study WEIGHTS.keras ...")
            text = f"{path.name}, ceiling {row['ceiling']}: NME {row['mean_of_bins']:.2f}, pose {row['pose_mae']:.2f}"
            if "int8" in row:
                text += f"; int8 moves pose by {row['int8']['pose_rms_deg']:.2f} deg"
            print(text)
    return 0


if __name__ == "__main__":
    run(main)

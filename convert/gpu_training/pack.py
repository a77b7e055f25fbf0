"""`python -m convert.gpu_training.pack CONFIG --out pack.npz`: a config's training set in one file of a given size."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from convert.gpu_training.packfile import Pack
from edgeface.errors import InputError
from edgeface.markup import markup
from edgeface.training.backend import start_keras

MIB = 1 << 20
PROBED = 200
"""Faces of each source from which the size of the whole is estimated beforehand."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m convert.gpu_training.pack", description=__doc__)
    parser.add_argument("config", type=Path, help="a training config, see configs/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit-mib", type=float, default=40.0, help="size of the file (default: 40)")
    parser.add_argument("--size", type=int, default=0, help="side of the crops (default: the config's cut_size)")
    parser.add_argument("--seed", type=int, default=0, help="which faces, where not all fit in")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key of the config")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("edgeface").setLevel(logging.INFO)
    try:
        start_keras()
        from edgeface.training.config_file import load_config

        pack = packed(load_config(args.config, args.set), args.limit_mib, args.size, args.seed)
        pack.save(args.out)
    except InputError as error:
        print(f"pack: {error}", file=sys.stderr)
        return 2
    for facts in pack.about["sources"]:
        print(f"{facts['name']}: {facts['faces']} of {facts['of']} faces, weight {facts['weight']:g}")
    print(f"{args.out}: {len(pack.images)} faces, {args.out.stat().st_size / MIB:.1f} MiB")
    return 0


def packed(config, limit_mib: float = 40.0, size: int = 0, seed: int = 0, cache: Path = Path("runs/cache")) -> Pack:
    """As many faces as fit, each source's number by its weight; labels resolved as the pipeline would."""
    from edgeface.models.io import model_info
    from edgeface.models.outputs import StageOutputs
    from edgeface.models.presets import build
    from edgeface.schema import as_dict
    from edgeface.training.losses import AcdcLoss, loss_for
    from edgeface.training.source_faces import load_sources
    from edgeface.training.train import network_config_of

    if config.mode != "mixed":
        raise InputError(f"mode must be mixed: the device draws every batch over all sources. Received: {config.mode}")
    network_config = network_config_of(config)
    network = build(network_config)
    markups = StageOutputs.of(network).markups
    channels = network.input_shape[3]
    sources = load_sources(config, markups, cache)
    size = size or config.cut_size
    rng = np.random.default_rng(seed)
    parts = []
    each = [
        bytes_a_face(_source(s, np.arange(min(len(s.faces), PROBED)), config, markups, channels, size)) for s in sources
    ]
    for source, chosen in zip(sources, chosen_faces(sources, each, limit_mib * MIB, rng), strict=True):
        parts.append(_source(source, chosen, config, markups, channels, size))
    loss = loss_for(network, config.loss)
    about = {
        "config": as_dict(config),
        "network": network_config.network,
        "model": asdict(network_config),
        "loss": asdict(loss),
        "loss_kind": "acdc" if isinstance(loss, AcdcLoss) else "ccr",
        "info": model_info(network_config) | {"crop": {"rule": "square", "scale": config.augment.crop_scale}},
        "sources": [
            {"name": s.name, "faces": len(p["images"]), "of": len(s.faces), "weight": s.weight}
            for s, p in zip(sources, parts, strict=True)
        ],
    }
    return Pack(
        np.concatenate([p["images"] for p in parts]),
        {name: np.concatenate([p["landmarks"][name] for p in parts]) for name in markups},
        *(np.concatenate([p[key] for p in parts]) for key in ("pose_deg", "box_center", "box_side")),
        np.array([len(p["images"]) for p in parts]),
        np.array([s.weight for s in sources]),
        about,
    )


def chosen_faces(sources, each: list[float], limit: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Sorted indices of each source's faces: shares by weight; what a small source leaves goes to the others."""
    count, open_ = np.zeros(len(sources)), np.ones(len(sources), bool)
    has, weight = np.array([len(s.faces) for s in sources]), np.array([s.weight for s in sources])
    each_, left = np.array(each), 0.98 * limit  # a probe of some is not the size of all
    while open_.any():
        share = left / (weight * each_)[open_].sum()
        full = open_ & (weight * share >= has)
        if not full.any():
            count[open_] = np.floor(weight[open_] * share)
            break
        count[full], left, open_ = has[full], left - (has * each_)[full].sum(), open_ & ~full
    if (count < 1).any():
        raise InputError(f"the limit must hold a face of every source. Received: {limit / MIB:g} MiB")
    return [np.sort(rng.permutation(n)[: int(c)]) for n, c in zip(has, count, strict=True)]


def bytes_a_face(part: dict) -> float:
    """What one of these faces takes in the file."""
    data = io.BytesIO()
    rows = np.diff(part["images"], axis=2, prepend=np.zeros_like(part["images"][:, :, :1]))
    np.savez_compressed(data, rows=rows, pose=part["pose_deg"], **part["landmarks"])
    return data.tell() / len(rows)


def _source(source, chosen: np.ndarray, config, markups: tuple[str, ...], channels: int, size: int) -> dict:
    faces = source.faces.take(chosen)
    factor = size / faces.side
    images = faces.images
    if channels == 1:
        images = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])[..., None]
    if factor != 1:
        shape = (len(images), size, size, channels)
        images = np.stack([cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA) for i in images]).reshape(shape)

    def moved(points: np.ndarray) -> np.ndarray:
        return ((points + 0.5) * factor - 0.5).astype(np.float32)

    landmarks = {}
    for name in markups:
        if name in faces.landmarks and (source.markups is None or name in source.markups):
            points = moved(faces.landmarks[name])
            if not (config.augment.use_hidden and markup(name).projected):
                points[~faces.visible[name]] = np.nan
        else:
            points = np.full((len(images), markup(name).size, 2), np.nan, np.float32)
        landmarks[name] = points
    box = moved(faces.box_xyxy.reshape(-1, 2, 2))
    return {
        "images": images,
        "landmarks": landmarks,
        "pose_deg": faces.pose_deg if source.pose else np.full_like(faces.pose_deg, np.nan),
        "box_center": box.mean(1),
        "box_side": (box[:, 1] - box[:, 0]).max(1),
    }


if __name__ == "__main__":
    sys.exit(main())

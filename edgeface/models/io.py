"""`.keras` files that say what they are: the Keras archive plus one member, ``edgeface.json``."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

import edgeface.models.layers  # noqa: F401  registers the custom layers
from edgeface.errors import InputError
from edgeface.files import atomic_write
from edgeface.models.presets import ModelConfig, config_from_dict

MEMBER, WEIGHTS = "edgeface.json", "model.weights.h5"


def model_info(config: ModelConfig, kind: str = "float", **more: Any) -> dict[str, Any]:
    """What a saved model says of itself.

    Args:
        config: the network's.
        kind: ``float`` or ``qat``.
        more: further entries, such as the record of training.
    """
    crop = {"rule": "square", "scale": 1.3}
    return {"network": config.network, "config": asdict(config), "kind": kind, "crop": crop, **more}


def save_model(model: keras.Model, path: str | Path, info: dict[str, Any]) -> None:
    """Writes the model and its info, aside first; InputError where the disk is full or the folder not writable.

    Args:
        model: float or quantized.
        path: a file that ends in .keras.
        info: from `model_info`.
    """
    path = Path(path)
    _check_suffix(path)
    with atomic_write(path) as aside:
        model.save(aside)
        with zipfile.ZipFile(aside, "a") as archive:
            archive.writestr(MEMBER, json.dumps(info))


def _check_suffix(path: Path) -> None:
    if path.suffix != ".keras":
        raise InputError(f"a model's file must end in .keras. Received: {path}")


def read_info(path: str | Path) -> dict[str, Any]:
    """The info alone, without building the model."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} must be a .keras file. Received: {'a folder' if path.is_dir() else 'no such file'}")
    try:
        with zipfile.ZipFile(path) as archive:
            info = json.loads(archive.read(MEMBER))
    except RecursionError:
        got = "JSON nested too deeply"
        raise InputError(f"{path} must be a .keras file that edgeface wrote. Received: {got}") from None
    # ValueError: not UTF-8, not JSON. RuntimeError: a password. NotImplementedError: another compression.
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{path} must be a .keras file that edgeface wrote. Received: {error}") from None
    except KeyError:
        raise InputError(f"{path} must be a .keras file that edgeface wrote. Received: one without {MEMBER}") from None
    if not isinstance(info, dict) or not {"network", "config"} <= set(info):
        raise InputError(f"{path} must be a .keras file that edgeface wrote. Received: one whose {MEMBER} is not whole")
    return info


def load_model(path: str | Path, *, kind: str | None = None) -> tuple[keras.Model, dict[str, Any]]:
    """The model and its info; InputError where the file is missing, truncated or from elsewhere.

    Args:
        path: a `.keras` file.
        kind: ``float`` or ``qat``, what it must be; None: either.
    """
    info = read_info(path)
    if kind not in (None, info.get("kind", "float")):
        what = {
            "float": "a float model (its quantized model goes to --qat)",
            "qat": "a quantized model, as edgeface qat writes it",
        }[kind]
        raise InputError(f"{path} must be {what}. Received: a {info.get('kind')!r} model")
    try:
        return keras.saving.load_model(path, compile=False), info
    except (ValueError, TypeError, KeyError, OSError) as error:
        # Keras wraps what went wrong in general advice, and follows it with the layer's whole config.
        message = str(error).rsplit("Exception encountered: ", 1)[-1].strip().splitlines()[0].split(". Make sure")[0]
        raise InputError(f"{path} must load as a Keras model. Received: {message}") from error


def halve_model(path: str | Path, out: str | Path) -> None:
    """Writes the model once more with its kernels rounded to float16, under half as large; InputError as `load_model`.

    Kernels (weights of two axes and more) are nearly all there is: biases, ranges and statistics stay float32. Loaded,
    it is a float32 model whose kernels are rounded, by a part in 2048 at most for all but the least of them.
    The info gains ``halved_from``, the SHA-256 of the whole file, by which quantized models and files made from it are
    known.

    Args:
        path: a `.keras` file, float or quantized.
        out: the new `.keras` file.
    """
    path, out = Path(path), Path(out)
    _check_suffix(out)
    info = read_info(path)
    info.setdefault("halved_from", hashlib.sha256(path.read_bytes()).hexdigest())
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member: archive.read(member) for member in archive.infolist()}
            weights = _half_kernels(archive.read(WEIGHTS), path)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise InputError(f"{path} must hold a Keras model's weights. Received: {error}") from error
    with atomic_write(out) as aside, zipfile.ZipFile(aside, "w") as halved:
        for member, data in members.items():
            new = {MEMBER: json.dumps(info), WEIGHTS: weights}.get(member.filename, data)
            halved.writestr(member, new, zipfile.ZIP_DEFLATED)


def _half_kernels(data: bytes, path: Path) -> bytes:
    def rewrite(before: h5py.Group, after: h5py.Group) -> None:
        after.attrs.update(before.attrs)
        for name, item in before.items():
            if isinstance(item, h5py.Group):
                rewrite(item, after.create_group(name))
                continue
            value = item[()]
            if value.dtype == np.float32 and value.ndim > 1:
                largest = np.abs(value).max(initial=0)
                if not largest <= np.finfo(np.float16).max:
                    raise InputError(f"{path}: weights must fit float16. Received: {largest:g} in {item.name}")
                value = value.astype(np.float16)
            after.create_dataset(name, data=value).attrs.update(item.attrs)

    written = io.BytesIO()
    with h5py.File(io.BytesIO(data)) as before, h5py.File(written, "w") as after:
        rewrite(before, after)
    return written.getvalue()


def config_of(info: dict[str, Any]) -> ModelConfig:
    """The network config that an info carries."""
    try:
        return config_from_dict(info["network"], info["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"a model's info must hold a known network and config. Received: {error}") from None

"""The card of a converted file, filled from the model it was made from and from the file itself."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import edgeface
from edgeface.card import Card, CropRule, Decode, InputSpec, OutputSpec
from edgeface.convert.variants import Variant
from edgeface.quantize.tflite_graph import Graph, Tensor
from edgeface.runtime.machine import versions

if TYPE_CHECKING:
    import keras


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def make_card(
    name: str,
    variant: Variant,
    graph: Graph,
    deployed: keras.Model,
    trained: keras.Model,
    info: dict[str, Any],
    *,
    markup: str,
    stages: int,
    float_sha256: str,
    quantisation: dict[str, Any],
    notes: tuple[str, ...] = (),
) -> Card:
    """deployed: the float model of this file's outputs (for parameters and MACs); trained: the training graph."""
    from edgeface.models.summary import count_macs, count_parameters

    image = graph.tensors[graph.inputs[0]]
    return Card(
        name=name,
        network=info["network"],
        preset=info["config"]["name"],
        variant=variant.name,
        version=edgeface.__version__,
        input=InputSpec(
            image.shape,
            image.dtype,
            channels=image.shape[3],
            scale=image.scale if variant.integer else None,
            zero_point=image.zero_point if variant.integer else None,
        ),
        crop=CropRule(**info["crop"]),
        markup=markup,
        outputs={
            role: _output(role, graph.tensors[index], graph.outputs.index(index))
            for role, index in graph.output_names.items()
        },
        decode=_decode(graph, trained, markup, stages) if variant.head_on_host else None,
        stages=stages,
        parameters=count_parameters(deployed),
        macs=count_macs(deployed),
        training={"float": info.get("training", {}), "quantisation": quantisation},
        made_with=versions("keras", "tensorflow"),
        notes=notes,
        float_sha256=float_sha256,
    )


def commit() -> str | None:
    """The commit that is checked out, with "+" where code differs from it; None where this is no checkout."""
    run = {"capture_output": True, "text": True, "check": True, "cwd": Path(edgeface.__file__).resolve().parents[1]}
    try:
        # Installed, the package may lie inside another project's repository, whose commit says nothing of it.
        subprocess.run(["git", "ls-files", "--error-unmatch", "edgeface/__init__.py"], **run)
        head = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()
        status = ["git", "status", "--porcelain", "-uno", "--", ".", ":!results", ":!studies/*/*.json"]
        return head + ("+" if subprocess.run(status, **run).stdout else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _output(role: str, tensor: Tensor, index: int) -> OutputSpec:
    integer = tensor.dtype in ("int8", "uint8")
    scale, zero_point = (tensor.scale, tensor.zero_point) if integer else (None, None)
    return OutputSpec(role, tensor.shape, tensor.dtype, scale, zero_point, index)


def _decode(graph: Graph, trained: keras.Model, markup: str, stages: int) -> Decode:
    """From the head layers that the file was cut off before."""
    from edgeface.models.deploy import host_pose_layer

    landmarks = trained.get_layer(f"s{stages}_{markup}")
    # Of the network: a file of the pose alone has no maps.
    (height, width), sharpness = landmarks.input.shape[1:3], float(landmarks.sharpness)
    if "pose_logits" in graph.output_names:
        bins = graph.tensors[graph.output_names["pose_logits"]].shape[-1]
        angles = trained.get_layer(f"s{stages}_pose")
        return Decode(height, width, sharpness, "bins", bins, float(angles.low_deg), float(angles.high_deg))
    if "pose_features" in graph.output_names:
        layer = host_pose_layer(trained, stages)
        kernel, bias = (90.0 * np.asarray(weights, np.float64) for weights in (layer.kernel, layer.bias))
        rows = tuple(tuple(round(float(v), 7) for v in row) for row in (*kernel, bias))
        return Decode(height, width, sharpness, "features", pose_kernel=rows[:-1], pose_bias=rows[-1])
    return Decode(height, width, sharpness, "degrees" if "pose" in graph.output_names else "none")

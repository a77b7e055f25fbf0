"""From the training graph to what a device runs: one stage's outputs, nothing that nobody reads."""

from __future__ import annotations

import keras

from edgeface.errors import must_be_one_of
from edgeface.models.layers import PoseFromFeatures

OUTPUTS = ("landmarks", "pose", "spread")


def stage_count(model: keras.Model) -> int:
    """How many stages a training graph (or its quantised twin) has."""
    return max(int(key[1 : key.index("_")]) for key in model.output)


def landmark_markups(model: keras.Model) -> tuple[str, ...]:
    """The markups a training graph predicts, in the graph's order."""
    return tuple(k[3:-7] for k in model.output if k.startswith("s1_") and k.endswith("_spread"))


def deploy(
    model: keras.Model,
    markup: str | None = None,
    outputs: tuple[str, ...] = OUTPUTS,
    stages: int | None = None,
    head: bool = True,
) -> keras.Model:
    """A functional model that shares ``model``'s layers and stops after the first ``stages`` stages.

    Outputs (a dict): ``landmarks`` (B, K, 2) in [0, 1] of ``markup`` (default: the first), ``pose`` (B, 3) degrees,
    ``spread`` (B, K). With ``head=False`` the decoding stays on the host: ``maps`` (B, H, W, K) where landmarks or
    spread are wanted; for the pose ``pose_logits`` (B, 3, N) where it is binned, ``pose_features`` (B, h, w, C) where
    it is one dense layer on their mean, else ``pose`` (from 3D landmarks, whose maps are not kept). ValueError: unknown
    markup, output or stage.
    """
    known = landmark_markups(model)
    markup = known[0] if markup is None else markup
    last = stage_count(model)
    stages = last if stages is None else stages
    if markup not in known:
        raise ValueError(must_be_one_of("markup", known, markup))
    if not 1 <= stages <= last:
        raise ValueError(f"stages must be 1 to {last}. Received: {stages}")
    if not outputs or set(outputs) - set(OUTPUTS):
        raise ValueError(f"outputs must be among {', '.join(OUTPUTS)}. Received: {outputs}")
    prefix = f"s{stages}"
    trained = model.output
    if "pose" in outputs and f"{prefix}_pose" not in trained:
        raise ValueError(f"outputs must be what the model has, and it has no pose. Received: {outputs}")
    kept = {}
    if head:
        keys = {"landmarks": f"{prefix}_{markup}", "pose": f"{prefix}_pose", "spread": f"{prefix}_{markup}_spread"}
        kept = {name: trained[keys[name]] for name in outputs}
    else:
        if {"landmarks", "spread"} & set(outputs):
            kept["maps"] = model.get_layer(f"{prefix}_{markup}").input
        if "pose" in outputs:
            kept |= _host_pose(trained, prefix)
    return keras.Model(model.input, kept, name=model.name)


def host_pose_layer(model: keras.Model, stage: int) -> PoseFromFeatures:
    """The dense layer that a host applies to a stage's ``pose_features``."""
    return _made_by(_made_by(model.output[f"s{stage}_pose"])[1][0])[0]


def _host_pose(trained: dict, prefix: str) -> dict:
    if f"{prefix}_bins" in trained:
        return {"pose_logits": trained[f"{prefix}_bins"]}
    pose = trained[f"{prefix}_pose"]
    maker, inputs = _made_by(_made_by(pose)[1][0])
    return {"pose_features": inputs[0]} if isinstance(maker, PoseFromFeatures) else {"pose": pose}


def _made_by(tensor) -> tuple[keras.layers.Layer, list]:
    """The layer behind a tensor and what it read in that very call: a shared layer has several."""
    layer, node, _ = tensor._keras_history
    return layer, layer._inbound_nodes[node].input_tensors

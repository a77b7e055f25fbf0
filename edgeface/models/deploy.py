"""From the training graph to what a device runs: the outputs of one stage, and only those that are wanted."""

from __future__ import annotations

import keras

from edgeface.errors import must_be_one_of
from edgeface.models.layers import PoseFromFeatures
from edgeface.models.outputs import StageOutputs

OUTPUTS = ("landmarks", "pose", "spread")


def deploy(
    model: keras.Model,
    markup: str | None = None,
    outputs: tuple[str, ...] = OUTPUTS,
    stages: int | None = None,
    head: bool = True,
) -> keras.Model:
    """A functional model that shares ``model``'s layers and stops after the first ``stages`` stages.

    Its outputs are a dict: ``landmarks`` (B, K, 2) in [0, 1], ``pose`` (B, 3) degrees, ``spread`` (B, K). Without the
    head, ``maps`` (B, H, W, K) where landmarks or spread are wanted; for the pose ``pose_logits`` (B, 3, N) where it is
    binned, ``pose_features`` (B, h, w, C) where it is one dense layer on their mean, else ``pose`` (from 3D landmarks,
    whose maps are not kept). ValueError: unknown markup, output or stage.

    Args:
        model: a training graph, float or quantized.
        markup: the landmarks to keep; None: the first.
        outputs: which of `OUTPUTS`.
        stages: how many to keep; None: all.
        head: whether the answers are decoded in the graph; False: on the host.
    """
    names = StageOutputs.of(model)
    markup = names.markups[0] if markup is None else markup
    stages = names.stages if stages is None else stages
    if markup not in names.markups:
        raise ValueError(must_be_one_of("markup", names.markups, markup))
    if not 1 <= stages <= names.stages:
        raise ValueError(f"stages must be 1 to {names.stages}. Received: {stages}")
    if not outputs or set(outputs) - set(OUTPUTS):
        raise ValueError(f"outputs must be among {', '.join(OUTPUTS)}. Received: {outputs}")
    if "pose" in outputs and not names.has_pose:
        raise ValueError(f"outputs must be what the model has, and it has no pose. Received: {outputs}")
    kept = {}
    if head:
        trained = names.deployed(stages, markup)
        kept = {name: model.output[trained[name]] for name in outputs}
    else:
        if {"landmarks", "spread"} & set(outputs):
            kept["maps"] = model.get_layer(names.landmarks(stages, markup)).input
        if "pose" in outputs:
            kept |= _host_pose(model.output, names, stages)
    return keras.Model(model.input, kept, name=model.name)


def host_pose_layer(model: keras.Model, stage: int) -> PoseFromFeatures:
    """The dense layer that a host applies to a stage's ``pose_features``.

    Args:
        model: a training graph.
        stage: counted from 1.
    """
    return _made_by(_made_by(model.output[StageOutputs.pose(stage)])[1][0])[0]


def _host_pose(trained: dict, names: StageOutputs, stage: int) -> dict:
    if names.has_bins:
        return {"pose_logits": trained[names.bins(stage)]}
    pose = trained[names.pose(stage)]
    maker, inputs = _made_by(_made_by(pose)[1][0])
    return {"pose_features": inputs[0]} if isinstance(maker, PoseFromFeatures) else {"pose": pose}


def _made_by(tensor) -> tuple[keras.layers.Layer, list]:
    """The layer behind a tensor and what it read in that very call: a shared layer has several."""
    layer, node, _ = tensor._keras_history
    return layer, layer._inbound_nodes[node].input_tensors

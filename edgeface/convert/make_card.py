"""The card of a converted file, filled from the model it was made from and from the file itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import edgeface
from edgeface.card import Card, CropRule, Decode, InputSpec, OutputSpec
from edgeface.convert.variants import Variant
from edgeface.quantize.tflite_graph import Graph, Tensor
from edgeface.runtime.machine import versions

if TYPE_CHECKING:
    from edgeface.convert.convert_all import Conversion
    from edgeface.convert.gate import GateReport


def make_card(conversion: Conversion, variant: Variant, graph: Graph, checked: GateReport) -> Card:
    """The card of one file of a conversion.

    Args:
        conversion: what the file was made from.
        variant: what it is.
        graph: its operators and tensors.
        checked: what the gate found.
    """
    from edgeface.models.summary import count_macs, count_parameters

    info, quantization = conversion.info, conversion.quantization_of(variant)
    deployed = conversion.deployed(variant)
    image = graph.tensors[graph.inputs[0]]
    return Card(
        name=conversion.path(variant).stem,
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
        markup=conversion.markup,
        outputs={
            role: _output(role, graph.tensors[index], graph.outputs.index(index))
            for role, index in graph.output_names.items()
        },
        decode=_decode(graph, conversion, variant) if variant.head_on_host else None,
        stages=conversion.stages,
        parameters=count_parameters(deployed),
        macs=count_macs(deployed),
        training={"float": info.get("training", {}), "quantisation": quantization},
        made_with=versions("keras", "tensorflow"),
        notes=_notes(variant, checked, quantization),
        float_sha256=conversion.float_sha256,
    )


def _notes(variant: Variant, checked: GateReport, quantization: dict[str, Any]) -> tuple[str, ...]:
    notes = []
    if quantization.get("method") == "twin, calibrated only":
        notes.append("the quantisation-aware twin was calibrated, not fine-tuned")
    if variant.head_on_host and checked.float_operators:
        notes.append(
            f"{checked.float_operators} operators between the stages (or for the pose) compute in float: "
            "a full-integer device runs them on its CPU; one stage alone has no more than the pose's"
        )
    return tuple(notes)


def _output(role: str, tensor: Tensor, index: int) -> OutputSpec:
    integer = tensor.dtype in ("int8", "uint8")
    scale, zero_point = (tensor.scale, tensor.zero_point) if integer else (None, None)
    return OutputSpec(role, tensor.shape, tensor.dtype, scale, zero_point, index)


def _decode(graph: Graph, conversion: Conversion, variant: Variant) -> Decode:
    """What a host computes, read from the head layers that the file was cut off before."""
    from edgeface.models.deploy import host_pose_layer
    from edgeface.models.outputs import StageOutputs

    trained, stages = conversion.source(variant), conversion.stages
    # The network's layer, not the file's tensor: a file of the pose alone has no maps.
    landmarks = trained.get_layer(StageOutputs.landmarks(stages, conversion.markup))
    (height, width), sharpness = landmarks.input.shape[1:3], float(landmarks.sharpness)
    if "pose_logits" in graph.output_names:
        bins = graph.tensors[graph.output_names["pose_logits"]].shape[-1]
        angles = trained.get_layer(StageOutputs.pose(stages))
        return Decode(height, width, sharpness, "bins", bins, float(angles.low_deg), float(angles.high_deg))
    if "pose_features" in graph.output_names:
        layer = host_pose_layer(trained, stages)
        kernel, bias = (90.0 * np.asarray(weights, np.float64) for weights in (layer.kernel, layer.bias))
        rows = tuple(tuple(round(float(v), 7) for v in row) for row in (*kernel, bias))
        return Decode(height, width, sharpness, "features", pose_kernel=rows[:-1], pose_bias=rows[-1])
    return Decode(height, width, sharpness, "degrees" if "pose" in graph.output_names else "none")

"""The named sizes of both networks; ``python -m edgeface.models`` prints parameters, MACs and each stage's price."""

from __future__ import annotations

from dataclasses import replace

import keras

from edgeface.errors import InputError, must_be_one_of
from edgeface.models.acdc import AcdcConfig, build_acdc
from edgeface.models.ccr import CcrConfig, build_ccr
from edgeface.schema import from_dict

ModelConfig = AcdcConfig | CcrConfig

# Maps of 1/8 the side with wide trunks: 32 x 32 cells cost an int8 convolution as much with 16 channels as with 48, so
# narrow trunks on large maps gain nothing by int8.
_ACDC_EDGE = AcdcConfig(
    name="acdc_s",
    stages=2,
    stem=(32, 64),
    patch=True,
    widths=(64, 96),
    relu6=True,
    markups_2d=("ibug68", "aflw21", "mtfl5"),
    stream_slices=None,
    pose_from="features",
    mask_from="finest",
    mask_form="peak",
)
_CCR_EDGE = CcrConfig(
    name="ccr_s",
    side=128,
    stem=(32, 64),
    patch=True,
    width=64,
    hourglass_depth=2,
    unit="conv",
    relu6=True,
    pose_widths=(64, 64, 96),
    pose_units=(1, 1, 1),
    upsample="bilinear",
    markups=("ibug68", "aflw21"),
    bins=60,
)

PRESETS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        AcdcConfig(),
        replace(_ACDC_EDGE, name="acdc_n", stem=(32, 40), widths=(40, 44)),
        _ACDC_EDGE,
        replace(_ACDC_EDGE, name="acdc_m", stages=3, stem=(32, 80), widths=(80, 112)),
        CcrConfig(),
        replace(_CCR_EDGE, name="ccr_n", stem=(32, 40), width=40, hourglass_depth=1, pose_widths=(40, 40, 40)),
        _CCR_EDGE,
        replace(_CCR_EDGE, name="ccr_m", stem=(32, 96), width=96, pose_widths=(96, 96, 128)),
    )
}

ABLATIONS: dict[str, dict] = {
    "cascade": {"pose_from": "none", "excitation": False, "spatial_mask": False},
    "ac": {"pose_from": "none", "excitation": False},
    "ac_pose": {"excitation": False},
    "acdc": {},
}
"""AC-DC's Table I as changes to a config: ``replace(PRESETS["acdc_s"], **ABLATIONS["ac_pose"])``."""


def preset(name: str) -> ModelConfig:
    """The config of that name; ValueError names the known ones."""
    if name not in PRESETS:
        raise ValueError(must_be_one_of("preset", PRESETS, name))
    return PRESETS[name]


def build(config: ModelConfig | str) -> keras.Model:
    """The functional training graph of a config or a preset's name."""
    config = preset(config) if isinstance(config, str) else config
    return build_acdc(config) if isinstance(config, AcdcConfig) else build_ccr(config)


def config_from_dict(network: str, values: dict) -> ModelConfig:
    """The inverse of ``dataclasses.asdict``, lists for tuples; InputError names a key or a value that is wrong.

    Args:
        network: "acdc" or "ccr".
        values: fields of its config.
    """
    kinds = {"acdc": AcdcConfig, "ccr": CcrConfig}
    if network not in kinds:
        raise InputError(must_be_one_of("network", kinds, network))
    return from_dict(kinds[network], values, f"{network} config")

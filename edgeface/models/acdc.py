"""AC-DC: an attentional cascade of U-Nets with doubly-conditional fusion (Dapogny, Bailly, Cord).

Each stage is a U-Net; a geometry transfer network, shared by all stages, turns its embedding H into pre-attention maps
for every markup, whose expectations are the landmarks; the pose estimate and the fused attention mask then select
channels and regions of the next stage's input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers

from edgeface.markup import markup
from edgeface.models.blocks import capped, conv_bn, separable_bn, stem, upsample
from edgeface.models.checks import check_choices, check_counts, check_markups, check_side
from edgeface.models.layers import (
    POSE_UNIT_DEG,
    AttentionMask,
    BelowPeak,
    ChannelSlice,
    Degrees,
    PeakMask,
    PoseFromFeatures,
    PoseFromPoints,
    SpatialExpectation,
)
from edgeface.models.outputs import StageOutputs


@dataclass(frozen=True)
class AcdcConfig:
    """AC-DC as the paper has it, by default; every ablation and edge size is a change of fields."""

    name: str = "acdc_paper"
    side: int = 128
    channels: int = 1
    stages: int = 4
    stem: tuple[int, ...] = ()
    """Widths of stride-2 convolutions ahead of the cascade; () runs it at full resolution, as in the paper."""
    patch: bool = False
    """The stem's first convolution has stride 4 (`blocks.patch_bn`): half the price of two of stride 2 in int8."""
    widths: tuple[int, ...] = (64, 128, 256)
    """U-Net widths, one an encoder level; the embedding H has the first."""
    separable: bool = False
    """Depthwise separable convolutions in the U-Nets."""
    relu6: bool = False
    """ReLUs end at 6. Without, features of faces turned to profile reach 20 and more, and int8, whose steps must span
    that, rounds those of frontal faces coarsely (docs/results.md, *Why activations end at 6*)."""
    markups_2d: tuple[str, ...] = ("wflw98", "ibug68", "mtfl5")
    """The 2D stream's chain of transfer layers, finest first (eq. 1)."""
    markups_3d: tuple[str, ...] = ("ibug68_3d",)
    stream_slices: tuple[tuple[int, int], tuple[int, int]] | None = ((0, 48), (16, 64))
    """Channels of H that the 2D and the 3D stream read through a depthwise separable convolution (the paper gives no
    numbers: three quarters each, overlapping by half); None: both streams read all of H by their 1x1 layers alone."""
    pose_from: Literal["landmarks_3d", "features", "none"] = "landmarks_3d"
    """``landmarks_3d`` as in the paper; ``features``: one dense layer on the pooled U-Net bottleneck, so that a file
    without the 3D stream still has a pose."""
    spatial_mask: bool = True
    """Conditioning on the attention mask (AC)."""
    excitation: bool = True
    """Conditioning on the pose (AC-DC); needs a pose."""
    excite_unit_deg: float = POSE_UNIT_DEG
    """Degrees that count as one where the pose conditions. The paper gives no unit; with a smaller one a network of few
    steps learns sooner to open and close channels by the pose (docs/results.md, *How the pose steers*)."""
    mask_from: Literal["all", "finest"] = "all"
    """Which maps the mask merges: every markup's, or the finest 2D markup's alone (cheaper at 1/4 resolution)."""
    mask_form: Literal["minmax", "peak"] = "minmax"
    """``minmax`` as in eq. 4, in float; ``peak``: attention over its peak's, the same to half a percent, in int8."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_markups(self.markups)
        check_counts(self, "stages", "stem", "widths")
        sizes = [markup(m).size for m in self.markups_2d]
        if not sizes or sizes != sorted(sizes, reverse=True):
            raise ValueError(f"markups_2d must run from finest to coarsest. Received: {self.markups_2d}")
        if not self.excite_unit_deg > 0:
            raise ValueError(f"excite_unit_deg must be > 0. Received: {self.excite_unit_deg}")
        if not self.widths:
            raise ValueError("widths must hold at least one. Received: ()")
        check_side(self, self.stem_stride, len(self.widths))
        if self.stream_slices is not None:
            _check_slices(self.stream_slices, self.widths[0])
        if self.pose_from == "landmarks_3d" and not self.markups_3d:
            raise ValueError("pose_from 'landmarks_3d' must have a 3D markup. Received: markups_3d = ()")
        if self.excitation and self.pose_from == "none":
            raise ValueError("excitation must have a pose. Received: pose_from = 'none'")

    @property
    def network(self) -> str:
        return "acdc"

    @property
    def markups(self) -> tuple[str, ...]:
        return self.markups_2d + self.markups_3d

    @property
    def stem_stride(self) -> int:
        """Pixels a cell of the maps."""
        return 2 ** len(self.stem) * (2 if self.patch else 1)


def _check_slices(slices: tuple[tuple[int, ...], ...], width: int) -> None:
    fit = len(slices) == 2 and all(len(s) == 2 and 0 <= s[0] < s[1] <= width for s in slices)
    if not fit:
        rule = f"two (start, stop) with 0 <= start < stop <= widths[0] = {width}"
        raise ValueError(f"stream_slices must be {rule}. Received: {slices}")


def build_acdc(config: AcdcConfig) -> keras.Model:
    """The training graph: ``image`` (B, S, S, C), raw 0..255 -> a dict of outputs for every stage i = 1, 2, …

    Landmarks, spread and pose, named as in `edgeface.models.outputs`.
    """
    image = keras.Input((config.side, config.side, config.channels), name="image")
    if config.stem:
        # The first batch norm is the normalisation: no extra operator, and raw uint8 has scale 1.
        features = stem(image, config.stem, config.patch)
    else:
        features = layers.Rescaling(1 / 255, name="normalise")(image)

    transfer = _GeometryTransfer(config)
    outputs: dict[str, keras.KerasTensor] = {}
    x = features
    for stage in range(1, config.stages + 1):
        prefix = f"s{stage}"
        hidden, deepest = _unet(x, config, prefix)
        maps = transfer.maps(hidden, prefix)
        points = {}
        for name, tensor in maps.items():
            landmarks = StageOutputs.landmarks(stage, name)
            points[name], spread = SpatialExpectation(name=landmarks)(tensor)
            outputs[landmarks], outputs[StageOutputs.spread(stage, name)] = points[name], spread
        pose_unit = transfer.pose(points, deepest, prefix)
        if pose_unit is not None:
            pose = StageOutputs.pose(stage)
            outputs[pose] = Degrees(name=pose)(pose_unit)
        if stage < config.stages:
            x = _fuse(features, hidden, maps, pose_unit, config, prefix)
    model = keras.Model(image, outputs, name=config.name)
    return capped(model) if config.relu6 else model


def _unet(x, config: AcdcConfig, prefix: str):
    """13 layers at the paper's three widths (section III-D) -> embedding (B, H, W, widths[0]) and the bottleneck.

    Skips are added: with concatenation the four stages would hold 13.5 M parameters, where the paper has under 10 M.
    """
    block = separable_bn if config.separable else conv_bn
    widths = config.widths
    x = conv_bn(x, widths[0], name=f"{prefix}_in", kernel=1)
    skips = []
    for level, width in enumerate(widths, 1):
        x = block(x, width, name=f"{prefix}_enc{level}a")
        skips.append(x)
        x = block(x, width, name=f"{prefix}_enc{level}b", stride=2)
    deepest = x
    for level in range(len(widths), 0, -1):
        x = upsample(x, name=f"{prefix}_dec{level}_up")
        x = layers.Add(name=f"{prefix}_dec{level}_skip")([x, skips[level - 1]])
        x = block(x, widths[level - 1], name=f"{prefix}_dec{level}a")
        x = block(x, widths[max(level - 2, 0)], name=f"{prefix}_dec{level}b")
    return x, deepest


class _GeometryTransfer:
    """The geometry transfer network (section III-A): one set of layers, called by every stage."""

    def __init__(self, config: AcdcConfig):
        self._config = config
        self._transfer = {m: layers.Conv2D(markup(m).size, 1, name=f"gtn_{m}") for m in config.markups}
        self._streams = {}
        if config.stream_slices:
            for stream, (start, stop) in zip(("2d", "3d"), config.stream_slices, strict=True):
                self._streams[stream] = (
                    start,
                    stop,
                    layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"gtn_{stream}_dw"),
                    layers.Conv2D(stop - start, 1, activation="relu", name=f"gtn_{stream}_pw"),
                )
        self._pose = None
        if config.pose_from == "landmarks_3d":
            self._pose = PoseFromPoints(name="gtn_pose")
        elif config.pose_from == "features":
            self._pose = PoseFromFeatures(name="gtn_pose")

    def maps(self, hidden, prefix: str) -> dict[str, keras.KerasTensor]:
        """Pre-attention maps (B, H, W, K) of every markup."""
        maps = {}
        x = self._stream(hidden, "2d", prefix)
        for name in self._config.markups_2d:
            x = maps[name] = self._transfer[name](x)
        x = self._stream(hidden, "3d", prefix)
        for name in self._config.markups_3d:
            maps[name] = self._transfer[name](x)
        return maps

    def _stream(self, hidden, stream: str, prefix: str):
        if stream not in self._streams:
            return hidden
        start, stop, depthwise, pointwise = self._streams[stream]
        return pointwise(depthwise(ChannelSlice(start, stop, name=f"{prefix}_slice_{stream}")(hidden)))

    def pose(self, points, deepest, prefix: str):
        if self._pose is None:
            return None
        return self._pose(points[self._config.markups_3d[0]] if self._config.pose_from == "landmarks_3d" else deepest)


def _fuse(features, hidden, maps, pose_unit, config: AcdcConfig, prefix: str):
    """Doubly-conditional fusion, eq. 4 to 6: ``f(pose) * [I, I * mask, H, H * mask]``.

    With a stem, its features stand for the image I: at 1/4 resolution they are what is left of it.
    """
    parts = [features, hidden]
    if config.spatial_mask:
        used = list(maps.values()) if config.mask_from == "all" else [maps[config.markups_2d[0]]]
        merged = layers.Concatenate(name=f"{prefix}_fuse_maps")(used) if len(used) > 1 else used[0]
        if config.mask_form == "peak":
            mask = PeakMask(name=f"{prefix}_mask")(BelowPeak(name=f"{prefix}_mask_below")(merged))
        else:
            mask = AttentionMask(name=f"{prefix}_mask")(merged)
        masked_features = layers.Multiply(name=f"{prefix}_fuse_image")([features, mask])
        masked_hidden = layers.Multiply(name=f"{prefix}_fuse_hidden")([hidden, mask])
        parts = [features, masked_features, hidden, masked_hidden]
    fused = layers.Concatenate(name=f"{prefix}_fuse")(parts)
    if config.excitation:
        channels = fused.shape[-1]
        steering = pose_unit
        if config.excite_unit_deg != POSE_UNIT_DEG:
            steering = layers.Rescaling(POSE_UNIT_DEG / config.excite_unit_deg, name=f"{prefix}_excite_unit")(pose_unit)
        scale = layers.Dense(channels, name=f"{prefix}_excite")(steering)
        scale = layers.Activation("sigmoid", name=f"{prefix}_excite_sigmoid")(scale)
        scale = layers.Reshape((1, 1, channels), name=f"{prefix}_excite_reshape")(scale)
        fused = layers.Multiply(name=f"{prefix}_fuse_excite")([fused, scale])
    return fused

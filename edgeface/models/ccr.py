"""CCR: cross-cascading regression of head pose and landmarks (Zhang et al.).

Blocks of two branches: a pose branch (binned angles, decoded by expectation) and an hourglass landmark branch (maps,
decoded by expectation). Deconvolutions turn the pose features back into maps; a channel-unification layer adds them to
the landmarks' features, and the sum feeds the next block and the middle of its hourglass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers

from edgeface.markup import markup
from edgeface.models.blocks import bottleneck, capped, conv_bn, residual, stem, upsample
from edgeface.models.checks import check_choices, check_counts, check_markups, check_side
from edgeface.models.layers import BinExpectation, SpatialExpectation
from edgeface.models.outputs import StageOutputs


@dataclass(frozen=True)
class CcrConfig:
    """CCR as the paper has it, by default. Where the paper is silent the comment gives the reason."""

    name: str = "ccr_paper"
    side: int = 256
    channels: int = 3
    stages: int = 2
    """Blocks."""
    stem: tuple[int, ...] = (64, 128)
    """Widths of stride-2 convolutions: 256 -> 64."""
    patch: bool = False
    """The stem's first convolution has stride 4 (`blocks.patch_bn`): half the price of two of stride 2 in int8."""
    width: int = 256
    """Channels of the hourglass and of the maps that blocks exchange (Newell et al.: 256)."""
    hourglass_depth: int = 4
    """Halvings: 64 -> 4, the paper's "4 x 4, for example"."""
    unit: Literal["bottleneck", "residual", "conv"] = "bottleneck"
    """``conv``: one 3x3 convolution, for the smallest sizes."""
    pose_widths: tuple[int, ...] = (256, 512, 1024, 2048)
    """Pose branch levels. The first keeps the map's size, the next two halve it, any further keep 1/4 of it, so that
    two stride-2 deconvolutions lead back (ResNet-50 with its last stride removed)."""
    pose_units: tuple[int, ...] = (3, 4, 6, 3)
    """Units a level (ResNet-50)."""
    upsample: Literal["deconv", "bilinear"] = "deconv"
    markups: tuple[str, ...] = ("aflw21",)
    low_deg: float = -120.0
    high_deg: float = 120.0
    """AFLW's yaw runs to +-120 degrees."""
    bins: int = 80
    """N is not given; 3 degrees a bin, as Hopenet, whose loss the paper takes."""
    sharpness: float = 20.0
    """Softmax gain on maps whose target peak is 1: exp(20) outweighs the 4096 cells of background."""
    relu6: bool = False
    """ReLUs end at 6. Without, features of faces turned to profile reach 20 and more, and int8, whose steps must span
    that, rounds those of frontal faces coarsely (docs/results.md, *Why activations end at 6*)."""
    cross: bool = True
    """The pose features' way into the landmark branch and the next block."""

    def __post_init__(self) -> None:
        if not self.markups:
            raise ValueError("markups must name at least one. Received: ()")
        check_choices(self)
        check_markups(self.markups)
        check_counts(self, "stages", "stem", "width", "hourglass_depth", "pose_widths", "pose_units")
        if len(self.pose_widths) != len(self.pose_units) or len(self.pose_widths) < 3:
            got = f"{self.pose_widths}, {self.pose_units}"
            raise ValueError(f"pose_widths and pose_units must have one length, at least 3. Received: {got}")
        if self.unit == "bottleneck" and min(self.width, *self.pose_widths) < 4:
            got = f"{self.width}, {self.pose_widths}"
            raise ValueError(f"width and pose_widths must be at least 4 for bottlenecks. Received: {got}")
        if self.bins < 2 or self.low_deg >= self.high_deg:
            got = f"{self.bins} from {self.low_deg} to {self.high_deg}"
            raise ValueError(f"bins must be at least 2 between low_deg and a higher high_deg. Received: {got}")
        if self.sharpness <= 0:
            raise ValueError(f"sharpness must be > 0. Received: {self.sharpness}")
        # Pose features that go to the next block come back from a quarter of the maps' side.
        returning = self.cross and self.stages > 1
        check_side(self, self.stem_stride, max(self.hourglass_depth, 2 if returning else 0))

    @property
    def network(self) -> str:
        return "ccr"

    @property
    def stem_stride(self) -> int:
        """Pixels a cell of the maps."""
        return 2 ** len(self.stem) * (2 if self.patch else 1)


def build_ccr(config: CcrConfig) -> keras.Model:
    """The training graph: ``image`` (B, S, S, C), raw 0..255 -> a dict of outputs for every block i = 1, 2, …

    Landmarks, spread, maps (trained towards Gaussians of peak 1), bins and pose, named as in `edgeface.models.outputs`.
    """
    image = keras.Input((config.side, config.side, config.channels), name="image")
    x = stem(image, config.stem, config.patch)
    x = _unit(x, config.width, config, "stem_out")

    outputs: dict[str, keras.KerasTensor] = {}
    carried = None
    for block in range(1, config.stages + 1):
        prefix = f"s{block}"
        shallow, deep = _pose_branch(x, config, prefix)
        outputs[StageOutputs.bins(block)] = bins = _bins(deep, config, block)
        pose = StageOutputs.pose(block)
        outputs[pose] = BinExpectation(config.low_deg, config.high_deg, name=pose)(bins)

        hidden = _hourglass(x, carried if config.cross else None, config, prefix)
        hidden = conv_bn(hidden, config.width, name=f"{prefix}_land", kernel=1)
        returned = []
        for name in config.markups:
            # Near-zero maps are near-uniform attention; at this sharpness a wider start would be one random cell.
            start = keras.initializers.RandomNormal(stddev=1e-3)
            maps_name, landmarks = StageOutputs.maps(block, name), StageOutputs.landmarks(block, name)
            maps = layers.Conv2D(markup(name).size, 1, kernel_initializer=start, name=maps_name)(hidden)
            points, spread = SpatialExpectation(config.sharpness, name=landmarks)(maps)
            outputs[landmarks], outputs[StageOutputs.spread(block, name)] = points, spread
            outputs[maps_name] = maps
            returned.append(conv_bn(maps, config.width, name=f"{prefix}_{name}_back", kernel=1, relu=False))
        if block < config.stages:
            if config.cross:
                returned.append(_upsampled_pose(deep, config, prefix))
                returned.append(conv_bn(shallow, config.width, name=f"{prefix}_middle", kernel=1, relu=False))
            # Without the input the sum would be a 21-channel bottleneck (Newell et al. add it too).
            x = carried = layers.Add(name=f"{prefix}_out")([x, *returned])
    model = keras.Model(image, outputs, name=config.name)
    return capped(model) if config.relu6 else model


def _unit(x, width: int, config: CcrConfig, name: str, stride: int = 1):
    block = {"bottleneck": bottleneck, "residual": residual, "conv": conv_bn}[config.unit]
    return block(x, width, name=name, stride=stride)


def _pose_branch(x, config: CcrConfig, prefix: str):
    """Residual levels -> (features at the map's size, features at a quarter of it)."""
    shallow = None
    for level, (width, units) in enumerate(zip(config.pose_widths, config.pose_units, strict=True), 1):
        for unit in range(1, units + 1):
            stride = 2 if unit == 1 and level in (2, 3) else 1
            x = _unit(x, width, config, f"{prefix}_pose{level}_{unit}", stride)
        if level == 1:
            shallow = x
    return shallow, x


def _bins(deep, config: CcrConfig, block: int):
    pooled = layers.GlobalAveragePooling2D(name=f"s{block}_pose_pool")(deep)
    # One layer of 3 N units is the paper's three layers of N side by side.
    logits = layers.Dense(3 * config.bins, name=f"s{block}_pose_logits")(pooled)
    return layers.Reshape((3, config.bins), name=StageOutputs.bins(block))(logits)


def _hourglass(x, carried, config: CcrConfig, prefix: str, depth: int | None = None):
    """Newell et al.; ``carried``, the last block's output, is added at the lowest resolution."""
    depth = config.hourglass_depth if depth is None else depth
    name = f"{prefix}_hg{depth}"
    width = config.width
    skip = _unit(x, width, config, f"{name}_skip")
    low = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    low = _unit(low, width, config, f"{name}_down")
    if depth > 1:
        low = _hourglass(low, carried, config, prefix, depth - 1)
    else:
        if carried is not None:
            information = layers.AveragePooling2D(2**config.hourglass_depth, name=f"{prefix}_inform_pool")(carried)
            information = conv_bn(information, width, name=f"{prefix}_inform", kernel=1, relu=False)
            low = layers.Add(name=f"{prefix}_inform_add")([low, information])
        low = _unit(low, width, config, f"{name}_middle")
    low = _unit(low, width, config, f"{name}_up")
    return layers.Add(name=f"{name}_add")([skip, upsample(low, name=f"{name}_upsample")])


def _upsampled_pose(deep, config: CcrConfig, prefix: str):
    """Two deconvolutions, then channel unification (CCR section 3.3)."""
    x = deep
    for i in (1, 2):
        name = f"{prefix}_deconv{i}"
        if config.upsample == "deconv":
            x = layers.Conv2DTranspose(config.width, 4, 2, padding="same", use_bias=False, name=f"{name}_conv")(x)
            x = layers.BatchNormalization(name=f"{name}_bn")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
        else:
            # Narrow before widening the grid: the 1x1 runs on a quarter of the cells.
            x = conv_bn(x, config.width, name=name, kernel=1)
            x = upsample(x, name=f"{name}_up")
    return conv_bn(x, config.width, name=f"{prefix}_unify", kernel=1, relu=False)

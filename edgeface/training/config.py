"""A training run as a frozen value, refused where it is wrong. `edgeface.training.config_file` reads it from TOML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from edgeface.datasets.profile_views.views import MOST_NOD_DEG, NOD_DEG, YAW_DEG
from edgeface.errors import InputError
from edgeface.schema import from_dict, must
from edgeface.training.augment import AugmentConfig


@dataclass(frozen=True)
class SourceConfig:
    """One set of faces."""

    set: str
    split: str | None = None
    weight: float = 1.0
    """Share of the faces (``mode`` mixed) or of the batches (alternate), relative to the other sources'."""
    limit: int | None = None
    """At most so many faces; how many to render for ``synthetic``."""
    pose: bool = True
    """False: ignore this set's pose labels; those of a fit (fit_pose, fit_3d) still count."""
    fit_pose: bool = False
    """Give faces that have 68 points but no full pose the pose of a mean 3D head fitted to them."""
    profile_views: int = 0
    """That many views of every face turned towards profile instead of the face itself; needs ibug68 points."""
    view_yaw: tuple[float, float] = YAW_DEG
    """Range of the views' |yaw| in degrees. From 0 on, with a larger view_pitch_std: heads that look up and down."""
    view_pitch_std: float = NOD_DEG
    """Standard deviation of the views' change of pitch in degrees."""
    fit_3d: bool = False
    """Add the 3D points (ibug68_3d) and the missing angles of a 3D head fitted to the 68 points."""
    yaw_scale: float = 1.0
    """Factor on the fitted heads' yaw: the yaw that AFLW labels is that of another head."""
    fitted_yaw: float = 0.0
    """Share of the fitted head's yaw in a yaw that the set labels too: two noisy measures of one angle."""
    pose_balance: float = 0.0
    """0: every face equally often. Towards 1: faces of rare head poses more often, up to eight times."""
    markups: tuple[str, ...] = ()
    """Use these markups' labels alone; empty: all that the network has a head for."""
    dir: str | None = None
    """The folder that holds the set; default: EDGEFACE_FACES for packs, EDGEFACE_DATA for datasets as shipped."""

    def __post_init__(self) -> None:
        views, (low, high) = self.profile_views, self.view_yaw
        must(views >= 0, "profile_views", ">= 0", views)
        must(not (views and self.fit_3d), "fit_3d", "off where profile_views is set: views have 3D points", True)
        must(0 <= low < high <= 90, "view_yaw", "two rising angles in 0 to 90", self.view_yaw)
        nod = self.view_pitch_std
        must(0 <= nod <= MOST_NOD_DEG, "view_pitch_std", f"in 0 to {MOST_NOD_DEG:g}", nod)
        usual = (self.view_yaw, self.view_pitch_std) == (YAW_DEG, NOD_DEG)
        must(views or usual, "profile_views", "set where view_yaw or view_pitch_std is", views)
        must(self.weight > 0, "weight", "> 0", self.weight)
        must(self.yaw_scale > 0, "yaw_scale", "> 0", self.yaw_scale)
        fits_heads = bool(self.fit_3d or views)
        must(fits_heads or self.yaw_scale == 1, "yaw_scale", "1 without fit_3d or profile_views", self.yaw_scale)
        must(0 <= self.fitted_yaw <= 1, "fitted_yaw", "between 0 and 1", self.fitted_yaw)
        must(self.fit_3d or self.fitted_yaw == 0, "fitted_yaw", "0 without fit_3d", self.fitted_yaw)
        must(0 <= self.pose_balance <= 1, "pose_balance", "between 0 and 1", self.pose_balance)
        must(self.limit is None or self.limit > 0, "limit", "> 0", self.limit)


@dataclass(frozen=True)
class TrainConfig:
    """What `edgeface train` does. The file in `configs/` names what differs from these defaults."""

    network: str
    """A preset's name, `edgeface.models.presets`."""
    sources: tuple[SourceConfig, ...]
    name: str = ""
    """The run's folder under runs/; the config file's name where empty."""
    model: dict[str, Any] = field(default_factory=dict)
    """Fields of the preset to change."""
    init: str = ""
    """A .keras file to start from: the same network, or a narrower one or one of fewer stages (two at least), which
    then grows."""
    steps: int = 1000
    batch_size: int = 32
    epoch_steps: int = 250
    """Steps between two lines of progress, validations and checkpoints."""
    learning_rate: float = 5e-4
    """AC-DC: 5e-4. CCR: 2.5e-4."""
    schedule: Literal["polynomial", "cosine", "constant"] = "polynomial"
    """AC-DC: polynomial. CCR: constant."""
    power: float = 0.9
    warmup: int = 0
    clip: float = 0.0
    """Largest global norm of a gradient, 0 = no limit."""
    ema: float = 0.0
    """Decay of averaged weights, which are then what is validated and saved; 0 = off. Short runs gain by it."""
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    """mixed_bfloat16 for a GPU, and for wide networks on a CPU with AVX512-BF16 or AMX; the expectation heads and the
    losses stay float32."""
    seed: int = 0
    mode: Literal["mixed", "alternate"] = "mixed"
    """A batch over all sources, or one source a batch in turn (AC-DC)."""
    validation: SourceConfig | None = None
    """Faces scored at every line of progress. Nothing is chosen by them: the last weights are kept. They are taken as
    they are: set, split, limit, dir and one markup."""
    cut_size: int = 160
    """Side of the cut-out faces in pixels; above ``network side * cut_scale / 1.3`` nothing is gained."""
    cut_scale: float = 1.6
    """Side of the cut-out faces over the longer side of the face box: the margin for augmentation."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: dict[str, Any] = field(default_factory=dict)
    """Fields of `losses.AcdcLoss` or `losses.CcrLoss` to change."""

    def __post_init__(self) -> None:
        must(len(self.sources) > 0, "sources", "at least one set", self.sources)
        for name in ("steps", "batch_size", "epoch_steps", "learning_rate", "power", "cut_size", "cut_scale"):
            must(getattr(self, name) > 0, name, "> 0", getattr(self, name))
        for name in ("warmup", "clip"):
            must(getattr(self, name) >= 0, name, ">= 0", getattr(self, name))
        must(0 <= self.ema < 1, "ema", "in [0, 1)", self.ema)
        must(self.warmup < self.steps, "warmup", f"below steps ({self.steps})", self.warmup)
        must(self.validation is None or _is_plain(self.validation), "validation", _PLAIN, self.validation)
        must(self.cut_scale >= self.augment.crop_scale, "cut_scale", ">= augment.crop_scale", self.cut_scale)


_PLAIN = "a set, split, limit, dir and at most one markup, which are all that is used of it"


def _is_plain(source: SourceConfig) -> bool:
    same = SourceConfig(source.set, source.split, limit=source.limit, dir=source.dir, markups=source.markups)
    return source == same and len(source.markups) <= 1


OLD_KEYS = {
    "": {"pack_size": "cut_size", "pack_scale": "cut_scale"},
    "source": {
        "turned": "profile_views",
        "turned_yaw": "view_yaw",
        "turned_nod": "view_pitch_std",
        "evenness": "pose_balance",
    },
    "augment": {"colour": "color"},
}
"""{table: {name in files of edgeface before 1.0: name of the field}}; "source" stands for sources and validation."""


def with_new_keys(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A copy of a config's plain data in which every key has its current name, and the {old: new} that were found."""
    return _renamed(data, OLD_KEYS)


def with_old_keys(data: dict[str, Any]) -> dict[str, Any]:
    """The inverse: a hash over it is that of a run begun under the old names."""
    return _renamed(data, {table: {new: old for old, new in names.items()} for table, names in OLD_KEYS.items()})[0]


def _renamed(data: dict[str, Any], names: dict[str, dict[str, str]]) -> tuple[dict[str, Any], dict[str, str]]:
    found: dict[str, str] = {}

    def table(part: Any, kind: str) -> Any:
        if not isinstance(part, dict):
            return part  # of the wrong type: the schema says so
        old = {key: names[kind][key] for key in part if key in names[kind]}
        found.update(old)
        for key, new in old.items():
            if new in part:
                raise InputError(f"{new} must be given once. Received: {key}, its former name, as well")
        return {old.get(key, key): value for key, value in part.items()}

    out = table(data, "")
    if isinstance(out.get("sources"), list | tuple):
        out["sources"] = [table(source, "source") for source in out["sources"]]
    for key, kind in (("validation", "source"), ("augment", "augment")):
        if key in out:
            out[key] = table(out[key], kind)
    return out, found


def recorded_config(data: dict[str, Any], where: str) -> TrainConfig:
    """The config that a run or a model's file recorded, under whatever names the fields then had.

    Args:
        data: what `edgeface.schema.as_dict` gave.
        where: what is read, the first words of an InputError.
    """
    return from_dict(TrainConfig, with_new_keys(data)[0], where)

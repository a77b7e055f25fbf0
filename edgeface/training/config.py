"""A training run as a frozen value: read from TOML, changed on the command line, refused where it is wrong."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
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
    """Share of the faces (mixed) or of the batches (alternate), relative to the other sources'."""
    limit: int | None = None
    """At most so many faces; how many to render for ``synthetic``."""
    pose: bool = True
    """False: ignore this set's pose labels; those of a fit (fit_pose, fit_3d) still count."""
    fit_pose: bool = False
    """Give faces that have 68 points but no full pose the one that lays a mean 3D head over them."""
    turned: int = 0
    """That many turned views of every face instead of the face itself; needs ibug68 points."""
    turned_yaw: tuple[float, float] = YAW_DEG
    """The views' range of |yaw| in degrees. From 0 on, with a larger turned_nod: heads raised and bowed."""
    turned_nod: float = NOD_DEG
    """Standard deviation of the views' change of pitch in degrees."""
    fit_3d: bool = False
    """3D points (ibug68_3d) and missing angles of a head laid over the 68 points."""
    yaw_scale: float = 1.0
    """Times the yaw of the heads that are laid over this source's faces: AFLW's yaw is that of another head."""
    fitted_yaw: float = 0.0
    """Share of the laid head's yaw in a yaw that the set labels too: two noisy measures of one angle."""
    evenness: float = 0.0
    """0: faces as often as they come. Towards 1: those of rare head poses more often, up to eight times."""
    markups: tuple[str, ...] = ()
    """Use these markups' labels alone; empty: all that the network has a head for."""
    dir: str | None = None
    """The folder that holds the set; default: EDGEFACE_FACES for packs, EDGEFACE_DATA for datasets as shipped."""

    def __post_init__(self) -> None:
        must(self.turned >= 0, "turned", ">= 0", self.turned)
        must(not (self.turned and self.fit_3d), "fit_3d", "off where turned is set: turned views have 3D points", True)
        low, high = self.turned_yaw
        must(0 <= low < high <= 90, "turned_yaw", "two rising angles in 0 to 90", self.turned_yaw)
        must(0 <= self.turned_nod <= MOST_NOD_DEG, "turned_nod", f"in 0 to {MOST_NOD_DEG:g}", self.turned_nod)
        usual = (self.turned_yaw, self.turned_nod) == (YAW_DEG, NOD_DEG)
        must(self.turned or usual, "turned", "set where turned_yaw or turned_nod is", self.turned)
        must(self.weight > 0, "weight", "> 0", self.weight)
        must(self.yaw_scale > 0, "yaw_scale", "> 0", self.yaw_scale)
        lays_heads = bool(self.fit_3d or self.turned)
        must(lays_heads or self.yaw_scale == 1, "yaw_scale", "1 without fit_3d or turned", self.yaw_scale)
        must(0 <= self.fitted_yaw <= 1, "fitted_yaw", "between 0 and 1", self.fitted_yaw)
        must(self.fit_3d or self.fitted_yaw == 0, "fitted_yaw", "0 without fit_3d", self.fitted_yaw)
        must(0 <= self.evenness <= 1, "evenness", "between 0 and 1", self.evenness)
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
    pack_size: int = 160
    """Side of the packed crops; above ``network side * pack_scale / 1.3`` nothing is gained."""
    pack_scale: float = 1.6
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: dict[str, Any] = field(default_factory=dict)
    """Fields of `losses.AcdcLoss` or `losses.CcrLoss` to change."""

    def __post_init__(self) -> None:
        must(len(self.sources) > 0, "sources", "at least one set", self.sources)
        for name in ("steps", "batch_size", "epoch_steps", "learning_rate", "power", "pack_size", "pack_scale"):
            must(getattr(self, name) > 0, name, "> 0", getattr(self, name))
        for name in ("warmup", "clip"):
            must(getattr(self, name) >= 0, name, ">= 0", getattr(self, name))
        must(0 <= self.ema < 1, "ema", "in [0, 1)", self.ema)
        must(self.warmup < self.steps, "warmup", f"below steps ({self.steps})", self.warmup)
        must(self.validation is None or _is_plain(self.validation), "validation", _PLAIN, self.validation)
        must(self.pack_scale >= self.augment.crop_scale, "pack_scale", ">= augment.crop_scale", self.pack_scale)


_PLAIN = "a set, split, limit, dir and at most one markup, which are all that is used of it"


def _is_plain(source: SourceConfig) -> bool:
    same = SourceConfig(source.set, source.split, limit=source.limit, dir=source.dir, markups=source.markups)
    return source == same and len(source.markups) <= 1


def load_config(path: str | Path, overrides: tuple[str, ...] | list[str] = ()) -> TrainConfig:
    """A TOML file, then ``key=value`` overrides (``sources.0.limit=100``, ``augment.mirror=0``; values as in TOML)."""
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} must be a TOML file. Received: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} must be a TOML file. Received: {error}") from None
    data.setdefault("name", path.stem)
    for override in overrides:
        _override(data, override)
    return from_dict(TrainConfig, data, str(path))


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"--override must be key=value. Received: {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    at: Any = data
    *path, last = key.split(".")
    for part in path:
        if isinstance(at, list):
            at = at[_index(at, part, override)]
        elif isinstance(at, dict):
            at = at.setdefault(part, {})
        else:
            raise InputError(f"--override must name a key of the config. Received: {override!r}")
    if isinstance(at, list):
        at[_index(at, last, override)] = value
    elif isinstance(at, dict):
        at[last] = value
    else:
        raise InputError(f"--override must name a key of the config. Received: {override!r}")


def _index(values: list, part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(values):
        raise InputError(f"--override must use an index below {len(values)} there. Received: {override!r}")
    return int(part)

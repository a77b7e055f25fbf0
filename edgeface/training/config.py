"""A training run as a frozen value: read from TOML, changed on the command line, refused where it is wrong."""

from __future__ import annotations

import dataclasses
import tomllib
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from edgeface.datasets.profile_views.views import MOST_NOD_DEG, NOD_DEG, YAW_DEG
from edgeface.errors import InputError, must_be_one_of
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
        _must(self.turned >= 0, "turned", ">= 0", self.turned)
        _must(not (self.turned and self.fit_3d), "fit_3d", "off where turned is set: turned views have 3D points", True)
        low, high = self.turned_yaw
        _must(0 <= low < high <= 90, "turned_yaw", "two rising angles in 0 to 90", self.turned_yaw)
        _must(0 <= self.turned_nod <= MOST_NOD_DEG, "turned_nod", f"in 0 to {MOST_NOD_DEG:g}", self.turned_nod)
        usual = (self.turned_yaw, self.turned_nod) == (YAW_DEG, NOD_DEG)
        _must(self.turned or usual, "turned", "set where turned_yaw or turned_nod is", self.turned)
        _must(self.weight > 0, "weight", "> 0", self.weight)
        _must(self.yaw_scale > 0, "yaw_scale", "> 0", self.yaw_scale)
        lays_heads = bool(self.fit_3d or self.turned)
        _must(lays_heads or self.yaw_scale == 1, "yaw_scale", "1 without fit_3d or turned", self.yaw_scale)
        _must(0 <= self.fitted_yaw <= 1, "fitted_yaw", "between 0 and 1", self.fitted_yaw)
        _must(self.fit_3d or self.fitted_yaw == 0, "fitted_yaw", "0 without fit_3d", self.fitted_yaw)
        _must(0 <= self.evenness <= 1, "evenness", "between 0 and 1", self.evenness)
        _must(self.limit is None or self.limit > 0, "limit", "> 0", self.limit)


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
        _must(len(self.sources) > 0, "sources", "at least one set", "none")
        for name in ("steps", "batch_size", "epoch_steps", "learning_rate", "power", "pack_size", "pack_scale"):
            _must(getattr(self, name) > 0, name, "> 0", getattr(self, name))
        for name in ("warmup", "clip"):
            _must(getattr(self, name) >= 0, name, ">= 0", getattr(self, name))
        _must(0 <= self.ema < 1, "ema", "in [0, 1)", self.ema)
        _must(self.warmup < self.steps, "warmup", f"below steps ({self.steps})", self.warmup)
        _must(self.validation is None or _is_plain(self.validation), "validation", _PLAIN, self.validation)
        _must(self.pack_scale >= self.augment.crop_scale, "pack_scale", ">= augment.crop_scale", self.pack_scale)


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


def from_dict(cls: type, data: dict[str, Any], where: str) -> Any:
    """A frozen dataclass from plain data; InputError names an unknown key with the allowed ones, or a wrong type."""
    allowed = {f.name: f for f in dataclasses.fields(cls)}
    for key in data:
        if key not in allowed:
            raise InputError(must_be_one_of(f"{where}: key", allowed, key))
    missing = [
        name
        for name, f in allowed.items()
        if name not in data and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{where}: must have {', '.join(missing)}. Received: {', '.join(data) or 'no key'}")
    hints = get_type_hints(cls)
    values = {key: _convert(value, hints[key], f"{where}: {key}") for key, value in data.items()}
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def chosen(config: Any) -> dict[str, Any]:
    """`as_dict` without what is left at its default: the same for a config of before a field was added."""
    out = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        if value == default:
            continue
        if isinstance(value, tuple):
            out[f.name] = [chosen(v) if dataclasses.is_dataclass(v) else v for v in value]
        else:
            out[f.name] = chosen(value) if dataclasses.is_dataclass(value) else value
    return out


def as_dict(config: Any) -> dict[str, Any]:
    """Plain data that `from_dict` takes back, without the fields that are None (TOML and JSON alike)."""
    return {k: v for k, v in dataclasses.asdict(config, dict_factory=_without_none).items()}


def _without_none(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in items if v is not None}


def _must(holds: bool, name: str, rule: str, value: Any) -> None:
    if not holds:
        raise InputError(f"{name} must be {rule}. Received: {value}")


def _convert(value: Any, kind: Any, where: str) -> Any:
    """``value`` as the annotated type ``kind``, without guessing: only int -> float and list -> tuple are bridged."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        if isinstance(value, dict):
            return from_dict(kind, value, where)
    elif origin in (Union, types.UnionType):
        kinds = [k for k in args if k is not type(None)]
        return None if value is None and len(kinds) < len(args) else _convert(value, kinds[0], where)
    elif origin is Literal:
        if value in args:
            return value
        raise InputError(must_be_one_of(where, map(str, args), value))
    elif origin is tuple:
        if isinstance(value, list | tuple):
            inner = [args[0]] * len(value) if args[1:] == (...,) else list(args)
            if len(inner) == len(value):
                pairs = zip(value, inner, strict=True)
                return tuple(_convert(v, k, f"{where}.{i}") for i, (v, k) in enumerate(pairs))
    elif origin is dict:
        if isinstance(value, dict):
            return {k: _convert(v, args[1], f"{where}.{k}") for k, v in value.items()}
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    name = getattr(kind, "__name__", str(kind)) if origin is None else str(kind)
    raise InputError(f"{where} must be {name}. Received: {value!r}")


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

"""The card of a converted model: all that a caller must know of a `.tflite`, as JSON beside it and inside it.

Inside, it is a zip archive appended to the flatbuffer (the place where TensorFlow Lite metadata has always been kept):
interpreters read the flatbuffer from its front and ignore the tail, and any unzip program shows the card.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeface.errors import InputError
from edgeface.files import read_json, write_bytes, write_json
from edgeface.markup import MARKUPS
from edgeface.schema import from_dict, must

FORMAT = 1
MEMBER = "edgeface.json"
MAX_CARD_BYTES = 1 << 20
RAW = "raw 0..255"
ANGLE_CONVENTION = (
    "degrees in the order yaw, pitch, roll; matrix = Rz(roll) Ry(yaw) Rx(pitch), x right, y down; "
    "yaw > 0 turns the face to the image's left (300W-LP, AFLW2000-3D)"
)
DTYPES = ("float32", "float16", "int8", "uint8")
POSE_KINDS = ("degrees", "bins", "features", "none")


@dataclass(frozen=True)
class InputSpec:
    """The one input: a crop of the face, raw values 0..255; normalisation is inside the graph."""

    shape: tuple[int, ...]
    """(1, S, S, C)."""
    dtype: str
    name: str = "image"
    channels: int = 3
    """1: gray (0.299 R + 0.587 G + 0.114 B), 3: RGB."""
    layout: str = RAW
    scale: float | None = None
    zero_point: int | None = None

    def __post_init__(self) -> None:
        shape_ok = len(self.shape) == 4 and self.shape[0] == 1 and self.shape[1] == self.shape[2] > 0
        must(shape_ok and self.shape[3] == self.channels, "shape", "(1, S, S, channels)", self.shape)
        must(self.channels in (1, 3), "channels", "1 or 3", self.channels)
        must(self.dtype in DTYPES, "dtype", f"one of {', '.join(DTYPES)}", self.dtype)
        must(self.layout == RAW, "layout", repr(RAW), self.layout)
        _check_quantization(self)

    @property
    def side(self) -> int:
        return self.shape[1]


@dataclass(frozen=True)
class OutputSpec:
    """One output: real value = (stored - zero_point) * scale where it is quantised."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None
    index: int | None = None
    """Its place in the interpreter's list of outputs, for callers that do not use signatures."""

    def __post_init__(self) -> None:
        must(len(self.shape) > 1 and min(self.shape) > 0, "shape", "(1, …), all > 0", self.shape)
        must(self.dtype in DTYPES, "dtype", f"one of {', '.join(DTYPES)}", self.dtype)
        _check_quantization(self)


@dataclass(frozen=True)
class CropRule:
    """How the crop is cut from the image: `edgeface.crop.square_crop(box, scale)`."""

    rule: str = "square"
    scale: float = 1.3

    def __post_init__(self) -> None:
        must(self.rule == "square", "rule", "'square'", self.rule)
        must(0.5 <= self.scale <= 4, "scale", "between 0.5 and 4", self.scale)


@dataclass(frozen=True)
class Decode:
    """What the host computes from an `int8_logits` file.

    `IntegralHeatmap(map_height, map_width)` decodes ``sharpness * maps``; where ``pose`` is "bins",
    `BinnedAngles(bins_low_deg, bins_high_deg, bins)` decodes ``pose_logits``, where it is "features"
    `LinearPose(pose_kernel, pose_bias)` decodes ``pose_features``.
    """

    map_height: int
    map_width: int
    sharpness: float = 1.0
    """Gain on the maps ahead of the softmax (CCR trains maps of peak 1 and decodes them with 20)."""
    pose: str = "none"
    bins: int | None = None
    bins_low_deg: float | None = None
    bins_high_deg: float | None = None
    pose_kernel: tuple[tuple[float, ...], ...] | None = None
    pose_bias: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        must(
            self.map_height > 0 and self.map_width > 0,
            "map_height and map_width",
            "> 0",
            (self.map_height, self.map_width),
        )
        must(self.sharpness > 0, "sharpness", "> 0", self.sharpness)
        must(self.pose in POSE_KINDS, "pose", f"one of {', '.join(POSE_KINDS)}", self.pose)
        binned = (self.bins, self.bins_low_deg, self.bins_high_deg)
        if self.pose == "bins":
            ordered = None not in binned and self.bins > 1 and self.bins_low_deg < self.bins_high_deg
            must(ordered, "bins, bins_low_deg and bins_high_deg", "a count > 1 and low < high", binned)
        if self.pose == "features":
            rows = None if self.pose_kernel is None or self.pose_bias is None else (*self.pose_kernel, self.pose_bias)
            fits = rows is not None and len(rows) > 1 and all(len(row) == 3 for row in rows)
            must(fits, "pose_kernel and pose_bias", "rows of 3 angles", rows and rows[-1])


@dataclass(frozen=True)
class Card:
    """A converted model.

    Outputs are keyed by role: landmarks, pose, spread; in `int8_logits` files maps, and one of pose_logits,
    pose_features and pose.
    """

    name: str
    network: str
    preset: str
    variant: str
    version: str
    input: InputSpec
    crop: CropRule
    markup: str
    outputs: dict[str, OutputSpec]
    decode: Decode | None = None
    angles: str = ANGLE_CONVENTION
    stages: int | None = None
    parameters: int | None = None
    macs: int | None = None
    training: dict[str, Any] = field(default_factory=dict)
    """The run that made the float model, and how this file was quantised."""
    made_with: dict[str, str] = field(default_factory=dict)
    """Versions of the tools."""
    notes: tuple[str, ...] = ()
    float_sha256: str | None = None
    """sha256 of the `.keras` file it was converted from."""
    flatbuffer_sha256: str | None = None
    flatbuffer_bytes: int | None = None
    """sha256 and size of the `.tflite` without the card inside it."""
    file_sha256: str | None = None
    file_bytes: int | None = None
    """sha256 and size of the whole `.tflite`; only in the card beside the file: a file cannot hold its own hash."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        must(self.format == FORMAT, "format", f"{FORMAT} (a card of another version of edgeface?)", self.format)
        must(bool(self.name), "name", "not empty", self.name)
        must(self.markup in MARKUPS, "markup", f"one of {', '.join(MARKUPS)}", self.markup)
        must(bool(self.outputs), "outputs", "at least one", self.outputs)
        size = MARKUPS[self.markup].size
        ends = {"landmarks": (1, size, 2), "spread": (1, size), "pose": (1, 3)}
        for role, output in self.outputs.items():
            expected = ends.get(role, output.shape)
            must(output.shape == expected, f"outputs.{role}.shape", f"{expected} for {self.markup}", output.shape)
        if "maps" in self.outputs:
            must(self.decode is not None, "decode", "given where an output is maps", None)
            maps = (1, self.decode.map_height, self.decode.map_width, size)
            must(self.outputs["maps"].shape == maps, "outputs.maps.shape", str(maps), self.outputs["maps"].shape)
        for role, kind in {"pose_logits": "bins", "pose_features": "features"}.items():
            if role in self.outputs:
                got = None if self.decode is None else self.decode.pose
                must(got == kind, "decode.pose", f"{kind} where an output is {role}", got)
        if self.decode is not None and self.decode.pose == "bins":
            must("pose_logits" in self.outputs, "outputs", "pose_logits where pose is bins", list(self.outputs))
            logits = (1, 3, self.decode.bins)
            got = self.outputs["pose_logits"].shape
            must(got == logits, "outputs.pose_logits.shape", str(logits), got)
        if self.decode is not None and self.decode.pose == "features":
            must("pose_features" in self.outputs, "outputs", "pose_features where pose is features", list(self.outputs))
            got, channels = self.outputs["pose_features"].shape, len(self.decode.pose_kernel)
            must(len(got) == 4 and got[3] == channels, "outputs.pose_features.shape", f"(1, h, w, {channels})", got)

    def to_dict(self) -> dict[str, Any]:
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, data: Any) -> Card:
        """InputError names the key that is missing, unknown or wrong."""
        return from_dict(cls, data, "card")


def read_card(path: str | Path) -> Card:
    """The card inside a `.tflite`, or, where the path ends in .json, the card that file holds."""
    path = Path(path)
    if path.suffix == ".json":
        data = read_json(path)
    else:
        archived = split_card(_read_tflite(path), path)[1]
        if archived is None:
            raise InputError(f"{path} must carry an edgeface card. Received: a .tflite without one")
        try:
            data = json.loads(archived)
        except RecursionError:
            raise InputError(f"the card inside {path} must be JSON. Received: one nested too deeply") from None
        except ValueError as error:
            raise InputError(f"the card inside {path} must be JSON. Received: {error}") from None
    try:
        return Card.from_dict(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_card(path: str | Path, card: Card) -> None:
    """The card as a JSON file.

    Args:
        path: the file.
        card: the card.
    """
    write_json(path, card.to_dict())


def attach_card(path: str | Path, card: Card) -> Card:
    """Puts the card into a `.tflite`, in place of one already there; returns the one to put beside it.

    Bytes and hashes are filled in: those of the flatbuffer in both, those of the whole file only in the returned card.

    Args:
        path: the `.tflite`, which is changed.
        card: the card.
    """
    path = Path(path)
    flatbuffer = split_card(_read_tflite(path), path)[0]
    digest = hashlib.sha256(flatbuffer).hexdigest()
    inside = dataclasses.replace(
        card, flatbuffer_sha256=digest, flatbuffer_bytes=len(flatbuffer), file_sha256=None, file_bytes=None
    )
    buffer = io.BytesIO(flatbuffer)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        # A fixed date: the same model converted twice is the same file.
        member = zipfile.ZipInfo(MEMBER, (1980, 1, 1, 0, 0, 0))
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, json.dumps(inside.to_dict(), indent=2) + "\n")
    whole = buffer.getvalue()
    write_bytes(path, whole)
    return dataclasses.replace(inside, file_sha256=hashlib.sha256(whole).hexdigest(), file_bytes=len(whole))


def split_card(data: bytes, path: str | Path = "the model") -> tuple[bytes, bytes | None]:
    """A `.tflite`'s flatbuffer and the JSON text of its card, None where it has none.

    Args:
        data: the file's bytes.
        path: what they were read from, for messages.
    """
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return data, None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            start = min((member.header_offset for member in members), default=len(data))
            card = next((member for member in members if member.filename == MEMBER), None)
            if card is None:
                return data, None
            if card.file_size > MAX_CARD_BYTES:
                raise InputError(f"the card inside {path} must be at most 1 MB. Received: {card.file_size} bytes")
            return data[:start], archive.read(card)
    except InputError:
        raise
    except Exception as error:  # zipfile raises a dozen types, by whatever the damaged byte leads it to
        raise InputError(f"the card inside {path} must be readable. Received: {error}") from None


def _read_tflite(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} must be a .tflite file. Received: no such file") from None
    except OSError as error:
        raise InputError(f"{path} must be a .tflite file. Received: {error.strerror or error}") from None
    # Every TensorFlow Lite flatbuffer has its file identifier at byte 4.
    if data[4:8] != b"TFL3":
        raise InputError(f"{path} must be a .tflite file. Received: {len(data)} bytes of something else")
    return data


def _check_quantization(spec: InputSpec | OutputSpec) -> None:
    pair = (spec.scale, spec.zero_point)
    if spec.dtype in ("int8", "uint8"):
        low = -128 if spec.dtype == "int8" else 0
        given = None not in pair and 0 < spec.scale < float("inf") and low <= spec.zero_point <= low + 255
        must(given, "scale and zero_point", f"given, scale > 0, {low} <= zero_point <= {low + 255}", pair)
    else:
        must(pair == (None, None), "scale and zero_point", "null where dtype is float", pair)

"""The kinds of file that one trained model becomes."""

from __future__ import annotations

from dataclasses import dataclass

from edgeface.errors import InputError, must_be_one_of


@dataclass(frozen=True)
class Variant:
    """What a converted file must be; `edgeface.convert.gate` holds every file against it."""

    name: str
    weights: str
    """How the weights are stored: float32, float16 or int8."""
    trunk: str
    """What the trunk computes in: float32 or int8. Soft-argmax and angle expectation are float32 or on the host."""
    input_dtype: str
    head_on_host: bool = False
    """The file ends in maps and pose logits or features, int8 as all in it; `edgeface.codecs` decodes them."""
    needs_qat: bool = False
    """Made from the quantized model, whose fake-quants carry every range."""
    needs_calibration: bool = False
    """The converter measures ranges on a representative set."""
    purpose: str = ""

    @property
    def integer(self) -> bool:
        return self.trunk == "int8"


_ALL = (
    Variant("float32", "float32", "float32", "float32", purpose="the reference"),
    Variant("float16", "float16", "float32", "float32", purpose="Android GPU delegate, WebGPU"),
    Variant("dynamic", "int8", "float32", "float32", purpose="a small download for any CPU"),
    Variant("int8_ptq", "int8", "int8", "uint8", needs_calibration=True, purpose="CPU, without training"),
    Variant("int8_qat", "int8", "int8", "uint8", needs_qat=True, purpose="CPU: the default"),
    Variant(
        "int8_logits",
        "int8",
        "int8",
        "int8",
        head_on_host=True,
        needs_qat=True,
        purpose="NPU, DSP; decoded on the host",
    ),
)
VARIANTS: dict[str, Variant] = {v.name: v for v in _ALL}


def variant(name: str) -> Variant:
    """The variant of that name; InputError names the known ones."""
    if name not in VARIANTS:
        raise InputError(must_be_one_of("variant", VARIANTS, name))
    return VARIANTS[name]


def select(names: str | None) -> list[Variant]:
    """The variants of a comma-separated list, in its order; all of them where it is None."""
    if names is None:
        return list(_ALL)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise InputError(f"variants must be a comma-separated list of {', '.join(VARIANTS)}. Received: {names!r}")
    return [variant(name) for name in dict.fromkeys(wanted)]

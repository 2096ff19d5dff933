"""Which formats a PE reads: the codes of its weights and activations, and where scales apply.

A PE's record names the element formats of its operands. Most PEs return the sum of a group, which a
scaler beside them multiplies by the group's scale; those in :data:`INSIDE` apply the scales of one
kind themselves. Symmetric integers narrower than the PE's are read too, with their sign extended.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from hw.pe_record import PeRecord

if TYPE_CHECKING:
    from numerics.schemes.scheme import Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """Scales that a PE applies to each group of weights, and of activations if ``both``."""

    group: int
    #: Format of the scales as in the text of a scheme.
    scale: str
    both: bool = False


#: PEs that apply the scales of groups themselves.
INSIDE = {
    "mxfp4-dot": Inside(group=32, scale="e8m0", both=True),
    "nvfp4-dot": Inside(group=16, scale="e4m3", both=True),
    "mixpe-w4a8-fp16": Inside(group=128, scale="fp16"),
    "mixpe-w4a8-int8": Inside(group=128, scale="s7"),
    "mixpe-w4a8-shift": Inside(group=128, scale="e8m0"),
}
#: Schemes by the name that a record gives its weights, where the two differ.
SAME_CODES = {
    "i2_s": ("ternary", "bitnet-ternary", "twn"),
    "binary": ("int1",),
    "uint4 with zero point": ("int4-asym",),
    "fp4_e2m1 with a special value": ("bitmod-fp4", "bitmod-fp4-er", "bitmod-fp4-ea"),
}
#: PEs of several outputs, with codebooks, or that are parts of others: no machine is made of them.
UNSUPPORTED = (
    "aqlm-2x4", "aqlm-2x8", "vptq-2x4", "binary-columns", "mixpe-w4a8-zero", "tl1-lookup",
    "tl2-lookup", "nested-planes", "bitmod-dequantizer", "bitmod-fp4-column",
)  # fmt: skip
#: Record names of activations by the operand types of serving formats.
OPERANDS = {"int8": "int8", "int4": "int4", "fp16": "fp16", "fp8": "fp8_e4m3", "fp4": "fp4_e2m1"}


def weight_names(record: PeRecord) -> tuple[str, ...]:
    """Return the names of element formats or schemes whose codes a PE reads."""
    return SAME_CODES.get(record.weights, (record.weights,))


def code_bits(record: PeRecord) -> int:
    """Return the bits of a weight's code that a PE takes, the widest that it reads.

    >>> from hw.pe_record import load_record
    >>> [code_bits(load_record(name)) for name in ("mixpe-w4a8", "ternary-16", "bitmod-fp4")]
    [4, 2, 4]
    """
    from numerics.formats import FORMATS
    from numerics.names.text import parse_scheme

    name = weight_names(record)[0]
    if name in FORMATS:
        return FORMATS[name].bits
    return int(parse_scheme(name).bits_per_weight((1024, 1024), kind="index"))


def activation_bits(record: PeRecord) -> int:
    """Return the bits of an activation that a PE takes.

    >>> from hw.pe_record import load_record
    >>> activation_bits(load_record("mixpe-w4a8")), activation_bits(load_record("mxfp4-dot"))
    (8, 4)
    """
    from numerics.formats import FORMATS

    return FORMATS[record.activations].bits


def why_not_weights(record: PeRecord, scheme: "Scheme | None") -> str:
    """Return why a PE cannot read weights of a scheme (``None``: FP16); empty if it can.

    >>> from hw.pe_record import load_record
    >>> from numerics.names.text import parse_scheme
    >>> why_not_weights(load_record("mixpe-w4a8"), parse_scheme("nf4"))
    'mixpe-w4a8 reads codes of int4, not those of nf4'
    >>> why_not_weights(load_record("int8-mac"), parse_scheme("int4"))
    ''
    """
    names = weight_names(record)
    if scheme is None:
        if record.weights == "fp16":
            return ""
        return f"{record.name} reads codes of {' or '.join(names)}, not FP16"
    if not _own_names(scheme) & set(names) and not _is_narrower(scheme, names):
        own = "" if len(names) > 1 else "codes of "
        return f"{record.name} reads {own}{' or '.join(names)}, not those of {_name(scheme)}"
    return _why_not_scales(record, scheme)


def why_not_activations(record: PeRecord, operand: str) -> str:
    """Return why a PE cannot read activations of an operand type; empty if it can."""
    if OPERANDS.get(operand, operand) == record.activations:
        return ""
    return f"{record.name} reads activations in {record.activations}, not {operand}"


def _why_not_scales(record: PeRecord, scheme: "Scheme") -> str:
    inside, group = INSIDE.get(record.name), scheme.group_size
    if inside is not None:
        scale = scale_name(scheme)
        if group != inside.group or scale != inside.scale:
            return (
                f"{record.name} applies {inside.scale} scales to groups of {inside.group}, not "
                f"{scale or 'other'} scales to {f'groups of {group}' if group else 'whole rows'}"
            )
    if group and group % record.lanes:
        return f"groups of {group} are not whole beats of {record.lanes} lanes of {record.name}"
    return ""


def scale_name(scheme: "Scheme") -> str:
    """Return the format of a scheme's group scales, as in its text; empty if it has no name."""
    from numerics.conventions.vs_quant import VsQuant
    from numerics.schemes.element import SCALE_NAMES, ElementScheme

    if isinstance(scheme, VsQuant):
        return f"s{scheme.scale_bits}"
    if isinstance(scheme, ElementScheme):
        return SCALE_NAMES[scheme.scale_format]
    return "e4m3" if scheme.name.startswith("nvfp4") else ""


def _own_names(scheme: "Scheme") -> set[str]:
    return {scheme.name, _name(scheme), *(fmt.name for fmt in scheme.formats)} | _vs_element(scheme)


def _vs_element(scheme: "Scheme") -> set[str]:
    """Return the element format of VS-Quant's integers, which are symmetric."""
    name = scheme.name
    return {name.partition("-vs")[0]} if "-vs" in name else set()


def _is_narrower(scheme: "Scheme", names: tuple[str, ...]) -> bool:
    from numerics.formats import IntFormat

    formats = scheme.formats
    if len(formats) != 1 or not isinstance(formats[0], IntFormat):
        return False
    if formats[0].kind == "unsigned" or formats[0].unit != 1.0:
        return False
    widths = [int(name[3:]) for name in names if name[:3] == "int" and name[3:].isdecimal()]
    return any(formats[0].bits <= width for width in widths)


@cache
def _name(scheme: "Scheme") -> str:
    from numerics.names.text import short_name

    return short_name(scheme)

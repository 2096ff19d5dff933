"""Every serving format with what it consists of, and the name of its weights in ``numerics``.

A serving format is named by widths (``w4a16``), by a GGUF mix (``q4_k_m``), by a packing of one
engine's kernels (``i2_s``), or by any weight format of ``numerics`` (``nvfp4``, ``int4:g64``).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from roofline.runtime.engine import engine_for
from roofline.runtime.gguf_mixes import MIX_ALIASES, MIXES, Mix
from roofline.runtime.serving_format import TERNARY_BITS, ServingFormat, parse_format

#: Names by widths that are listed; any others of their form are known too.
WIDTHS = (
    *(f"w{bits}a16" for bits in range(2, 9)),
    *("w16a16", "w8a8", "w4a8", "w4a8kv4", "w4a4", "fp8"),
)
T_MAC = tuple(f"tmac-{bits}" for bits in (1, 2, 3, 4))
#: Weight formats of ``numerics`` with the values of bitnet.cpp's packings: one absmean scale for a
#: tensor of ternary weights.
TERNARY_WEIGHTS = "bitnet-ternary"
#: Rows and columns of the matrix whose bits per weight are listed.
LISTED_SIDE = 4096
#: Names in a mix of the tensors that differ, for people.
TENSORS = {"v": "attn_v", "o": "attn_output", "down": "ffn_down"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatEntry:
    """One serving format by its name, and its parts."""

    name: str
    #: Name of the weights of linear layers in ``numerics``; None for GGUF mixes, whose tensors have
    #: several types.
    weights: str | None
    #: Bits of a weight of a 4096 x 4096 matrix, scales included; of a mix, those of most tensors.
    bits_per_weight: float
    #: Pairs of a part of the model and its type.
    parts: tuple[tuple[str, str], ...]
    #: Name of the engine that runs it unless another is asked for.
    engine: str
    #: Other names of the same format.
    also: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All parts in one line.

        >>> format_entry("w4a16").text
        'weights int4:g128, activations fp16, KV cache fp16, head fp16, embedding fp16'
        """
        return ", ".join(f"{part} {kind}" for part, kind in self.parts)


def format_entry(text: str) -> FormatEntry:
    """Return what a serving format consists of, or raise ValueError for an unknown name.

    >>> format_entry("q4_k_m").text
    'weights q4_k, attn_v 50% q6_k, ffn_down 50% q6_k, head q6_k, embedding q4_k'
    >>> format_entry("i2_s").weights, format_entry("nvfp4").weights, format_entry("q4_0").weights
    ('bitnet-ternary', 'nvfp4', None)
    """
    fmt = parse_format(text)
    return FormatEntry(
        name=fmt.name,
        weights=_weights(fmt),
        bits_per_weight=fmt.weights.bits_per_weight(LISTED_SIDE, LISTED_SIDE),
        parts=tuple(_mix_parts(MIXES[fmt.mix]) if fmt.mix else _parts(fmt)),
        engine=engine_for(fmt).name,
        also=_other_names(fmt),
    )


def list_formats() -> list[FormatEntry]:
    """Return the serving formats that are not weight formats of ``numerics`` alone."""
    names = (*WIDTHS, *(f"gguf-{name}" for name in MIXES), *TERNARY_BITS, *T_MAC)
    return [format_entry(name) for name in names]


def weight_name(text: str) -> str | None:
    """Return the ``numerics`` name of a serving format's weights; None for a GGUF mix.

    >>> [weight_name(text) for text in ("w4a16", "w8a8", "fp8", "int4:g64", "q4_k_m")]
    ['int4:g128', 'int8:channel', 'fp8_e4m3:channel', 'int4:g64', None]
    """
    return _weights(parse_format(text))


def _weights(fmt: ServingFormat) -> str | None:
    if fmt.mix is not None:
        return None
    return TERNARY_WEIGHTS if fmt.weights.name in TERNARY_BITS else fmt.weights.name


def _parts(fmt: ServingFormat) -> Iterator[tuple[str, str]]:
    kept = f" ({fmt.kept_activations:.0%} not zero)" if fmt.kept_activations < 1 else ""
    yield "weights", fmt.weights.name
    yield "activations", f"{fmt.activations}{kept}"
    yield "KV cache", fmt.kv
    yield "head", fmt.head.name
    yield "embedding", fmt.embedding.name


def _mix_parts(mix: Mix) -> Iterator[tuple[str, str]]:
    yield "weights", mix.base
    for tensor, parts in mix.more.items():
        for share, name in parts:
            yield TENSORS[tensor], name if share == 1 else f"{share:.0%} {name}"
    yield "head", mix.head
    yield "embedding", mix.embedding or mix.base


def _other_names(fmt: ServingFormat) -> tuple[str, ...]:
    """Return other names of one format.

    >>> _other_names(parse_format("gguf-q4_k_m")), _other_names(parse_format("w4a16"))
    (('q4_k_m', 'gguf-q4_k'), ('int4',))
    """
    if fmt.mix is not None:
        names = [fmt.mix, *(f"gguf-{name}" for name, mix in MIX_ALIASES.items() if mix == fmt.mix)]
        return tuple(name for name in names if _is_same(name, fmt))
    from numerics.names.catalog import SCHEMES

    found = [name for name, scheme in SCHEMES.items() if scheme == fmt.weights.scheme]
    return tuple(name for name in found if name != fmt.name and _is_same(name, fmt))


def _is_same(name: str, fmt: ServingFormat) -> bool:
    """Return whether a name means a format, but for the name itself."""
    other = parse_format(name)
    keys = ("mix", "packing", "activations", "kv", "lookup")
    same = all(getattr(other, key) == getattr(fmt, key) for key in keys)
    return same and other.name != fmt.name and other.weights.scheme == fmt.weights.scheme

"""Names that stand for several formats: widths, packings of engines, mixes of GGUF blocks."""

from functools import cache

from rich.console import Group, RenderableType
from rich.text import Text

from numerics.gguf.mixes import MIXES, UNIFORM
from numerics.gguf.scheme import GgufScheme
from numerics.names.catalog import SCHEMES
from numerics.names.text import short_name
from numerics.schemes.scheme import Scheme
from roofline.runtime.gguf_mixes import IK_BITS
from roofline.runtime.serving_format import WIDTHS
from sim.model.config import ModelConfig, RopeConfig
from sim.model.tensors import tensor_shapes
from sim.names.gguf_mix import GgufMix
from sim.names.meaning import Meaning, find_meaning, is_served
from sim.tables import Column, FittingTable, numbers, words

#: Names by bit widths that a sweep can simulate; ``w16a16`` is floating point.
SERVED = tuple(name for name in WIDTHS if name != "w16a16")
#: Packings of engines for ternary weights or table look-up, with a description.
PACKINGS = {
    "i2_s": "bitnet.cpp, 2 bits per weight, integer dot products with INT8 activations",
    "tl1": "bitnet.cpp, 2 bits per weight, look-up of 2 weights at once",
    "tl2": "bitnet.cpp, 1.67 bits per weight, look-up of 3 weights at once",
    "tmac-4": "T-MAC, look-up of 4 weights of a bit plane; also tmac-1, tmac-2, tmac-3",
}
#: Sizes of Llama 3.1 8B, for which bits per weight of mixes are given.
LLAMA_8B = ModelConfig(
    family="llama",
    vocab_size=128_256,
    hidden_size=4096,
    intermediate_size=14_336,
    layers=32,
    heads=32,
    kv_heads=8,
    head_dim=128,
    max_positions=131_072,
    rope=RopeConfig(dim=128),
    tie_embeddings=False,
)


def served_tables() -> RenderableType:
    """Return tables of widths, packings and mixes, with the formats of each."""
    columns = (*words("widths", "weights", "activations", "KV cache"), Column("same as"))
    served = ((name, *meaning_cells(find_meaning(name)), same_as(name)) for name in SERVED)
    about = (*words("packing", "weights", "activations"), Column("what", wraps=True))
    packed = ((name, *meaning_cells(find_meaning(name))[:2], PACKINGS[name]) for name in PACKINGS)
    head = (*words("GGUF file"), *numbers("bits/weight"), Column("block types", wraps=True))
    mixes = ((name, f"{bits(GgufMix(kind)):.2f}", GgufMix(kind).about) for name, kind in names())
    see = "'qsim formats show NAME' shows one."
    return Group(
        FittingTable(columns, served, see=see),
        Text(),
        FittingTable(about, packed, see=see),
        Text(),
        FittingTable(head, mixes, see=see),
        Text("Bits per weight are those of Llama 3.1 8B, including embeddings and head."),
        Text(f"Block types of ik_llama.cpp, for qsim roofline only: {', '.join(IK_BITS)}."),
    )


def names() -> list[tuple[str, str]]:
    """Return the name and the kind of every mix."""
    return [(f"gguf-{kind}" if kind in UNIFORM else kind, kind) for kind in MIXES]


def meaning_cells(meaning: Meaning) -> tuple[str, str, str]:
    """Return weights, activations and KV cache of a meaning as table cells."""
    return (_cell(meaning.weights), _cell(meaning.activations), _cell(meaning.kv))


def _cell(scheme: Scheme | GgufMix | None) -> str:
    if scheme is None:
        return "float"
    return scheme.about if isinstance(scheme, GgufMix) else short_name(scheme)


@cache
def same_as(name: str) -> str:
    """Return other names of the same formats, such as ``int4`` for ``w4a16``.

    >>> same_as("w4a16"), same_as("int8"), same_as("w8a8")
    ('int4', 'w8a16', '')
    """
    if name.partition(":")[0] not in SCHEMES and not is_served(name):
        return ""
    meaning = find_meaning(name)
    schemes = [other for other, scheme in SCHEMES.items() if scheme == meaning.weights]
    is_plain = meaning.activations is None and meaning.kv is None
    others = [*(schemes if is_plain else []), *(s for s in SERVED if find_meaning(s) == meaning)]
    return ", ".join(other for other in others if other != name)


def bits(mix: GgufMix) -> float:
    """Return the bits per weight of Llama 3.1 8B in a mix, including embeddings and head."""
    shapes = tensor_shapes(LLAMA_8B)
    total = weights = 0.0
    for name, kind in mix.types(LLAMA_8B).items():
        rows, row = shapes[f"{name}.weight"]
        scheme = GgufScheme(type_name=kind)
        total += rows * row * scheme.bits_per_weight((rows, row), kind="full")
        weights += rows * row
    return total / weights

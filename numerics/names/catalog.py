"""The named schemes, each with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from numerics.codebooks.entries import ENTRIES as CODEBOOKS
from numerics.conventions.entries import ENTRIES as CONVENTIONS
from numerics.formats import Format
from numerics.formats import constants as c
from numerics.gguf.entries import ENTRIES as GGUF
from numerics.mixtures.bitmod import SPECIAL_VALUES, BitMod
from numerics.mixtures.entries import ENTRIES as MIXTURES
from numerics.schemes.element import (
    MX_BLOCK,
    MX_NAMES,
    NVFP4_BLOCK,
    ElementScheme,
    ScaleRule,
    ZeroPoint,
)
from numerics.schemes.granularity import PerGroup, PerTensor
from numerics.schemes.scheme import Scheme
from numerics.structures.entries import ENTRIES as STRUCTURES
from numerics.ternary.entries import ENTRIES as TERNARY_AND_BINARY

#: Groups of the plain schemes, with FP16 scales: the choice of GPTQ, AWQ and BitMoD.
GROUP = PerGroup(128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A named scheme."""

    scheme: Scheme
    #: Paper, specification or code that defines the scheme.
    source: str
    #: Whether activations and caches default to float32 scales per token.
    follows_role: bool = False
    #: Whether the definition fixes group and scale format.
    is_fixed: bool = False


def _plain(element: Format, zero_point: ZeroPoint = ZeroPoint.NONE) -> ElementScheme:
    rule = ScaleRule.ABSMAX if zero_point is ZeroPoint.NONE else ScaleRule.MINMAX
    return ElementScheme(
        element=element, granularity=GROUP, scale_format=c.FP16, rule=rule, zero_point=zero_point
    )


def _mx(element: Format, rule: ScaleRule) -> ElementScheme:
    return ElementScheme(
        element=element, granularity=PerGroup(MX_BLOCK), scale_format=c.E8M0, rule=rule
    )


def _integers() -> dict[str, Entry]:
    entries = {
        f"int{n}": Entry(
            scheme=_plain(c.INTEGERS[n, "narrow"]),
            source="symmetric, narrow range; Nagel et al., arXiv:2106.08295, section 2.2",
            follows_role=True,
        )
        for n in c.INT_BITS
    }
    entries |= {
        f"int{n}-asym": Entry(
            scheme=_plain(c.INTEGERS[n, "unsigned"], ZeroPoint.INTEGER),
            source="integer zero point; GPTQ, arXiv:2210.17323, and AWQ, arXiv:2306.00978",
            follows_role=True,
        )
        for n in c.INT_BITS
    }
    entries["int4-floatmin"] = Entry(
        scheme=ElementScheme(
            element=c.INTEGERS[4, "unsigned"],
            granularity=PerGroup(32),
            scale_format=c.FP16,
            rule=ScaleRule.MINMAX,
            zero_point=ZeroPoint.MINIMUM,
        ),
        source="the blocks of GGUF Q4_1; codes by division by the stored scale, ties to even",
    )
    return entries


def _floats() -> dict[str, Entry]:
    return {
        name: Entry(scheme=_plain(element), source=source, follows_role=True)
        for name, (element, source) in c.PLAIN.items()
    }


def _tables() -> dict[str, Entry]:
    sixty_four = partial(ElementScheme, granularity=PerGroup(64), scale_format=c.FP32)
    ternary = ElementScheme(
        element=c.TERNARY, granularity=GROUP, scale_format=c.FP16, rule=ScaleRule.ABSMEAN
    )
    return {
        "nf4": Entry(
            scheme=sixty_four(element=c.NF4),
            source="QLoRA, arXiv:2305.14314, by division; nf4-bnb multiplies by 1/amax",
        ),
        "nf3": Entry(scheme=sixty_four(element=c.NF3), source="LQ-LoRA, arXiv:2311.12023"),
        "nf2": Entry(scheme=sixty_four(element=c.NF2), source="LQ-LoRA, arXiv:2311.12023"),
        "ternary": Entry(
            scheme=ternary, source="BitNet b1.58, arXiv:2402.17764, but a scale per group"
        ),
    }


def _blocks() -> dict[str, Entry]:
    rules = {
        "": (ScaleRule.FLOOR, "OCP MX v1.0, section 6.3"),
        "-rceil": (ScaleRule.RCEIL, "OCP MX v1.0 with the scale of cuBLAS and cuDNN"),
        "-ceil": (ScaleRule.CEIL, "OCP MX v1.0 with the CEIL scale of torchao"),
        "-even": (ScaleRule.EVEN, "OCP MX v1.0 with the EVEN scale of torchao"),
    }
    entries = {
        name + suffix: Entry(scheme=_mx(element, rule), source=source, is_fixed=True)
        for suffix, (rule, source) in rules.items()
        for element, name in MX_NAMES.items()
    }
    nvfp4 = ElementScheme(
        element=c.E2M1,
        granularity=PerGroup(NVFP4_BLOCK),
        scale_format=c.E4M3,
        second_level=PerTensor(),
    )
    entries["nvfp4"] = Entry(
        scheme=nvfp4,
        source="NVIDIA NVFP4, as modelopt 0.47 computes it; an all-zero tensor has scale 1",
        is_fixed=True,
    )
    return entries


def _mixtures() -> dict[str, Entry]:
    source = "BitMoD, arXiv:2411.11745, section III, with FP16 scales and float32 errors"
    return {
        scheme.name: Entry(scheme=scheme, source=source)
        for bits, specials in SPECIAL_VALUES.items()
        for scheme in (
            BitMod(weight_bits=bits, specials=specials),
            BitMod(weight_bits=bits, specials=specials[:2]),
            BitMod(weight_bits=bits, specials=specials[2:]),
        )
    }


def _named(entries: Mapping[str, tuple[Scheme, str]]) -> dict[str, Entry]:
    return {
        name: Entry(scheme=scheme, source=source, is_fixed=not scheme.has_free_group)
        for name, (scheme, source) in entries.items()
    }


CATALOG: dict[str, Entry] = {
    **_integers(),
    **_floats(),
    **_tables(),
    **_blocks(),
    **_mixtures(),
    **_named(TERNARY_AND_BINARY),
    **_named(GGUF),
    **_named(CONVENTIONS),
    **_named(MIXTURES),
    **_named(CODEBOOKS),
    **_named(STRUCTURES),
}
SCHEMES: dict[str, Scheme] = {name: entry.scheme for name, entry in CATALOG.items()}

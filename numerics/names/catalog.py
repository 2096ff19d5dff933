"""The named formats and schemes, each with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from numerics.codebooks.entries import ENTRIES as CODEBOOKS
from numerics.conventions.entries import ENTRIES as CONVENTIONS
from numerics.formats import (
    APOT3,
    APOT4,
    APOT5,
    BF16,
    DINT3,
    DINT4,
    DINT5,
    DINT6,
    DINT7,
    DINT8,
    E1M2,
    E2M0,
    E2M1,
    E2M2,
    E2M3,
    E3M0,
    E3M1,
    E3M2,
    E3M4,
    E4M3,
    E4M3_ALL,
    E4M3_IEEE,
    E4M3B11FNUZ,
    E4M3FNUZ,
    E5M2,
    E5M2FNUZ,
    E8M0,
    FLINT3,
    FLINT4,
    FLINT5,
    FP4_BNB,
    FP16,
    FP32,
    MXINT8,
    NF2,
    NF3,
    NF4,
    POT3,
    POT4,
    POT4_LOG,
    POT5,
    TERNARY,
    Format,
    IntFormat,
)
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

INT_BITS = range(2, 9)
#: Group of the plain schemes and the format of its scale: GPTQ, AWQ and BitMoD use the same.
GROUP = PerGroup(128)


def int_format(bits: int, *, kind: str = "narrow") -> IntFormat:
    """Return the integer format of the catalog with so many bits."""
    return INTEGERS[bits, kind]


INTEGERS = {
    **{(n, "narrow"): IntFormat(name=f"int{n}", bits=n) for n in INT_BITS},
    **{(n, "full"): IntFormat(name=f"int{n}_full", bits=n, kind="full") for n in INT_BITS},
    **{(n, "unsigned"): IntFormat(name=f"uint{n}", bits=n, kind="unsigned") for n in INT_BITS},
}

FORMATS: dict[str, Format] = {
    fmt.name: fmt
    for fmt in (
        *INTEGERS.values(), MXINT8, TERNARY,
        E2M0, E2M1, E1M2, E3M0, E2M2, E3M1, E2M3, E3M2,
        E4M3, E4M3_ALL, E4M3_IEEE, E4M3FNUZ, E4M3B11FNUZ, E3M4, E5M2, E5M2FNUZ,
        NF2, NF3, NF4, FP4_BNB, POT3, POT4, POT4_LOG, POT5, APOT3, APOT4, APOT5,
        FLINT3, FLINT4, FLINT5, DINT3, DINT4, DINT5, DINT6, DINT7, DINT8,
        FP32, FP16, BF16, E8M0,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A named scheme."""

    scheme: Scheme
    #: Where the definition comes from.
    source: str
    #: Whether activations and cache use it per token with float32 scales, unless the text says.
    follows_role: bool = False
    #: Whether group and scale format belong to the definition.
    is_fixed: bool = False


def _plain(element: Format, zero_point: ZeroPoint = ZeroPoint.NONE) -> ElementScheme:
    rule = ScaleRule.ABSMAX if zero_point is ZeroPoint.NONE else ScaleRule.MINMAX
    return ElementScheme(
        element=element, granularity=GROUP, scale_format=FP16, rule=rule, zero_point=zero_point
    )


def _mx(element: Format, rule: ScaleRule) -> ElementScheme:
    return ElementScheme(
        element=element, granularity=PerGroup(MX_BLOCK), scale_format=E8M0, rule=rule
    )


def _integers() -> dict[str, Entry]:
    entries = {
        f"int{n}": Entry(
            scheme=_plain(int_format(n)),
            source="symmetric, narrow range; Nagel et al., arXiv:2106.08295, section 2.2",
            follows_role=True,
        )
        for n in INT_BITS
    }
    entries |= {
        f"int{n}-asym": Entry(
            scheme=_plain(int_format(n, kind="unsigned"), ZeroPoint.INTEGER),
            source="integer zero point; GPTQ, arXiv:2210.17323, and AWQ, arXiv:2306.00978",
            follows_role=True,
        )
        for n in INT_BITS
    }
    entries["int4-floatmin"] = Entry(
        scheme=ElementScheme(
            element=int_format(4, kind="unsigned"),
            granularity=PerGroup(32),
            scale_format=FP16,
            rule=ScaleRule.MINMAX,
            zero_point=ZeroPoint.MINIMUM,
        ),
        source="the blocks of GGUF Q4_1; codes by division by the stored scale, ties to even",
    )
    return entries


def _floats() -> dict[str, Entry]:
    sources = {
        "fp4": (E2M1, "OCP MX v1.0 E2M1; LLM-FP4, arXiv:2310.16836"),
        "fp6_e2m3": (E2M3, "OCP MX v1.0 E2M3; FP6-LLM, arXiv:2401.14112"),
        "fp6_e3m2": (E3M2, "OCP MX v1.0 E3M2; FP6-LLM, arXiv:2401.14112"),
        "fp8_e4m3": (E4M3, "OCP OFP8 v1.0; arXiv:2209.05433"),
        "fp8_e5m2": (E5M2, "OCP OFP8 v1.0; arXiv:2209.05433"),
        "fp3": (E2M0, "BitMoD, arXiv:2411.11745, table IV"),
        "fp4_e1m2": (E1M2, "LLM-FP4, arXiv:2310.16836, section 3"),
        "fp4_e3m0": (E3M0, "LLM-FP4, arXiv:2310.16836, section 3"),
        "fp5_e2m2": (E2M2, "BitMoD's code, arXiv:2411.11745"),
        "fp5_e3m1": (E3M1, "BitMoD's code, arXiv:2411.11745"),
        "fp8_e4m3_all": (E4M3_ALL, "LLM-FP4, arXiv:2310.16836: every code a number, max 480"),
        "fp8_e4m3_ieee": (E4M3_IEEE, "float8_e4m3 of ml_dtypes, with infinities"),
        "fp8_e4m3fnuz": (E4M3FNUZ, "Noune et al., arXiv:2206.02915"),
        "fp8_e4m3b11fnuz": (E4M3B11FNUZ, "float8_e4m3b11fnuz of ml_dtypes"),
        "fp8_e3m4": (E3M4, "float8_e3m4 of ml_dtypes"),
        "fp8_e5m2fnuz": (E5M2FNUZ, "Noune et al., arXiv:2206.02915"),
        "pot3": (POT3, "ANT's code, arXiv:2208.14286: powers of two, nearest in value"),
        "pot4": (POT4, "ANT's code, arXiv:2208.14286: powers of two, nearest in value"),
        "pot5": (POT5, "ANT's code, arXiv:2208.14286: powers of two, nearest in value"),
        "pot4_log": (POT4_LOG, "the same powers of two, nearest in their logarithm"),
        **{
            apot.name: (apot, "additive powers of two, arXiv:1909.13144, as ANT lists them")
            for apot in (APOT3, APOT4, APOT5)
        },
        "flint3": (FLINT3, "ANT, arXiv:2208.14286"),
        "flint4": (FLINT4, "ANT, arXiv:2208.14286"),
        "flint5": (FLINT5, "ANT, arXiv:2208.14286"),
        **{
            dint.name: (dint, "dINT, Lee et al., EMNLP 2023, section 4.2, symmetric")
            for dint in (DINT3, DINT4, DINT5, DINT6, DINT7, DINT8)
        },
    }
    return {
        name: Entry(scheme=_plain(element), source=source, follows_role=True)
        for name, (element, source) in sources.items()
    }


def _tables() -> dict[str, Entry]:
    sixty_four = partial(ElementScheme, granularity=PerGroup(64), scale_format=FP32)
    ternary = ElementScheme(
        element=TERNARY, granularity=GROUP, scale_format=FP16, rule=ScaleRule.ABSMEAN
    )
    return {
        "nf4": Entry(
            scheme=sixty_four(element=NF4),
            source="QLoRA, arXiv:2305.14314, by division; nf4-bnb multiplies by 1/amax",
        ),
        "nf3": Entry(scheme=sixty_four(element=NF3), source="LQ-LoRA, arXiv:2311.12023"),
        "nf2": Entry(scheme=sixty_four(element=NF2), source="LQ-LoRA, arXiv:2311.12023"),
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
        element=E2M1,
        granularity=PerGroup(NVFP4_BLOCK),
        scale_format=E4M3,
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

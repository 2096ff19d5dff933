"""The named formats and schemes, each with its source."""

from dataclasses import dataclass

from numerics.element_scheme import (
    MX_BLOCK,
    MX_NAMES,
    NVFP4_BLOCK,
    ElementScheme,
    ScaleRule,
    ZeroPoint,
)
from numerics.formats import (
    BF16,
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    E8M0,
    FP16,
    FP32,
    MXINT8,
    NF4,
    TERNARY,
    Format,
    IntFormat,
)
from numerics.granularity import PerGroup
from numerics.scheme import Scheme

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
        E2M1, E2M3, E3M2, E4M3, E5M2,
        NF4,
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
    }
    return {
        name: Entry(scheme=_plain(element), source=source, follows_role=True)
        for name, (element, source) in sources.items()
    }


def _codebooks() -> dict[str, Entry]:
    nf4 = ElementScheme(element=NF4, granularity=PerGroup(64), scale_format=FP32)
    ternary = ElementScheme(
        element=TERNARY, granularity=GROUP, scale_format=FP16, rule=ScaleRule.ABSMEAN
    )
    return {
        "nf4": Entry(
            scheme=nf4,
            source="QLoRA, arXiv:2305.14314, and bitsandbytes, which multiplies by 1/amax instead",
        ),
        "ternary": Entry(
            scheme=ternary, source="BitNet b1.58, arXiv:2402.17764, but a scale per group"
        ),
    }


def _blocks() -> dict[str, Entry]:
    rules = {
        "": (ScaleRule.FLOOR, "OCP MX v1.0, section 6.3"),
        "-rceil": (ScaleRule.RCEIL, "OCP MX v1.0 with the scale of cuBLAS and cuDNN"),
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
        tensor_scale=True,
    )
    entries["nvfp4"] = Entry(
        scheme=nvfp4,
        source="NVIDIA NVFP4, as modelopt 0.47 computes it; an all-zero tensor has scale 1",
        is_fixed=True,
    )
    return entries


CATALOG: dict[str, Entry] = {**_integers(), **_floats(), **_codebooks(), **_blocks()}
SCHEMES: dict[str, Scheme] = {name: entry.scheme for name, entry in CATALOG.items()}

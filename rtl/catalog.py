"""The processing elements by name, each made from the format objects it implements."""

from functools import cache

from numerics.formats import FORMATS, TableFormat
from numerics.mixtures.selected import SelectedFormat
from numerics.names.catalog import SCHEMES
from numerics.names.suggest import unknown
from numerics.pe.block_scale import BlockScaled
from numerics.pe.block_shift import BlockShifted
from numerics.pe.models import bitmod_floats, bitmod_integers
from numerics.pe.rounding import RoundingPe
from numerics.pe.running import RunningDot
from rtl.arithmetic.products import (
    AddSkip,
    BoothShiftAdd,
    FloatProduct,
    Multiplier,
    ShiftAdd,
    ShiftAddFloat,
)
from rtl.arithmetic.terms import LeadingOnes, Serial
from rtl.comparable import comparables
from rtl.element import ProcessingElement, ProofCost
from rtl.pe.aligned.element import AlignedPe
from rtl.pe.bit_planes.element import BitPlanesPe
from rtl.pe.block_dot.element import BlockDotPe
from rtl.pe.codebook.element import AdditivePe, ColumnBooksPe
from rtl.pe.column.element import ColumnPe
from rtl.pe.column_signs.element import ColumnSignsPe
from rtl.pe.dequantizer.element import DequantizerPe
from rtl.pe.dot_product.circuit import ProductFactory
from rtl.pe.dot_product.element import DotProductPe
from rtl.pe.e8p.element import E8pPe
from rtl.pe.fp16_mac.element import Fp16MacPe
from rtl.pe.lookup.circuit import I2_S
from rtl.pe.lookup.element import LookupPe
from rtl.pe.running.element import RunningPe
from rtl.pe.special.element import SpecialPe
from rtl.pe.zero_point.element import ZeroPointPe

_BINARY = TableFormat(name="binary", table=(-1.0, 1.0))
_AQLM, _VPTQ = "AQLM, arXiv:2401.06118, section 3", "VPTQ, arXiv:2409.17066, section 3"
_BITMOD = "BitMoD, arXiv:2411.11745"
_BITNET_CPP = "bitnet.cpp, arXiv:2502.11880, section 3"
_MIXPE = "MixPE, arXiv:2411.16158"
_FORMATS = {**FORMATS, I2_S.name: I2_S, _BINARY.name: _BINARY}
_INT4, _INT8, _FP4, _E4M3 = (FORMATS[name] for name in ("int4", "int8", "fp4_e2m1", "fp8_e4m3"))


def _dot(
    name: str,
    weights: str,
    activations: str,
    product: ProductFactory,
    source: str,
    *,
    lanes: int = 1,
    proof_cost: ProofCost = "quick",
) -> DotProductPe:
    """Return an exact dot product of two formats by their names."""
    return DotProductPe(
        name=name,
        weights=_FORMATS[weights],
        activations=_FORMATS[activations],
        product=product,
        source=source,
        lanes=lanes,
        proof_cost=proof_cost,
    )


def _serial(bits: int) -> DotProductPe:
    """Return BitMoD's serial PE with an exact sum instead of its exponent-aligned one."""
    name, serial = f"bitmod-fp{bits}", Serial(terms=LeadingOnes, cycles=2)
    return DotProductPe(
        name=name,
        weights=SelectedFormat(name=name, candidates=SCHEMES[name].formats),
        activations=FORMATS["fp16"],
        product=serial.summed,
        source=f"{_BITMOD}, two terms a weight, exact sum",
        lanes=4,
        serial=serial,
        proof_cost="minutes",
    )


def _mixpe(
    name: str, model: BlockScaled | BlockShifted, length: int, *, proof_cost: ProofCost = "quick"
) -> BlockDotPe:
    """Return MixPE's dot product, which scales the sum of each group of 128."""
    return BlockDotPe(
        name=name,
        source=f"{_MIXPE}, scales after the group",
        model=model,
        product=ShiftAdd,
        lanes=16,
        length=length,
        proof_cost=proof_cost,
    )


_DOT_PRODUCTS: tuple[ProcessingElement, ...] = (
    _dot("int8-mac", "int8", "int8", Multiplier, "baseline: multiply and add"),
    _dot("int4x8-mac", "int4", "int8", Multiplier, "baseline: multiply and add"),
    _dot("mixpe-w4a8", "int4", "int8", ShiftAdd, f"{_MIXPE}, shift and add"),
    _dot(
        "mixpe-w4a16",
        "int4",
        "fp16",
        ShiftAddFloat,
        f"{_MIXPE}, exact sum",
        proof_cost="minutes",
    ),
    _dot("booth-w8a8", "int8", "int8", BoothShiftAdd, "Booth, 1951, radix 4", proof_cost="minutes"),
    _dot("booth-w4a8", "int4", "int8", BoothShiftAdd, "Booth, 1951, radix 4"),
    _dot("dint4-mac", "dint4", "int8", Multiplier, "dINT, Lee et al., EMNLP 2023, half units"),
    _dot("dint3-mac", "dint3", "int8", Multiplier, "dINT, Lee et al., EMNLP 2023, half units"),
    _dot("fp4-dot", "fp4_e2m1", "fp4_e2m1", FloatProduct, "OCP MX v1.0 E2M1, fixed-point sum"),
    _dot(
        "fp8xfp4-dot",
        "fp4_e2m1",
        "fp8_e4m3",
        FloatProduct,
        "E4M3 x E2M1, fixed-point sum",
        proof_cost="seconds",
    ),
    _dot(
        "fp8-dot",
        "fp8_e4m3",
        "fp8_e4m3",
        FloatProduct,
        "OCP OFP8 E4M3, fixed-point sum",
        proof_cost="minutes",
    ),
    _dot("ternary-16", "i2_s", "int8", AddSkip, "BitNet b1.58, arXiv:2402.17764", lanes=16),
    _dot("binary-16", "binary", "int8", AddSkip, "FBI-LLM, arXiv:2407.07093", lanes=16),
    _serial(4),
    _serial(3),
    _dot("int4-16", "int4", "int4", Multiplier, "baseline: multiply and add", lanes=16),
    _dot(
        "int8-16",
        "int8",
        "int8",
        Multiplier,
        "baseline: multiply and add",
        lanes=16,
        proof_cost="seconds",
    ),
    _dot(
        "nf4-16", "nf4_int8", "int8", Multiplier, "QLoRA, arXiv:2305.14314, 8-bit table", lanes=16
    ),
    _dot(
        "fp8-16",
        "fp8_e4m3",
        "fp8_e4m3",
        FloatProduct,
        "OCP OFP8 E4M3, fixed-point sum",
        lanes=16,
        proof_cost="minutes",
    ),
)

#: PEs whose beats have further fields, such as scales, or codes that stand for several weights.
_WITH_MORE_FIELDS: tuple[ProcessingElement, ...] = (
    BlockDotPe(
        name="nvfp4-dot",
        source="NVFP4 without its FP32 scales, exact sum",
        model=BlockScaled(weights=_FP4, activations=_FP4, scales=(_E4M3, _E4M3), block=16),
        product=FloatProduct,
        lanes=16,
    ),
    BlockDotPe(
        name="mxfp4-dot",
        source="OCP MX v1.0, MXFP4, exact in a window of 32 scales",
        model=BlockShifted(weights=_FP4, activations=_FP4, scales=2, block=32),
        product=FloatProduct,
        lanes=16,
    ),
    _mixpe(
        "mixpe-w4a8-fp16",
        BlockScaled(weights=_INT4, activations=_INT8, scales=(FORMATS["fp16"],), block=128),
        512,
        proof_cost="minutes",
    ),
    _mixpe(
        "mixpe-w4a8-int8",
        BlockScaled(weights=_INT4, activations=_INT8, scales=(_INT8,), block=128),
        4096,
    ),
    _mixpe(
        "mixpe-w4a8-shift",
        BlockShifted(weights=_INT4, activations=_INT8, scales=1, block=128),
        512,
    ),
    ZeroPointPe(
        name="mixpe-w4a8-zero",
        source=f"{_MIXPE}, zero points off after the group",
        weights=FORMATS["uint4"],
        activations=_INT8,
        product=ShiftAdd,
        columns=2,
        lanes=8,
        proof_cost="minutes",
    ),
    ZeroPointPe(
        name="uint4-zero-16",
        source="baseline: multiply and add, zero points off after the group",
        weights=FORMATS["uint4"],
        activations=_INT8,
        product=Multiplier,
        columns=1,
        lanes=16,
        proof_cost="minutes",
    ),
    ColumnSignsPe(
        name="binary-columns",
        source="FBI-LLM, arXiv:2407.07093, section 3.1, scales and offsets in 8 bits",
        product=Multiplier,
        columns=2,
        lanes=16,
    ),
    LookupPe(name="tl1-lookup", source=_BITNET_CPP, size=2, lanes=12),
    LookupPe(name="tl2-lookup", source=_BITNET_CPP, size=3, lanes=18),
    E8pPe(
        name="e8p-dot",
        source="QuIP#, arXiv:2402.04396, section 4",
        lanes=8,
        proof_cost="seconds",
    ),
    AdditivePe(name="aqlm-2x4", source=_AQLM, books=2, code_bits=4, proof_cost="minutes"),
    AdditivePe(name="aqlm-2x8", source=_AQLM, books=2, code_bits=8, proof_cost="minutes"),
    ColumnBooksPe(
        name="vptq-2x4",
        source=_VPTQ,
        books=2,
        code_bits=4,
        rows=2,
        columns=4,
        lanes=8,
        proof_cost="minutes",
    ),
    BitPlanesPe(name="nested-planes", source="Any-Precision LLM, arXiv:2402.10517", lanes=16),
)

#: PEs with FP16 activations whose sums round.
_ROUNDING: tuple[ProcessingElement, ...] = (
    Fp16MacPe(
        name="fp16-mac",
        source="baseline: FP16 multiplier, FP32 adder",
        proof_cost="minutes",
    ),
    RunningPe(
        name="mixpe-w4a16-running",
        source=f"{_MIXPE}, a short accumulator",
        model=RunningDot(weights=_INT4),
        proof_cost="seconds",
    ),
    AlignedPe(name="bitmod-fp4-aligned", model=bitmod_floats(4)),
    AlignedPe(name="bitmod-fp4-nearest", model=bitmod_floats(4, "nearest"), proof_cost="seconds"),
    AlignedPe(name="bitmod-fp3-aligned", model=bitmod_floats(3), proof_cost="seconds"),
    AlignedPe(name="bitmod-int8-aligned", model=bitmod_integers(8), proof_cost="minutes"),
    AlignedPe(name="bitmod-int6-aligned", model=bitmod_integers(6), proof_cost="minutes"),
    AlignedPe(name="bitmod-int5-aligned", model=bitmod_integers(5), proof_cost="minutes"),
    AlignedPe(name="bitmod-int4-aligned", model=bitmod_integers(4), proof_cost="seconds"),
    SpecialPe(
        name="bitmod-fp4-special",
        source=f"{_BITMOD}, section IV-B",
        base=_FP4,
        lanes=4,
        proof_cost="seconds",
    ),
    ColumnPe(name="bitmod-fp4-column", model=bitmod_floats(4), proof_cost="minutes"),
    DequantizerPe(
        name="bitmod-dequantizer", source=f"{_BITMOD}, section IV-B", model=bitmod_floats(4)
    ),
)

PES: dict[str, ProcessingElement] = {
    pe.name: pe for pe in (*_DOT_PRODUCTS, *_WITH_MORE_FIELDS, *_ROUNDING)
}
#: Models of the PEs whose sums round, by name.
ROUNDING: dict[str, RoundingPe] = {
    name: pe.rounding_model for name, pe in PES.items() if pe.rounding_model is not None
}


def find_pe(name: str) -> ProcessingElement:
    """Return a PE by its name; also a variant of :mod:`rtl.comparable`.

    >>> find_pe("mixpe-w4a8").weight_name, find_pe("int8-mac-scaled-x16").lanes
    ('int4', 16)
    """
    if name in PES:
        return PES[name]
    variants = _comparables()
    if name not in variants:
        raise ValueError(unknown("PE", name, PES, see="qsim rtl"))
    return variants[name]


@cache
def _comparables() -> dict[str, ProcessingElement]:
    """Return the PEs that costs are compared with, by name."""
    return comparables(PES.values())

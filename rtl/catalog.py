"""The processing elements by name, each made from the format objects it implements."""

from numerics.formats import TableFormat
from numerics.mixtures.selected import SelectedFormat
from numerics.names.catalog import FORMATS, SCHEMES
from numerics.names.suggest import unknown
from rtl.arithmetic.products import (
    AddSkip,
    BoothShiftAdd,
    FloatProduct,
    Multiplier,
    ShiftAdd,
    ShiftAddFloat,
)
from rtl.arithmetic.terms import LeadingOnes, Serial
from rtl.element import ProcessingElement
from rtl.float_pes import FLOAT_PES
from rtl.integer_pes import INTEGER_PES
from rtl.pe.dot_product.circuit import ProductFactory
from rtl.pe.dot_product.element import DotProductPe
from rtl.pe.lookup.circuit import I2_S

BINARY = TableFormat(name="binary", table=(-1.0, 1.0))


def _pe(
    name: str, weights: str, activations: str, product: ProductFactory, source: str, lanes: int = 1
) -> DotProductPe:
    formats = {**FORMATS, I2_S.name: I2_S, BINARY.name: BINARY}
    return DotProductPe(
        name=name,
        weights=formats[weights],
        activations=formats[activations],
        product=product,
        source=source,
        lanes=lanes,
    )


PES: dict[str, ProcessingElement] = {
    pe.name: pe
    for pe in (
        _pe("int8-mac", "int8", "int8", Multiplier, "baseline: multiply and add"),
        _pe("int4x8-mac", "int4", "int8", Multiplier, "baseline: multiply and add"),
        _pe("mixpe-w4a8", "int4", "int8", ShiftAdd, "MixPE, arXiv:2411.16158, shift and add"),
        _pe("mixpe-w4a16", "int4", "fp16", ShiftAddFloat, "MixPE, arXiv:2411.16158, exact sum"),
        _pe("booth-w8a8", "int8", "int8", BoothShiftAdd, "Booth, 1951, radix 4"),
        _pe("booth-w4a8", "int4", "int8", BoothShiftAdd, "Booth, 1951, radix 4"),
        _pe("dint4-mac", "dint4", "int8", Multiplier, "dINT, Lee et al., EMNLP 2023, half units"),
        _pe("dint3-mac", "dint3", "int8", Multiplier, "dINT, Lee et al., EMNLP 2023, half units"),
        _pe("fp4-dot", "fp4_e2m1", "fp4_e2m1", FloatProduct, "OCP MX v1.0 E2M1, fixed-point sum"),
        _pe("fp8xfp4-dot", "fp4_e2m1", "fp8_e4m3", FloatProduct, "E4M3 x E2M1, fixed-point sum"),
        _pe("fp8-dot", "fp8_e4m3", "fp8_e4m3", FloatProduct, "OCP OFP8 E4M3, fixed-point sum"),
        _pe("ternary-16", "i2_s", "int8", AddSkip, "BitNet b1.58, arXiv:2402.17764", lanes=16),
        _pe("binary-16", "binary", "int8", AddSkip, "FBI-LLM, arXiv:2407.07093", lanes=16),
    )
}


def _bitmod(bits: int) -> DotProductPe:
    """Return BitMoD's serial PE with an exact sum in place of its aligned one."""
    name, serial = f"bitmod-fp{bits}", Serial(terms=LeadingOnes, cycles=2)
    return DotProductPe(
        name=name,
        weights=SelectedFormat(name=name, candidates=SCHEMES[name].formats),
        activations=FORMATS["fp16"],
        product=serial.summed,
        source="BitMoD, arXiv:2411.11745, two terms a weight, exact sum",
        lanes=4,
        serial=serial,
    )


PES |= {pe.name: pe for pe in (_bitmod(4), _bitmod(3))}
PES |= {pe.name: pe for pe in (*INTEGER_PES, *FLOAT_PES)}


def find_pe(name: str) -> ProcessingElement:
    """Return a PE by its name.

    >>> find_pe("mixpe-w4a8").weight_name
    'int4'
    """
    if name not in PES:
        raise ValueError(unknown("PE", name, PES, see="qsim rtl"))
    return PES[name]

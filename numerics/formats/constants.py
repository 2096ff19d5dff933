"""The named formats, each with its source; a plain format is added here and nowhere else.

A format made by :func:`_element` is also a scheme of the catalog, in the order of this file.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import TypeVar

import numpy as np

from numerics.formats.base import Format
from numerics.formats.floating import FloatFormat, float_format
from numerics.formats.integer import IntFormat
from numerics.formats.power_of_two import PowerOfTwoFormat
from numerics.formats.table import TableFormat, mirrored

_Constant = TypeVar("_Constant", bound=Format)

INT_BITS = range(2, 9)
#: Integer formats by number of bits and kind.
INTEGERS: dict[tuple[int, str], IntFormat] = {
    **{(n, "narrow"): IntFormat(name=f"int{n}", bits=n) for n in INT_BITS},
    **{(n, "full"): IntFormat(name=f"int{n}_full", bits=n, kind="full") for n in INT_BITS},
    **{(n, "unsigned"): IntFormat(name=f"uint{n}", bits=n, kind="unsigned") for n in INT_BITS},
}
#: Formats with a scheme of their own, by the name of the scheme, each with the scheme's source.
PLAIN: dict[str, tuple[Format, str]] = {}


def _element(fmt: _Constant, source: str, *, scheme: str = "") -> _Constant:
    """Enter a format in :data:`PLAIN`, under its own name unless ``scheme`` is given."""
    PLAIN[scheme or fmt.name] = (fmt, source)
    return fmt


def _float32(*values: float) -> tuple[float, ...]:
    return tuple(float(np.float32(value)) for value in values)


def _normal_float(bits: int) -> TableFormat:
    """Quantiles of the normal distribution with a zero, in double precision.

    ``2^(b-1)`` of them lie below zero and as many above, at equal steps of probability from 1/2 to
    an end that bitsandbytes chose for four bits; all are divided by the largest.
    """
    quantile, end, half = NormalDist().inv_cdf, 0.9677083, 1 << (bits - 1)
    positive = [quantile(0.5 + (end - 0.5) * i / half) for i in range(1, half + 1)]
    negative = [quantile(0.5 - (end - 0.5) * i / (half - 1)) for i in range(half - 1, 0, -1)]
    table = _float32(*(value / positive[-1] for value in (*negative, 0.0, *positive)))
    return TableFormat(name=f"nf{bits}", table=table)


def _log_boundaries(count: int) -> tuple[float, ...]:
    positive = _float32(*(math.sqrt(2.0) * 2.0**k for k in range(-1, count - 1)))
    return (*(-b for b in reversed(positive)), *positive)


def _dint(bits: int) -> TableFormat:
    top = (1 << (bits - 1)) - 2
    magnitudes = (0.5, *range(1, top + 1))
    # A tie between 0 and 1/2 goes to 0, one between 1/2 and 1 to 1, others to the even integer.
    away = (False, True, *(n % 2 == 1 for n in range(1, top)))
    ties_up = (*(not goes for goes in reversed(away)), *away)
    # Two's complement, but its extreme integers are +-1/2, and the code after the least is unused.
    negative = range((1 << bits) - top, 1 << bits)
    codes = (*negative, top + 2, 0, top + 1, *range(1, top + 1))
    return mirrored(f"dint{bits}", magnitudes, ties_up=ties_up, codes=codes)


#: Elements of MXINT8, OCP MX v1.0, section 5.3.4: two's complement with an implied scale of 2^-6;
#: -2.0 is unused, as in microxcaling.
MXINT8 = IntFormat(name="int8_q6", bits=8, unit=2.0**-6)
#: {-1, 0, 1}; BitNet b1.58, arXiv:2402.17764.
TERNARY = IntFormat(name="ternary", bits=2)

#: Elements of MXFP4, OCP MX v1.0, section 5.3.3.
E2M1 = _element(
    FloatFormat(name="fp4_e2m1", exponent_bits=2, mantissa_bits=1, bias=1),
    "OCP MX v1.0 E2M1; LLM-FP4, arXiv:2310.16836",
    scheme="fp4",
)
#: Elements of MXFP6, OCP MX v1.0, section 5.3.2.
E2M3 = _element(
    FloatFormat(name="fp6_e2m3", exponent_bits=2, mantissa_bits=3, bias=1),
    "OCP MX v1.0 E2M3; FP6-LLM, arXiv:2401.14112",
)
#: Elements of MXFP6, OCP MX v1.0, section 5.3.2.
E3M2 = _element(
    FloatFormat(name="fp6_e3m2", exponent_bits=3, mantissa_bits=2, bias=3),
    "OCP MX v1.0 E3M2; FP6-LLM, arXiv:2401.14112",
)
#: ``float8_e4m3fn`` of ml_dtypes and PyTorch: no infinity, one NaN of each sign.
E4M3 = _element(
    FloatFormat(name="fp8_e4m3", exponent_bits=4, mantissa_bits=3, bias=7, specials="nan"),
    "OCP OFP8 v1.0; arXiv:2209.05433",
)
#: ``float8_e5m2`` of ml_dtypes and PyTorch, with infinities.
E5M2 = _element(
    FloatFormat(name="fp8_e5m2", exponent_bits=5, mantissa_bits=2, bias=15, specials="ieee"),
    "OCP OFP8 v1.0; arXiv:2209.05433",
)
E2M0 = _element(float_format(2, 0), "BitMoD, arXiv:2411.11745, table IV", scheme="fp3")
#: Integers in steps of a half, with a sign.
E1M2 = _element(float_format(1, 2), "LLM-FP4, arXiv:2310.16836, section 3")
#: Signed powers of two and zero.
E3M0 = _element(float_format(3, 0), "LLM-FP4, arXiv:2310.16836, section 3")
E2M2 = _element(float_format(2, 2), "BitMoD's code, arXiv:2411.11745")
E3M1 = _element(float_format(3, 1), "BitMoD's code, arXiv:2411.11745")
E4M3_ALL = _element(
    dataclasses.replace(float_format(4, 3), name="fp8_e4m3_all"),
    "LLM-FP4, arXiv:2310.16836: every code a number, max 480",
)
#: Infinities and NaN as in IEEE 754.
E4M3_IEEE = _element(
    FloatFormat(name="fp8_e4m3_ieee", exponent_bits=4, mantissa_bits=3, bias=7, specials="ieee"),
    "float8_e4m3 of ml_dtypes, with infinities",
)
#: ``float8_e4m3fnuz`` of ml_dtypes: no infinity, no negative zero.
E4M3FNUZ = _element(
    FloatFormat(name="fp8_e4m3fnuz", exponent_bits=4, mantissa_bits=3, bias=8, specials="fnuz"),
    "Noune et al., arXiv:2206.02915",
)
E4M3B11FNUZ = _element(
    FloatFormat(name="fp8_e4m3b11fnuz", exponent_bits=4, mantissa_bits=3, bias=11, specials="fnuz"),
    "float8_e4m3b11fnuz of ml_dtypes",
)
E3M4 = _element(
    FloatFormat(name="fp8_e3m4", exponent_bits=3, mantissa_bits=4, bias=3, specials="ieee"),
    "float8_e3m4 of ml_dtypes",
)
#: ``float8_e5m2fnuz`` of ml_dtypes: no infinity, no negative zero.
E5M2FNUZ = _element(
    FloatFormat(name="fp8_e5m2fnuz", exponent_bits=5, mantissa_bits=2, bias=16, specials="fnuz"),
    "Noune et al., arXiv:2206.02915",
)

#: Normal floats of two bits; LQ-LoRA, arXiv:2311.12023.
NF2 = _normal_float(2)
#: Normal floats of three bits; LQ-LoRA, arXiv:2311.12023.
NF3 = _normal_float(3)
#: Normal floats of four bits; QLoRA, arXiv:2305.14314, appendix E, as in bitsandbytes (float32).
NF4 = TableFormat(
    name="nf4",
    table=_float32(
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ),
)  # fmt: skip
#: NF4 times 127, rounded to integers: the table of a processing element with integer products.
NF4_INT8 = _element(
    TableFormat(name="nf4_int8", table=tuple(float(round(127 * value)) for value in NF4.table)),
    "NF4 of QLoRA, arXiv:2305.14314, its values rounded to 8 bits",
)
#: FP4 of bitsandbytes: values ``{0, 1/16, 8, 12, 4, 6, 2, 3} / 12`` of codes 0 to 7, and their
#: negatives for codes 8 to 15. Positive numbers that round to zero get code 8; zero and negative
#: numbers that round to zero get code 0.
FP4_BNB = TableFormat(
    name="fp4_bnb",
    table=_float32(
        -1.0, -0.66666667, -0.5, -0.33333333, -0.25, -0.16666667, -0.005208333333, 0.0,
        0.0, 0.005208333333, 0.16666667, 0.25, 0.33333333, 0.5, 0.66666667, 1.0,
    ),
    codes=(11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3),
)  # fmt: skip

_ANT_POT = "ANT's code, arXiv:2208.14286: powers of two, nearest in value"
#: Powers of two and zero, signed; ties go up.
POT3 = _element(mirrored("pot3", [2**k for k in range(3)], ties_up=(True,) * 6), _ANT_POT)
#: Powers of two and zero, signed; ties go up.
POT4 = _element(mirrored("pot4", [2**k for k in range(7)], ties_up=(True,) * 14), _ANT_POT)
#: Powers of two and zero, signed; ties go up.
POT5 = _element(mirrored("pot5", [2**k for k in range(15)], ties_up=(True,) * 30), _ANT_POT)
#: Powers of two; the thresholds are geometric means, and sqrt(1/2) below 1.
POT4_LOG = _element(
    mirrored("pot4_log", [2**k for k in range(7)], boundaries=_log_boundaries(7)),
    "the same powers of two, nearest in their logarithm",
)
_ANT_APOT = "additive powers of two, arXiv:1909.13144, as ANT lists them"
#: Sums of two powers of two, signed; ties go up.
APOT3 = _element(mirrored("apot3", (1, 2, 4), ties_up=(True,) * 6), _ANT_APOT)
#: Sums of two powers of two, signed; ties go up.
APOT4 = _element(mirrored("apot4", (1, 2, 3, 4, 6, 8, 10), ties_up=(True,) * 14), _ANT_APOT)
#: Sums of two powers of two, signed; ties go up.
APOT5 = _element(
    mirrored("apot5", (1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48), ties_up=(True,) * 30),
    _ANT_APOT,
)
_ANT = "ANT, arXiv:2208.14286"
#: Figure 6 of ANT and the tables of its code; ties go up, as there.
FLINT3 = _element(mirrored("flint3", (1, 2, 4), ties_up=(True,) * 6), _ANT)
#: ANT's flint, signed; ties go up.
FLINT4 = _element(mirrored("flint4", (1, 2, 3, 4, 6, 8, 16), ties_up=(True,) * 14), _ANT)
#: ANT's flint, signed; ties go up.
FLINT5 = _element(
    mirrored("flint5", (*range(1, 9), 10, 12, 14, 16, 24, 32, 64), ties_up=(True,) * 30), _ANT
)
# Integers and +-1/2. Ties between integers go to the even one, ties with 1/2 to the integer. The
# values +-1/2 have the codes of the largest and the least integer of two's complement; the code
# after the least is unused.
_DINT = "dINT, Lee et al., EMNLP 2023, section 4.2, symmetric"
DINT3 = _element(_dint(3), _DINT)
DINT4 = _element(_dint(4), _DINT)
DINT5 = _element(_dint(5), _DINT)
DINT6 = _element(_dint(6), _DINT)
DINT7 = _element(_dint(7), _DINT)
DINT8 = _element(_dint(8), _DINT)

#: IEEE 754 binary32.
FP32 = FloatFormat(name="fp32", exponent_bits=8, mantissa_bits=23, bias=127, specials="ieee")
#: IEEE 754 binary16.
FP16 = FloatFormat(name="fp16", exponent_bits=5, mantissa_bits=10, bias=15, specials="ieee")
#: The upper half of IEEE 754 binary32.
BF16 = FloatFormat(name="bf16", exponent_bits=8, mantissa_bits=7, bias=127, specials="ieee")
#: The shared scale of an MX block, OCP MX v1.0, section 5.4.1.
E8M0 = PowerOfTwoFormat(name="e8m0", bits=8, bias=127)

#: Every named format: the integers, then the constants above in their order.
FORMATS: dict[str, Format] = {
    fmt.name: fmt for fmt in (*INTEGERS.values(), *globals().values()) if isinstance(fmt, Format)
}
#: Name of the array type of each scale format, in NumPy or ml_dtypes.
_SCALE_TYPES: dict[Format, str] = {
    FP32: "float32",
    FP16: "float16",
    BF16: "bfloat16",
    E4M3: "float8_e4m3fn",
    E8M0: "float8_e8m0fnu",
}


class _ScaleTypes(Mapping[Format, np.dtype[np.generic]]):
    """Array types of scale formats; ml_dtypes, slow to import, is imported for its own types."""

    def __getitem__(self, fmt: Format) -> np.dtype[np.generic]:
        name = _SCALE_TYPES[fmt]
        if hasattr(np, name):
            return np.dtype(name)
        import ml_dtypes

        found: np.dtype[np.generic] = np.dtype(getattr(ml_dtypes, name))
        return found

    def __iter__(self) -> Iterator[Format]:
        return iter(_SCALE_TYPES)

    def __len__(self) -> int:
        return len(_SCALE_TYPES)


#: Array type of each scale format: what :class:`numerics.QuantizedTensor` keeps scales in.
SCALE_DTYPES: Mapping[Format, np.dtype[np.generic]] = _ScaleTypes()

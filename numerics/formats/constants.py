"""The formats of the field, each with its source."""

import dataclasses
import math
from statistics import NormalDist

import ml_dtypes
import numpy as np

from numerics.formats.base import Format
from numerics.formats.floating import FloatFormat, float_format
from numerics.formats.integer import IntFormat
from numerics.formats.power_of_two import PowerOfTwoFormat
from numerics.formats.table import TableFormat, mirrored


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
    # Between 0 and 1/2 down, between 1/2 and 1 up, between integers to the even one.
    away = (False, True, *(n % 2 == 1 for n in range(1, top)))
    ties_up = (*(not goes for goes in reversed(away)), *away)
    # Two's complement; its extreme codes are the halves, and the least integer's is unused.
    negative = range((1 << bits) - top, 1 << bits)
    codes = (*negative, top + 2, 0, top + 1, *range(1, top + 1))
    return mirrored(f"dint{bits}", magnitudes, ties_up=ties_up, codes=codes)


#: OCP MX v1.0, section 5.3.3.
E2M1 = FloatFormat(name="fp4_e2m1", exponent_bits=2, mantissa_bits=1, bias=1)
#: OCP MX v1.0, section 5.3.2.
E2M3 = FloatFormat(name="fp6_e2m3", exponent_bits=2, mantissa_bits=3, bias=1)
#: OCP MX v1.0, section 5.3.2.
E3M2 = FloatFormat(name="fp6_e3m2", exponent_bits=3, mantissa_bits=2, bias=3)
#: OCP OFP8 v1.0; ``float8_e4m3fn`` elsewhere: no infinity, one NaN of each sign.
E4M3 = FloatFormat(name="fp8_e4m3", exponent_bits=4, mantissa_bits=3, bias=7, specials="nan")
#: OCP OFP8 v1.0.
E5M2 = FloatFormat(name="fp8_e5m2", exponent_bits=5, mantissa_bits=2, bias=15, specials="ieee")
#: One more exponent bit and no mantissa: signed powers of two and zero; FP4 variants of LLM-FP4,
#: arXiv:2310.16836, section 3.
E3M0 = float_format(3, 0)
#: As E3M0: the same values as integers in steps of a half.
E1M2 = float_format(1, 2)
#: BitMoD, arXiv:2411.11745, table IV: FP3.
E2M0 = float_format(2, 0)
#: FP5 formats that BitMoD's code lists.
E2M2 = float_format(2, 2)
#: As E2M2.
E3M1 = float_format(3, 1)
#: LLM-FP4, arXiv:2310.16836: all codes are numbers, so that the largest is 480.
E4M3_ALL = dataclasses.replace(float_format(4, 3), name="fp8_e4m3_all")
#: ``float8_e3m4`` of ml_dtypes.
E3M4 = FloatFormat(name="fp8_e3m4", exponent_bits=3, mantissa_bits=4, bias=3, specials="ieee")
#: ``float8_e4m3`` of ml_dtypes: infinities and NaN as IEEE 754 has them.
E4M3_IEEE = FloatFormat(
    name="fp8_e4m3_ieee", exponent_bits=4, mantissa_bits=3, bias=7, specials="ieee"
)
#: ``float8_e4m3fnuz``: no infinity, no negative zero; Noune et al., arXiv:2206.02915.
E4M3FNUZ = FloatFormat(
    name="fp8_e4m3fnuz", exponent_bits=4, mantissa_bits=3, bias=8, specials="fnuz"
)
#: ``float8_e4m3b11fnuz``.
E4M3B11FNUZ = FloatFormat(
    name="fp8_e4m3b11fnuz", exponent_bits=4, mantissa_bits=3, bias=11, specials="fnuz"
)
#: ``float8_e5m2fnuz``; arXiv:2206.02915.
E5M2FNUZ = FloatFormat(
    name="fp8_e5m2fnuz", exponent_bits=5, mantissa_bits=2, bias=16, specials="fnuz"
)
#: IEEE 754 binary16.
FP16 = FloatFormat(name="fp16", exponent_bits=5, mantissa_bits=10, bias=15, specials="ieee")
#: The upper half of IEEE 754 binary32.
BF16 = FloatFormat(name="bf16", exponent_bits=8, mantissa_bits=7, bias=127, specials="ieee")
#: IEEE 754 binary32.
FP32 = FloatFormat(name="fp32", exponent_bits=8, mantissa_bits=23, bias=127, specials="ieee")
#: OCP MX v1.0, section 5.4.1: the shared scale of a block.
E8M0 = PowerOfTwoFormat(name="e8m0", bits=8, bias=127)
#: OCP MX v1.0, section 5.3.4: two's complement with an implied scale of 2^-6; like microxcaling it
#: leaves -2.0 unused.
MXINT8 = IntFormat(name="int8_q6", bits=8, unit=2.0**-6)
#: {-1, 0, 1}; BitNet b1.58, arXiv:2402.17764.
TERNARY = IntFormat(name="ternary", bits=2)
#: QLoRA, arXiv:2305.14314, appendix E; the numbers are those of bitsandbytes, as float32.
NF4 = TableFormat(
    name="nf4",
    table=_float32(
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ),
)  # fmt: skip
#: LQ-LoRA, arXiv:2311.12023: the normal floats of two and three bits.
NF2 = _normal_float(2)
#: As NF2.
NF3 = _normal_float(3)
#: The FP4 of bitsandbytes, ``{0, 1/16, 8, 12, 4, 6, 2, 3} / 12`` by code, then the negatives. Up to
#: zero goes to code 0, and what lies just above it to the zero of code 8.
FP4_BNB = TableFormat(
    name="fp4_bnb",
    table=_float32(
        -1.0, -0.66666667, -0.5, -0.33333333, -0.25, -0.16666667, -0.005208333333, 0.0,
        0.0, 0.005208333333, 0.16666667, 0.25, 0.33333333, 0.5, 0.66666667, 1.0,
    ),
    codes=(11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3),
)  # fmt: skip
#: Flint of ANT, arXiv:2208.14286, figure 6 and the tables of its code; ties go up, as there.
FLINT3 = mirrored("flint3", (1, 2, 4), ties_up=(True,) * 6)
#: As FLINT3.
FLINT4 = mirrored("flint4", (1, 2, 3, 4, 6, 8, 16), ties_up=(True,) * 14)
#: As FLINT3.
FLINT5 = mirrored("flint5", (*range(1, 9), 10, 12, 14, 16, 24, 32, 64), ties_up=(True,) * 30)
#: Powers of two of ANT, rounded to the nearest in value, ties up; the values of FLINT3.
POT3 = mirrored("pot3", [2**k for k in range(3)], ties_up=(True,) * 6)
#: As POT3, of four bits.
POT4 = mirrored("pot4", [2**k for k in range(7)], ties_up=(True,) * 14)
#: As POT3, of five bits.
POT5 = mirrored("pot5", [2**k for k in range(15)], ties_up=(True,) * 30)
#: The same powers of two rounded by their logarithm: a number between two of them goes by their
#: geometric mean, and below 1 by the square root of a half.
POT4_LOG = mirrored("pot4_log", [2**k for k in range(7)], boundaries=_log_boundaries(7))
#: Additive powers of two, arXiv:1909.13144, as ANT's code lists them; ties up.
APOT3 = mirrored("apot3", (1, 2, 4), ties_up=(True,) * 6)
#: As APOT3.
APOT4 = mirrored("apot4", (1, 2, 3, 4, 6, 8, 10), ties_up=(True,) * 14)
#: As APOT3.
APOT5 = mirrored(
    "apot5", (1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48), ties_up=(True,) * 30
)
#: dINT, Lee et al., EMNLP 2023: integers and the two halves beside zero. Ties between integers go
#: to the even one, and 0 and 1 win over a half. The halves have the codes of the largest and the
#: least integer of two's complement; no number has the code after the least.
DINT3 = _dint(3)
#: As DINT3.
DINT4 = _dint(4)
#: As DINT3.
DINT5 = _dint(5)
#: As DINT3.
DINT6 = _dint(6)
#: As DINT3.
DINT7 = _dint(7)
#: As DINT3.
DINT8 = _dint(8)

#: Array type of each scale format: what :class:`numerics.QuantizedTensor` keeps scales in.
SCALE_DTYPES: dict[Format, np.dtype[np.generic]] = {
    FP32: np.dtype(np.float32),
    FP16: np.dtype(np.float16),
    BF16: np.dtype(ml_dtypes.bfloat16),
    E4M3: np.dtype(ml_dtypes.float8_e4m3fn),
    E8M0: np.dtype(ml_dtypes.float8_e8m0fnu),
}

"""Number formats: a finite set of values with codes, as exact scalar Python.

The methods here are the definition and read like it; :mod:`numerics.cast` is their array twin. A
code is the stored bits read as an unsigned integer, so ``values[code]`` is its value, two's
complement formats included.
"""

import functools
import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import ml_dtypes
import numpy as np

#: What becomes of a number beyond the largest value of a floating-point format.
#: ``"ieee"``: infinity, or NaN in a format without infinity, or the largest value in one without
#: either. ``"sat"``: the largest value, but infinity itself as under ``"ieee"``. ``"satfinite"``:
#: the largest value, infinity too. NaN stays NaN under each.
Overflow = Literal["ieee", "sat", "satfinite"]

#: Formats wider than this have too many codes to list.
MAX_LISTED_BITS = 16

Real = int | float | Fraction


class Format(ABC):
    """A finite set of values with codes.

    Attributes
    ----------
    name : str
        What texts and tables call the format.
    bits : int
        Bits of a code.
    """

    __slots__ = ()

    name: str
    bits: int

    @property
    @abstractmethod
    def min(self) -> float:
        """Least finite value that ``encode`` produces."""

    @property
    @abstractmethod
    def max(self) -> float:
        """Largest finite value that ``encode`` produces."""

    @property
    @abstractmethod
    def unit(self) -> float | None:
        """Power of two that divides every value, ``None`` where there is none."""

    @abstractmethod
    def encode(self, x: Real) -> int:
        """Return the code of the value nearest to ``x``."""

    @abstractmethod
    def decode(self, code: int) -> float:
        """Return the value of a code."""

    def round(self, x: Real) -> float:
        """Return the value nearest to ``x``."""
        return self.decode(self.encode(x))

    @property
    def values(self) -> tuple[float, ...]:
        """Value of each code, in the order of the codes."""
        if self.bits > MAX_LISTED_BITS:
            raise ValueError(f"{self.name} has 2**{self.bits} codes, too many to list")
        return _values(self)

    @property
    def half_range(self) -> float:
        """Half the distance from ``min`` to ``max``: what an absmax scale maps to the maximum."""
        return (self.max - self.min) / 2

    @property
    def max_exponent(self) -> int:
        """Exponent of ``max``: the power of two at or below it."""
        return math.frexp(self.max)[1] - 1

    @property
    def max_integer(self) -> int | None:
        """Largest magnitude in units over all codes, ``None`` without a unit."""
        if self.unit is None:
            return None
        finite = (abs(value) for value in self.values if math.isfinite(value))
        return int(max(finite) / self.unit)


@functools.cache
def _values(fmt: Format) -> tuple[float, ...]:
    return tuple(fmt.decode(code) for code in range(2**fmt.bits))


def _check_code(fmt: Format, code: int) -> None:
    if not 0 <= code < 2**fmt.bits:
        raise ValueError(f"a code of {fmt.name} is between 0 and {2**fmt.bits - 1}, not {code}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntFormat(Format):
    """Integers times ``unit``, rounded half to even, saturating; infinity saturates too.

    ``kind``: ``"narrow"`` is symmetric, ±(2^(n-1) - 1), and never produces the lowest code of
    two's complement, which still decodes; ``"full"`` is all of two's complement; ``"unsigned"``
    is 0 to 2^n - 1, for codes with a zero point.

    Examples
    --------
    >>> int4 = IntFormat(name="int4", bits=4)
    >>> int4.max, int4.round(2.5), int4.round(-99), int4.encode(-1)
    (7.0, 2.0, -7.0, 15)
    """

    name: str
    bits: int
    kind: Literal["narrow", "full", "unsigned"] = "narrow"
    unit: float = 1.0

    @property
    def min(self) -> float:
        """Least value that ``encode`` produces."""
        half = 1 << (self.bits - 1)
        lowest = {"narrow": 1 - half, "full": -half, "unsigned": 0}[self.kind]
        return lowest * self.unit

    @property
    def max(self) -> float:
        """Largest value."""
        value_bits = self.bits - (self.kind != "unsigned")
        return ((1 << value_bits) - 1) * self.unit

    def encode(self, x: Real) -> int:
        """Return the code of the value nearest to ``x``, ties to the even integer."""
        if math.isnan(x):
            raise ValueError(f"{self.name} has no code for NaN")
        clipped = min(max(x, self.min), self.max)
        return round(Fraction(clipped) / Fraction(self.unit)) % (1 << self.bits)

    def decode(self, code: int) -> float:
        """Return the value of a code, by two's complement unless unsigned."""
        _check_code(self, code)
        is_negative = self.kind != "unsigned" and code >= 1 << (self.bits - 1)
        return (code - (is_negative << self.bits)) * self.unit


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFormat(Format):
    """A binary floating-point format whose codes are ``sign | exponent | mantissa``.

    Field widths don't count the implicit leading one. ``specials`` says which codes are not
    numbers: ``"none"``; ``"nan"``, the all-ones code of each sign; ``"ieee"``, the whole top
    exponent. Stored exponent 0 is subnormal. Zero is signed. Ties go to the even significand,
    which without mantissa bits is the next power of two.

    Examples
    --------
    >>> E2M1.bits, E2M1.max, E4M3.max, E5M2.max
    (4, 6.0, 448.0, 57344.0)
    >>> E2M1.round(2.5), E2M1.round(-100), E4M3.encode(448)
    (2.0, -6.0, 126)
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    specials: Literal["none", "nan", "ieee"] = "none"

    @property
    def bits(self) -> int:  # type: ignore[override]
        """Bits of a code, sign included."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def max(self) -> float:
        """Largest finite value."""
        return self._magnitude(self.max_code)

    @property
    def min(self) -> float:
        """Least finite value."""
        return -self.max

    @property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal value, and of all subnormal ones."""
        return 1 - self.bias

    @property
    def smallest(self) -> float:
        """Smallest positive value, a subnormal one."""
        return math.ldexp(1.0, self.min_exponent - self.mantissa_bits)

    @property
    def unit(self) -> float:
        """The smallest positive value: it divides all others."""
        return self.smallest

    @property
    def max_code(self) -> int:
        """Code of the largest finite value."""
        all_ones = (1 << (self.bits - 1)) - 1
        return all_ones - {"none": 0, "nan": 1, "ieee": 1 << self.mantissa_bits}[self.specials]

    @property
    def inf_code(self) -> int | None:
        """Code of positive infinity, if there is one."""
        return self.max_code + 1 if self.specials == "ieee" else None

    @property
    def nan_code(self) -> int | None:
        """Code of the positive quiet NaN, if there is one."""
        if self.specials == "none":
            return None
        quiet_bit = (1 << self.mantissa_bits) >> 1 if self.specials == "ieee" else 0
        return self.max_code + 1 + quiet_bit

    def infinity_code(self, overflow: Overflow) -> int:
        """Magnitude code of what infinity becomes."""
        if overflow == "satfinite" or self.specials == "none":
            return self.max_code
        return self.max_code + 1

    def encode(self, x: Real, *, overflow: Overflow = "sat") -> int:
        """Return the code of the value nearest to ``x``, ties to the even significand."""
        if math.isnan(x):
            return self._encode_nan(x)
        sign = (math.copysign(1.0, x) < 0) << (self.bits - 1)
        if math.isinf(x):
            return sign | self.infinity_code(overflow)
        magnitude = abs(Fraction(x))
        exponent = max(floor_log2(magnitude), self.min_exponent)
        significand = round(magnitude / Fraction(2) ** (exponent - self.mantissa_bits))
        # The hidden bit of a normal significand, and a carry out of it, step the exponent field.
        code = ((exponent - self.min_exponent) << self.mantissa_bits) + significand
        if code > self.max_code:
            code = self.infinity_code(overflow) if overflow == "ieee" else self.max_code
        return sign | code

    def decode(self, code: int) -> float:
        """Return the value of a code."""
        _check_code(self, code)
        sign, magnitude_code = divmod(code, 1 << (self.bits - 1))
        magnitude = self._magnitude(magnitude_code)
        return -magnitude if sign else magnitude

    def _encode_nan(self, x: Real) -> int:
        if self.nan_code is None:
            raise ValueError(f"{self.name} has no code for NaN")
        return ((math.copysign(1.0, x) < 0) << (self.bits - 1)) | self.nan_code

    def _magnitude(self, code: int) -> float:
        if code > self.max_code:
            return math.inf if code == self.inf_code else math.nan
        exponent, mantissa = divmod(code, 1 << self.mantissa_bits)
        is_normal = exponent > 0
        significand = mantissa + (is_normal << self.mantissa_bits)
        return math.ldexp(significand, max(exponent, 1) - self.bias - self.mantissa_bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOfTwoFormat(Format):
    """Powers of two ``2^(code - bias)``, no sign and no zero; the all-ones code is NaN.

    ``encode`` rounds to the nearest in value, ties up; what is not a positive number, or rounds
    above the largest, is NaN; what is below the smallest is the smallest. Scale rules of MX choose
    the exponent themselves instead.

    Examples
    --------
    >>> E8M0.decode(127), E8M0.round(1.5), E8M0.round(1.4)
    (1.0, 2.0, 1.0)
    """

    name: str
    bits: int
    bias: int

    @property
    def nan_code(self) -> int:
        """The all-ones code."""
        return (1 << self.bits) - 1

    @property
    def min(self) -> float:
        """Smallest value, positive."""
        return math.ldexp(1.0, -self.bias)

    @property
    def max(self) -> float:
        """Largest value."""
        return math.ldexp(1.0, self.nan_code - 1 - self.bias)

    @property
    def unit(self) -> float:
        """The smallest value."""
        return self.min

    def encode(self, x: Real) -> int:
        """Return the code of the power of two nearest to ``x``, ties up."""
        if not (x > 0 and math.isfinite(x)):
            return self.nan_code
        exponent = floor_log2(Fraction(x) * Fraction(4, 3))
        return min(max(exponent + self.bias, 0), self.nan_code)

    def decode(self, code: int) -> float:
        """Return the value of a code."""
        _check_code(self, code)
        return math.nan if code == self.nan_code else math.ldexp(1.0, code - self.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFormat(Format):
    """Values listed in increasing order; the code is the index.

    ``encode`` counts the ``thresholds`` below ``x``, so that a tie goes to the lower index. The
    values are float32 numbers, and the thresholds their midpoints rounded to float32, as
    bitsandbytes computes them.

    Examples
    --------
    >>> signs = TableFormat(name="signs", table=(-1.0, 0.0, 1.0))
    >>> signs.bits, signs.thresholds, signs.encode(0.5), signs.encode(0.75)
    (2, (-0.5, 0.5), 1, 2)
    """

    name: str
    table: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.table) < 2 or any(low >= high for low, high in pairwise(self.table)):
            raise ValueError(f"the table of {self.name} needs two or more values, increasing")
        if any(float(np.float32(value)) != value for value in self.table):
            raise ValueError(f"the values of {self.name} must be float32 numbers")

    @property
    def bits(self) -> int:  # type: ignore[override]
        """Bits of an index."""
        return (len(self.table) - 1).bit_length()

    @property
    def min(self) -> float:
        """First value."""
        return self.table[0]

    @property
    def max(self) -> float:
        """Last value."""
        return self.table[-1]

    @property
    def unit(self) -> None:
        """None: the values of a table need not have a common divisor."""
        return None

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Midpoint of each pair of neighbours, as float32."""
        return tuple(float(np.float32((low + high) / 2)) for low, high in pairwise(self.table))

    def encode(self, x: Real) -> int:
        """Return the index of the value nearest to ``x``, ties to the lower index."""
        if math.isnan(x):
            raise ValueError(f"{self.name} has no code for NaN")
        return bisect_left(self.thresholds, x)

    def decode(self, code: int) -> float:
        """Return the value of an index; indices past the end of the table read the last value."""
        _check_code(self, code)
        return self.table[min(code, len(self.table) - 1)]


def floor_log2(x: Fraction) -> int:
    """Return the exponent of the power of two at or below ``x``; a large negative one for zero.

    >>> floor_log2(Fraction(7)), floor_log2(Fraction(8)), floor_log2(Fraction(1, 3))
    (2, 3, -2)
    """
    if x == 0:
        return -(2**30)
    exponent = x.numerator.bit_length() - x.denominator.bit_length()
    return exponent if x >= Fraction(2) ** exponent else exponent - 1


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
    table=tuple(
        float(np.float32(value))
        for value in (
            -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
            -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
            0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
            0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
        )
    ),
)  # fmt: skip

#: Array type of each scale format: what :class:`numerics.QuantizedTensor` keeps scales in.
SCALE_DTYPES: dict[Format, np.dtype[np.generic]] = {
    FP32: np.dtype(np.float32),
    FP16: np.dtype(np.float16),
    BF16: np.dtype(ml_dtypes.bfloat16),
    E4M3: np.dtype(ml_dtypes.float8_e4m3fn),
    E8M0: np.dtype(ml_dtypes.float8_e8m0fnu),
}

"""Binary floating-point formats of any widths."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from numerics.formats.base import Format, Real, check_code, floor_log2

#: Result of rounding a number larger than the largest value of a floating-point format.
#: ``"ieee"``: infinity, or NaN in a format without infinity, or the largest value in one without
#: either. ``"sat"``: the largest value, except that infinity is converted as under ``"ieee"``.
#: ``"satfinite"``: the largest value, for infinity too. NaN stays NaN under all three.
Overflow = Literal["ieee", "sat", "satfinite"]
#: Number of codes at the top of each sign's range that are not finite, by mantissa bits.
SPECIAL_CODES: dict[str, Callable[[int], int]] = {
    "none": lambda mantissa_bits: 0,
    "nan": lambda mantissa_bits: 1,
    "ieee": lambda mantissa_bits: 1 << mantissa_bits,
    "fnuz": lambda mantissa_bits: 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFormat(Format):
    """A binary floating-point format whose codes are ``sign | exponent | mantissa``.

    Field widths don't count the implicit leading one. ``specials`` says which codes are not
    numbers: ``"none"``; ``"nan"``, the all-ones code of each sign; ``"ieee"``, the whole top
    exponent; ``"fnuz"``, the code of a negative zero, which is NaN. Stored exponent 0 is subnormal.
    Zero has a sign except in ``"fnuz"``. Ties go to the even significand; without mantissa bits
    that is the next power of two.

    Examples
    --------
    >>> from numerics.formats import E2M1, E4M3, E5M2
    >>> E2M1.bits, E2M1.max, E4M3.max, E5M2.max
    (4, 6.0, 448.0, 57344.0)
    >>> E2M1.round(2.5), E2M1.round(-100), E4M3.encode(448)
    (2.0, -6.0, 126)
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    specials: Literal["none", "nan", "ieee", "fnuz"] = "none"

    @property
    def bits(self) -> int:  # type: ignore[override]
        """Bits of a code, sign included."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def sign_code(self) -> int:
        """The sign bit alone: negative zero, or NaN."""
        return 1 << (self.bits - 1)

    @property
    def has_negative_zero(self) -> bool:
        """Whether zero has a sign."""
        return self.specials != "fnuz"

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
        """Exponent of the smallest normal value and of all subnormal values."""
        return 1 - self.bias

    @property
    def smallest(self) -> float:
        """Smallest positive value, which is subnormal."""
        return math.ldexp(1.0, self.min_exponent - self.mantissa_bits)

    @property
    def unit(self) -> float:
        """The smallest positive value, which divides all others."""
        return self.smallest

    @property
    def max_code(self) -> int:
        """Code of the largest finite value."""
        all_ones = (1 << (self.bits - 1)) - 1
        return all_ones - SPECIAL_CODES[self.specials](self.mantissa_bits)

    @property
    def inf_code(self) -> int | None:
        """Code of positive infinity, ``None`` in formats without infinity."""
        return self.max_code + 1 if self.specials == "ieee" else None

    @property
    def nan_code(self) -> int | None:
        """Code of the positive quiet NaN, or of the only NaN; ``None`` in formats without NaN."""
        if self.specials == "none":
            return None
        if self.specials == "fnuz":
            return self.sign_code
        quiet_bit = (1 << self.mantissa_bits) >> 1 if self.specials == "ieee" else 0
        return self.max_code + 1 + quiet_bit

    def infinity_code(self, overflow: Overflow) -> int:
        """Magnitude code that infinity is converted to; the code of NaN in ``"fnuz"``."""
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
        # The hidden bit of a normal significand and a carry out of it increment the exponent field.
        code = ((exponent - self.min_exponent) << self.mantissa_bits) + significand
        if code > self.max_code:
            code = self.infinity_code(overflow) if overflow == "ieee" else self.max_code
        return sign | code if code or self.has_negative_zero else 0

    def decode(self, code: int) -> float:
        """Return the value of a code."""
        check_code(self, code)
        if code == self.sign_code and not self.has_negative_zero:
            return math.nan
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


def float_format(exponent_bits: int, mantissa_bits: int) -> FloatFormat:
    """Return the format of these widths all of whose codes are numbers, bias ``2^(e-1) - 1``.

    Examples
    --------
    >>> e3m1 = float_format(3, 1)
    >>> e3m1.name, e3m1.bits, e3m1.max
    ('fp5_e3m1', 5, 24.0)
    """
    bits = 1 + exponent_bits + mantissa_bits
    if exponent_bits < 1 or mantissa_bits < 0 or bits > 8:
        raise ValueError(
            f"e{exponent_bits}m{mantissa_bits} has {bits} bits; an element has at most 8, sign "
            f"included, and an exponent of 1 or more"
        )
    return FloatFormat(
        name=f"fp{bits}_e{exponent_bits}m{mantissa_bits}",
        exponent_bits=exponent_bits,
        mantissa_bits=mantissa_bits,
        bias=(1 << (exponent_bits - 1)) - 1,
    )

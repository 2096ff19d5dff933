"""Powers of two without sign: the scales of MX blocks."""

import math
from dataclasses import dataclass
from fractions import Fraction

from numerics.formats.base import Format, Real, check_code, floor_log2


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOfTwoFormat(Format):
    """Powers of two ``2^(code - bias)``, no sign and no zero; the all-ones code is NaN.

    ``encode`` rounds to the nearest in value, ties up. Numbers that are not positive, and numbers
    that round above the largest value, become NaN; smaller numbers become the smallest value. The
    scale rules of MX choose the exponent themselves.

    Examples
    --------
    >>> from numerics.formats import E8M0
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
        check_code(self, code)
        return math.nan if code == self.nan_code else math.ldexp(1.0, code - self.bias)

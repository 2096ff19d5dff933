"""Integer formats."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from numerics.formats.base import Format, Real, check_code


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
        check_code(self, code)
        is_negative = self.kind != "unsigned" and code >= 1 << (self.bits - 1)
        return (code - (is_negative << self.bits)) * self.unit

"""Small floats whose code of negative zero stands for a special value."""

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

from numerics.formats import FloatFormat, Format, Real


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialValueFormat(Format):
    """A sign-magnitude format with a ``special`` value in the place of negative zero.

    Rounding is to the nearest value, ties to the lower one. Source: BitMoD, arXiv:2411.11745,
    section III-B and table IV; the ties are those of its code.

    Examples
    --------
    >>> from numerics.formats import E2M1
    >>> er = SpecialValueFormat(base=E2M1, special=5.0)
    >>> er.name, er.encode(4.9), er.round(4.5), er.round(5.5), er.round(-5.1)
    ('fp4_e2m1+5', 8, 4.0, 5.0, -6.0)
    """

    base: FloatFormat
    special: float

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the base format, then the special value."""
        return f"{self.base.name}{self.special:+g}"

    @property
    def bits(self) -> int:  # type: ignore[override]
        """Bits of a code."""
        return self.base.bits

    @property
    def min(self) -> float:
        """Least value."""
        return min(self.base.min, self.special)

    @property
    def max(self) -> float:
        """Largest value."""
        return max(self.base.max, self.special)

    @property
    def largest(self) -> float:
        """Largest magnitude; a group's largest magnitude is scaled to it."""
        return max(-self.min, self.max)

    @property
    def unit(self) -> float:
        """The smallest positive value; the special one is a multiple of it."""
        return self.base.unit

    @property
    def grid(self) -> tuple[float, ...]:
        """All values in increasing order."""
        return tuple(sorted({value + 0.0 for value in self.values}))

    @property
    def cell(self) -> tuple[float, float]:
        """Interval that rounds to the special value: above the first end, up to the second."""
        grid = (-math.inf, *self.grid, math.inf)
        index = grid.index(self.special)
        return (grid[index - 1] + self.special) / 2, (self.special + grid[index + 1]) / 2

    def encode(self, x: Real) -> int:
        """Return the code of the value nearest to ``x``, ties to the lower value."""
        if math.isnan(x):
            raise ValueError(f"{self.name} has no code for NaN")
        grid = self.grid
        value = grid[bisect_left([(low + high) / 2 for low, high in pairwise(grid)], x)]
        return self.base.sign_code if value == self.special else self.base.encode(value)

    def decode(self, code: int) -> float:
        """Return the value of a code."""
        return self.special if code == self.base.sign_code else self.base.decode(code)

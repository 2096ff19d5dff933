"""The base class of formats: a finite set of values with codes."""

import functools
import math
from abc import ABC, abstractmethod
from fractions import Fraction

#: Largest width, in bits, of a format whose values can be listed.
MAX_LISTED_BITS = 16

Real = int | float | Fraction


class Format(ABC):
    """A finite set of values with codes.

    Attributes
    ----------
    name : str
        Name of the format in texts and tables.
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
        """Power of two that divides every value, ``None`` if there is no such number."""

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
        """Half the distance from ``min`` to ``max``: the value that absmax scales map amax to."""
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


def check_code(fmt: Format, code: int) -> None:
    """Raise :class:`ValueError` unless ``code`` is a code of ``fmt``."""
    if not 0 <= code < 2**fmt.bits:
        raise ValueError(f"a code of {fmt.name} is between 0 and {2**fmt.bits - 1}, not {code}")


def floor_log2(x: Fraction) -> int:
    """Return the exponent of the power of two at or below ``x``; a large negative one for zero.

    >>> floor_log2(Fraction(7)), floor_log2(Fraction(8)), floor_log2(Fraction(1, 3))
    (2, 3, -2)
    """
    if x == 0:
        return -(2**30)
    exponent = x.numerator.bit_length() - x.denominator.bit_length()
    return exponent if x >= Fraction(2) ** exponent else exponent - 1

"""Weights as sums of signed powers of two, one per cycle of a bit-serial PE.

Source: BitMoD, arXiv:2411.11745, section IV-A, equation 4: a weight is the sum of its terms
``(-1)^sign * bit * 2^exponent * 2^significance``. All lanes of a cycle share the significance. The
terms of a code add up to its value in units of the term generator.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

import numpy as np

from numerics.formats import Format, IntFormat
from numerics.pe.exact_dot import integer_value

#: Bits of a magnitude covered by both windows, the lowest worth 1/2; BitMoD, section IV-A.
WINDOW_BITS = 5
#: Value of the lowest bit of a magnitude in the windows.
WINDOW_UNIT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A signed power of two, or zero if ``bit`` is 0.

    >>> Term(sign=1, exponent=2, bit=1, significance=1).value
    -8
    """

    sign: int
    exponent: int
    bit: int
    significance: int

    @property
    def value(self) -> int:
        """The term as a number."""
        size = self.bit << (self.exponent + self.significance)
        return -size if self.sign else size


@dataclass(frozen=True, slots=True)
class TermGenerator(ABC):
    """Interface: the terms of every code of a weight format."""

    weights: Format

    @property
    @abstractmethod
    def unit(self) -> float:
        """Weight value that a term of value 1 stands for."""

    @property
    @abstractmethod
    def significances(self) -> tuple[int, ...]:
        """Significance of each cycle's terms."""

    @property
    @abstractmethod
    def most_exponent(self) -> int:
        """Largest exponent of a term."""

    @property
    def cycles(self) -> int:
        """Number of terms, and so of cycles, per weight."""
        return len(self.significances)

    @abstractmethod
    def terms(self, code: int) -> tuple[Term, ...]:
        """Return the terms of a code, in the order of cycles."""


@dataclass(frozen=True, slots=True)
class BoothTerms(TermGenerator):
    """Radix-4 Booth digits of a two's complement number, lowest first.

    Digit ``k`` is ``b[2k - 1] + b[2k] - 2 b[2k + 1]``, from -2 to 2; its term has the digit's sign,
    exponent 1 if its magnitude is 2, and significance ``2k``.

    Examples
    --------
    >>> from numerics import FORMATS
    >>> [term.value for term in BoothTerms(FORMATS["int8"]).terms(37)]  # 1 + 4 - 32 + 64
    [1, 4, -32, 64]
    """

    def __post_init__(self) -> None:
        fmt = self.weights
        if not isinstance(fmt, IntFormat) or fmt.decode((1 << fmt.bits) - 1) != -1:
            raise ValueError(f"Booth digits need a two's complement format, not {fmt.name}")

    @property
    def unit(self) -> float:
        """Value of the integer 1, that is, of the weight format's unit."""
        assert self.weights.unit is not None
        return self.weights.unit

    @property
    def significances(self) -> tuple[int, ...]:
        """Significance of each digit: 0, 2, 4 and so on."""
        return tuple(range(0, self.weights.bits, 2))

    @property
    def most_exponent(self) -> int:
        """Largest exponent of a term, that of the digits 2 and -2."""
        return 1

    def terms(self, code: int) -> tuple[Term, ...]:
        """Return the terms of a code's digits."""
        value = integer_value(self.weights, code)
        return tuple(
            _digit(value << 1 >> significance & 0b111, significance)
            for significance in self.significances
        )


def _digit(bits: int, significance: int) -> Term:
    """Return the term of the Booth digit of three adjacent bits."""
    digit = (bits & 1) + (bits >> 1 & 1) - 2 * (bits >> 2)
    size = abs(digit)
    return Term(
        sign=int(digit < 0), exponent=size >> 1, bit=int(size > 0), significance=significance
    )


@dataclass(frozen=True, slots=True)
class WindowTerms(TermGenerator):
    """Leading ones of two 4-bit windows, one bit apart, the low window first.

    The high window finds the leading 1 bit, which is then cleared for the low window. Values have
    at most two 1 bits.

    Examples
    --------
    >>> from numerics.formats import E2M1
    >>> [term.value for term in WindowTerms(E2M1).terms(5)]  # 3.0 = 1 + 2; in units of 1/2: 2 + 4
    [2, 4]
    """

    def __post_init__(self) -> None:
        for code in range(2**self.weights.bits):
            size = self._size(code)
            if size >= 1 << WINDOW_BITS or size.bit_count() > 2:
                raise ValueError(
                    f"{self.weights.name} has the value {self.weights.decode(code):g}; windows hold"
                    " sums of at most two of 8, 4, 2, 1 and 1/2"
                )

    @property
    def unit(self) -> float:
        """Weight value of a term of value 1: 1/2."""
        return WINDOW_UNIT

    @property
    def significances(self) -> tuple[int, ...]:
        """Significance of the low window, then of the high one."""
        return 0, 1

    @property
    def most_exponent(self) -> int:
        """Largest exponent of a term, that of a window's highest bit."""
        return WINDOW_BITS - 2

    def terms(self, code: int) -> tuple[Term, ...]:
        """Return the terms of a code's two windows."""
        size, sign = self._size(code), int(self.weights.decode(code) < 0)
        high = size >> 1
        low = size - (_leading_one(high) << 1)
        return tuple(
            Term(
                sign=sign,
                exponent=max(window.bit_length() - 1, 0),
                bit=int(window > 0),
                significance=place,
            )
            for place, window in enumerate((low, high))
        )

    def _size(self, code: int) -> int:
        """Return the magnitude of a code in units of 1/2."""
        if self.weights.unit is None or self.weights.unit < WINDOW_UNIT:
            raise ValueError(f"the values of {self.weights.name} are not multiples of 1/2")
        return int(abs(integer_value(self.weights, code)) * self.weights.unit / WINDOW_UNIT)


def _leading_one(number: int) -> int:
    """Return the largest power of two that is at most ``number``; 0 for 0."""
    return 1 << number.bit_length() >> 1


@cache
def term_tables(generator: TermGenerator) -> tuple[np.ndarray, np.ndarray]:
    """Return ``+-bit`` and the exponent of every code's terms, each of shape (cycles, codes)."""
    rows = [generator.terms(code) for code in range(2**generator.weights.bits)]
    signs = [[(-1) ** t.sign * t.bit for t in row] for row in rows]
    exponents = [[t.exponent for t in row] for row in rows]
    return np.array(signs, np.int32).T, np.array(exponents, np.int32).T

"""BitMoD's floats with the special value in a register that each group can set.

Source: BitMoD, arXiv:2411.11745, section IV-A: the code of minus zero stands for a special value.
The register has a sign and a 5-bit magnitude in units of 1/2, the input of the term generator's two
windows, which use the two highest 1 bits of the magnitude and ignore the others.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Integer

from numerics.formats import Format, Real
from numerics.pe.aligned import AlignedDot
from numerics.pe.aligned_dots import aligned_dots
from numerics.pe.terms import WINDOW_BITS, WINDOW_UNIT, WindowTerms

SPECIAL_BITS = WINDOW_BITS + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFormat(Format):
    """Sign and 5-bit magnitude in units of 1/2; only the two highest 1 bits count.

    >>> windows = WindowFormat()
    >>> windows.decode(0b0_10000), windows.decode(0b1_01010), windows.decode(0b0_11100)
    (8.0, -5.0, 12.0)
    """

    name: str = "windows"
    bits: int = SPECIAL_BITS

    @property
    def min(self) -> float:
        """Least value: the two highest bits set, negative."""
        return -self.max

    @property
    def max(self) -> float:
        """Largest value: the two highest bits set."""
        return (3 << (WINDOW_BITS - 2)) * WINDOW_UNIT

    @property
    def unit(self) -> float:
        """Value of the lowest bit, 1/2."""
        return WINDOW_UNIT

    def encode(self, x: Real) -> int:
        """Return the smallest code of the value nearest to ``x``."""
        return min(range(1 << self.bits), key=lambda code: abs(self.decode(code) - x))

    def decode(self, code: int) -> float:
        """Return the value of the two highest 1 bits, with the sign."""
        sign, size = divmod(code, 1 << WINDOW_BITS)
        high = 1 << size.bit_length() >> 1
        low = 1 << (size - high).bit_length() >> 1
        value = (high + low) * WINDOW_UNIT
        return -value if sign else value


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialDot:
    """The aligned PE for codes of ``base`` whose minus zero stands for a special value.

    >>> from numerics.formats import E2M1
    >>> pe = SpecialDot(base=E2M1)
    >>> pe.window_codes(np.array([8, 1, 9]), np.full(3, 0b1_01010)).tolist()  # -5, 0.5, -0.5
    [42, 1, 33]
    """

    base: Format
    lanes: int = 4
    accumulator_bits: int = 15

    @property
    def model(self) -> AlignedDot:
        """The model of the PE for codes of :class:`WindowFormat`."""
        generator = WindowTerms(WindowFormat())
        return AlignedDot(
            generator=generator, lanes=self.lanes, accumulator_bits=self.accumulator_bits
        )

    @property
    def minus_zero(self) -> int:
        """The code of ``base`` that stands for the special value."""
        return 1 << (self.base.bits - 1)

    def window_codes(
        self, codes: Integer[np.ndarray, "*shape"], specials: Integer[np.ndarray, "*shape"]
    ) -> Int64[np.ndarray, "*shape"]:
        """Return codes of ``base`` as codes of :class:`WindowFormat`."""
        values = [self.base.decode(code) for code in range(1 << self.base.bits)]
        signs = [int(value < 0) << WINDOW_BITS for value in values]
        table = [s | int(abs(v) / WINDOW_UNIT) for s, v in zip(signs, values, strict=True)]
        found = np.array(table, np.int64)[codes]
        return np.asarray(np.where(codes == self.minus_zero, specials, found))

    def groups(
        self,
        weights: Integer[np.ndarray, "rows k"],
        specials: Integer[np.ndarray, "rows k"],
        codes: Integer[np.ndarray, "rows k"],
    ) -> tuple[Int64[np.ndarray, " rows"], Int64[np.ndarray, " rows"]]:
        """Return mantissas and exponents of the accumulators after each group."""
        return aligned_dots(self.model, self.window_codes(weights, specials), codes)

"""MixPE's W4A16 PE with a short accumulator, aligned to the largest exponent so far.

MixPE, arXiv:2411.16158, adds the shifted significand for each 1 bit of the weight, which gives an
exact product with the activation's exponent. An exact accumulator of 128 products would need 52
bits; this one keeps ``guard_bits`` bits below the products of the largest exponent so far in the
group. The product or the accumulator, whichever has the smaller exponent, is shifted right and
truncated in two's complement. Codes of NaN and infinities count as 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from jaxtyping import Int64, Integer

from numerics.formats import Format
from numerics.pe.aligned import MANTISSA_BITS, UNIT_EXPONENT, Aligned, fp16_parts
from numerics.pe.exact_dot import integer_table, integer_value
from numerics.pe.half_tables import EXPONENTS, SIGNIFICANDS

#: Most bits of an accumulator.
ACCUMULATOR_BITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDot:
    """Dot products of FP16 activations and low-bit weights.

    Examples
    --------
    >>> from numerics import FORMATS
    >>> pe = RunningDot(weights=FORMATS["int4"], guard_bits=2)
    >>> pe.group([15, 1], [0x3C00, 0x0C03])  # -1 * 1 + 1 * 1027/1024 * 2^-12
    Aligned(mantissa=-4095, exponent=15)
    >>> pe.value(Aligned(-4095, 15))
    Fraction(-4095, 4096)
    """

    weights: Format
    guard_bits: int = 10

    def with_accumulator(self, bits: int, length: int) -> "RunningDot":
        """Return the model with the guard bits that give an accumulator of ``bits`` bits.

        >>> from numerics import FORMATS
        >>> RunningDot(weights=FORMATS["int4"]).with_accumulator(24, 128).guard_bits
        2

        Raises
        ------
        ValueError
            The accumulator is too narrow for the products, or wider than 32 bits.
        """
        least = self.sum_bits(length) - self.guard_bits
        if not least <= bits <= ACCUMULATOR_BITS:
            raise ValueError(
                f"an accumulator for groups of {length} products has {least} to"
                f" {ACCUMULATOR_BITS} bits, not {bits}"
            )
        return replace(self, guard_bits=bits - least)

    def check(self, length: int) -> None:
        """Raise ValueError if groups of this length need accumulators of more than 32 bits."""
        bits = self.sum_bits(length)
        if bits > ACCUMULATOR_BITS:
            raise ValueError(
                f"groups of {length} values need accumulators of {bits} bits; the limit is"
                f" {ACCUMULATOR_BITS}, take shorter groups"
            )

    def group(self, weight_codes: Sequence[int], codes: Sequence[int]) -> Aligned:
        """Return the accumulator after a group."""
        total, largest = 0, 0
        for weight_code, code in zip(weight_codes, codes, strict=True):
            part = fp16_parts(code)
            significand = -part.significand if part.sign else part.significand
            product = integer_value(self.weights, weight_code) * significand << self.guard_bits
            exponent = max(largest, part.exponent)
            total = (total >> exponent - largest) + (product >> exponent - part.exponent)
            largest = exponent
        return Aligned(total, largest)

    def groups(
        self, weight_codes: Integer[np.ndarray, "*rows k"], codes: Integer[np.ndarray, "*rows k"]
    ) -> tuple[Int64[np.ndarray, "*rows"], Int64[np.ndarray, "*rows"]]:
        """Return mantissas and exponents of the accumulators after each group of rows of codes."""
        values = np.array(integer_table(self.weights), np.int64)[weight_codes]
        products = values * SIGNIFICANDS[codes] << self.guard_bits
        exponents = EXPONENTS[codes]
        # The largest exponent after each product, and before it.
        after = np.maximum.accumulate(exponents, axis=-1)
        before = np.concatenate([np.zeros_like(after[..., :1]), after[..., :-1]], axis=-1)
        added = products >> after - exponents
        total = np.zeros(codes.shape[:-1], np.int64)
        for k in range(codes.shape[-1]):
            total = (total >> (after - before)[..., k]) + added[..., k]
        return total, after[..., -1]

    def sum_bits(self, length: int) -> int:
        """Return the bits of the accumulator for groups of this length.

        >>> from numerics import FORMATS
        >>> RunningDot(weights=FORMATS["int4"]).sum_bits(128)  # 128 * 8 * 2047 * 2^10 < 2^31
        32
        """
        most = max(map(abs, integer_table(self.weights)))
        largest = length * most * ((2 << MANTISSA_BITS) - 1) << self.guard_bits
        return largest.bit_length() + 1

    def value(self, result: Aligned) -> Fraction:
        """Return the exact value of a result, in units of the weights."""
        exponent = UNIT_EXPONENT - self.guard_bits + result.exponent
        return result.mantissa * Fraction(2) ** exponent

    def error_bound(self, exponent: int, length: int) -> Fraction:
        """Return a bound on the error of a result with this exponent against the exact dot product.

        Each product except the first truncates itself or the accumulator by less than one unit of
        the exponent at that time, which is at most the unit of the result.
        """
        return (length - 1) * self.value(Aligned(1, exponent))

"""BitMoD's PE: FP16 activations times terms of weights, aligned to the largest exponent.

BitMoD, arXiv:2411.11745, section IV-B, with the widths of its published Verilog. A cycle takes one
term of each lane's weight:

1. each lane's exponent is that of its activation plus the term's; the largest is the cycle's;
2. significands, with guard bits below, shift right to the cycle's exponent and are added;
3. the sum shifts left by the term's significance; sum and accumulator shift right to the larger of
   their exponents, are added, and the new accumulator shifts right until it fits.

Lanes whose term is 0 take part in the first step. Shifts drop bits, of magnitudes in step 2 and of
two's complement numbers in step 3, or round them to nearest, ties to even. Where the Verilog goes
wrong this does not: subnormal activations have the exponent of the smallest normal ones, and both
sides of the accumulator are aligned. Codes of NaN and infinities count as 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from numerics.formats import FP16
from numerics.pe.terms import Term, TermGenerator

#: What a right shift does with the bits that it drops.
Rounding = Literal["truncate", "nearest"]
MANTISSA_BITS = FP16.mantissa_bits
#: Exponent of the unit of FP16 significands, beside their exponent field.
UNIT_EXPONENT = -FP16.bias - MANTISSA_BITS
#: Bits of exponents, as in the Verilog.
EXPONENT_BITS = 6
MOST_FIELD = (1 << FP16.exponent_bits) - 2


class Aligned(NamedTuple):
    """A number ``mantissa * 2^(exponent - 25 - guard bits)``, in units of the weights' terms."""

    mantissa: int
    exponent: int


class Parts(NamedTuple):
    """Sign, significand and exponent field of an FP16 number; its exponent is 1 if subnormal."""

    sign: int
    significand: int
    exponent: int


def fp16_parts(code: int) -> Parts:
    """Return the parts of an FP16 code, ``(-1)^sign * significand * 2^(exponent - 25)``.

    >>> fp16_parts(0xBC01), fp16_parts(0x0003)
    (Parts(sign=1, significand=1025, exponent=15), Parts(sign=0, significand=3, exponent=1))
    """
    sign, magnitude = divmod(code, 1 << 15)
    field, mantissa = divmod(magnitude, 1 << MANTISSA_BITS)
    is_number = field < (1 << FP16.exponent_bits) - 1
    significand = mantissa + ((field > 0) << MANTISSA_BITS) if is_number else 0
    return Parts(sign, significand, max(field, 1) if is_number else 1)


def shifted(number: int, places: int, rounding: Rounding) -> int:
    """Return a number shifted right: its floor, or the nearest, ties to even.

    >>> shifted(7, 1, "truncate"), shifted(7, 1, "nearest"), shifted(-5, 1, "nearest")
    (3, 4, -2)
    """
    if rounding == "truncate":
        return number >> places
    return round(Fraction(number, 1 << places))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedDot:
    """Dot products of groups as the PE computes them, a beat of lanes after another.

    Examples
    --------
    >>> from numerics.formats import E2M1
    >>> from numerics.pe.terms import WindowTerms
    >>> pe = AlignedDot(generator=WindowTerms(E2M1))
    >>> pe.value(pe.group([2, 4, 1, 0], [0x3C00, 0x4000, 0x3800, 0]))  # 1 + 4 + .25
    Fraction(21, 4)
    """

    generator: TermGenerator
    lanes: int = 4
    guard_bits: int = 3
    accumulator_bits: int = 15
    rounding: Rounding = "truncate"

    def group(self, weight_codes: Sequence[int], codes: Sequence[int]) -> Aligned:
        """Return the accumulator after a group whose length is a multiple of the lanes."""
        self.check(len(codes))
        total = Aligned(0, 0)
        for start in range(0, len(codes), self.lanes):
            lanes = slice(start, start + self.lanes)
            rows = [self.generator.terms(code) for code in weight_codes[lanes]]
            parts = [fp16_parts(code) for code in codes[lanes]]
            for terms in zip(*rows, strict=True):
                total = self.accumulated(total, *self.beat(terms, parts), terms[0].significance)
        return total

    def check(self, length: int) -> None:
        """Raise ValueError if groups of a length can't be taken."""
        if length % self.lanes:
            raise ValueError(f"groups of {length} values for {self.lanes} lanes; give a multiple")
        cycles, most = (
            length // self.lanes * self.generator.cycles,
            2 ** (self.accumulator_bits - 2),
        )
        if cycles > most:
            raise ValueError(
                f"groups of {length} values take {cycles} cycles; with an accumulator of"
                f" {self.accumulator_bits} bits {most} are proved"
            )
        if self.most_exponent(length) >= 2**EXPONENT_BITS:
            raise ValueError(
                f"exponents of up to {self.most_exponent(length)} don't fit in {EXPONENT_BITS} bits"
            )

    def beat(self, terms: Sequence[Term], parts: Sequence[Parts]) -> Aligned:
        """Return the sum of a cycle's products, at the largest of their exponents."""
        exponents = [p.exponent + t.exponent for t, p in zip(terms, parts, strict=True)]
        top = max(exponents)
        total = 0
        for term, part, exponent in zip(terms, parts, exponents, strict=True):
            wide = term.bit * part.significand << self.guard_bits
            size = shifted(wide, top - exponent, self.rounding)
            total += -size if term.sign ^ part.sign else size
        return Aligned(total, top)

    def accumulated(self, total: Aligned, added: int, top: int, significance: int) -> Aligned:
        """Return the accumulator after one more sum of products."""
        exponent = max(total.exponent, top)
        both = shifted(total.mantissa, exponent - total.exponent, self.rounding) + shifted(
            added << significance, exponent - top, self.rounding
        )
        return self.normalized(Aligned(both, exponent))

    def normalized(self, number: Aligned) -> Aligned:
        """Return a number shifted right until its mantissa fits; rounding may take one more."""
        mantissa, exponent = number
        magnitude = ~mantissa if mantissa < 0 else mantissa
        places = max(magnitude.bit_length() - (self.accumulator_bits - 1), 0)
        found = shifted(mantissa, places, self.rounding)
        if found == 1 << (self.accumulator_bits - 1):
            found, places = found >> 1, places + 1
        return Aligned(found, exponent + places)

    def value(self, result: Aligned) -> Fraction:
        """Return what a result is worth."""
        exponent = UNIT_EXPONENT - self.guard_bits + result.exponent
        return result.mantissa * Fraction(2) ** exponent * Fraction(self.generator.unit)

    @property
    def most_field(self) -> int:
        """Largest exponent of a cycle."""
        return MOST_FIELD + self.generator.most_exponent

    def most_exponent(self, length: int) -> int:
        """Return what no accumulator's exponent goes beyond.

        The sum of a cycle is below ``2^d`` at :attr:`most_field`, so that the accumulator after
        ``n`` cycles is at most ``n * 2^d``: rounding keeps that, for it is monotone and
        ``n * 2^d`` itself is on the grid, as long as ``n`` is within what :meth:`check` lets pass.
        """
        cycles = length // self.lanes * self.generator.cycles
        sum_bits = (
            (self.lanes - 1).bit_length()
            + MANTISSA_BITS
            + 1
            + self.guard_bits
            + max(self.generator.significances)
        )
        grown = (cycles - 1).bit_length() + sum_bits - (self.accumulator_bits - 1) + 1
        return self.most_field + max(int(grown), 0)

    def error_bound(self, exponent: int, length: int) -> Fraction:
        """Return what a result with an exponent differs at most from the exact dot product.

        Exponents never fall, so that every unit that was ever dropped is at most the result's. In
        a cycle each lane but the one of the largest exponent loses less than a unit times
        ``2^significance``, and the accumulator less than a unit, for of its two sides only one
        shifts and a floor of a floor is a floor. Rounding to nearest loses half a unit in place of
        one; the accumulator may do it twice, the first time in at most half of the unit.
        """
        is_nearest = self.rounding == "nearest"
        lane, total = (Fraction(1, 2), Fraction(3, 4)) if is_nearest else (Fraction(1), Fraction(1))
        units = sum(
            (self.lanes - 1) * lane * 2**place + total for place in self.generator.significances
        )
        bound: Fraction = length // self.lanes * units * self.value(Aligned(1, exponent))
        return bound

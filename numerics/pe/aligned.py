"""BitMoD's PE: FP16 activations times terms of weights, aligned to the largest exponent.

Source: BitMoD, arXiv:2411.11745, section IV-B, with the widths of its published Verilog. A cycle
processes one term of each lane's weight:

1. each lane's exponent is that of its activation plus the term's; the largest is the cycle's;
2. significands, with guard bits below, shift right to the cycle's exponent and are added;
3. the sum shifts left by the term's significance; sum and accumulator shift right to the larger of
   their exponents, are added, and the new accumulator shifts right until it fits.

Lanes whose term is 0 take part in the first step. Shifts truncate (magnitudes in step 2, two's
complement numbers in step 3) or round to nearest, ties to even. Two faults of the published Verilog
are corrected: subnormal activations have the exponent of the smallest normal number, and both
addends of the accumulator are aligned. Codes of NaN and infinities count as 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from numerics.formats import FP16
from numerics.pe.terms import Term, TermGenerator

#: Rounding of a right shift.
Rounding = Literal["truncate", "nearest"]
MANTISSA_BITS = FP16.mantissa_bits
#: Exponent of an FP16 significand's unit at exponent field 0: the field is added to it.
UNIT_EXPONENT = -FP16.bias - MANTISSA_BITS
#: Width in bits of exponents in BitMoD's published Verilog.
EXPONENT_BITS = 6
MOST_FIELD = (1 << FP16.exponent_bits) - 2


class Aligned(NamedTuple):
    """The number ``mantissa * 2^(exponent - 25 - guard bits)`` in units of the weights' terms."""

    mantissa: int
    exponent: int


class Parts(NamedTuple):
    """Sign, significand and exponent field of an FP16 number; exponent 1 for subnormal numbers."""

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
    """Return a number shifted right, rounded down or to nearest, ties to even.

    >>> shifted(7, 1, "truncate"), shifted(7, 1, "nearest"), shifted(-5, 1, "nearest")
    (3, 4, -2)
    """
    if rounding == "truncate":
        return number >> places
    return round(Fraction(number, 1 << places))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedDot:
    """Dot products of groups in the PE's arithmetic; a beat has one weight for each lane.

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
        """Raise ValueError if the PE can't process groups of this length."""
        if length % self.lanes:
            raise ValueError(f"groups of {length} values are not a multiple of {self.lanes} lanes")
        cycles, most = (
            length // self.lanes * self.generator.cycles,
            2 ** (self.accumulator_bits - 2),
        )
        if cycles > most:
            raise ValueError(
                f"groups of {length} values take {cycles} cycles; an accumulator of"
                f" {self.accumulator_bits} bits is proved for up to {most}"
            )
        if self.most_exponent(length) >= 2**EXPONENT_BITS:
            raise ValueError(
                f"exponents of up to {self.most_exponent(length)} don't fit in {EXPONENT_BITS} bits"
            )

    def beat(self, terms: Sequence[Term], parts: Sequence[Parts]) -> Aligned:
        """Return the sum of the products of one cycle, aligned to their largest exponent."""
        exponents = [p.exponent + t.exponent for t, p in zip(terms, parts, strict=True)]
        top = max(exponents)
        total = 0
        for term, part, exponent in zip(terms, parts, exponents, strict=True):
            wide = term.bit * part.significand << self.guard_bits
            size = shifted(wide, top - exponent, self.rounding)
            total += -size if term.sign ^ part.sign else size
        return Aligned(total, top)

    def accumulated(self, total: Aligned, added: int, top: int, significance: int) -> Aligned:
        """Return the accumulator after the sum of one cycle is added."""
        exponent = max(total.exponent, top)
        both = shifted(total.mantissa, exponent - total.exponent, self.rounding) + shifted(
            added << significance, exponent - top, self.rounding
        )
        return self.normalized(Aligned(both, exponent))

    def normalized(self, number: Aligned) -> Aligned:
        """Return a number shifted right until its mantissa fits; rounding may add one shift."""
        mantissa, exponent = number
        magnitude = ~mantissa if mantissa < 0 else mantissa
        places = max(magnitude.bit_length() - (self.accumulator_bits - 1), 0)
        found = shifted(mantissa, places, self.rounding)
        if found == 1 << (self.accumulator_bits - 1):
            found, places = found >> 1, places + 1
        return Aligned(found, exponent + places)

    def value(self, result: Aligned) -> Fraction:
        """Return the exact value of a result, in units of the weights' terms."""
        exponent = UNIT_EXPONENT - self.guard_bits + result.exponent
        return result.mantissa * Fraction(2) ** exponent * Fraction(self.generator.unit)

    @property
    def most_field(self) -> int:
        """Largest exponent that one cycle can have."""
        return MOST_FIELD + self.generator.most_exponent

    def most_exponent(self, length: int) -> int:
        """Return an upper bound on the accumulator's exponent after groups of this length.

        The sum of a cycle is below ``2^d`` at :attr:`most_field`, so the accumulator after ``n``
        cycles is at most ``n * 2^d``. Rounding preserves this bound because it is monotone and
        ``n * 2^d`` is representable for every ``n`` that :meth:`check` accepts.
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
        """Return a bound on the error of a result with this exponent against the exact dot product.

        The accumulator's exponent never decreases, so every rounding unit is at most the result's.
        In a cycle each lane except the one of the largest exponent loses less than one unit times
        ``2^significance``. The accumulator loses less than one unit, because only one of its two
        addends shifts and the floor of a floor is a floor. Rounding to nearest loses half a unit
        instead; the accumulator may round twice, the first time with at most half the unit.
        """
        is_nearest = self.rounding == "nearest"
        lane, total = (Fraction(1, 2), Fraction(3, 4)) if is_nearest else (Fraction(1), Fraction(1))
        units = sum(
            (self.lanes - 1) * lane * 2**place + total for place in self.generator.significances
        )
        bound: Fraction = length // self.lanes * units * self.value(Aligned(1, exponent))
        return bound

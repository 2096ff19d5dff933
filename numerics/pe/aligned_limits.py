"""Sizes of BitMoD's PE that its array code models exactly."""

from numerics.pe.aligned import MANTISSA_BITS, AlignedDot

#: Bits that the sum of a cycle may need; larger shifts give the same result as a shift by this.
MOST_BITS = 28
#: Bits of the widest two's complement number that float32 holds exactly.
MOST_ACCUMULATOR_BITS = 25


def check_bits(pe: AlignedDot) -> None:
    """Raise ValueError for a PE that 32-bit integers and float32 can't model exactly.

    The sum of a cycle has to fit in 32-bit integers with room to shift, and every accumulator in
    float32.
    """
    if pe.accumulator_bits > MOST_ACCUMULATOR_BITS:
        raise ValueError(
            f"an accumulator of {pe.accumulator_bits} bits is too wide; float32 holds results of"
            f" up to {MOST_ACCUMULATOR_BITS}"
        )
    significand = MANTISSA_BITS + 1 + pe.guard_bits + (pe.lanes - 1).bit_length()
    bits = max(significand + max(pe.generator.significances), pe.accumulator_bits) + 1
    if bits > MOST_BITS:
        raise ValueError(f"sums of {bits} bits are too wide; the limit is {MOST_BITS}")

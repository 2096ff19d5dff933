"""What follows BitMoD's PE: groups times their scales, a bit a cycle, and the sum of a channel.

BitMoD, arXiv:2411.11745, section IV-B: scales of groups are unsigned integers of 8 bits, second to
one floating-point scale of the channel. The mantissa of a group is added for each one bit of its
scale, the highest first, while its exponent passes through. That is exact in the bits of both
together: 15 + 8 = 23. One accumulator a column adds the groups of a channel; here it is FP32 and
rounds each addition to nearest, ties to even.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float32, Integer

from numerics.formats import FP32
from numerics.pe.aligned import UNIT_EXPONENT, Aligned, AlignedDot
from numerics.pe.fp16_mac import fp32_sum

SCALE_BITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDot:
    """BitMoD's PE with its dequantizer: groups times their scales, added in FP32."""

    model: AlignedDot


def dequantized(group: Aligned, scale: int) -> Aligned:
    """Return a group times its scale.

    >>> dequantized(Aligned(-1000, 20), 200)
    Aligned(mantissa=-200000, exponent=20)
    """
    check_scales(scale, scale)
    total = 0
    for place in reversed(range(SCALE_BITS)):
        total = (total << 1) + (scale >> place & 1) * group.mantissa
    return Aligned(total, group.exponent)


def check_accumulator(model: AlignedDot) -> None:
    """Raise ValueError if FP32 doesn't hold every group times its scale."""
    most = FP32.mantissa_bits + 2 - SCALE_BITS
    if model.accumulator_bits > most:
        raise ValueError(
            f"an accumulator of {model.accumulator_bits} bits; with {SCALE_BITS}-bit scales, FP32"
            f" holds groups of up to {most}"
        )


def check_scales(least: int, largest: int) -> None:
    """Raise ValueError unless scales from the least to the largest have 8 bits."""
    if least < 0 or largest >> SCALE_BITS:
        raise ValueError(f"scales of {least} to {largest}; they are of 0 to {2**SCALE_BITS - 1}")


def column(groups: Sequence[Aligned], scales: Sequence[int], *, guard_bits: int = 3) -> float:
    """Return the FP32 sum of a channel's groups times their scales, in units of the terms.

    >>> one = Aligned(2**12, 16)  # 2^12 * 2^(16 - 28) = 1
    >>> column([one, one], [3, 100])
    103.0
    """
    unit = Fraction(2) ** (UNIT_EXPONENT - guard_bits)
    parts = [dequantized(g, scale) for g, scale in zip(groups, scales, strict=True)]
    return fp32_sum(part.mantissa * unit * 2**part.exponent for part in parts)


def columns(
    mantissas: Integer[np.ndarray, "*rows groups"],
    exponents: Integer[np.ndarray, "*rows groups"],
    scales: Integer[np.ndarray, "*rows groups"],
    *,
    guard_bits: int = 3,
) -> Float32[np.ndarray, "*rows"]:
    """Return the sums of many channels."""
    check_scales(int(scales.min()), int(scales.max()))
    # Both factors of a product are small enough for FP32 to hold it.
    products = (mantissas * scales).astype(np.float32)
    parts = np.ldexp(products, (exponents + UNIT_EXPONENT - guard_bits).astype(np.int32))
    total = np.zeros(parts.shape[:-1], np.float32)
    for group in range(parts.shape[-1]):
        total += parts[..., group]
    return total

"""The bit-serial dequantizer after BitMoD's PE: group sums times their scales, added in FP32.

Source: BitMoD, arXiv:2411.11745, section IV-B. Scales of groups are unsigned 8-bit integers, times
one floating-point scale of the channel. The mantissa of a group is shifted and added for each 1 bit
of its scale, most significant bit first; its exponent is unchanged. The product is exact in
15 + 8 = 23 bits. One accumulator per column adds the groups of a channel; here it is FP32 and
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
    """BitMoD's PE with its dequantizer: group sums times 8-bit scales, added in FP32."""

    model: AlignedDot


def dequantized(group: Aligned, scale: int) -> Aligned:
    """Return the sum of a group times its scale.

    >>> dequantized(Aligned(-1000, 20), 200)
    Aligned(mantissa=-200000, exponent=20)
    """
    check_scales(scale, scale)
    total = 0
    for place in reversed(range(SCALE_BITS)):
        total = (total << 1) + (scale >> place & 1) * group.mantissa
    return Aligned(total, group.exponent)


def check_accumulator(model: AlignedDot) -> None:
    """Raise ValueError if FP32 can't hold every group sum times its scale exactly."""
    most = FP32.mantissa_bits + 2 - SCALE_BITS
    if model.accumulator_bits > most:
        raise ValueError(
            f"an accumulator of {model.accumulator_bits} bits is too wide; with {SCALE_BITS}-bit"
            f" scales, FP32 holds group sums of up to {most}"
        )


def check_scales(least: int, largest: int) -> None:
    """Raise ValueError unless the least and the largest scale fit in 8 unsigned bits."""
    if least < 0 or largest >> SCALE_BITS:
        raise ValueError(f"scales must be 0 to {2**SCALE_BITS - 1}, not {least} to {largest}")


def column(groups: Sequence[Aligned], scales: Sequence[int], *, guard_bits: int = 3) -> float:
    """Return the FP32 sum of a channel's group sums times their scales, in units of the terms.

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
    """Return :func:`column` of many channels."""
    check_scales(int(scales.min()), int(scales.max()))
    # A product has at most 24 bits, so FP32 holds it exactly.
    products = (mantissas * scales).astype(np.float32)
    parts = np.ldexp(products, (exponents + UNIT_EXPONENT - guard_bits).astype(np.int32))
    total = np.zeros(parts.shape[:-1], np.float32)
    for group in range(parts.shape[-1]):
        total += parts[..., group]
    return total

"""Quantizers of the simple types as arrays: the twin of ``reference.encode_block``."""

import math
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Int32

from numerics.arithmetic.division import (
    divide,
    divide_by_power_of_two,
    fence,
    float_bits,
    from_bits,
    multiply,
    ordered_bits,
    sign_bits,
)
from numerics.arithmetic.float32 import (
    BIAS,
    HIDDEN_BIT,
    INFINITY_BITS,
    MAGNITUDE_MASK,
    MANTISSA_BITS,
    MANTISSA_MASK,
)
from numerics.gguf import super_blocks
from numerics.gguf.block_type import BlockType, Rule
from numerics.gguf.decoding import E8M0_HALF_BIAS
from numerics.gguf.encoded import Encoded, PerBlock, Values

IsTiny = Bool[Array, "*lead"]

#: Largest d whose reciprocal is a normal number.
MAX_D = 2.0**126
#: Bits of 2^-90; blocks of smaller magnitudes are scaled up by 2^LIFT, so that XLA, which flushes
#: subnormal numbers, computes them as IEEE 754 defines.
TINY_BITS = (BIAS - 90) << MANTISSA_BITS
LIFT = 64
#: Lifted values of the smallest subnormal number, of the smallest normal number, and of the largest
#: number whose reciprocal is infinite.
LIFTED_UNIT, LIFTED_NORMAL, LIFTED_INVERTIBLE = 2.0 ** (LIFT - 149), 2.0 ** (LIFT - 126), 2.0**-64


def encode(block_type: BlockType, x: Values) -> Encoded:
    """Return codes, factors, d and m of blocks of float32 values."""
    if block_type.rule.is_search:
        return super_blocks.encode(block_type, x)
    if block_type.rule is Rule.POWER:
        return _power(block_type, x)
    encoders = {Rule.EXTREME: _extreme, Rule.RANGE: _range, Rule.ABSMAX: _absmax}
    lifted, is_tiny = _lifted(x)
    return encoders[block_type.rule](block_type, lifted, is_tiny)


def _lifted(x: Values) -> tuple[Values, IsTiny]:
    """Return the numbers, times ``2^LIFT`` in tiny blocks, and which blocks are tiny.

    In FP16, d and m of a tiny block are zero in any case. In other blocks subnormal numbers are
    replaced by the smallest normal number of their sign, because only their sign can matter.
    """
    bits = float_bits(x)
    magnitudes = bits & MAGNITUDE_MASK
    amax = jnp.max(magnitudes, axis=-1, keepdims=True)
    is_tiny = (amax > 0) & (amax < TINY_BITS)
    # Bit operations instead of arithmetic, which XLA could contract with operations around it.
    is_subnormal = (magnitudes < HIDDEN_BIT) & (magnitudes > 0)
    raised = from_bits(jnp.where(is_subnormal, sign_bits(x) | HIDDEN_BIT, bits))

    def lift() -> Values:
        return divide_by_power_of_two(x, jnp.where(is_tiny, -LIFT, 0))

    return lax.cond(jnp.any(is_tiny), lift, lambda: raised), is_tiny[..., 0]


def _extreme(block_type: BlockType, x: Values, is_tiny: IsTiny) -> Encoded:
    bits = float_bits(x)
    magnitudes = bits & MAGNITUDE_MASK
    amax = jnp.max(magnitudes, axis=-1)
    half_range = -block_type.levels[0]
    # d and its reciprocal have the opposite sign of the first value of largest magnitude.
    is_negative = _is_first_negative(bits, magnitudes == amax[..., None])
    d_sign = jnp.where(is_negative, 0, ~MAGNITUDE_MASK)
    magnitude = _divided(from_bits(amax), half_range, is_tiny)
    quotients = float_bits(multiply(x, _reciprocal(magnitude, is_tiny)[..., None]))
    raised = from_bits(quotients ^ d_sign[..., None]) + np.float32(half_range + 0.5)
    codes = jnp.minimum(raised.astype(jnp.int32), 2 * half_range - 1)
    d = from_bits(float_bits(magnitude) | d_sign)
    return _poisoned(codes, d, amax >= INFINITY_BITS)


def _range(block_type: BlockType, x: Values, is_tiny: IsTiny) -> Encoded:
    last = len(block_type.levels) - 1
    # Compared as integers, because float minimum and maximum may ignore a NaN.
    order = ordered_bits(x)
    low, high = _from_order(jnp.min(order, axis=-1)), _from_order(jnp.max(order, axis=-1))
    # A least value that is zero has the sign of the first zero.
    low = jnp.where((low == 0) & _is_first_negative(order, x == 0), np.float32(-0.0), low)
    d = _divided(high - low, last, is_tiny)
    quotients = multiply(x - low[..., None], _reciprocal(d, is_tiny)[..., None])
    codes = jnp.minimum((quotients + np.float32(0.5)).astype(jnp.int32), last)
    is_bad = ~(d < np.inf)
    return _poisoned(codes, d, is_bad)._replace(m=jnp.where(is_bad, jnp.nan, low))


def _absmax(block_type: BlockType, x: Values, is_tiny: IsTiny) -> Encoded:
    amax = jnp.max(float_bits(x) & MAGNITUDE_MASK, axis=-1)
    d = _divided(from_bits(amax), block_type.largest, is_tiny)
    magnitude = multiply(jnp.abs(x), _reciprocal(d, is_tiny)[..., None])
    whole = magnitude.astype(jnp.int32)
    rounded = whole + (magnitude - whole.astype(jnp.float32) >= 0.5)
    level = jnp.where(sign_bits(x) != 0, -rounded, rounded)
    # Codes of levels from -1 start at 0; levels from 0 are in two's complement.
    codes = level - min(block_type.levels[0], 0)
    return _poisoned(codes, d, amax >= INFINITY_BITS)


def _power(block_type: BlockType, x: Values) -> Encoded:
    amax = jnp.max(float_bits(x) & MAGNITUDE_MASK, axis=-1)
    scale = jnp.where(amax == 0, 0, jnp.maximum(_floor_log2(amax) - 2 + BIAS, 0))
    quotients = divide_by_power_of_two(x, (scale - E8M0_HALF_BIAS)[..., None])
    levels = block_type.levels[: len(block_type.levels) // 2]
    middles = [np.float32((low + high) / 2) for low, high in pairwise(levels)]
    index = sum((jnp.abs(quotients) > middle).astype(jnp.int32) for middle in middles)
    codes = jnp.where((sign_bits(x) != 0) & (index > 0), index + len(levels), index)
    is_bad = amax >= INFINITY_BITS
    codes = jnp.where(is_bad[..., None], len(levels) - 1, codes)
    return Encoded(codes.astype(jnp.uint8), jnp.where(is_bad, 255, scale).astype(jnp.uint8))


def _floor_log2(magnitude_bits: Int32[Array, "*lead"]) -> Int32[Array, "*lead"]:
    """Return the floor of the logarithm rounded to float32, of normal numbers."""
    exponent = (magnitude_bits >> MANTISSA_BITS) - BIAS
    missing = HIDDEN_BIT - (magnitude_bits & MANTISSA_MASK)
    table: Array = jnp.asarray(_CARRIED)
    return exponent + (missing <= table[exponent + BIAS])


def _carried(power: int) -> int:
    """Return the number of float32 values below ``2**power`` whose logarithm rounds to ``power``.

    The logarithm of ``2**power * (1 - n / 2**24)`` is ``power - n / 2**24 / ln(2)``; it rounds up
    within half a unit in the last place, of the numbers next to ``power`` in its direction.

    >>> [_carried(power) for power in (0, 2, 3, 8, -8, 127)]
    [0, 0, 1, 2, 5, 44]
    """
    if power == 0:
        return 0
    binade = math.frexp(power - 0.5)[1] - 1
    return int(math.ldexp(1, binade) * math.log(2))


_CARRIED = np.array([_carried(field - BIAS + 1) for field in range(256)], np.int32)


def _is_first_negative(
    bits: Int32[Array, "*lead values"], is_meant: Bool[Array, "*lead values"]
) -> Bool[Array, "*lead"]:
    """Whether the first of the selected numbers is negative; false if none is selected."""
    # Key: twice the position, plus the sign.
    place = 2 * np.arange(bits.shape[-1], dtype=np.int32) + lax.shift_right_logical(bits, 31)
    first = jnp.min(jnp.where(is_meant, place, 2 * bits.shape[-1]), axis=-1)
    return first & 1 == 1


def _from_order(order: Int32[Array, "*lead"]) -> PerBlock:
    """Return the numbers with these :func:`ordered_bits`; zeros are positive."""
    return from_bits(jnp.where(order == -1, 0, order ^ ((order >> 31) & MAGNITUDE_MASK)))


def _divided(number: PerBlock, by: int, is_tiny: IsTiny) -> PerBlock:
    """Return a quotient; in a lifted block one that was subnormal is rounded to LIFTED_UNIT."""
    quotient = divide(number, float(by))
    units = jnp.minimum(number * np.float32(1 / LIFTED_UNIT), np.float32(2.0**30))
    whole, rest = jnp.divmod(units.astype(jnp.int32), by)
    rises = (2 * rest > by) | ((2 * rest == by) & (whole % 2 == 1))
    on_grid = (whole + rises).astype(jnp.float32) * np.float32(LIFTED_UNIT)
    is_subnormal = is_tiny & (quotient < np.float32(LIFTED_NORMAL))
    return fence(jnp.where(is_subnormal, on_grid, quotient))


def _reciprocal(d: PerBlock, is_tiny: IsTiny) -> PerBlock:
    """Return ``1 / d`` for numbers that are not negative, 0 if it is not a normal number."""
    is_invertible = d > jnp.where(is_tiny, np.float32(LIFTED_INVERTIBLE), 0)
    has_one = is_invertible & (d <= np.float32(MAX_D))
    return jnp.where(has_one, divide(jnp.ones_like(d), d), np.float32(0))


def _poisoned(
    codes: Int32[Array, "*lead values"], d: PerBlock, is_bad: Bool[Array, "*lead"]
) -> Encoded:
    clean = jnp.where(is_bad[..., None], 0, codes & 0xFF).astype(jnp.uint8)
    return Encoded(clean, jnp.where(is_bad, jnp.nan, d))

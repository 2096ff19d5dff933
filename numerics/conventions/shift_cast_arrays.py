"""Array code of the shift cast: the twin of ``shift_cast.shift_cast``."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Int32, UInt8

from numerics.conventions.shift_cast import FIELD_HALF, SIGN, check_target
from numerics.formats import E2M1, FloatFormat

#: Magnitude at which shifts are clipped; larger shifts give the same zero or largest number.
MAX_SHIFT = 64
#: Right-shift amount that reduces every significand to zero.
MAX_PLACES = 8


def shift_cast(
    codes: UInt8[Array, "*shape"], shifts: Int32[Array, "*shape"], *, target: FloatFormat
) -> UInt8[Array, "*shape"]:
    """Return the FP8 code of ``e2m1(code) * 2^shift``, saturated where the shift is too large.

    >>> from numerics.formats import E4M3
    >>> shift_cast(jnp.uint8([7, 9]), jnp.int32([3, -8]), target=E4M3).tolist()
    [100, 129]
    """
    check_target(target, 0)
    cast: Array = _shift_cast(codes, shifts, target=target)
    return cast


@partial(jax.jit, static_argnames="target")
def _shift_cast(
    codes: UInt8[Array, "*shape"], shifts: Int32[Array, "*shape"], *, target: FloatFormat
) -> UInt8[Array, "*shape"]:
    magnitude = codes.astype(jnp.int32) & 0b111
    is_half = magnitude == FIELD_HALF
    field = jnp.where(is_half, 0, magnitude >> 1) + (target.bias - E2M1.bias)
    field += jnp.clip(shifts, -MAX_SHIFT, MAX_SHIFT)
    mantissa = jnp.where(is_half, 0, magnitude & 1)
    significand = (2 | mantissa) << (target.mantissa_bits - 1)
    normal = (field << target.mantissa_bits) | (significand & ((1 << target.mantissa_bits) - 1))
    places = jnp.clip(1 - field, 0, MAX_PLACES)
    quotient, half = significand >> places, (1 << places) >> 1
    rest = significand & ((1 << places) - 1)
    rises = (rest > half) | ((rest == half) & (quotient % 2 == 1) & (places > 0))
    value = jnp.where(field >= 1, normal, quotient + rises)
    largest = target.encode(target.max)
    value = jnp.where(magnitude == 0, 0, jnp.minimum(value, largest))
    sign = (codes.astype(jnp.int32) >> SIGN) << (target.bits - 1)
    return (sign | value).astype(jnp.uint8)

"""Arithmetic whose rounding the compiler must not change.

XLA on a CPU rewrites ``x / scale`` with a broadcast or constant divisor to ``x * (1 / scale)``,
contracts ``a * b + c`` to a fused multiply-add, and flushes subnormal float32 numbers to zero. Each
changes results, so quantization divides, multiplies and takes exponents only with these functions.
Their contract, which NumPy's operators meet for normal numbers:

- a quotient or product is the exact one rounded once to float32, half to even;
- a float32 scale is at least 2^-126; a subnormal number divided by a scale, and a subnormal
  product, becomes a zero of the same sign;
- scaling by a power of two is exact down to the last subnormal, by integer operations.
"""

from typing import TypeVar

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32, Int32

from numerics.arithmetic.float32 import (
    HIDDEN_BIT,
    MAGNITUDE_MASK,
    MANTISSA_BITS,
    MANTISSA_MASK,
    NAN_BITS,
    UNIT_EXPONENT,
)

T = TypeVar("T")


def fence(tree: T) -> T:
    """Return the arrays unchanged; XLA computes them once, not again for each use."""
    fenced: T = lax.optimization_barrier(tree)  # type: ignore[no-untyped-call]
    return fenced


def float_bits(x: Float32[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """Return the bits of float32 numbers; those of magnitudes have the order of the magnitudes."""
    return lax.bitcast_convert_type(x, jnp.int32)


def from_bits(bits: Int32[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Return the float32 numbers with these bits."""
    return lax.bitcast_convert_type(bits, jnp.float32)


def sign_bits(x: Float32[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """Return the sign bit of each number, in place."""
    return float_bits(x) & ~MAGNITUDE_MASK


def ordered_bits(x: Float32[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """Return integers in the order of the numbers; NaN comes after the infinity of its sign."""
    bits = float_bits(x)
    return bits ^ ((bits >> 31) & MAGNITUDE_MASK)


def divide(x: Float32[Array, "*shape"], scale: Array | float) -> Float32[Array, "*shape"]:
    """Return the IEEE quotient ``x / scale``; ``scale`` broadcasts to the shape of ``x``.

    A NaN is divided by itself. Its quotient is NaN in any case, but the divisor is then not a
    broadcast value, whose reciprocal XLA would compute once.
    """
    is_nan = x != x
    return x / jnp.where(is_nan, x, scale)


def multiply(value: Float32[Array, "*shape"], scale: Array | float) -> Float32[Array, "*shape"]:
    """Return the rounded product ``value * scale`` for a scale that is not negative.

    Two integer operations follow the multiplication, so that XLA cannot fuse it with a later
    addition: a bound that only a NaN with a payload can exceed, and the sign.
    """
    magnitude = jnp.minimum(float_bits(jnp.abs(value) * scale), NAN_BITS)
    return from_bits(magnitude | sign_bits(value))


def divide_by_power_of_two(
    x: Float32[Array, "*shape"], exponent: Int32[Array, "..."]
) -> Float32[Array, "*shape"]:
    """Return ``x / 2**exponent``, exact; quotients below 2^-126 become a zero of the same sign.

    ``x`` may be subnormal. The caller ensures that quotients stay below 2^128.
    """
    bits = float_bits(x)
    magnitude = bits & MAGNITUDE_MASK
    is_subnormal = magnitude < HIDDEN_BIT
    # A subnormal number is an integer times 2^-149; the integer as a float has a normal exponent.
    normalized = jnp.where(is_subnormal, float_bits(magnitude.astype(jnp.float32)), magnitude)
    shift = exponent - jnp.where(is_subnormal, UNIT_EXPONENT, 0)
    is_normal = (normalized >> MANTISSA_BITS) > shift
    quotient = normalized - (shift << MANTISSA_BITS)
    return from_bits(jnp.where(is_normal, quotient, 0) | (bits & ~MAGNITUDE_MASK))


def multiply_by_power_of_two(
    value: Float32[Array, "*shape"], exponent: Int32[Array, "..."]
) -> Float32[Array, "*shape"]:
    """Return ``value * 2**exponent`` for zero and normal values; products may be subnormal.

    The caller ensures that products stay below 2^128 and are multiples of 2^-149.
    """
    bits = float_bits(value)
    magnitude = bits & MAGNITUDE_MASK
    field = (magnitude >> MANTISSA_BITS) + exponent
    normal = magnitude + (exponent << MANTISSA_BITS)
    significand = (magnitude & MANTISSA_MASK) | HIDDEN_BIT
    subnormal = significand >> jnp.clip(1 - field, 0, 31)
    product = jnp.where(field >= 1, normal, subnormal)
    return from_bits(jnp.where(magnitude == 0, 0, product) | (bits & ~MAGNITUDE_MASK))

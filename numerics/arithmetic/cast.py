"""Array twin of the formats: rounding, codes and values by integer operations alone.

Every result equals the scalar method of the format on every element, eagerly, under ``jax.jit``,
``jax.vmap`` and inside a larger compiled function. Arrays cannot raise: in a format without a code
for NaN, a NaN becomes zero (integer formats) or saturates by its sign (others). Callers that need
NaN to survive poison the group.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float32, Int32, Shaped, UInt

from numerics.arithmetic.division import float_bits, from_bits, ordered_bits, sign_bits
from numerics.arithmetic.float32 import (
    BIAS,
    HIDDEN_BIT,
    INFINITY_BITS,
    MAGNITUDE_MASK,
    MANTISSA_BITS,
    MANTISSA_MASK,
)
from numerics.formats import (
    FP32,
    FloatFormat,
    Format,
    IntFormat,
    Overflow,
    PowerOfTwoFormat,
    TableFormat,
)


def encode(
    fmt: Format, x: Shaped[Array | np.ndarray, "*shape"], *, overflow: Overflow = "sat"
) -> UInt[Array, "*shape"]:
    """Return the code of the value nearest to each number, in the smallest unsigned type.

    Raises
    ------
    TypeError
        Unless ``x`` is float32.

    Examples
    --------
    >>> from numerics.formats import E2M1
    >>> encode(E2M1, jnp.float32([0.25, 0.75, -5.0, 99.0])).tolist()
    [0, 2, 14, 7]
    """
    check_float32(x)
    codes: Array = _encode(fmt, x, overflow)
    return codes


@partial(jax.jit, static_argnames=("fmt", "overflow"))
def _encode(fmt: Format, x: Float32[Array, "*shape"], overflow: Overflow) -> UInt[Array, "*shape"]:
    match fmt:
        case FloatFormat():
            codes = _encode_float(fmt, x, overflow)
        case IntFormat():
            integers = _round_integers(fmt, jnp.where(jnp.isnan(x), 0, x))
            codes = integers.astype(jnp.int32) & ((1 << fmt.bits) - 1)
        case TableFormat():
            index = _table_index(fmt, x)
            codes = jnp.asarray(fmt.codes, jnp.int32)[index] if fmt.codes else index
        case PowerOfTwoFormat():
            codes = _encode_power_of_two(fmt, x)
        case _:
            raise TypeError(f"no array cast for {fmt!r}")
    return codes.astype(code_dtype(fmt))


@partial(jax.jit, static_argnames="fmt")
def decode(fmt: Format, codes: UInt[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Return the value of each code.

    Examples
    --------
    >>> from numerics.formats import E2M1
    >>> decode(E2M1, jnp.uint8([1, 7, 15])).tolist()
    [0.5, 6.0, -6.0]
    """
    wide = codes.astype(jnp.int32) if fmt.bits < 32 else lax.bitcast_convert_type(codes, jnp.int32)
    match fmt:
        case FloatFormat():
            return _decode_float(fmt, wide)
        case IntFormat():
            integers: Array = _signed(fmt, wide).astype(jnp.float32)
            return integers * fmt.unit
        case _:
            table: Array = jnp.asarray(np.array(fmt.values, np.float32))
            return table[wide]


def round_to(
    fmt: Format, x: Shaped[Array | np.ndarray, "*shape"], *, overflow: Overflow = "sat"
) -> Float32[Array, "*shape"]:
    """Return the value nearest to each number: ``decode`` of ``encode``.

    Raises
    ------
    TypeError
        Unless ``x`` is float32.

    Examples
    --------
    >>> from numerics.formats import E2M1
    >>> round_to(E2M1, jnp.float32([2.4, 2.6, -5.0, 99.0])).tolist()
    [2.0, 3.0, -4.0, 6.0]
    """
    check_float32(x)
    values: Array = _round_to(fmt, x, overflow)
    return values


@partial(jax.jit, static_argnames=("fmt", "overflow"))
def _round_to(
    fmt: Format, x: Float32[Array, "*shape"], overflow: Overflow
) -> Float32[Array, "*shape"]:
    values: Array = decode(fmt, _encode(fmt, x, overflow))
    return values


def check_float32(x: Shaped[Array | np.ndarray, "*shape"]) -> None:
    """Raise :class:`TypeError` unless numbers are float32.

    JAX would round float64 to float32 first, and rounding twice moves ties.
    """
    kind = getattr(x, "dtype", type(x).__name__)
    if kind != jnp.float32:
        raise TypeError(f"x is {kind}, not float32; convert it first")


def code_dtype(fmt: Format) -> np.dtype[np.generic]:
    """Return the smallest unsigned array type that holds the codes of ``fmt``."""
    return np.dtype(np.uint8 if fmt.bits <= 8 else np.uint16 if fmt.bits <= 16 else np.uint32)


def round_element(fmt: Format, x: Float32[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Return the saturated value nearest to each number, by fewer steps than :func:`round_to`.

    The format must be an element format: at most 8 bits, and no value that is subnormal in float32.
    The result for NaN is unspecified.
    """
    match fmt:
        case FloatFormat():
            largest = np.float32(fmt.max).view(np.int32)
            bits = jnp.minimum(float_bits(x) & MAGNITUDE_MASK, largest)
            # The last bit of a float32 of 2^23 steps of ``fmt`` is one step: the sum rounds there.
            binade = jnp.maximum(bits & INFINITY_BITS, (fmt.min_exponent + BIAS) << MANTISSA_BITS)
            large = from_bits(binade + ((MANTISSA_BITS - fmt.mantissa_bits) << MANTISSA_BITS))
            magnitude = (from_bits(bits) + large) - large
            sign = sign_bits(x)
            if not fmt.has_negative_zero:
                sign = jnp.where(magnitude == 0, 0, sign)
            return from_bits(float_bits(magnitude) | sign)
        case IntFormat():
            # The conversion to an integer removes negative zero.
            integers = _round_integers(fmt, x).astype(jnp.int32)
            return integers.astype(jnp.float32) * fmt.unit
        case TableFormat():
            return _table_value(fmt, x)
        case _:
            raise TypeError(f"{fmt.name} is a scale format, not an element format")


def _round_significand(
    fmt: FloatFormat, magnitude: Int32[Array, "*shape"]
) -> tuple[Int32[Array, "*shape"], Int32[Array, "*shape"]]:
    """Return ``q`` and ``e`` of the rounded number ``q * 2**(e - mantissa_bits)``, half to even.

    ``q`` has the hidden bit where the result is normal in ``fmt``; it may carry to the next power
    of two. The exponent is unbounded above.
    """
    field = magnitude >> MANTISSA_BITS
    mantissa = magnitude & MANTISSA_MASK
    significand = jnp.where(field > 0, mantissa | HIDDEN_BIT, mantissa)
    exponent = jnp.maximum(field, 1) - BIAS
    target_exponent = jnp.maximum(exponent, fmt.min_exponent)
    # With 25 or more discarded bits a 24-bit significand rounds to zero.
    discarded = jnp.minimum(MANTISSA_BITS - fmt.mantissa_bits + target_exponent - exponent, 25)
    is_odd = (significand >> discarded) & 1
    below_half = (1 << (discarded - 1)) - 1
    return (significand + below_half + is_odd) >> discarded, target_exponent


def _encode_float(
    fmt: FloatFormat, x: Float32[Array, "*shape"], overflow: Overflow
) -> Int32[Array, "*shape"]:
    if fmt == FP32:
        return float_bits(x)
    magnitude = float_bits(x) & MAGNITUDE_MASK
    significand, exponent = _round_significand(fmt, magnitude)
    # The hidden bit of a normal significand and a carry out of it increment the exponent field.
    code = ((exponent - fmt.min_exponent) << fmt.mantissa_bits) + significand
    beyond = fmt.infinity_code(overflow) if overflow == "ieee" else fmt.max_code
    code = jnp.where(code > fmt.max_code, beyond, code)
    code = jnp.where(magnitude == INFINITY_BITS, fmt.infinity_code(overflow), code)
    nan_code = fmt.max_code if fmt.nan_code is None else fmt.nan_code
    code = jnp.where(magnitude > INFINITY_BITS, nan_code, code)
    sign = lax.shift_right_logical(float_bits(x), 31) << (fmt.bits - 1)
    if not fmt.has_negative_zero:
        sign = jnp.where(code == 0, 0, sign)
    return code | sign


def _decode_float(fmt: FloatFormat, codes: Int32[Array, "*shape"]) -> Float32[Array, "*shape"]:
    if fmt == FP32:
        return from_bits(codes)
    spare_bits = MANTISSA_BITS - fmt.mantissa_bits
    code = codes & ((1 << (fmt.bits - 1)) - 1)
    sign = (codes >> (fmt.bits - 1)) << 31
    magnitude = (code << spare_bits) + ((BIAS - fmt.bias) << MANTISSA_BITS)
    if fmt.bias != BIAS:
        step = np.float32(fmt.smallest)
        subnormal = float_bits(code.astype(jnp.float32) * step)
        magnitude = jnp.where(code < 1 << fmt.mantissa_bits, subnormal, magnitude)
    magnitude = jnp.where(code > fmt.max_code, INFINITY_BITS | 1 << 22, magnitude)
    if fmt.inf_code is not None:
        magnitude = jnp.where(code == fmt.inf_code, INFINITY_BITS, magnitude)
    if not fmt.has_negative_zero:
        is_nan = codes == fmt.sign_code
        magnitude = jnp.where(is_nan, INFINITY_BITS | 1 << 22, magnitude)
        sign = jnp.where(is_nan, 0, sign)
    return from_bits(magnitude | sign)


def _round_integers(fmt: IntFormat, x: Float32[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Return the nearest integers in units of ``fmt``, half to even, saturated."""
    in_units = x * np.float32(1 / fmt.unit)
    lowest, highest = np.float32(fmt.min / fmt.unit), np.float32(fmt.max / fmt.unit)
    return jnp.clip(jnp.round(in_units), lowest, highest)


def _signed(fmt: IntFormat, codes: Int32[Array, "*shape"]) -> Int32[Array, "*shape"]:
    if fmt.kind == "unsigned":
        return codes
    sign = 1 << (fmt.bits - 1)
    return (codes ^ sign) - sign


def _table_index(fmt: TableFormat, x: Float32[Array, "*shape"]) -> Int32[Array, "*shape"]:
    index = jnp.zeros(x.shape, jnp.int32)
    for is_above in _above(fmt, x):
        index += is_above
    return index


def _table_value(fmt: TableFormat, x: Float32[Array, "*shape"]) -> Float32[Array, "*shape"]:
    value = jnp.full(x.shape, fmt.table[0], jnp.float32)
    for is_above, upper in zip(_above(fmt, x), fmt.table[1:], strict=True):
        value = jnp.where(is_above, np.float32(upper), value)
    return value


def _above(fmt: TableFormat, x: Float32[Array, "*shape"]) -> list[Bool[Array, "*shape"]]:
    """Return whether the numbers exceed each threshold, compared as integers.

    No tie rounds up at a threshold of zero, so that the signs of zeros don't matter.
    """
    thresholds = np.array(fmt.thresholds, np.float32).view(np.int32)
    ordered = thresholds ^ ((thresholds >> 31) & MAGNITUDE_MASK)
    first_above = [int(t) + (not fmt.goes_up(i)) for i, t in enumerate(ordered)]
    return [ordered_bits(x) >= first for first in first_above]


def _encode_power_of_two(
    fmt: PowerOfTwoFormat, x: Float32[Array, "*shape"]
) -> Int32[Array, "*shape"]:
    bits = float_bits(x)
    # Numbers from the midpoint of two powers of two round up; 2^-127 is a subnormal float32.
    nearest = (bits + (HIDDEN_BIT >> 1)) >> MANTISSA_BITS
    nearest_subnormal = (bits >= HIDDEN_BIT * 3 // 4).astype(jnp.int32)
    code = jnp.where(bits < HIDDEN_BIT, nearest_subnormal, nearest) + (fmt.bias - BIAS)
    clipped = jnp.clip(code, 0, fmt.nan_code)
    is_positive_number = (bits > 0) & (bits < INFINITY_BITS)
    return jnp.where(is_positive_number, clipped, fmt.nan_code)

"""Scales: found from a group and rounded to their format; values divided and multiplied by them.

All functions work on groups along the last axis and on one entry of side data per group. The side
data that :func:`find_side_data` returns is stored; :func:`normalize` and :func:`restore` read only
that, so a reader of stored codes and side data gets the same numbers.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float32, Int32, Shaped, UInt8

from numerics.arithmetic.cast import encode
from numerics.arithmetic.division import (
    divide,
    divide_by_power_of_two,
    fence,
    float_bits,
    from_bits,
    multiply,
    multiply_by_power_of_two,
    ordered_bits,
)
from numerics.arithmetic.float32 import (
    HIDDEN_BIT,
    INFINITY_BITS,
    MAGNITUDE_MASK,
    MANTISSA_BITS,
    MANTISSA_MASK,
    MAX_FLOAT32,
    MIN_NORMAL,
)
from numerics.formats import E8M0, FP32, SCALE_DTYPES, FloatFormat, Format
from numerics.schemes.element import ElementScheme, ScaleRule, ZeroPoint
from numerics.schemes.granularity import PerToken

Groups = Float32[Array, "*lead group"]
PerGroupFloat = Float32[Array, "*lead"]
#: Second level of scales: one number for the tensor, or one for each row of groups.
SecondLevel = Float32[Array, ""] | Float32[Array, "*lead_and_1"]
#: Levels of a summation tree between fences; more levels compile slowly.
TREE_LEVELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SideData:
    """The stored arrays with one entry per group."""

    #: Scale, in the array type of the scale format.
    scales: Shaped[Array, "*lead"]
    #: Code that represents zero; ``None`` without zero points.
    zero_points: UInt8[Array, "*lead"] | None = None
    #: Least value of the group, in the scale format; ``None`` without minimums.
    minimums: Shaped[Array, "*lead"] | None = None


jax.tree_util.register_dataclass(
    SideData, data_fields=["scales", "zero_points", "minimums"], meta_fields=[]
)


def find_tensor_scale(x: Float32[Array, "*shape"], scheme: ElementScheme) -> SecondLevel:
    """Return the second level of scales: ``amax / (half_range * scale_format.max)``.

    It is large enough that its product with any block scale is a normal float32.
    """
    if scheme.static_scale is not None:
        given: Array = jnp.float32(scheme.static_scale)
        return given
    assert isinstance(scheme.scale_format, FloatFormat)
    axis = -1 if scheme.second_level == PerToken() else None
    amax_bits = jnp.max(float_bits(x) & MAGNITUDE_MASK, axis=axis, keepdims=axis is not None)
    largest = scheme.element.half_range * scheme.scale_format.max
    lowest = MIN_NORMAL / scheme.scale_format.smallest
    scale = jnp.maximum(divide(from_bits(amax_bits), largest), lowest)
    return fence(_replace_special(scale, amax_bits))


def find_side_data(
    x: Groups, scheme: ElementScheme, tensor_scale: SecondLevel | None = None
) -> SideData:
    """Return the scale of each group, rounded to its format, and its zero point or minimum."""
    match scheme.zero_point:
        case ZeroPoint.INTEGER:
            side = _integer_zero_point(x, scheme)
        case ZeroPoint.MINIMUM:
            side = _float_minimum(x, scheme)
        case _ if scheme.has_power_of_two_scales:
            side = SideData(scales=_power_of_two_scales(x, scheme))
        case _:
            side = SideData(scales=_symmetric_scales(x, scheme, tensor_scale))
    # Without the fence XLA would compute the scale again for each value.
    return fence(side)


def scale_values(
    side: SideData, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> PerGroupFloat:
    """Return scales as the float32 that values are divided by; not for powers of two."""
    scales = side.scales.astype(jnp.float32)
    return scales if tensor_scale is None else multiply(scales, tensor_scale)


def scale_exponents(side: SideData) -> tuple[Int32[Array, "*lead"], Bool[Array, "*lead"]]:
    """Return the exponent of power-of-two scales, and which of them are NaN."""
    codes = lax.bitcast_convert_type(side.scales, jnp.uint8).astype(jnp.int32)
    return codes - E8M0.bias, codes == E8M0.nan_code


def is_poisoned(
    side: SideData, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> Bool[Array, "*lead"]:
    """Return which groups have a NaN as their scale."""
    if scheme.has_power_of_two_scales:
        return scale_exponents(side)[1]
    return jnp.isnan(scale_values(side, scheme, tensor_scale))


def normalize(
    x: Groups, side: SideData, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> Groups:
    """Return values divided by their scale, to be rounded to the element format."""
    if scheme.has_power_of_two_scales:
        return divide_by_power_of_two(x, scale_exponents(side)[0][..., None])
    if side.minimums is not None:
        x = x - side.minimums.astype(jnp.float32)[..., None]
    if scheme.static_scale is not None and tensor_scale is None:
        x = jnp.where(jnp.isnan(x), 0, x)
    return divide(x, scale_values(side, scheme, tensor_scale)[..., None])


def restore(
    values: Groups, side: SideData, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> Groups:
    """Return element values times their scale, plus their minimum; NaN in poisoned groups."""
    if scheme.has_power_of_two_scales:
        exponents, poisoned = scale_exponents(side)
        product = multiply_by_power_of_two(values, exponents[..., None])
    else:
        scales = scale_values(side, scheme, tensor_scale)
        poisoned = jnp.isnan(scales)
        product = multiply(values, scales[..., None])
    if side.minimums is not None:
        product = product + side.minimums.astype(jnp.float32)[..., None]
    return jnp.where(poisoned[..., None], jnp.nan, product)


def _symmetric_scales(
    x: Groups, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> Shaped[Array, "*lead"]:
    if scheme.static_scale is not None and tensor_scale is None:
        return jnp.full(x.shape[:-1], scheme.static_scale, jnp.float32)
    amax_bits = jnp.max(float_bits(x) & MAGNITUDE_MASK, axis=-1)
    if scheme.rule is ScaleRule.ABSMEAN:
        raw = divide(tree_sum(jnp.abs(x)), float(x.shape[-1]))
    elif tensor_scale is None:
        raw = divide(from_bits(amax_bits), scheme.element.half_range)
    else:
        raw = divide(from_bits(amax_bits), scheme.element.half_range * tensor_scale)
    return store_scale(raw, amax_bits, scheme.scale_format)


def _power_of_two_scales(x: Groups, scheme: ElementScheme) -> Shaped[Array, "*lead"]:
    amax_bits = jnp.max(float_bits(x) & MAGNITUDE_MASK, axis=-1)
    top = scheme.element.max_exponent
    rounded = amax_bits
    if scheme.rule is ScaleRule.EVEN:
        rounded = amax_bits + (HIDDEN_BIT >> (mantissa_bits(scheme.element) + 1))
    codes = jnp.clip((rounded >> MANTISSA_BITS) - top, 0, E8M0.nan_code - 1)
    if scheme.rule is ScaleRule.CEIL:
        # For a subnormal amax, 2^-127 is the only power of two that matters (element exponent 0).
        least = jnp.where(amax_bits < HIDDEN_BIT, HIDDEN_BIT >> 1, amax_bits & ~MANTISSA_MASK)
        ceiling = (amax_bits >> MANTISSA_BITS) + (amax_bits > least)
        codes = jnp.clip(ceiling - top, 0, E8M0.nan_code - 1)
    largest = scheme.element.max
    if scheme.rule is ScaleRule.RCEIL:
        codes = codes + (amax_bits > _scaled_bits(largest, codes))
    if scheme.rule is ScaleRule.RFLOOR:
        codes = codes - (amax_bits < _scaled_bits(largest, codes))
    if scheme.rule is ScaleRule.RNEAREST:
        up = amax_bits >= _scaled_bits(largest * math.sqrt(2), codes)
        codes = codes + up - (amax_bits < _scaled_bits(largest / math.sqrt(2), codes))
    codes = jnp.clip(codes, 0, E8M0.nan_code - 1)
    codes = jnp.where(amax_bits >= INFINITY_BITS, E8M0.nan_code, codes)
    return lax.bitcast_convert_type(codes.astype(jnp.uint8), SCALE_DTYPES[E8M0])


def mantissa_bits(element: Format) -> int:
    """Return the number of bits after the leading one of the largest value."""
    if isinstance(element, FloatFormat):
        return element.mantissa_bits
    return element.bits - 2


def _scaled_bits(value: float, codes: Int32[Array, "*lead"]) -> Int32[Array, "*lead"]:
    """Return the float32 bits of a number times the scale of a code; subnormals are truncated."""
    exponent, mantissa = divmod(int(np.float32(value).view(np.int32)), HIDDEN_BIT)
    field = codes + exponent - E8M0.bias
    below = jnp.clip(1 - field, 0, MANTISSA_BITS)
    normal = (field << MANTISSA_BITS) | mantissa
    return jnp.where(field > 0, normal, (HIDDEN_BIT | mantissa) >> below)


def _integer_zero_point(x: Groups, scheme: ElementScheme) -> SideData:
    low, high, worst_bits = _extremes(x)
    low, high = jnp.minimum(low, 0), jnp.maximum(high, 0)
    scales = _range_scale(low, high, worst_bits, scheme)
    codes = jnp.round(divide(-low, scales.astype(jnp.float32)))
    zero_points = jnp.clip(jnp.where(jnp.isnan(codes), 0, codes), 0, scheme.element.max)
    return SideData(scales=scales, zero_points=zero_points.astype(jnp.uint8))


def _float_minimum(x: Groups, scheme: ElementScheme) -> SideData:
    low, high, worst_bits = _extremes(x)
    scales = _range_scale(low, high, worst_bits, scheme)
    low = jnp.where(jnp.abs(low) < MIN_NORMAL, 0, low)
    return SideData(scales=scales, minimums=_to_scale_format(low, scheme.scale_format))


def _extremes(x: Groups) -> tuple[PerGroupFloat, PerGroupFloat, Int32[Array, "*lead"]]:
    """Return the least and largest value of each group and the bits of its largest magnitude."""
    ordered = ordered_bits(x)
    low, high = jnp.min(ordered, axis=-1), jnp.max(ordered, axis=-1)
    # ``ordered_bits`` is its own inverse on bits.
    low, high = (from_bits(v ^ ((v >> 31) & MAGNITUDE_MASK)) for v in (low, high))
    magnitudes = (float_bits(v) & MAGNITUDE_MASK for v in (low, high))
    return low, high, jnp.maximum(*magnitudes)


def _range_scale(
    low: PerGroupFloat,
    high: PerGroupFloat,
    worst_bits: Int32[Array, "*lead"],
    scheme: ElementScheme,
) -> Shaped[Array, "*lead"]:
    spread = jnp.minimum(high - low, MAX_FLOAT32)
    raw = divide(spread, scheme.element.max)
    is_finite = worst_bits < INFINITY_BITS
    return store_scale(
        raw, jnp.where(is_finite, float_bits(spread), worst_bits), scheme.scale_format
    )


def store_scale(
    raw: PerGroupFloat, amax_bits: Int32[Array, "*lead"], fmt: Format
) -> Shaped[Array, "*lead"]:
    """Round a scale to its format, within its positive finite numbers.

    ``amax_bits`` identifies groups of zeros, whose scale is 1, and poisoned groups, whose scale is
    NaN.
    """
    assert isinstance(fmt, FloatFormat)
    lowest = max(fmt.smallest, MIN_NORMAL)
    clipped = jnp.clip(raw, lowest, fmt.max)
    return _to_scale_format(_replace_special(clipped, amax_bits), fmt)


def _replace_special(scale: PerGroupFloat, amax_bits: Int32[Array, "*lead"]) -> PerGroupFloat:
    scale = jnp.where(amax_bits < HIDDEN_BIT, 1.0, scale)
    return jnp.where(amax_bits >= INFINITY_BITS, jnp.nan, scale)


def _to_scale_format(x: PerGroupFloat, fmt: Format) -> Shaped[Array, "*lead"]:
    if fmt == FP32:
        return x
    assert isinstance(fmt, FloatFormat)
    return lax.bitcast_convert_type(encode(fmt, x, overflow="satfinite"), SCALE_DTYPES[fmt])


def tree_sum(x: Groups) -> PerGroupFloat:
    """Sum along the last axis in a defined order: add the upper half to the lower, repeatedly.

    The axis is padded with zeros to a power of two.
    """
    level = 0
    while x.shape[-1] > 1:
        half = 1 << ((x.shape[-1] - 1).bit_length() - 1)
        upper = x[..., half:]
        upper = jnp.pad(upper, [(0, 0)] * (x.ndim - 1) + [(0, half - upper.shape[-1])])
        x = x[..., :half] + upper
        level += 1
        if level % TREE_LEVELS == 0:
            x = fence(x)
    return x[..., 0]

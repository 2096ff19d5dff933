"""Array code of the integer conventions: the twin of ``integer_reference``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Int32, Shaped

from numerics.arithmetic.division import divide, fence, float_bits, from_bits, multiply
from numerics.arithmetic.float32 import (
    HIDDEN_BIT,
    INFINITY_BITS,
    MAGNITUDE_MASK,
    MAX_FLOAT32,
    MIN_NORMAL,
)
from numerics.conventions.integers import (
    CLIPS,
    UNSIGNED,
    WITH_ZERO_POINTS,
    Convention,
    IntegerScheme,
)
from numerics.formats import FP16
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup, PerToken
from numerics.schemes.scales import store_scale
from numerics.schemes.tensor import QuantizedTensor

Groups = Float32[Array, "*lead group"]
PerGroupFloat = Float32[Array, "*lead"]
LEAST_RANGE = np.float32(1e-5)
ZERO_SCALE = np.float32(2.0**-23)


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: IntegerScheme) -> QuantizedTensor:
    """Return codes, scales and zero points."""
    bits = float_bits(x)
    flushed = from_bits(jnp.where((bits & MAGNITUDE_MASK) < HIDDEN_BIT, 0, bits))
    blocks = grouping.split_groups(flushed, _granularity(scheme))
    codes, scales, zero_points = zip(*(_quantize_groups(b, scheme) for b in blocks), strict=True)
    shape, mask = scheme.scale_shape(x.shape), (1 << scheme.bits) - 1
    arrays = {
        "codes": (grouping.join_groups(list(codes), x.shape) & mask).astype(jnp.uint8),
        "scales": grouping.join_scales(list(scales), shape),
    }
    if scheme.convention in WITH_ZERO_POINTS:
        joined = grouping.join_scales(list(zero_points), shape)
        arrays["zero_points"] = (joined & mask).astype(jnp.uint8)
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``(code - zero_point) * scale``."""
    scheme = q.scheme
    assert isinstance(scheme, IntegerScheme)
    blocks = grouping.split_groups(_integers(q.codes, scheme), _granularity(scheme))
    scales = grouping.split_scales(q.scales.astype(jnp.float32), blocks)
    zeros = jnp.full(q.scales.shape, _fixed_zero_point(scheme))
    if q.zero_points is not None:
        zeros = _integers(q.zero_points, scheme)
    values = []
    for block, scale, zero in zip(
        blocks, scales, grouping.split_scales(zeros, blocks), strict=True
    ):
        number = (block - zero[..., None]).astype(jnp.float32)
        sign = jnp.where(scale < 0, -1.0, 1.0)[..., None]
        values.append(multiply(number * sign, jnp.abs(scale)[..., None]))
    return grouping.join_groups(values, q.shape)


def _quantize_groups(
    x: Groups, scheme: IntegerScheme
) -> tuple[Int32[Array, "*lead group"], Shaped[Array, "*lead"], Int32[Array, "*lead"]]:
    """Return codes (as integers), scales and zero points of groups."""
    is_bad = jnp.max(float_bits(x) & MAGNITUDE_MASK, axis=-1) >= INFINITY_BITS
    x = jnp.where(is_bad[..., None], 0, x)
    low, high = _range(x, scheme.convention)
    scales = fence(jnp.where(is_bad, jnp.nan, _scales(x, low, high, scheme)))
    divisor = jnp.where(is_bad, 1, scales.astype(jnp.float32))
    zero_points = fence(_zero_points(low, high, divisor, scheme))
    codes = _codes(divide(x, divisor[..., None]), zero_points, scheme)
    return (
        jnp.where(is_bad[..., None], 0, codes.astype(jnp.int32)),
        scales,
        jnp.where(is_bad, 0, zero_points.astype(jnp.int32)),
    )


def _range(x: Groups, convention: Convention) -> tuple[PerGroupFloat, PerGroupFloat]:
    low, high = jnp.min(x, axis=-1), jnp.max(x, axis=-1)
    if convention is not Convention.AWQ:
        low, high = jnp.minimum(low, 0), jnp.maximum(high, 0)
    clip = CLIPS.get(convention)
    return (low, high) if clip is None else (multiply(low, clip), multiply(high, clip))


def _scales(
    x: Groups, low: PerGroupFloat, high: PerGroupFloat, scheme: IntegerScheme
) -> Shaped[Array, "*lead"]:
    half, top = float(1 << (scheme.bits - 1)), float((1 << scheme.bits) - 1)
    amax = jnp.maximum(-low, high)
    match scheme.convention:
        case Convention.SMOOTHQUANT | Convention.QUAROT:
            return divide(jnp.maximum(amax, LEAST_RANGE), half - 1)
        case Convention.QUAROT_ACT:
            return jnp.where(amax == 0, 1, _stored(divide(amax, half - 1)))
        case Convention.COMPRESSED:
            return jnp.where(amax == 0, ZERO_SCALE, _stored(divide(amax, top / 2)))
        case Convention.COMPRESSED_ASYM:
            return jnp.where(amax == 0, ZERO_SCALE, _stored(divide(_spread(low, high), top)))
        case Convention.AWQ:
            return divide(jnp.maximum(_spread(low, high), LEAST_RANGE), top)
        case Convention.SIGNED_MAX:
            first = jnp.argmax(float_bits(x) & MAGNITUDE_MASK, axis=-1, keepdims=True)
            extreme = jnp.take_along_axis(x, first, axis=-1)[..., 0]
            size = store_scale(divide(amax, half), float_bits(amax), FP16)
            return jnp.where(extreme > 0, -size, size)
        case Convention.GPTQ_SYM:
            low, high = jnp.where(low == 0, low, -amax), amax
    is_zero = amax == 0
    low, high = jnp.where(is_zero, -1, low), jnp.where(is_zero, 1, high)
    return _stored(divide(_spread(low, high), top))


def _zero_points(
    low: PerGroupFloat, high: PerGroupFloat, scales: PerGroupFloat, scheme: IntegerScheme
) -> PerGroupFloat:
    half, top = float(1 << (scheme.bits - 1)), float((1 << scheme.bits) - 1)
    is_zero = (low == 0) & (high == 0)
    match scheme.convention:
        case Convention.AWQ:
            return jnp.clip(-jnp.round(divide(low, scales)), 0, top)
        case Convention.GPTQ | Convention.QUAROT_KV:
            low = jnp.where(is_zero, -1, low)
            return jnp.clip(-jnp.round(divide(low, scales)), 0, top)
        case Convention.COMPRESSED_ASYM:
            inside = jnp.clip(-half - divide(low, scales), -half, half - 1)
            return jnp.where(is_zero, 0, jnp.round(inside))
        case _:
            return jnp.full_like(scales, _fixed_zero_point(scheme))


def _codes(ratio: Groups, zero_points: PerGroupFloat, scheme: IntegerScheme) -> Groups:
    half, top = float(1 << (scheme.bits - 1)), float((1 << scheme.bits) - 1)
    zero = zero_points[..., None]
    if scheme.convention in UNSIGNED:
        return jnp.clip(jnp.round(ratio) + zero, 0, top)
    return jnp.round(jnp.clip(ratio + zero, -half, half - 1))


def _integers(codes: Array, scheme: IntegerScheme) -> Int32[Array, "*shape"]:
    integers = codes.astype(jnp.int32)
    if scheme.convention in UNSIGNED:
        return integers
    half = 1 << (scheme.bits - 1)
    return (integers ^ half) - half


def _fixed_zero_point(scheme: IntegerScheme) -> int:
    return 1 << (scheme.bits - 1) if scheme.convention is Convention.GPTQ_SYM else 0


def _granularity(scheme: IntegerScheme) -> PerGroup | PerToken:
    return PerToken() if scheme.size is None else PerGroup(scheme.size)


def _spread(low: PerGroupFloat, high: PerGroupFloat) -> PerGroupFloat:
    return jnp.minimum(high - low, MAX_FLOAT32)


def _stored(scales: PerGroupFloat) -> PerGroupFloat:
    return jnp.maximum(scales, np.float32(MIN_NORMAL))

"""Array code of dINT with asymmetric ranges: the twin of ``dint.quantize_group``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Int32, Shaped, UInt8

from numerics.arithmetic.division import divide, fence, float_bits, from_bits, multiply
from numerics.arithmetic.float32 import HIDDEN_BIT, INFINITY_BITS, MAGNITUDE_MASK, MAX_FLOAT32
from numerics.conventions.dint import Dint, Kind
from numerics.formats import FP16
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scales import store_scale
from numerics.schemes.tensor import QuantizedTensor

Groups = Float32[Array, "*lead group"]


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: Dint) -> QuantizedTensor:
    """Return codes, scales and zero points."""
    bits = float_bits(x)
    flushed = from_bits(jnp.where((bits & MAGNITUDE_MASK) < HIDDEN_BIT, 0, bits))
    blocks = grouping.split_groups(flushed, PerGroup(scheme.size))
    codes, scales, zeros = zip(*(_quantize_groups(b, scheme) for b in blocks), strict=True)
    fields = {field.name: field.shape for field in scheme.layout(x.shape)}
    arrays = {
        "codes": grouping.join_groups(list(codes), x.shape),
        "scales": grouping.join_scales(list(scales), fields["scales"]),
    }
    if scheme.kind is Kind.ASYMMETRIC:
        arrays["zero_points"] = grouping.join_scales(list(zeros), fields["zero_points"])
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``(integer - zero_point) * scale``, or ``+-scale / 2`` for the codes of 1/2."""
    scheme = q.scheme
    assert isinstance(scheme, Dint)
    blocks = grouping.split_groups(q.codes, PerGroup(scheme.size))
    scales = grouping.split_scales(q.scales.astype(jnp.float32), blocks)
    zero_points = jnp.zeros(q.scales.shape, jnp.uint8) if q.zero_points is None else q.zero_points
    zeros = grouping.split_scales(zero_points, blocks)
    values = [
        multiply(_numbers(block, zero, scheme), scale[..., None])
        for block, zero, scale in zip(blocks, zeros, scales, strict=True)
    ]
    return grouping.join_groups(values, q.shape)


def _quantize_groups(
    x: Groups, scheme: Dint
) -> tuple[UInt8[Array, "*lead group"], Shaped[Array, "*lead"], UInt8[Array, "*lead"]]:
    """Return codes, scales and zero points of groups."""
    amax_bits = jnp.max(float_bits(x) & MAGNITUDE_MASK, axis=-1)
    is_bad = amax_bits >= INFINITY_BITS
    x = jnp.where(is_bad[..., None], 0, x)
    low, high = jnp.minimum(jnp.min(x, axis=-1), 0), jnp.maximum(jnp.max(x, axis=-1), 0)
    least, most = scheme.integer_range
    if scheme.kind is Kind.FULL:
        raw = jnp.maximum(divide(high, float(most)), divide(-low, float(-least)))
    else:
        raw = divide(jnp.minimum(high - low, MAX_FLOAT32), float(most))
    scales = fence(store_scale(raw, amax_bits, FP16))
    divisor = jnp.where(is_bad, 1, scales.astype(jnp.float32))
    zeros = jnp.zeros_like(divisor)
    if scheme.kind is Kind.ASYMMETRIC:
        zeros = fence(jnp.clip(jnp.round(divide(-low, divisor)), 0, most))
    codes = _codes(divide(x, divisor[..., None]), zeros.astype(jnp.int32), scheme)
    codes = jnp.where(is_bad[..., None], 0, codes).astype(jnp.uint8)
    return codes, scales, jnp.where(is_bad, 0, zeros).astype(jnp.uint8)


def _codes(
    ratio: Groups, zeros: Int32[Array, "*lead"], scheme: Dint
) -> Int32[Array, "*lead group"]:
    least, most = scheme.integer_range
    plus, minus = scheme.half_codes
    magnitude = jnp.abs(ratio)
    # Clipped before the conversion to int32, which would overflow; such codes saturate anyway.
    nearest = jnp.clip(jnp.round(ratio), -(1 << scheme.bits), 1 << scheme.bits)
    integer = jnp.where(magnitude <= 0.25, 0, nearest).astype(jnp.int32) + zeros[..., None]
    code = jnp.clip(integer, least, most) & ((1 << scheme.bits) - 1)
    is_half = (magnitude > 0.25) & (magnitude < 0.75)
    return jnp.where(is_half, jnp.where(ratio < 0, minus, plus), code)


def _numbers(
    codes: UInt8[Array, "*lead group"], zeros: UInt8[Array, "*lead"], scheme: Dint
) -> Groups:
    plus, minus = scheme.half_codes
    integer = codes.astype(jnp.int32)
    if scheme.kind is Kind.FULL:
        half = 1 << (scheme.bits - 1)
        integer = (integer ^ half) - half
    number = (integer - zeros.astype(jnp.int32)[..., None]).astype(jnp.float32)
    halves = jnp.where(codes == plus, np.float32(0.5), np.float32(-0.5))
    return jnp.where((codes == plus) | (codes == minus), halves, number)

"""Array code of ZeroQuant-FP: the twin of ``zeroquant.quantize_row``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, UInt8

from numerics.arithmetic.cast import decode, encode
from numerics.arithmetic.division import divide, fence, float_bits, from_bits, multiply, sign_bits
from numerics.arithmetic.float32 import HIDDEN_BIT, INFINITY_BITS, MAGNITUDE_MASK
from numerics.conventions.zeroquant import FACTORS, LEAST_SCALE, MAX_SHIFT, Rounding, ZeroQuantM2
from numerics.formats import E2M1
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.tensor import QuantizedTensor

#: Factor ``2^-k`` of each shift k.
UNITS = np.float32(2.0) ** -np.arange(MAX_SHIFT + 1, dtype=np.float32)


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: ZeroQuantM2) -> QuantizedTensor:
    """Return codes, shifts of groups and scales of rows."""
    bits = float_bits(x)
    magnitudes = bits & MAGNITUDE_MASK
    is_bad = jnp.max(magnitudes, axis=-1, keepdims=True) >= INFINITY_BITS
    x = from_bits(jnp.where(magnitudes < HIDDEN_BIT, sign_bits(x), jnp.where(is_bad, 0, bits)))
    blocks = grouping.split_groups(x, PerGroup(scheme.size))
    _, groups, _ = scheme.layout(x.shape)
    largest = [from_bits(jnp.max(float_bits(b) & MAGNITUDE_MASK, axis=-1)) for b in blocks]
    amax = grouping.join_scales(largest, groups.shape)
    own = fence(divide(amax, 6.0))
    top = jnp.maximum(jnp.max(own, axis=-1, keepdims=True), np.float32(LEAST_SCALE))
    top = fence(jnp.where(jnp.max(amax, axis=-1, keepdims=True) == 0, 1, top))
    factors = jnp.asarray(FACTORS[scheme.rounding] * UNITS[1:])
    bounds = multiply(jnp.broadcast_to(top[..., None], (*own.shape, MAX_SHIFT)), factors)
    is_up = scheme.rounding is Rounding.CEIL
    reached = bounds > own[..., None] if is_up else bounds >= own[..., None]
    shifts = jnp.sum(reached, axis=-1).astype(jnp.uint8)
    parts = grouping.split_scales(_units(top, shifts), blocks)
    codes = [
        encode(E2M1, divide(block, part[..., None]), overflow="satfinite")
        for block, part in zip(blocks, parts, strict=True)
    ]
    arrays = {
        "codes": jnp.where(is_bad, np.uint8(0), grouping.join_groups(codes, x.shape)),
        "shifts": jnp.where(is_bad, np.uint8(0), shifts),
        "row_scales": jnp.where(is_bad, jnp.nan, top),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return the values of the codes times the shifted scale."""
    scheme = q.scheme
    assert isinstance(scheme, ZeroQuantM2)
    scales = _units(q.arrays["row_scales"], q.arrays["shifts"])
    blocks = grouping.split_groups(q.codes, PerGroup(scheme.size))
    parts = grouping.split_scales(scales, blocks)
    values = [
        jnp.where(
            jnp.isnan(part)[..., None], jnp.nan, multiply(decode(E2M1, block), part[..., None])
        )
        for block, part in zip(blocks, parts, strict=True)
    ]
    return grouping.join_groups(values, q.shape)


def _units(
    top: Float32[Array, "*lead _"], shifts: UInt8[Array, "*lead groups"]
) -> Float32[Array, "*lead groups"]:
    """Return the scale of each group."""
    return fence(multiply(jnp.asarray(UNITS)[shifts], top))

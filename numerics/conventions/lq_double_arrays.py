"""Array code of LQ-LoRA's double quantization: the twin of ``lq_double.quantize_groups``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32

from numerics.arithmetic.cast import decode, encode
from numerics.arithmetic.division import divide, fence, float_bits, from_bits, multiply
from numerics.arithmetic.float32 import INFINITY_BITS, MAGNITUDE_MASK, MAX_FLOAT32, MIN_NORMAL
from numerics.conventions.bnb4_arrays import flushed
from numerics.conventions.lq_double import LqDouble
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scales import store_scale
from numerics.schemes.tensor import QuantizedTensor


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: LqDouble) -> QuantizedTensor:
    """Return the tensor as codes, codes of scales, ``t`` of super-blocks and the least scale."""
    is_bad = jnp.max(float_bits(x) & MAGNITUDE_MASK) >= INFINITY_BITS
    x = flushed(jnp.where(is_bad, 0, x))
    groups = grouping.split_groups(x, PerGroup(scheme.size))
    _, stored, _, _ = scheme.layout(x.shape)
    amax = [from_bits(jnp.max(float_bits(g) & MAGNITUDE_MASK, axis=-1)) for g in groups]
    by_row = fence(grouping.join_scales(amax, stored.shape))
    least = fence(jnp.min(by_row))
    differences = flushed(by_row - least).reshape(-1)
    count = differences.size
    blocks = jnp.pad(differences, (0, -count % scheme.super_block)).reshape(-1, scheme.super_block)
    top = jnp.max(blocks, axis=-1)
    tops = fence(store_scale(top, float_bits(top), scheme.second))
    codes = jnp.minimum(jnp.round(divide(blocks, _steps(tops, scheme)[:, None])), scheme.top)
    scale_codes = codes.reshape(-1)[:count].astype(jnp.uint8)
    scales = _scales(scale_codes, tops, least, scheme).reshape(stored.shape)
    found = []
    for group, scale in zip(groups, grouping.split_scales(scales, groups), strict=True):
        is_zero = (scale == 0)[..., None]
        unit = divide(jnp.where(is_zero, 0, group), jnp.where(is_zero, 1, scale[..., None]))
        found.append(encode(scheme.element, unit))
    arrays = {
        "codes": jnp.where(is_bad, np.uint8(0), grouping.join_groups(found, x.shape)),
        "scale_codes": jnp.where(is_bad, np.uint8(0), scale_codes.reshape(stored.shape)),
        "scale_scales": jnp.where(is_bad, jnp.nan, tops).astype(tops.dtype),
        "least": jnp.where(is_bad, jnp.nan, least),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``nf(code) * (q * step + least)``."""
    scheme = q.scheme
    assert isinstance(scheme, LqDouble)
    codes, least = q.arrays["scale_codes"], q.arrays["least"]
    scales = _scales(codes.reshape(-1), q.arrays["scale_scales"], least, scheme)
    blocks = grouping.split_groups(q.codes, PerGroup(scheme.size))
    values = []
    by_row = scales.reshape(codes.shape)
    for block, part in zip(blocks, grouping.split_scales(by_row, blocks), strict=True):
        product = multiply(decode(scheme.element, block), part[..., None])
        values.append(jnp.where(jnp.isnan(part)[..., None], jnp.nan, product))
    return grouping.join_groups(values, q.shape)


def _steps(tops: Array, scheme: LqDouble) -> Float32[Array, " blocks"]:
    steps = divide(tops.astype(jnp.float32), float(scheme.top))
    return fence(jnp.maximum(steps, np.float32(MIN_NORMAL)))


def _scales(
    codes: Array, tops: Array, least: Float32[Array, ""], scheme: LqDouble
) -> Float32[Array, " groups"]:
    """Return the dequantized scales of groups."""
    steps = jnp.repeat(_steps(tops, scheme), scheme.super_block)[: codes.size]
    products = fence(flushed(multiply(codes.astype(jnp.float32), steps)))
    scales = products + least
    return fence(jnp.where(jnp.isnan(scales), jnp.nan, jnp.minimum(scales, MAX_FLOAT32)))

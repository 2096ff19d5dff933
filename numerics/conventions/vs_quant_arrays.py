"""Array code of VS-Quant: the twin of ``vs_quant.quantize_row``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32

from numerics.arithmetic.division import divide, fence, float_bits, from_bits, multiply
from numerics.arithmetic.float32 import HIDDEN_BIT, INFINITY_BITS, MAGNITUDE_MASK, MIN_NORMAL
from numerics.conventions.vs_quant import VsQuant
from numerics.formats import FP16
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scales import store_scale
from numerics.schemes.tensor import QuantizedTensor


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: VsQuant) -> QuantizedTensor:
    """Return codes, scales of vectors and scales of rows."""
    bits = float_bits(x)
    magnitudes = bits & MAGNITUDE_MASK
    is_bad = jnp.max(magnitudes, axis=-1, keepdims=True) >= INFINITY_BITS
    x = from_bits(jnp.where((magnitudes < HIDDEN_BIT) | is_bad, 0, bits))
    top = float((1 << (scheme.bits - 1)) - 1)
    codes, own = [], []
    for vector in grouping.split_groups(x, PerGroup(scheme.size)):
        amax = from_bits(jnp.max(float_bits(vector) & MAGNITUDE_MASK, axis=-1))
        scale = jnp.maximum(divide(amax, top), np.float32(MIN_NORMAL))
        scale = fence(jnp.where(amax == 0, 0, scale))
        own.append(scale)
        divisor = jnp.where(scale == 0, 1, scale)[..., None]
        codes.append(jnp.round(divide(vector, divisor)).astype(jnp.int32))
    _, vectors, _ = scheme.layout(x.shape)
    scales = grouping.join_scales(own, vectors.shape)
    largest = jnp.max(scales, axis=-1, keepdims=True)
    rows = store_scale(divide(largest, float(scheme.largest_scale)), float_bits(largest), FP16)
    rows = fence(rows)
    steps = jnp.round(divide(scales, rows.astype(jnp.float32)))
    integers = grouping.join_groups(codes, x.shape) & ((1 << scheme.bits) - 1)
    arrays = {
        "codes": integers.astype(jnp.uint8),
        "scales": jnp.minimum(steps, scheme.largest_scale).astype(jnp.uint8),
        "row_scales": jnp.where(is_bad, jnp.nan, rows).astype(jnp.float16),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``code * (scale * row_scale)``."""
    scheme = q.scheme
    assert isinstance(scheme, VsQuant)
    half = 1 << (scheme.bits - 1)
    integers = ((q.codes.astype(jnp.int32) ^ half) - half).astype(jnp.float32)
    rows = q.arrays["row_scales"].astype(jnp.float32)
    scales = fence(multiply(q.scales.astype(jnp.float32), rows))
    blocks = grouping.split_groups(integers, PerGroup(scheme.size))
    parts = grouping.split_scales(scales, blocks)
    values = [multiply(block, part[..., None]) for block, part in zip(blocks, parts, strict=True)]
    return grouping.join_groups(values, q.shape)

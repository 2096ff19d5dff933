"""Array code of one-bit values: the twin of ``signs.quantize_signs``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32

from numerics.arithmetic.division import divide, fence, float_bits, from_bits
from numerics.arithmetic.float32 import HIDDEN_BIT, INFINITY_BITS, MAGNITUDE_MASK
from numerics.conventions.signs import Signs
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scales import tree_sum
from numerics.schemes.tensor import QuantizedTensor

LARGEST = np.float32(np.finfo(np.float16).max)


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: Signs) -> QuantizedTensor:
    """Return codes and scales."""
    bits = float_bits(x)
    flushed = from_bits(jnp.where((bits & MAGNITUDE_MASK) < HIDDEN_BIT, 0, bits))
    codes, scales = [], []
    for block in grouping.split_groups(flushed, PerGroup(scheme.size)):
        magnitudes = jnp.abs(block)
        is_bad = jnp.max(float_bits(magnitudes), axis=-1) >= INFINITY_BITS
        mean = jnp.minimum(fence(divide(tree_sum(magnitudes), float(block.shape[-1]))), LARGEST)
        codes.append(((block >= 0) & ~is_bad[..., None]).astype(jnp.uint8))
        scales.append(jnp.where(is_bad, jnp.nan, mean).astype(jnp.float16))
    _, field = scheme.layout(x.shape)
    arrays = {
        "codes": grouping.join_groups(codes, x.shape),
        "scales": grouping.join_scales(scales, field.shape),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return the scale with the sign of each code."""
    assert isinstance(q.scheme, Signs)
    blocks = grouping.split_groups(q.codes, PerGroup(q.scheme.size))
    scales = grouping.split_scales(q.scales.astype(jnp.float32), blocks)
    values = [
        jnp.where(block == 1, scale[..., None], -scale[..., None])
        for block, scale in zip(blocks, scales, strict=True)
    ]
    return grouping.join_groups(values, q.shape)

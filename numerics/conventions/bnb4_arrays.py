"""Array code of the 4-bit types of bitsandbytes: the twin of ``bnb4.quantize_block``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32

from numerics.arithmetic.cast import decode, encode
from numerics.arithmetic.division import divide, fence, float_bits, from_bits, multiply, sign_bits
from numerics.arithmetic.float32 import HIDDEN_BIT, INFINITY_BITS, MAGNITUDE_MASK, MIN_NORMAL
from numerics.conventions.bnb4 import Bnb4
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scales import Groups, PerGroupFloat
from numerics.schemes.tensor import QuantizedTensor


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: Bnb4) -> QuantizedTensor:
    """Return codes and scales."""
    codes, scales = [], []
    for block in grouping.split_groups(x, PerGroup(scheme.size)):
        is_bad = jnp.max(float_bits(block) & MAGNITUDE_MASK, axis=-1) >= INFINITY_BITS
        unit, amax = in_units(flushed(jnp.where(is_bad[..., None], 0, block)))
        codes.append(encode(scheme.element, jnp.where(is_bad[..., None], 1, unit)))
        scales.append(jnp.where(is_bad, jnp.nan, amax))
    _, field = scheme.layout(x.shape)
    arrays = {
        "codes": grouping.join_groups(codes, x.shape),
        "scales": grouping.join_scales(scales, field.shape),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``element(code) * scale``."""
    assert isinstance(q.scheme, Bnb4)
    blocks = grouping.split_groups(q.codes, PerGroup(q.scheme.size))
    scales = grouping.split_scales(q.scales, blocks)
    values = [
        jnp.where(
            jnp.isnan(scale)[..., None],
            jnp.nan,
            multiply(decode(q.scheme.element, block), scale[..., None]),
        )
        for block, scale in zip(blocks, scales, strict=True)
    ]
    return grouping.join_groups(values, q.shape)


def in_units(x: Groups) -> tuple[Groups, PerGroupFloat]:
    """Return groups divided by their largest magnitude, and that magnitude."""
    amax = from_bits(jnp.max(float_bits(x) & MAGNITUDE_MASK, axis=-1))
    # The reciprocal of a block of zeros doesn't matter: its values stay zeros.
    reciprocal = divide(jnp.ones_like(amax), jnp.maximum(amax, np.float32(MIN_NORMAL)))
    reciprocal = fence(jnp.maximum(reciprocal, np.float32(MIN_NORMAL)))
    return jnp.clip(multiply(x, reciprocal[..., None]), -1, 1), amax


def flushed(x: Float32[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Return numbers with subnormal ones replaced by zeros."""
    bits = float_bits(x)
    return from_bits(jnp.where((bits & MAGNITUDE_MASK) < HIDDEN_BIT, sign_bits(x), bits))

"""Array code of double quantization: the twin of ``double_nf4_reference``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Int32

from numerics.arithmetic.cast import decode, encode
from numerics.arithmetic.division import divide, fence, float_bits, multiply
from numerics.arithmetic.float32 import INFINITY_BITS, MAGNITUDE_MASK, MAX_FLOAT32
from numerics.conventions.bnb4_arrays import flushed, in_units
from numerics.conventions.double_nf4 import BLOCK, SCALES_PER_BLOCK, DoubleNf4, dynamic_map
from numerics.formats import NF4
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scales import Groups, tree_sum
from numerics.schemes.tensor import QuantizedTensor


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: DoubleNf4) -> QuantizedTensor:
    """Return the tensor as codes, codes of scales, second-level scales and the offset."""
    is_bad = jnp.max(float_bits(x) & MAGNITUDE_MASK) >= INFINITY_BITS
    x = flushed(jnp.where(is_bad, 0, x))
    codes, amaxes = [], []
    for block in grouping.split_groups(x, PerGroup(BLOCK)):
        unit, amax = in_units(block)
        codes.append(encode(NF4, unit))
        amaxes.append(amax)
    _, scale_codes, _, _ = scheme.layout(x.shape)
    amax = fence(grouping.join_scales(amaxes, scale_codes.shape)).reshape(-1)
    offset = fence(jnp.minimum(divide(tree_sum(amax), float(amax.size)), MAX_FLOAT32))
    differences = jnp.pad(flushed(amax - offset), (0, -amax.size % SCALES_PER_BLOCK))
    unit, scales = in_units(differences.reshape(-1, SCALES_PER_BLOCK))
    found = encode_scales(unit).reshape(-1)[: amax.size].reshape(scale_codes.shape)
    arrays = {
        "codes": jnp.where(is_bad, np.uint8(0), grouping.join_groups(codes, x.shape)),
        "scale_codes": jnp.where(is_bad, 0, found).astype(jnp.uint8),
        "scale_scales": jnp.where(is_bad, jnp.nan, scales),
        "offset": jnp.where(is_bad, jnp.nan, offset),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``nf4(code) * (map(scale_code) * t + offset)``."""
    codes = q.arrays["scale_codes"].reshape(-1)
    fraction = jnp.asarray(dynamic_map().table, jnp.float32)[codes]
    scales = jnp.repeat(q.arrays["scale_scales"], SCALES_PER_BLOCK)[: codes.size]
    scale = fence(flushed(multiply(fraction, scales) + q.arrays["offset"]))
    blocks = grouping.split_groups(q.codes, PerGroup(BLOCK))
    values = []
    by_row = scale.reshape(q.arrays["scale_codes"].shape)
    for block, part in zip(blocks, grouping.split_scales(by_row, blocks), strict=True):
        sign = jnp.where(part < 0, -1.0, 1.0)[..., None]
        product = multiply(decode(NF4, block) * sign, jnp.abs(part)[..., None])
        values.append(jnp.where(jnp.isnan(part)[..., None], jnp.nan, product))
    return grouping.join_groups(values, q.shape)


def encode_scales(unit: Groups) -> Int32[Array, "*lead group"]:
    """Return the codes of the nearest values of the dynamic map, ties to the lower value."""
    thresholds = jnp.asarray(dynamic_map().thresholds, jnp.float32)
    return jnp.searchsorted(thresholds, unit, side="left").astype(jnp.int32)

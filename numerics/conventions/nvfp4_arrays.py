"""Array code of the libraries' NVFP4: the twin of ``nvfp4_reference``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float8e4m3fn, Float32, UInt8

from numerics.arithmetic.cast import decode, encode
from numerics.arithmetic.division import divide, fence, float_bits, from_bits, multiply, sign_bits
from numerics.arithmetic.float32 import HIDDEN_BIT, INFINITY_BITS, MAGNITUDE_MASK
from numerics.conventions.nvfp4 import BLOCK, Library, Nvfp4
from numerics.formats import E2M1, E4M3, SCALE_DTYPES
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.tensor import QuantizedTensor

Groups = Float32[Array, "*lead group"]
PerBlock = Float32[Array, "*lead"]
Scales = Float8e4m3fn[Array, "*lead"]
LARGEST = 6.0 * 448
LEAST = np.float32(2.0**-117)
ONE = np.float32(1)


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: Nvfp4) -> QuantizedTensor:
    """Return codes and scales."""
    bits = float_bits(x)
    x = from_bits(jnp.where((bits & MAGNITUDE_MASK) < HIDDEN_BIT, sign_bits(x), bits))
    top = fence(_top_scale(x, scheme.library))
    codes, scales = [], []
    for block in grouping.split_groups(x, PerGroup(BLOCK)):
        scale = fence(_scales(block, top, scheme.library))
        scales.append(scale)
        codes.append(_codes(block, scale.astype(jnp.float32), top, scheme.library))
    _, block_scales, top_scale = scheme.layout(x.shape)
    arrays = {
        "codes": grouping.join_groups(codes, x.shape),
        "scales": grouping.join_scales(scales, block_scales.shape),
        top_scale.name: top,
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return the values of the codes times their scale."""
    assert isinstance(q.scheme, Nvfp4)
    library = q.scheme.library
    top = q.arrays[q.scheme.layout(q.shape)[-1].name]
    blocks = grouping.split_groups(q.codes, PerGroup(BLOCK))
    values = []
    for codes, scale in zip(blocks, grouping.split_scales(q.scales, blocks), strict=True):
        unit = _unit(scale.astype(jnp.float32), top, library)[..., None]
        product = multiply(decode(E2M1, codes), unit)
        if library is Library.MODELOPT:
            product = jnp.where(product == 0, np.float32(0), product)
        values.append(jnp.where(jnp.isnan(unit), jnp.nan, product))
    return grouping.join_groups(values, q.shape)


def _top_scale(x: Float32[Array, "*shape"], library: Library) -> Float32[Array, ""]:
    amax_bits = jnp.max(float_bits(x) & MAGNITUDE_MASK)
    amax = from_bits(amax_bits)
    if library is Library.COMPRESSED:
        reciprocal = divide(jnp.full_like(amax, LARGEST), amax)
        scale = jnp.where(reciprocal < np.inf, jnp.minimum(reciprocal, 1 / LEAST), 1)
    else:
        scale = jnp.where(amax_bits == 0, 1, jnp.maximum(divide(amax, LARGEST), LEAST))
    return jnp.where(amax_bits >= INFINITY_BITS, jnp.nan, scale)


def _scales(x: Groups, top: Float32[Array, ""], library: Library) -> Scales:
    amax = from_bits(jnp.max(float_bits(x) & MAGNITUDE_MASK, axis=-1))
    match library:
        case Library.MODELOPT:
            raw = jnp.maximum(divide(amax, multiply(top, 6.0)), np.float32(2.0**-9))
            raw = jnp.where(amax == 0, ONE, raw)
        case Library.TORCHAO:
            raw = jnp.maximum(divide(fence(divide(amax, 6.0)), top), np.float32(2.0**-6))
        case Library.COMPRESSED:
            raw = multiply(fence(divide(amax, 6.0)), top)
    codes = encode(E4M3, jnp.where(jnp.isnan(top), jnp.nan, raw), overflow="satfinite")
    codes = jnp.where(codes == 0, np.uint8(E4M3.encode(1 / 8)), codes)
    return lax.bitcast_convert_type(codes, SCALE_DTYPES[E4M3])


def _codes(
    x: Groups, scales: PerBlock, top: Float32[Array, ""], library: Library
) -> UInt8[Array, "*lead group"]:
    if library is Library.TORCHAO:
        reciprocal = divide(fence(divide(jnp.broadcast_to(ONE, scales.shape), top)), scales)
        ratio = multiply(x, fence(reciprocal)[..., None])
    else:
        ratio = divide(x, fence(_unit(scales, top, library))[..., None])
    codes = encode(E2M1, ratio, overflow="satfinite")
    if library is not Library.TORCHAO:
        codes = jnp.where(float_bits(x) & MAGNITUDE_MASK == 0, np.uint8(0), codes)
    return jnp.where(jnp.isnan(top), np.uint8(0), codes)


def _unit(scales: PerBlock, top: Float32[Array, ""], library: Library) -> PerBlock:
    """Return the value of the E2M1 number 1.0 in each block."""
    if library is Library.COMPRESSED:
        return divide(scales, top)
    return multiply(scales, top)

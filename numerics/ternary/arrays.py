"""Array code of the ternary and binary schemes: the twin of ``reference``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float16, Float32, Int32

from numerics.arithmetic.division import divide, fence, float_bits, from_bits, multiply, sign_bits
from numerics.arithmetic.float32 import HIDDEN_BIT, INFINITY_BITS, MAGNITUDE_MASK, MIN_NORMAL
from numerics.formats import FP16
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scales import store_scale, tree_sum
from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.ternary.reference import RUN
from numerics.ternary.schemes import BitNetInt8, BitNetTernary, Twn

Values = Float32[Array, "*shape"]
Arrays = dict[str, Array]

EPSILON = 1e-5
#: TWN's threshold in units of the mean magnitude.
THRESHOLD = 0.7


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Values, scheme: Scheme) -> QuantizedTensor:
    """Return the tensor as the arrays of its scheme's layout."""
    bits = float_bits(x)
    flushed = from_bits(jnp.where((bits & MAGNITUDE_MASK) < HIDDEN_BIT, 0, bits))
    match scheme:
        case BitNetTernary():
            arrays = _absmean(flushed)
        case BitNetInt8():
            arrays = _token(flushed)
        case Twn():
            arrays = _twn(flushed, scheme)
        case _:
            arrays = _columns(flushed)
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Values:
    """Return the values of the tensor's codes times their scales, plus offsets if there are any."""
    scheme = q.scheme
    match scheme:
        case BitNetTernary():
            return divide(_trits(q.codes), q.scales)
        case BitNetInt8():
            codes = lax.bitcast_convert_type(q.codes, jnp.int8)
            return divide(codes.astype(jnp.float32), q.scales)
        case Twn():
            blocks = grouping.split_groups(_trits(q.codes), PerGroup(scheme.size))
            scales = grouping.split_scales(q.scales.astype(jnp.float32), blocks)
            values = [multiply(b, s[..., None]) for b, s in zip(blocks, scales, strict=True)]
            return grouping.join_groups(values, q.shape)
        case _:
            signs = _unpacked(q.arrays["signs"])[..., : q.shape[-1]]
            scale: Array = q.scales.astype(jnp.float32)
            offset: Array = q.arrays["offsets"].astype(jnp.float32)
            return jnp.where(signs == 1, scale, -scale) + offset


def _absmean(x: Values) -> Arrays:
    mean = divide(_sum_by_runs(jnp.abs(x).reshape(-1)), float(x.size))
    scale = fence(jnp.where(mean < np.inf, _one_over(mean), jnp.nan))
    trits = jnp.clip(jnp.round(multiply(x, scale)), -1, 1).astype(jnp.int32)
    codes = jnp.where(jnp.isnan(scale), 0, trits + 1).astype(jnp.uint8)
    return {"codes": codes, "scales": scale.reshape((1,) * x.ndim)}


def _sum_by_runs(x: Float32[Array, " n"]) -> Float32[Array, ""]:
    """Return the sum of magnitudes: runs of 64 added in order, then the pairwise sum of runs."""
    runs = jnp.pad(x, (0, -x.size % RUN)).reshape(-1, RUN)
    total = runs[:, 0]
    for place in range(1, RUN):
        total = total + runs[:, place]
    return tree_sum(total)


def _token(x: Values) -> Arrays:
    amax = jnp.max(float_bits(x) & MAGNITUDE_MASK, axis=-1, keepdims=True)
    scale = multiply(_one_over(from_bits(amax)), 127.0)
    is_bad = amax >= INFINITY_BITS
    scale = fence(jnp.where(is_bad, jnp.nan, scale))
    codes = jnp.clip(jnp.round(multiply(x, scale)), -128, 127).astype(jnp.int32) & 0xFF
    return {"codes": jnp.where(is_bad, 0, codes).astype(jnp.uint8), "scales": scale}


def _twn(x: Values, scheme: Twn) -> Arrays:
    codes, scales = [], []
    for block in grouping.split_groups(x, PerGroup(scheme.size)):
        magnitudes = jnp.abs(block)
        amax = jnp.max(float_bits(magnitudes), axis=-1)
        mean = divide(tree_sum(magnitudes), float(block.shape[-1]))
        is_beyond = magnitudes > fence(multiply(mean, THRESHOLD))[..., None]
        count = jnp.maximum(jnp.sum(is_beyond, axis=-1), 1).astype(jnp.float32)
        total = tree_sum(jnp.where(is_beyond, magnitudes, 0))
        trits = jnp.where(is_beyond, jnp.where(sign_bits(block) != 0, -1, 1), 0)
        is_bad = (amax >= INFINITY_BITS)[..., None]
        codes.append(jnp.where(is_bad, 0, trits + 1).astype(jnp.uint8))
        scales.append(store_scale(divide(total, count), amax, FP16))
    (_, field) = scheme.layout(x.shape)
    return {
        "codes": grouping.join_groups(codes, x.shape),
        "scales": grouping.join_scales(scales, field.shape),
    }


def _columns(x: Values) -> Arrays:
    by_column, count = jnp.swapaxes(x, -1, -2), float(x.shape[-2])
    offset = fence(divide(tree_sum(by_column), count))
    scale = fence(divide(tree_sum(jnp.abs(by_column - offset[..., None])), count))
    is_bad = ~((jnp.abs(offset) < np.inf) & (scale < np.inf))[..., None, :]
    signs = (sign_bits(x) == 0) & ~is_bad
    return {
        "signs": _packed(signs),
        "scales": _to_half(scale[..., None, :], is_bad),
        "offsets": _to_half(offset[..., None, :], is_bad),
    }


def _to_half(x: Values, is_bad: Array) -> Float16[Array, "*shape"]:
    largest = np.float32(np.finfo(np.float16).max)
    return jnp.where(is_bad, jnp.nan, jnp.clip(x, -largest, largest)).astype(jnp.float16)


def _packed(bits: Array) -> Array:
    packed: Array = jnp.packbits(bits, axis=-1, bitorder="little")
    return packed


def _unpacked(packed: Array) -> Array:
    shifts = np.arange(8, dtype=np.uint8)
    return ((packed[..., None] >> shifts) & np.uint8(1)).reshape(*packed.shape[:-1], -1)


def _one_over(statistic: Values) -> Values:
    divisor = jnp.maximum(statistic, np.float32(EPSILON))
    return jnp.maximum(divide(jnp.ones_like(divisor), divisor), np.float32(MIN_NORMAL))


def _trits(codes: Array) -> Values:
    number: Int32[Array, "*shape"] = codes.astype(jnp.int32) - 1
    return number.astype(jnp.float32)

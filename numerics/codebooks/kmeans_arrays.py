"""Array code of k-means of rows: sorted values and their running sums stand for all comparisons."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32, Int32

from numerics.cast import encode
from numerics.codebooks.kmeans import MAX_ROUNDS, TRAINING_UNITS, KMeans
from numerics.division import INFINITY_BITS, MAGNITUDE_MASK, divide, fence, float_bits, multiply
from numerics.formats import FP16, SCALE_DTYPES
from numerics.tensor import QuantizedTensor

#: Tables of rows: centers in increasing order.
Centers = Int32[Array, "rows count"]


def train(values: Int32[Array, "rows n"], count: int) -> Centers:
    """Return the centers of each row, as :func:`numerics.codebooks.kmeans.train` finds them."""
    ordered, length = fence(jnp.sort(values, axis=1)), values.shape[1]
    sums = fence(jnp.pad(jnp.cumsum(ordered, axis=1), ((0, 0), (1, 0))))
    start = ordered[:, [(2 * i + 1) * length // (2 * count) for i in range(count)]]

    def move(round_: tuple[Array, Centers, Centers]) -> tuple[Array, Centers, Centers]:
        number, centers, _ = round_
        # Values up to the midpoint belong to the lower center.
        middles = (centers[:, 1:] + centers[:, :-1]) >> 1
        ends = jax.vmap(partial(jnp.searchsorted, side="right"))(ordered, middles)
        ends = jnp.pad(ends, ((0, 0), (1, 1)), constant_values=((0, 0), (0, length)))
        counts = jnp.diff(ends, axis=1)
        totals = jnp.diff(jnp.take_along_axis(sums, ends, axis=1), axis=1)
        return number + 1, _means(totals, counts, centers), centers

    def is_moving(round_: tuple[Array, Centers, Centers]) -> Array:
        number, centers, before = round_
        return (number < MAX_ROUNDS) & jnp.any(centers != before)

    _, centers, _ = lax.while_loop(is_moving, move, (jnp.int32(0), start, start - 1))
    return centers


def _means(totals: Centers, counts: Centers, centers: Centers) -> Centers:
    """Return means, half rounded up, or the centers where there is nothing to average."""
    floors = totals // jnp.maximum(counts, 1)
    left = totals - floors * counts
    return jnp.where(counts == 0, centers, floors + (2 * left >= counts))


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: KMeans) -> QuantizedTensor:
    """Return codes and tables."""
    rows = x.reshape(-1, x.shape[-1])
    amax = jnp.max(jnp.abs(rows), axis=1)
    is_poisoned = fence((float_bits(amax) & MAGNITUDE_MASK) >= INFINITY_BITS)
    safe = jnp.where(is_poisoned[:, None], 0.0, rows)
    largest = fence(jnp.max(jnp.abs(safe), axis=1))
    unit = jnp.where(largest > 0, largest, 1.0)[:, None]
    values = jnp.round(divide(safe, unit) * float(TRAINING_UNITS)).astype(jnp.int32)
    centers = train(values, 1 << scheme.code_bits)
    parts = centers.astype(jnp.float32) * (1 / TRAINING_UNITS)
    halves = encode(FP16, fence(multiply(parts, largest[:, None])), overflow="satfinite")
    stored = lax.bitcast_convert_type(halves, SCALE_DTYPES[FP16])
    table = fence(stored.astype(jnp.float32))
    middles = fence((table[:, 1:] + table[:, :-1]) * 0.5)
    codes = jnp.sum((safe[:, None] > middles[:, :, None]).astype(jnp.int32), axis=1)
    codes = jnp.where(is_poisoned[:, None], 0, codes)
    stored = jnp.where(is_poisoned[:, None], jnp.nan, stored).astype(SCALE_DTYPES[FP16])
    code_field, codebook = scheme.layout(x.shape)
    arrays = {
        "codes": codes.astype(code_field.dtype).reshape(x.shape),
        "codebook": stored.reshape(codebook.shape),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``codebook[row, code]``."""
    table = q.arrays["codebook"].astype(jnp.float32)
    return jnp.take_along_axis(table, q.codes.astype(jnp.int32), axis=-1)

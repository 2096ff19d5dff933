"""Array code of k-means of rows: binary search in sorted values, cluster sums by prefix sums."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float16, Float32, Int32

from numerics.arithmetic.cast import encode
from numerics.arithmetic.division import divide, fence, float_bits, multiply
from numerics.arithmetic.float32 import INFINITY_BITS, MAGNITUDE_MASK
from numerics.codebooks.kmeans import MAX_ROUNDS, TRAINING_UNITS, KMeans
from numerics.formats import FP16, SCALE_DTYPES
from numerics.schemes.tensor import QuantizedTensor

#: Centers of each row in increasing order, in units of ``amax * 2^-15``.
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
        return number + 1, means(totals, counts, centers), centers

    def is_moving(round_: tuple[Array, Centers, Centers]) -> Array:
        number, centers, before = round_
        return (number < MAX_ROUNDS) & jnp.any(centers != before)

    _, centers, _ = lax.while_loop(is_moving, move, (jnp.int32(0), start, start - 1))
    return centers


def means(totals: Centers, counts: Centers, centers: Centers) -> Centers:
    """Return the means of clusters, rounded half up; an empty cluster keeps its center."""
    floors = totals // jnp.maximum(counts, 1)
    left = totals - floors * counts
    return jnp.where(counts == 0, centers, floors + (2 * left >= counts))


class Rows(NamedTuple):
    """Rows prepared for training: finite numbers, and the integers made of them."""

    is_poisoned: Bool[Array, " rows"]
    #: Numbers of the rows, zeros in rows with a NaN or an infinity.
    safe: Float32[Array, "rows n"]
    largest: Float32[Array, " rows"]
    values: Int32[Array, "rows n"]


def prepare(x: Float32[Array, "*shape"]) -> Rows:
    """Return rows divided by their largest magnitude, as integers in units of 2^-15."""
    rows = x.reshape(-1, x.shape[-1])
    # The maximum is taken of the float bits as integers: a maximum of floats may drop a NaN.
    amax_bits = jnp.max(float_bits(rows) & MAGNITUDE_MASK, axis=1)
    is_poisoned = fence(amax_bits >= INFINITY_BITS)
    safe = jnp.where(is_poisoned[:, None], 0.0, rows)
    largest = fence(jnp.max(jnp.abs(safe), axis=1))
    unit = jnp.where(largest > 0, largest, 1.0)[:, None]
    values = jnp.round(divide(safe, unit) * float(TRAINING_UNITS)).astype(jnp.int32)
    return Rows(is_poisoned, safe, largest, values)


def stored_table(centers: Centers, rows: Rows) -> Float16[Array, "rows count"]:
    """Return ``center / 2^15 * amax`` as FP16, NaN in rows with a NaN or an infinity."""
    parts = centers.astype(jnp.float32) * (1 / TRAINING_UNITS)
    halves = encode(FP16, fence(multiply(parts, rows.largest[:, None])), overflow="satfinite")
    stored = lax.bitcast_convert_type(halves, SCALE_DTYPES[FP16])
    return fence(jnp.where(rows.is_poisoned[:, None], jnp.float16(jnp.nan), stored))


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: KMeans) -> QuantizedTensor:
    """Return the tensor as codes and tables of rows."""
    rows = prepare(x)
    stored = stored_table(train(rows.values, 1 << scheme.code_bits), rows)
    table = stored.astype(jnp.float32)
    middles = fence((table[:, 1:] + table[:, :-1]) * 0.5)
    # Comparisons with NaN midpoints are false, so the codes of poisoned rows are 0.
    codes = jnp.sum((rows.safe[:, None] > middles[:, :, None]).astype(jnp.int32), axis=1)
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

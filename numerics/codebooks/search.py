"""Nearest entries of codebooks of integers, exactly, by float32 matrix products.

Products of integers are exact as long as every partial sum stays below 2^24, so the result is the
same in whatever order they are added: on every machine, in every batch.
"""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32, Int32, Num

#: Numbers that are compared at once, to stay in the cache.
SCORES_AT_ONCE = 1 << 18
#: Vectors are searched in integers whose norm is about this at most: ``|2 x . c| <= 2^23``.
NORM_BITS = 11


def best_index(
    vectors: Num[Array, "n d"], directions: Num[Array, "k d"], offsets: Num[Array, " k"]
) -> Int32[Array, " n"]:
    """Return which ``directions @ vector - offsets`` is largest, the first of equals.

    All numbers are integers, and sums of magnitudes are below 2^24; the caller sees to it.

    Examples
    --------
    >>> best_index(jnp.int32([[3, 1], [0, -2]]), jnp.int32([[1, 0], [0, 1]]), jnp.int32([0, 0]))
    Array([0, 0], dtype=int32)
    """
    count, entries = vectors.shape[0], directions.shape[0]
    size = min(count, max(1, SCORES_AT_ONCE // entries))
    padded = jnp.pad(vectors.astype(jnp.float32), ((0, -count % size), (0, 0)))
    table, minus = directions.astype(jnp.float32), offsets.astype(jnp.float32)[:, None]
    index = jnp.arange(entries, dtype=jnp.int32)[:, None]

    def search(chunk: Float32[Array, "size d"]) -> Int32[Array, " size"]:
        scores = lax.optimization_barrier(table @ chunk.T - minus)  # type: ignore[no-untyped-call]
        is_best = scores == jnp.max(scores, axis=0)
        return jnp.min(jnp.where(is_best, index, entries), axis=0)

    found: Array = lax.map(search, padded.reshape(-1, size, vectors.shape[1]))
    return found.ravel()[:count]


def nearest(vectors: Int32[Array, "n d"], codebook: Int32[Array, "k d"]) -> Int32[Array, " n"]:
    """Return the entry nearest to each vector, the first of equals.

    Exact while no norm exceeds 2^11. Beyond that, vectors and codebook are first divided by the
    power of two that makes it so, and rounded half up.

    Examples
    --------
    >>> nearest(jnp.int32([[3, 0], [-1, 2]]), jnp.int32([[0, 0], [4, 0], [0, 2]])).tolist()
    [1, 2]
    """
    largest = jnp.maximum(_largest_norm(vectors), _largest_norm(codebook))
    exponent = 32 - lax.clz(largest - 1)
    shift = jnp.maximum((exponent + 1) // 2 - NORM_BITS, 0)
    half = (1 << shift) >> 1
    shifted, table = (vectors + half) >> shift, (codebook + half) >> shift
    return best_index(shifted, 2 * table, jnp.sum(table * table, axis=1))


def _largest_norm(vectors: Int32[Array, "n d"]) -> Int32[Array, ""]:
    """Return the largest squared norm, at least 1; components are at most 2^13."""
    return jnp.maximum(jnp.max(jnp.sum(vectors * vectors, axis=1)), 1)

"""Exact nearest entries of integer codebooks by float32 matrix products.

Dot products of integers are exact in float32 while every partial sum stays below 2^24, so the
result doesn't depend on the order of additions, the machine or the batch.
"""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32, Int32, Num

#: Number of scores computed at once, so that they stay in the cache.
SCORES_AT_ONCE = 1 << 18
#: Largest norm in a search is ``2**NORM_BITS``, so that ``|2 x . c| <= 2^23``.
NORM_BITS = 11


def best_index(
    vectors: Num[Array, "n d"],
    directions: Num[Array, "k d"],
    offsets: Num[Array, " k"],
    *,
    count: Int32[Array, ""] | None = None,
) -> Int32[Array, " n"]:
    """Return the index of the largest ``directions @ vector - offsets``, the first on ties.

    All numbers are integers; the caller ensures that sums of magnitudes are below 2^24. If
    ``count`` is given, only the first ``count`` vectors are searched; the other results are
    undefined.

    Examples
    --------
    >>> best_index(jnp.int32([[3, 1], [0, -2]]), jnp.int32([[1, 0], [0, 1]]), jnp.int32([0, 0]))
    Array([0, 0], dtype=int32)
    """
    total, entries = vectors.shape[0], directions.shape[0]
    size = min(total, max(1, SCORES_AT_ONCE // entries))
    padded = jnp.pad(vectors.astype(jnp.float32), ((0, -total % size), (0, 0)))
    chunks = padded.reshape(-1, size, vectors.shape[1])
    table, minus = directions.astype(jnp.float32), offsets.astype(jnp.float32)[:, None]
    index = jnp.arange(entries, dtype=jnp.int32)[:, None]

    def search(chunk: Float32[Array, "size d"]) -> Int32[Array, " size"]:
        scores = lax.optimization_barrier(table @ chunk.T - minus)  # type: ignore[no-untyped-call]
        is_best = scores == jnp.max(scores, axis=0)
        return jnp.min(jnp.where(is_best, index, entries), axis=0)

    if count is None:
        found: Array = lax.map(search, chunks)
        return found.ravel()[:total]

    def step(number: Int32[Array, ""], found: Int32[Array, "chunks size"]) -> Array:
        return found.at[number].set(search(chunks[number]))

    nothing = jnp.zeros(chunks.shape[:2], jnp.int32)
    found = lax.fori_loop(0, (count + size - 1) // size, step, nothing)
    return found.ravel()[:total]


def nearest(vectors: Int32[Array, "n d"], codebook: Int32[Array, "k d"]) -> Int32[Array, " n"]:
    """Return the index of the entry nearest to each vector, the first on ties.

    The search is exact while no norm exceeds 2^11. For larger norms, vectors and codebook are first
    divided by the smallest sufficient power of two and rounded half up. If the vectors are at most
    as many as the entries, those that equal an entry are found by sorting, without scores.

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
    offsets = jnp.sum(table * table, axis=1)
    if len(vectors) > len(codebook):
        return best_index(shifted, 2 * table, offsets)
    # At most as many vectors as entries: nearly all vectors equal an entry trained on them.
    same = first_equal(shifted, table)
    is_found = same < len(codebook)
    order = jnp.argsort(is_found, stable=True)
    sought = best_index(shifted[order], 2 * table, offsets, count=jnp.sum(~is_found))
    index: Array = jnp.where(is_found, same, jnp.zeros_like(same).at[order].set(sought))
    return index


def first_equal(vectors: Int32[Array, "n d"], codebook: Int32[Array, "k d"]) -> Int32[Array, " n"]:
    """Return the index of the first entry equal to each vector, at least ``k`` if there is none.

    Entries and vectors are sorted together; components are from -2^15 to 2^15 - 1.

    Examples
    --------
    >>> first_equal(jnp.int32([[3, 1], [0, 0]]), jnp.int32([[9, 9], [3, 1], [3, 1]])).tolist()
    [1, 4]
    """
    rows = jnp.concatenate([codebook, vectors])
    padded = jnp.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    # A key packs two components; the stable sort puts entries before the vectors equal to them.
    keys = padded[:, 0::2] << 16 | padded[:, 1::2] & 0xFFFF
    place = jnp.arange(len(rows), dtype=jnp.int32)
    *ordered, order = lax.sort((*keys.T, place), num_keys=keys.shape[1] + 1)
    is_new = jnp.any(jnp.stack([jnp.diff(key, prepend=key[0]) != 0 for key in ordered]), axis=0)
    start = lax.cummax(jnp.where(is_new, place, 0))
    first: Array = jnp.zeros_like(order).at[order].set(order[start])
    return first[len(codebook) :]


def _largest_norm(vectors: Int32[Array, "n d"]) -> Int32[Array, ""]:
    """Return the largest squared norm, at least 1; components are at most 2^13."""
    return jnp.maximum(jnp.max(jnp.sum(vectors * vectors, axis=1)), 1)

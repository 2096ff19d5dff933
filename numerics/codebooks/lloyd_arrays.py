"""Array code of Lloyd's algorithm for vectors of integers."""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32, Int32

from numerics.arithmetic.division import fence
from numerics.codebooks.lloyd import MAX_ROUNDS, MAX_UNITS, UNIT_BITS, spread, training_set
from numerics.codebooks.search import nearest

Vectors = Int32[Array, "n d"]
Codebook = Int32[Array, "entries d"]


def to_units(x: Float32[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """Round to integers in units of 2^-10, half to even, between -2^13 and 2^13; NaN is zero."""
    scaled = jnp.where(jnp.isnan(x), 0, x) * 2.0**UNIT_BITS
    return jnp.round(jnp.clip(scaled, -MAX_UNITS, MAX_UNITS)).astype(jnp.int32)


def from_units(codebook: Codebook) -> Float32[Array, "entries d"]:
    """Return the float32 values of integers in units of 2^-10."""
    return codebook.astype(jnp.float32) * 2.0**-UNIT_BITS


def train(vectors: Vectors, count: int) -> Codebook:
    """Return the entries that :func:`numerics.codebooks.lloyd.train` finds."""

    def move(round_: tuple[Array, Codebook, Codebook]) -> tuple[Array, Codebook, Codebook]:
        number, codebook, _ = round_
        return number + 1, _moved(vectors, codebook), codebook

    def is_moving(round_: tuple[Array, Codebook, Codebook]) -> Array:
        number, codebook, before = round_
        return (number < MAX_ROUNDS) & jnp.any(codebook != before)

    start = vectors[spread(count, len(vectors))]
    _, codebook, _ = lax.while_loop(is_moving, move, (jnp.int32(0), start, start - 1))
    # FP16 keeps 11 significant bits; integers of up to 13 bits neither overflow nor underflow.
    return fence(codebook.astype(jnp.float16).astype(jnp.int32))


def train_on_some(vectors: Vectors, count: int) -> Codebook:
    """Return a codebook trained on the subset :func:`numerics.codebooks.lloyd.training_set`."""
    return train(fence(vectors[training_set(count, len(vectors))]), count)


def subtract(vectors: Vectors, codebook: Codebook, codes: Int32[Array, " n"]) -> Vectors:
    """Return the residuals of vectors less their entries, saturated to the range of a search."""
    return fence(jnp.clip(vectors - codebook[codes], -MAX_UNITS, MAX_UNITS))


def _moved(vectors: Vectors, codebook: Codebook) -> Codebook:
    """Return the means of the vectors nearest to each entry."""
    count = len(codebook)
    owners = nearest(vectors, codebook)
    counts = jax.ops.segment_sum(jnp.ones(len(vectors), jnp.int32), owners, count)[:, None]
    totals = jax.ops.segment_sum(vectors, owners, count)
    floors = totals // jnp.maximum(counts, 1)
    means = floors + (2 * (totals - floors * counts) >= counts)
    return jnp.where(counts == 0, codebook, means)

"""Codes of vectors as sums of codebook entries: nearest in the metric of a unit, and training."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32, Int32

from numerics.solvers.loop import product

Vectors = Float32[Array, "n d"]
Table = Float32[Array, "entries d"]
Found = Int32[Array, " n"]

#: Entries whose scores are computed at once.
ENTRIES_AT_ONCE = 4096
#: Largest codebook that is searched with a beam; larger ones take the nearest entry in turn.
BEAM_ENTRIES = 4096
#: Sums kept from one codebook to the next, and passes that choose each code again.
WIDTH, PASSES = 8, 2
#: Rounds of Lloyd's algorithm with weights, and least number of vectors for each entry.
ROUNDS, VECTORS_PER_ENTRY = 8, 4


def nearest_sums(vectors: Vectors, tables: Sequence[Table]) -> list[Found]:
    """Return one code for each table, so that the sum of entries is near to each vector."""
    if len(tables) == 1 or max(map(len, tables)) > BEAM_ENTRIES:
        codes, left = [], vectors
        for table in tables:
            codes.append(nearest(left, table))
            left = left - table[codes[-1]]
        return codes
    codes = _beam(vectors, tables)
    for _ in range(PASSES):
        for number, table in enumerate(tables):
            entries = [t[code] for t, code in zip(tables, codes, strict=True)]
            others = sum(entries[:number] + entries[number + 1 :], jnp.zeros_like(vectors))
            codes[number] = nearest(vectors - others, table)
    return codes


def nearest(vectors: Vectors, table: Table) -> Found:
    """Return the index of the nearest entry, the first on ties."""
    size = min(ENTRIES_AT_ONCE, len(table))
    padding = -len(table) % size
    entries = jnp.pad(table, ((0, padding), (0, 0))).reshape(-1, size, table.shape[1])
    norms = jnp.pad(jnp.sum(table * table, axis=1), (0, padding), constant_values=jnp.inf)

    def step(
        best: tuple[Array, Array], chunk: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        start, part, norm = chunk
        scores = 2 * product(vectors, part.T) - norm
        place = jnp.argmax(scores, axis=1)
        score = jnp.take_along_axis(scores, place[:, None], axis=1)[:, 0]
        is_better = score > best[0]
        index = jnp.where(is_better, start + place, best[1])
        return (jnp.where(is_better, score, best[0]), index), None

    starts = jnp.arange(0, len(table) + padding, size)
    start = jnp.full(len(vectors), -jnp.inf), jnp.zeros(len(vectors), jnp.int32)
    (_, index), _ = lax.scan(step, start, (starts, entries, norms.reshape(-1, size)))
    return index


def _beam(vectors: Vectors, tables: Sequence[Table]) -> list[Found]:
    """Return the codes of the best of the :data:`WIDTH` sums kept after each table."""
    count, width = len(vectors), vectors.shape[1]
    left, kept = vectors[:, None], jnp.zeros((count, 1, 0), jnp.int32)
    for number, table in enumerate(tables):
        entries, beams = len(table), left.shape[1]
        scores = 2 * product(left.reshape(-1, width), table.T) - jnp.sum(table * table, axis=1)
        scores = scores.reshape(count, beams, entries) - jnp.sum(left * left, axis=2)[..., None]
        last = number == len(tables) - 1
        _, best = lax.top_k(scores.reshape(count, -1), 1 if last else min(WIDTH, entries))
        parent, entry = jnp.divmod(best, entries)
        before = jnp.take_along_axis(kept, parent[..., None], axis=1)
        kept = jnp.concatenate([before, entry[..., None]], axis=2)
        left = jnp.take_along_axis(left, parent[..., None], axis=1) - table[entry]
    return list(kept[:, 0].T)


def train(vectors: Vectors, weights: Vectors, table: Table) -> tuple[Table, Found]:
    """Return a codebook trained further by weighted means, and the owner of each vector.

    The weight of each component counts in distances and in means. A codebook with next to as many
    entries as there are vectors stays.
    """
    if len(vectors) < VECTORS_PER_ENTRY * len(table):
        return table, _owners(vectors, weights, table)
    trained: tuple[Table, Found] = _train(vectors, weights, table)
    return trained


@jax.jit
def _train(vectors: Vectors, weights: Vectors, table: Table) -> tuple[Table, Found]:
    def move(table: Table, _: None) -> tuple[Table, None]:
        owners = _owners(vectors, weights, table)
        add = partial(jax.ops.segment_sum, segment_ids=owners, num_segments=len(table))
        mass, total = add(weights), add(weights * vectors)
        return jnp.where(mass > 0, total / jnp.where(mass > 0, mass, 1), table), None

    table, _ = lax.scan(move, table, None, length=ROUNDS)
    return table, _owners(vectors, weights, table)


@jax.jit
def _owners(vectors: Vectors, weights: Vectors, table: Table) -> Found:
    """Return the entry of least weighted distance: a nearest search in twice as many dimensions."""
    # sum h (x - c)^2 = sum h x^2 - (2 h x . c - h . c^2)
    size = min(len(vectors), max(1, (1 << 22) // len(table)))
    padding = -len(vectors) % size
    parts = jnp.concatenate([2 * weights * vectors, -weights], axis=1)
    chunks = jnp.pad(parts, ((0, padding), (0, 0))).reshape(-1, size, parts.shape[1])
    lifted = jnp.concatenate([table, table * table], axis=1).T
    found = lax.map(lambda chunk: jnp.argmax(product(chunk, lifted), axis=1), chunks)
    owners: Found = found.reshape(-1)[: len(vectors)].astype(jnp.int32)
    return owners

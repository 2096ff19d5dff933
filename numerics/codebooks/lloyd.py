"""Codebooks of vectors by Lloyd's algorithm, in integers: the definition in plain Python.

Components of vectors are integers of magnitude at most 2^13 in units of 2^-10. Integer sums don't
depend on their order and no random numbers are drawn, so a codebook is the same on every machine.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Int

#: Fraction bits of a vector's components, integers in units of ``2**-UNIT_BITS``.
UNIT_BITS = 10
MAX_UNITS = 8 << UNIT_BITS
#: Largest norm in a search is ``2**NORM_BITS``, so that float32 dot products are exact.
NORM_BITS = 11
MAX_ROUNDS = 20
#: Number of training vectors for each entry, and the largest number for a codebook.
VECTORS_PER_ENTRY = 64
MAX_VECTORS = 1 << 16

Vector = Sequence[int]


def spread(count: int, total: int) -> "Int[np.ndarray, ' count']":
    """Return ``count`` of the numbers below ``total``, which repeat if ``count`` is larger.

    The numbers are multiples, modulo ``total``, of a step near the golden section of ``total`` and
    coprime to it: nearly evenly spaced, but not aligned with the columns of a matrix.

    >>> spread(5, 10).tolist(), spread(5, 3).tolist()
    ([0, 7, 4, 1, 8], [0, 2, 1, 0, 2])
    """
    step = max(1, round(total * (math.sqrt(5) - 1) / 2))
    while math.gcd(step, total) != 1:
        step += 1
    return np.arange(count, dtype=np.int64) * step % total


def training_set(entries: int, total: int) -> "Int[np.ndarray, ' chosen']":
    """Return the indices of the training vectors among ``total``: 64 per entry, 65536 at most."""
    return spread(min(total, VECTORS_PER_ENTRY * entries, MAX_VECTORS), total)


def search_shift(vectors: Sequence[Vector], codebook: Sequence[Vector]) -> int:
    """Return the number of low bits that a search drops, so that no norm exceeds 2^11.

    >>> search_shift([[3, 4]], [[0, 2048]]), search_shift([[2048, 1]], [[0, 0]])
    (0, 1)
    """
    largest = max(1, *(sum(v * v for v in vector) for vector in (*vectors, *codebook)))
    return max(0, ((largest - 1).bit_length() + 1) // 2 - NORM_BITS)


def nearest(vectors: Sequence[Vector], codebook: Sequence[Vector]) -> list[int]:
    """Return the index of the entry nearest to each vector, the first on ties.

    Vectors and entries are first divided by ``2**search_shift`` and rounded half up.

    >>> nearest([[3, 0], [-1, 2], [2, 0]], [[0, 0], [4, 0], [0, 2]])
    [1, 2, 0]
    """
    shift = search_shift(vectors, codebook)
    half = (1 << shift) >> 1
    entries = [[(c + half) >> shift for c in entry] for entry in codebook]
    found = []
    for vector in vectors:
        moved = [(v + half) >> shift for v in vector]
        distances = [sum((a - b) ** 2 for a, b in zip(moved, e, strict=True)) for e in entries]
        found.append(distances.index(min(distances)))
    return found


def train(vectors: Sequence[Vector], count: int) -> list[list[int]]:
    """Return the ``count`` entries that Lloyd's algorithm finds for vectors.

    The initial entries are the vectors at the indices of :func:`spread`. An entry moves to the mean
    of the vectors nearest to it, rounded half up, and stays if it has none. Training ends when no
    entry moves, or after 20 rounds. The entries are then rounded to FP16 significands.

    >>> train([[0, 0], [10, 10], [0, 1], [11, 10], [0, 3], [3000, 2049]], 3)
    [[0, 1], [3000, 2048], [11, 10]]
    """
    codebook = [list(vectors[index]) for index in spread(count, len(vectors))]
    for _ in range(MAX_ROUNDS):
        owners = nearest(vectors, codebook)
        moved = [
            _mean([v for v, owner in zip(vectors, owners, strict=True) if owner == entry]) or center
            for entry, center in enumerate(codebook)
        ]
        if moved == codebook:
            break
        codebook = moved
    return [[int(np.float16(component)) for component in entry] for entry in codebook]


def _mean(vectors: Sequence[Vector]) -> list[int]:
    """Return the mean of vectors, rounded half up; an empty list for no vectors."""
    count = len(vectors)
    return [(2 * sum(parts) + count) // (2 * count) for parts in zip(*vectors, strict=True)]

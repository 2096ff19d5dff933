"""Codebooks of vectors by Lloyd's algorithm, in integers: the definition in plain Python.

Vectors are integers of at most 2^13 in units of 2^-10. Nothing depends on the order of sums, so a
codebook is the same on every machine, and nothing is drawn at random.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Int

#: Vectors are integers in units of ``2**-UNIT_BITS``, and larger magnitudes saturate.
UNIT_BITS = 10
MAX_UNITS = 8 << UNIT_BITS
#: Entries are searched with norms up to ``2**NORM_BITS``, which makes float32 products exact.
NORM_BITS = 11
MAX_ROUNDS = 20
#: Vectors that train each entry, and that train a codebook at most.
VECTORS_PER_ENTRY = 64
MAX_VECTORS = 1 << 16

Vector = Sequence[int]


def spread(count: int, total: int) -> "Int[np.ndarray, ' count']":
    """Return ``count`` of the numbers below ``total``, all of them in turn if there are fewer.

    They are multiples of a step near the golden section of ``total`` that has no divisor in common
    with it, modulo ``total``: near to evenly spread, but not on the columns of a matrix.

    >>> spread(5, 10).tolist(), spread(5, 3).tolist()
    ([0, 7, 4, 1, 8], [0, 2, 1, 0, 2])
    """
    step = max(1, round(total * (math.sqrt(5) - 1) / 2))
    while math.gcd(step, total) != 1:
        step += 1
    return np.arange(count, dtype=np.int64) * step % total


def training_set(entries: int, total: int) -> "Int[np.ndarray, ' chosen']":
    """Return which of ``total`` vectors train a codebook: 64 an entry, 65536 at most."""
    return spread(min(total, VECTORS_PER_ENTRY * entries, MAX_VECTORS), total)


def search_shift(vectors: Sequence[Vector], codebook: Sequence[Vector]) -> int:
    """Return the bits that a search drops, so that no norm exceeds 2^11.

    >>> search_shift([[3, 4]], [[0, 2048]]), search_shift([[2048, 1]], [[0, 0]])
    (0, 1)
    """
    largest = max(1, *(sum(v * v for v in vector) for vector in (*vectors, *codebook)))
    return max(0, ((largest - 1).bit_length() + 1) // 2 - NORM_BITS)


def nearest(vectors: Sequence[Vector], codebook: Sequence[Vector]) -> list[int]:
    """Return which entry is nearest to each vector, the first of equals.

    Both are first divided by 2 to the :func:`search_shift` and rounded, half up.

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

    It starts from the vectors of :func:`spread`. An entry moves to the mean of the vectors nearest
    to it, half rounded up, and stays where it has none. It ends when nothing moves, or after 20
    rounds. The entries are then rounded to FP16, whose units these are or smaller.

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
    """Return the mean of vectors, half rounded up; nothing of none."""
    count = len(vectors)
    return [(2 * sum(parts) + count) // (2 * count) for parts in zip(*vectors, strict=True)]

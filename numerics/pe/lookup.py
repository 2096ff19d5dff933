"""Dot products of ternary weights by lookup tables: TL1 and TL2 of bitnet.cpp.

A table holds the sums of two or three activations for all ternary weights. It is built once and
read by all columns, with the codes of weights as indices. Source: bitnet.cpp, arXiv:2502.11880,
section 3, and its code.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer

from numerics.ternary.packings import tl1_table, tl2_table

#: Number of weights per code of TL1 and TL2.
TL1_WEIGHTS, TL2_WEIGHTS = 2, 3
#: Number of table entries of TL1 and TL2; larger codes are unused and count as 0.
TL1_ENTRIES, TL2_ENTRIES = 9, 14
#: Bits of a TL1 code, and of a TL2 magnitude (its sign is stored separately).
CODE_BITS = 4


def tl1_codes(trits: Integer[np.ndarray, "*rows n"]) -> Integer[np.ndarray, "*rows pairs"]:
    """Return the codes ``3 * t0 + t1 + 4`` of pairs.

    >>> tl1_codes(np.array([-1, -1, 0, 1, 1, 1])).tolist()
    [0, 5, 8]
    """
    pairs = _split(trits, TL1_WEIGHTS)
    codes: np.ndarray = 3 * pairs[..., 0] + pairs[..., 1] + 4
    return codes


def tl2_codes(
    trits: Integer[np.ndarray, "*rows n"],
) -> tuple[Integer[np.ndarray, "*rows triples"], Integer[np.ndarray, "*rows triples"]]:
    """Return magnitudes and signs of ``9 * t0 + 3 * t1 + t2``; sign 1 means negative.

    >>> [part.tolist() for part in tl2_codes(np.array([0, 1, -1, -1, 0, 0]))]
    [[2, 9], [0, 1]]
    """
    triples = _split(trits, TL2_WEIGHTS)
    numbers: np.ndarray = 9 * triples[..., 0] + 3 * triples[..., 1] + triples[..., 2]
    return abs(numbers), (numbers < 0).astype(numbers.dtype)


def tl1_dot(codes: Sequence[int], activations: Sequence[int]) -> int:
    """Return the sum of the table entries at the codes, with one table per two activations.

    >>> tl1_dot([0, 5], [3, -5, 1, 7])
    9
    """
    tables = [tl1_table(*pair) for pair in _split(np.array(activations), TL1_WEIGHTS).tolist()]
    pairs = zip(tables, codes, strict=True)
    return sum(table[code] for table, code in pairs if code < TL1_ENTRIES)


def tl2_dot(magnitudes: Sequence[int], signs: Sequence[int], activations: Sequence[int]) -> int:
    """Return the sum of the table entries at the magnitudes, negated where a sign is 1.

    The table has 14 of the 27 sums; the others are their negatives, ``(v + m) ^ m`` with the sign
    mask ``m`` 0 or -1.

    >>> tl2_dot([2, 9], [0, 1], [3, -5, 7, 1, 0, 0])
    -13
    """
    tables = [tl2_table(*triple) for triple in _split(np.array(activations), TL2_WEIGHTS).tolist()]
    total = 0
    for table, magnitude, sign in zip(tables, magnitudes, signs, strict=True):
        entry = table[magnitude] if magnitude < TL2_ENTRIES else 0
        total += (entry - sign) ^ -sign
    return total


def tl1_dots(
    codes: Integer[np.ndarray, "*rows pairs"], activations: Integer[np.ndarray, "*rows n"]
) -> Integer[np.ndarray, "*rows"]:
    """Return the dot products of rows as int64, computed from the decoded weights."""
    return _dots(np.take(_TL1_TRITS, codes, axis=0), _split(activations, TL1_WEIGHTS))


def tl2_dots(
    magnitudes: Integer[np.ndarray, "*rows triples"],
    signs: Integer[np.ndarray, "*rows triples"],
    activations: Integer[np.ndarray, "*rows n"],
) -> Integer[np.ndarray, "*rows"]:
    """Return the dot products of rows as int64, computed from the decoded weights."""
    codes = magnitudes + (signs << CODE_BITS)
    return _dots(np.take(_TL2_TRITS, codes, axis=0), _split(activations, TL2_WEIGHTS))


def _dots(weights: np.ndarray, activations: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("...tw,...tw->...", weights, activations, dtype=np.int64))


def _split(values: np.ndarray, size: int) -> np.ndarray:
    """Return the last axis split into groups of ``size``."""
    if values.shape[-1] % size:
        raise ValueError(f"a row of {values.shape[-1]} values is not a multiple of {size}")
    return values.reshape(*values.shape[:-1], -1, size)


def _trits(first: int, entries: int, size: int) -> np.ndarray:
    """Return the weights of every code, zeros for unused codes."""
    places = np.arange(first, first + entries)[:, None]
    digits = places // 3 ** np.arange(size)[::-1] % 3 - 1
    return np.pad(digits.astype(np.int8), ((0, (1 << CODE_BITS) - entries), (0, 0)))


_TL1_TRITS = _trits(0, TL1_ENTRIES, TL1_WEIGHTS)
#: Weights of TL2 codes: those of the 16 magnitudes, then their negatives.
_TL2_TRITS = _trits(TL2_ENTRIES - 1, TL2_ENTRIES, TL2_WEIGHTS)
_TL2_TRITS = np.concatenate([_TL2_TRITS, -_TL2_TRITS])

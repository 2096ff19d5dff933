"""Dot products of vector-quantized weights: E8P, and additive codebooks in a loadable table.

The entries of E8P are fixed multiples of 1/4. AQLM and VPTQ have FP16 entries for each layer;
:func:`integer_entries` rounds them to 8 bits, and the dot products of the rounded ones are exact.
Sources: QuIP#, arXiv:2402.04396, section 4; AQLM, arXiv:2401.06118, section 3; VPTQ,
arXiv:2409.17066, section 3.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer

from numerics.codebooks import e8p

#: Bits of each component of an entry in a loadable codebook.
ENTRY_BITS = 8
#: A codebook: entries that are vectors of integers.
Codebook = Sequence[Sequence[int]]


def e8p_dot(codes: Sequence[int], activations: Sequence[int]) -> int:
    """Return ``sum(w * a)`` with eight weights per code, in units of 1/4 activation unit.

    >>> e8p_dot([0x0000, 0x0001], [1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0])
    5
    """
    weights = [value for code in codes for value in e8p.decode(code)]
    return sum(w * a for w, a in zip(weights, activations, strict=True))


def e8p_dots(
    codes: Integer[np.ndarray, "rows blocks"], activations: Integer[np.ndarray, "rows n"]
) -> Integer[np.ndarray, " rows"]:
    """Return the dot products of rows of codes as int64."""
    weights = e8p.points()[codes].reshape(len(codes), -1).astype(np.int64)
    _check_lengths(weights.shape[1], activations.shape[1])
    return np.asarray(np.einsum("rn,rn->r", weights, activations.astype(np.int64)))


def largest_e8p_sum(length: int, largest_activation: int) -> int:
    """Return the largest magnitude of a dot product of ``length`` weights.

    The magnitudes of a point sum to at most 42/4.

    >>> largest_e8p_sum(16, 128) == 2 * 42 * 128
    True
    """
    norm = int(abs(e8p.points().astype(np.int64)).sum(axis=1).max())
    return length // e8p.DIMENSION * norm * largest_activation


def additive_dot(
    codebooks: Sequence[Codebook], codes: Sequence[Sequence[int]], activations: Sequence[int]
) -> int:
    """Return ``sum((C_1[i_1] + C_2[i_2] + ...) * a)`` with AQLM's vectors, along a row.

    ``codes`` has one code of each codebook for each vector.

    >>> additive_dot([[[1, 2], [3, 4]], [[0, 0], [-1, 1]]], [[1, 1], [0, 0]], [10, 1, 5, 0])
    30
    """
    weights = [value for vector in codes for value in decode(codebooks, vector)]
    return sum(w * a for w, a in zip(weights, activations, strict=True))


def column_dot(
    codebooks: Sequence[Codebook], codes: Sequence[Sequence[int]], activations: Sequence[int]
) -> list[int]:
    """Return the dot products of several rows with VPTQ's vectors, along a column.

    Every activation multiplies all components of one vector, one for each row. The scales and
    biases of VPTQ's columns are applied to the activations before those are rounded.

    >>> column_dot([[[1, 2], [3, 4]], [[0, 0], [-1, 1]]], [[1, 1], [0, 0]], [10, 1])
    [21, 52]
    """
    vectors = [decode(codebooks, vector) for vector in codes]
    pairs = list(zip(vectors, activations, strict=True))
    return [sum(vector[row] * a for vector, a in pairs) for row in range(len(codebooks[0][0]))]


def decode(codebooks: Sequence[Codebook], vector: Sequence[int]) -> list[int]:
    """Return the sum of one entry of each codebook.

    >>> decode([[[1, 2], [3, 4]], [[0, 0], [-1, 1]]], [1, 1])
    [2, 5]
    """
    entries = [book[code] for book, code in zip(codebooks, vector, strict=True)]
    return [sum(numbers) for numbers in zip(*entries, strict=True)]


def additive_dots(
    codebooks: Integer[np.ndarray, "books entries size"],
    codes: Integer[np.ndarray, "rows vectors books"],
    activations: Integer[np.ndarray, "rows n"],
) -> Integer[np.ndarray, " rows"]:
    """Return :func:`additive_dot` of each row as int64."""
    weights = decoded(codebooks, codes).reshape(len(codes), -1)
    _check_lengths(weights.shape[1], activations.shape[1])
    return np.asarray(np.einsum("rn,rn->r", weights, activations.astype(np.int64)))


def column_dots(
    codebooks: Integer[np.ndarray, "books entries size"],
    codes: Integer[np.ndarray, "rows vectors books"],
    activations: Integer[np.ndarray, "rows vectors"],
) -> Integer[np.ndarray, "rows size"]:
    """Return :func:`column_dot` of each row of codes, ``size`` sums each, as int64."""
    weights = decoded(codebooks, codes)
    return np.asarray(np.einsum("rvs,rv->rs", weights, activations.astype(np.int64)))


def decoded(
    codebooks: Integer[np.ndarray, "books entries size"], codes: Integer[np.ndarray, "*rows books"]
) -> Integer[np.ndarray, "*rows size"]:
    """Return the sums of one entry of each codebook as int64."""
    total = np.zeros((*codes.shape[:-1], codebooks.shape[-1]), np.int64)
    for book, entries in enumerate(codebooks):
        total += np.take(entries, codes[..., book], axis=0)
    return total


def integer_entries(
    codebooks: Float[np.ndarray, "books entries size"],
) -> tuple[Integer[np.ndarray, "books entries size"], float]:
    """Return 8-bit entries and their scale; ``entry * scale`` is within ``scale / 2`` of the input.

    The scale is the largest magnitude over 127, shared by all codebooks so that their entries can
    be added; it is multiplied into the scale of a row. Ties round to even.

    >>> entries, scale = integer_entries(np.array([[[254.0, -3.0]], [[1.0, 0.5]]]))
    >>> entries.tolist(), scale
    ([[[127, -2]], [[0, 0]]], 2.0)
    """
    if not np.isfinite(codebooks).all():
        raise ValueError("codebooks have NaN or infinities; entries must be finite")
    limit = 2 ** (ENTRY_BITS - 1) - 1
    largest = float(np.abs(codebooks).max())
    scale = largest / limit if largest else 1.0
    return np.rint(codebooks.astype(np.float64) / scale).astype(np.int64), scale


def largest_additive_sum(codebooks: int, products: int, largest_activation: int) -> int:
    """Return the largest magnitude of a dot product over all contents of the codebooks.

    >>> largest_additive_sum(2, 128, 128)
    4194304
    """
    largest_entry = 1 << (ENTRY_BITS - 1)
    return codebooks * largest_entry * products * largest_activation


def _check_lengths(weights: int, activations: int) -> None:
    if weights != activations:
        raise ValueError(f"codes of {weights} weights for {activations} activations must match")

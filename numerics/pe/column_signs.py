"""Dot products of FBI-LLM's binary weights, with a scale and an offset for every input.

    sum((offset + scale) * a) where a bit is 1, (offset - scale) * a where it is 0

    = sum(+-(scale * a)) + sum(offset * a)

The products ``scale * a`` and the second sum don't depend on the output, so all outputs share them.
Scales and offsets are FP16 in FBI-LLM; :func:`integer_columns` rounds them to 8 bits, and the dot
products of the rounded ones are exact. Source: FBI-LLM, arXiv:2407.07093, section 3.1.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer

#: Bits of activations, scales and offsets.
BITS = 8


def column_sign_dot(
    bits: Sequence[int], activations: Sequence[int], scales: Sequence[int], offsets: Sequence[int]
) -> int:
    """Return the dot product of one output.

    >>> column_sign_dot([1, 0], [10, 1], [3, 5], [1, -2])  # (1 + 3) * 10 + (-2 - 5) * 1
    33
    """
    inputs = zip(bits, activations, scales, offsets, strict=True)
    return sum((offset + (scale if bit else -scale)) * a for bit, a, scale, offset in inputs)


def column_sign_dots(
    bits: Integer[np.ndarray, "rows columns n"],
    activations: Integer[np.ndarray, "rows n"],
    scales: Integer[np.ndarray, "rows n"],
    offsets: Integer[np.ndarray, "rows n"],
) -> Integer[np.ndarray, "rows columns"]:
    """Return the dot products of several columns of each row as int64."""
    signs = 2 * bits.astype(np.int64, order="C") - 1
    weights = offsets[:, None] + signs * scales[:, None]
    return np.asarray((weights * activations[:, None]).sum(axis=-1))


def column_sign_bits(length: int) -> int:
    """Return the bits of a two's complement number that holds every sum.

    >>> column_sign_bits(128)
    24
    """
    largest = 1 << BITS - 1
    return (length * 2 * largest * largest).bit_length() + 1


def integer_columns(
    scales: Float[np.ndarray, " n"], offsets: Float[np.ndarray, " n"]
) -> tuple[Integer[np.ndarray, " n"], Integer[np.ndarray, " n"], float]:
    """Return 8-bit scales and offsets, and their common unit, the largest magnitude over 127.

    >>> integer_columns(np.array([254.0, 2.0]), np.array([-3.0, 0.0]))
    (array([127,   1]), array([-2,  0]), 2.0)
    """
    both = np.stack([scales, offsets]).astype(np.float64)
    if not np.isfinite(both).all():
        raise ValueError("scales or offsets are NaN or infinite; they must be finite")
    largest = float(np.abs(both).max())
    unit = largest / ((1 << BITS - 1) - 1) if largest else 1.0
    rounded = np.rint(both / unit).astype(np.int64)
    return rounded[0], rounded[1], unit

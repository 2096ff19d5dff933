"""Exact integer dot products of codes: the reference for multiply-accumulate units.

Every value of a format with a ``unit`` is a multiple of the unit, so a dot product is a multiple of
the product of both units. :func:`exact_dot` is the definition, :func:`exact_dots` its array twin.
"""

from collections.abc import Sequence
from functools import cache
from math import isfinite

import numpy as np

from numerics.formats import Format

#: Upper bound on the magnitude of sums that are computed in int64.
LARGEST_SUM = 2**62


def integer_value(fmt: Format, code: int) -> int:
    """Return the value of a code in units of the format; NaN and infinities count as 0.

    >>> from numerics.formats import E2M1
    >>> [integer_value(E2M1, code) for code in range(8)]
    [0, 1, 2, 3, 4, 6, 8, 12]
    """
    if fmt.unit is None:
        raise ValueError(f"the values of {fmt.name} are not multiples of one unit")
    value = fmt.decode(code)
    return int(value / fmt.unit) if isfinite(value) else 0


@cache
def integer_table(fmt: Format) -> tuple[int, ...]:
    """Return the value of every code in units of the format."""
    return tuple(integer_value(fmt, code) for code in range(2**fmt.bits))


def exact_dot(
    weights: Format, activations: Format, weight_codes: Sequence[int], codes: Sequence[int]
) -> int:
    """Return ``sum(w * a)`` of two rows of codes, in units of the product of both units.

    >>> from numerics import FORMATS
    >>> exact_dot(FORMATS["fp4_e2m1"], FORMATS["int8"], [3, 15], [2, 255])
    18
    """
    pairs = zip(weight_codes, codes, strict=True)
    return sum(integer_value(weights, w) * integer_value(activations, a) for w, a in pairs)


def exact_dots(
    weights: Format, activations: Format, weight_codes: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """Return the dot products of rows of codes as int64; both have shape (rows, length)."""
    need = largest_sum(weights, activations, weight_codes.shape[-1])
    if need >= LARGEST_SUM:
        raise ValueError(f"sums of up to {need} don't fit in 64 bits; take shorter rows")
    left, right = (np.asarray(integer_table(fmt), np.int64) for fmt in (weights, activations))
    if need < 1 << 31:
        # JAX takes a second to import.
        from numerics.pe.exact_dot_arrays import narrow_dots

        return np.asarray(narrow_dots(left, right, weight_codes, codes), np.int64)
    sums: np.ndarray = np.einsum("...k,...k->...", left[weight_codes], right[codes])
    return sums


def largest_sum(weights: Format, activations: Format, length: int) -> int:
    """Return the largest magnitude of a dot product of ``length`` elements.

    >>> from numerics import FORMATS
    >>> largest_sum(FORMATS["int4"], FORMATS["int8"], 2)
    2048
    """
    return length * _largest(weights) * _largest(activations)


@cache
def _largest(fmt: Format) -> int:
    """Return the largest magnitude of a value in units."""
    return max(map(abs, integer_table(fmt)))


def sum_bits(weights: Format, activations: Format, length: int) -> int:
    """Return the two's complement bits that hold every dot product of ``length`` elements.

    >>> from numerics import FORMATS
    >>> sum_bits(FORMATS["int8"], FORMATS["int8"], 128)
    23
    """
    return largest_sum(weights, activations, length).bit_length() + 1

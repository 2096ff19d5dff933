"""Dot products of weights with a zero point, which is subtracted after the sum.

``sum((w - z) * a) = sum(w * a) - z * sum(a)``: the second sum doesn't depend on the weights, so all
columns share it. Source: MixPE, arXiv:2411.16158, dequantization after the group.
"""

from collections.abc import Sequence

import numpy as np

from numerics.formats import Format
from numerics.pe.exact_dot import LARGEST_SUM, exact_dots, integer_table, integer_value


def row_sum(activations: Format, codes: Sequence[int]) -> int:
    """Return ``sum(a)`` in units of the format; all columns of weights share it.

    >>> from numerics import FORMATS
    >>> row_sum(FORMATS["int8"], [2, 255])
    1
    """
    return sum(integer_value(activations, code) for code in codes)


def zero_point_dot(
    weights: Format,
    activations: Format,
    weight_codes: Sequence[int],
    codes: Sequence[int],
    zero: int,
) -> int:
    """Return ``sum(w * a) - z * sum(a)`` in units of the product of both formats' units.

    The zero point is a code of the weight format.

    >>> from numerics import FORMATS
    >>> activations = [-77 % 256, 127, -128 % 256, 3]
    >>> zero_point_dot(FORMATS["uint4"], FORMATS["int8"], [11, 0, 15, 8], activations, 7)
    -2218
    """
    pairs = zip(weight_codes, codes, strict=True)
    products = sum(integer_value(weights, w) * integer_value(activations, a) for w, a in pairs)
    return products - integer_value(weights, zero) * row_sum(activations, codes)


def zero_point_dots(
    weights: Format,
    activations: Format,
    weight_codes: np.ndarray,
    codes: np.ndarray,
    zeros: np.ndarray,
) -> np.ndarray:
    """Return the dot products of columns of weights with rows of activations as int64.

    ``weight_codes`` has shape (groups, columns, length), ``codes`` (groups, length), ``zeros``
    (groups, columns).
    """
    need = largest_difference(weights, activations, codes.shape[-1])
    if need >= LARGEST_SUM:
        raise ValueError(f"sums of up to {need} don't fit in 64 bits; take shorter rows")
    rows = np.broadcast_to(codes[:, None], weight_codes.shape)
    products = exact_dots(weights, activations, weight_codes, rows)
    shared = np.asarray(integer_table(activations), np.int64)[codes].sum(axis=-1)
    zero_values = np.asarray(integer_table(weights), np.int64)[zeros]
    found: np.ndarray = products - zero_values * shared[:, None]
    return found


def largest_difference(weights: Format, activations: Format, length: int) -> int:
    """Return the largest magnitude of a zero-point dot product of ``length`` elements.

    >>> from numerics import FORMATS
    >>> largest_difference(FORMATS["uint4"], FORMATS["int8"], 128)
    245760
    """
    table = integer_table(weights)
    return length * (max(table) - min(table)) * max(map(abs, integer_table(activations)))


def difference_bits(weights: Format, activations: Format, length: int) -> int:
    """Return the two's complement bits that hold every zero-point dot product.

    >>> from numerics import FORMATS
    >>> difference_bits(FORMATS["uint4"], FORMATS["int8"], 128)
    19
    """
    return largest_difference(weights, activations, length).bit_length() + 1

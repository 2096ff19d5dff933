"""Matrix products with exact sums of groups, for values of any magnitude.

:func:`numerics.grouped_dot` rounds each segment of the operand with the smaller groups. A PE whose
accumulator spans several block scales rounds later. This module defines its result for
dequantized values: the sum of each group is exact, the following steps are those of
:mod:`numerics.dot` in float32.
"""

import numpy as np
from jaxtyping import Float, Float32, Int64

from numerics.pe.exact_dot import LARGEST_SUM


def exact_product(
    a: Float[np.ndarray, "t k"],
    w: Float[np.ndarray, "n k"],
    *,
    group: int,
    scales: Float32[np.ndarray, "n _"],
    token_scales: Float32[np.ndarray, " t"],
) -> Float32[np.ndarray, "t n"]:
    """Return ``a @ w.T``, the sum of each group of ``k`` rounded to float32 once, then scaled.

    ``scales`` has one scale for each group, or one for the row.

    >>> one = np.ones((1, 1), np.float32)
    >>> a, w = np.array([[2.0**40, 1.0, -(2.0**40)]]), np.array([[1.0, 0.75, 1.0]])
    >>> exact_product(a, w, group=3, scales=one, token_scales=one[0]).tolist()
    [[0.75]]

    Raises
    ------
    ValueError
        The exact sum of a group doesn't fit in 64 bits.
    """
    values = np.stack(
        [
            _exact(a[:, start : start + group], w[:, start : start + group])
            for start in range(0, a.shape[1], group)
        ]
    )
    return scaled_sum(values, scales, token_scales)


def scaled_sum(
    values: Float32[np.ndarray, "groups t n"],
    scales: Float32[np.ndarray, "n _"],
    token_scales: Float32[np.ndarray, " t"],
) -> Float32[np.ndarray, "t n"]:
    """Return group sums times their scales, added in float32 in :mod:`numerics.dot` order."""
    is_of_rows = scales.shape[1] < len(values)
    total = np.zeros(values.shape[1:], np.float32)
    for index, segment in enumerate(values):
        total = total + (segment if is_of_rows else segment * scales[None, :, index])
    if is_of_rows:
        total = total * scales[None, :, 0]
    result: np.ndarray = total * token_scales[:, None]
    return result


def _exact(a: Float[np.ndarray, "t k"], w: Float[np.ndarray, "n k"]) -> Float32[np.ndarray, "t n"]:
    left, right = (_lowest_bit(x) for x in (a, w))
    ours, theirs = _integers(a, left), _integers(w, right)
    largest = int(np.abs(ours).max()) * int(np.abs(theirs).max()) * a.shape[1]
    if largest >= LARGEST_SUM:
        raise ValueError(f"sums of up to {largest} don't fit in 64 bits; take smaller groups")
    found: np.ndarray = np.ldexp((ours @ theirs.T).astype(np.float32), left + right)
    return found


def _lowest_bit(x: Float[np.ndarray, "rows k"]) -> int:
    """Return the exponent of the lowest bit that is set in any number.

    >>> _lowest_bit(np.array([[6.0, 0.75, 0.0]]))
    -2
    """
    significands, exponents = np.frexp(x[x != 0].astype(np.float64))
    whole = (significands * 2.0**53).astype(np.int64)
    places = np.log2((whole & -whole).astype(np.float64)).astype(np.int64)
    return int((exponents + places - 53).min(initial=0))


def _integers(x: Float[np.ndarray, "rows k"], exponent: int) -> Int64[np.ndarray, "rows k"]:
    scaled = np.ldexp(x.astype(np.float64), -exponent)
    if np.abs(scaled).max() >= LARGEST_SUM:
        raise ValueError("values of a group span more than 62 bits; take smaller groups")
    return scaled.astype(np.int64)

"""Dot products of nested codes, read one plane of bits after another, the upper bits first.

The first ``b`` bits of an 8-bit code are the code of ``b`` bits. A plane stands for signs: a bit of
1 adds the activation and one of 0 subtracts it, so that with ``b`` planes the weight is

    sum over planes of 2^(b - 1 - plane) * (2 * bit - 1) = 2 * code - (2^b - 1),

the middle of the code's part of the range in half steps, odd and symmetric about 0. A step of fewer
planes is twice as wide for each plane left out.

Source: Any-Precision LLM, arXiv:2402.10517, for codes and planes, of which it reads 3 to 8. Its
values are tables of a row, which no sum of planes gives; these are evenly spaced ones.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer

#: Bits of a stored code.
PARENT_BITS = 8


def weight(code: int, planes: int) -> int:
    """Return the value of the first planes of an 8-bit code, in half steps of those planes.

    >>> weight(0b101_00000, 3), weight(0b101_10000, 4), weight(255, 8)
    (3, 7, 255)
    """
    _check_planes(planes)
    return 2 * (code >> (PARENT_BITS - planes)) - ((1 << planes) - 1)


def plane_dot(codes: Sequence[int], activations: Sequence[int], planes: int) -> int:
    """Return ``sum(w * a)`` plane by plane: twice the sum so far, and each activation by its bit.

    >>> plane_dot([0b101_00000, 0b011_00000], [10, 1], 3)
    29
    """
    _check_planes(planes)
    total = 0
    for plane in range(planes):
        bits = [code >> (PARENT_BITS - 1 - plane) & 1 for code in codes]
        signed = zip(bits, activations, strict=True)
        total = 2 * total + sum(a if bit else -a for bit, a in signed)
    return total


def plane_dots(
    codes: Integer[np.ndarray, "rows n"],
    activations: Integer[np.ndarray, "rows n"],
    planes: Integer[np.ndarray, " rows"],
) -> Integer[np.ndarray, " rows"]:
    """Return the sums of rows, as int64; every row is read in its own number of planes."""
    for bound in (planes.min(initial=PARENT_BITS), planes.max(initial=1)):
        _check_planes(int(bound))
    left_out = (PARENT_BITS - planes).astype(np.uint8)[:, None]
    weights = 2 * (codes.astype(np.uint8) >> left_out).astype(np.int32) - (255 >> left_out)
    # 17 bits hold a product, so that 32 hold a row.
    return np.asarray(np.einsum("rn,rn->r", weights, activations.astype(np.int32)), np.int64)


def largest_plane_sum(planes: int, length: int, largest_activation: int) -> int:
    """Return the largest magnitude of a sum of ``length`` products.

    >>> largest_plane_sum(8, 128, 128)
    4177920
    """
    _check_planes(planes)
    return ((1 << planes) - 1) * length * largest_activation


def _check_planes(planes: int) -> None:
    if not 1 <= planes <= PARENT_BITS:
        raise ValueError(f"codes are read in 1 to {PARENT_BITS} planes, not {planes}")

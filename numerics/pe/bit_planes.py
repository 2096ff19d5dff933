"""Bit-serial dot products of nested codes, most significant bit plane first.

The first ``b`` bits of an 8-bit code are the code of ``b`` bits. The bits of a plane are signs: a
bit of 1 adds the activation, a bit of 0 subtracts it, so that with ``b`` planes the weight is

    sum over planes of 2^(b - 1 - plane) * (2 * bit - 1) = 2 * code - (2^b - 1),

the center of the code's interval in units of half a step, odd and symmetric about 0. Each plane
that is left out doubles the step.

Source: Any-Precision LLM, arXiv:2402.10517, for codes and planes, of which it reads 3 to 8. Its
values are lookup tables of a row, which a sum of planes can't express; these values are uniform.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer

#: Bits of a stored code.
PARENT_BITS = 8


def weight(code: int, planes: int) -> int:
    """Return the value of the first planes of an 8-bit code, in units of half a step.

    >>> weight(0b101_00000, 3), weight(0b101_10000, 4), weight(255, 8)
    (3, 7, 255)
    """
    _check_planes(planes)
    return 2 * (code >> (PARENT_BITS - planes)) - ((1 << planes) - 1)


def plane_dot(codes: Sequence[int], activations: Sequence[int], planes: int) -> int:
    """Return ``sum(w * a)`` plane by plane: double the sum, then add or subtract activations.

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
    """Return the dot products of rows as int64; each row has its own number of planes."""
    for bound in (planes.min(initial=PARENT_BITS), planes.max(initial=1)):
        _check_planes(int(bound))
    left_out = (PARENT_BITS - planes).astype(np.uint8)[:, None]
    weights = 2 * (codes.astype(np.uint8) >> left_out).astype(np.int32) - (255 >> left_out)
    # A product has 17 bits, so 32 bits hold the dot product of a row.
    return np.asarray(np.einsum("rn,rn->r", weights, activations.astype(np.int32)), np.int64)


def largest_plane_sum(planes: int, length: int, largest_activation: int) -> int:
    """Return the largest magnitude of a dot product of ``length`` elements.

    >>> largest_plane_sum(8, 128, 128)
    4177920
    """
    _check_planes(planes)
    return ((1 << planes) - 1) * length * largest_activation


def _check_planes(planes: int) -> None:
    if not 1 <= planes <= PARENT_BITS:
        raise ValueError(f"codes are read in 1 to {PARENT_BITS} planes, not {planes}")

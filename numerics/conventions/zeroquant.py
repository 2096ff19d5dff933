"""ZeroQuant-FP: E2M1 groups with scales that are power-of-two fractions of one scale per row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from numerics.conventions.nvfp4_reference import flush, flushed
from numerics.formats import E2M1, Format
from numerics.schemes.scheme import Field, Scheme

DEFAULT_GROUP = 256
#: Largest shift for which the cast to E4M3 is exact.
MAX_SHIFT = 8
SHIFT_BITS = 4
#: Least scale of a row, so that its largest shift is still a normal number.
LEAST_SCALE = 2.0 ** (MAX_SHIFT - 126)


class Rounding(StrEnum):
    """Rounding of ``log2(S / s)`` to a shift."""

    FLOOR = "floor"
    #: Compares s with the float32 product of S and ``sqrt(2) / 2^k``; ties round up.
    NEAREST = "nearest"
    CEIL = "ceil"


#: Factor on ``S * 2^-k`` before it is compared with s.
FACTORS = {
    Rounding.FLOOR: np.float32(1),
    Rounding.NEAREST: np.float32(math.sqrt(2)),
    Rounding.CEIL: np.float32(2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroQuantM2(Scheme, arrays="numerics.conventions.zeroquant_arrays"):
    """E2M1 groups with scales ``S / 2^k``: ``value = code * (S / 2^k)``.

    ``S = max(s)`` of the row in float32, where ``s = amax / 6`` of a group, and k is
    ``log2(S / s)`` rounded by ``rounding``, at most 8. Codes are found with the constrained scale
    ``S / 2^k``. The paper doesn't state the rounding of k: rounded down no value saturates, rounded
    up the largest values do. The paper's other constraint, M1, is ``fp4_e2m1:g256:e8m0:rceil``,
    ``rfloor`` or ``rnearest``.
    :func:`quantize_row` is the definition. Source: ZeroQuant-FP, arXiv:2307.09782, section 3.

    Subnormal numbers count as zeros, S is at least 2^-118, 1 for zeros, and a NaN or an infinity
    makes the scale of its row NaN and the row's codes 0.

    Examples
    --------
    >>> ZeroQuantM2().bits_per_weight((4096, 4096)), ZeroQuantM2(size=64).name
    (4.0234375, 'zqfp4-m2:g64')
    """

    has_free_group: ClassVar[bool] = True

    rounding: Rounding = Rounding.FLOOR
    size: int = DEFAULT_GROUP

    @property
    def name(self) -> str:
        """Name in the catalog, with the rounding if not down, the group size if not 256."""
        rounding = "" if self.rounding is Rounding.FLOOR else f"-{self.rounding}"
        return f"zqfp4-m2{rounding}" + ("" if self.size == DEFAULT_GROUP else f":g{self.size}")

    @property
    def group_size(self) -> int:
        """Number of values in a group."""
        return self.size

    @property
    def formats(self) -> tuple[Format, ...]:
        """The element format."""
        return (E2M1,)

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes, shifts of groups and scales of rows."""
        groups = (*shape[:-1], -(-shape[-1] // self.size))
        byte, float32 = np.dtype(np.uint8), np.dtype(np.float32)
        return (
            Field(name="codes", shape=shape, bits=E2M1.bits, dtype=byte, is_index=True),
            Field(name="shifts", shape=groups, bits=SHIFT_BITS, dtype=byte),
            Field(name="row_scales", shape=(*shape[:-1], 1), bits=32, dtype=float32),
        )


def quantize_row(
    groups: Sequence[Sequence[float]], rounding: Rounding = Rounding.FLOOR
) -> tuple[list[list[int]], list[int], np.float32]:
    """Return the E2M1 codes of each group of a row, the groups' shifts and the row's scale.

    >>> quantize_row([[12.0, -1.0], [1.5, 1.0]])
    ([[7, 9], [7, 6]], [0, 3], np.float32(2.0))
    """
    parts = [flushed(group) for group in groups]
    if not all(math.isfinite(v) for part in parts for v in part):
        return [[0] * len(part) for part in parts], [0] * len(parts), np.float32(np.nan)
    amaxes = [max(abs(v) for v in part) for part in parts]
    own = [flush(amax / np.float32(6)) for amax in amaxes]
    top = max(*own, np.float32(LEAST_SCALE)) if any(amaxes) else np.float32(1)
    shifts = [sum(reaches(top, s, k, rounding) for k in range(1, MAX_SHIFT + 1)) for s in own]
    codes = [
        [E2M1.encode(float(flush(v / np.ldexp(top, -k))), overflow="satfinite") for v in part]
        for part, k in zip(parts, shifts, strict=True)
    ]
    return codes, [int(k) for k in shifts], top


def reaches(top: np.float32, scale: np.float32, shift: int, rounding: Rounding) -> bool:
    """Whether a group of this scale is shifted by at least ``shift``.

    >>> [reaches(np.float32(1.5), np.float32(1), 1, rounding) for rounding in Rounding]
    [False, True, True]
    """
    bound = flush(top * (FACTORS[rounding] * np.float32(2.0**-shift)))
    return bool(bound > scale if rounding is Rounding.CEIL else bound >= scale)

"""DINT with an asymmetric integer range: the full range, or a range with a zero point."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from numerics.conventions.nvfp4_reference import flush, flushed
from numerics.schemes.family import NUMBER, Family
from numerics.schemes.scheme import Field, Scheme

DEFAULT_GROUP = 128
BITS = range(3, 9)
HALVES = np.finfo(np.float16)


class Kind(StrEnum):
    """Integers that are coded along with +1/2 and -1/2; ``half = 2^(n-1)``."""

    #: ``1 - half`` to ``half - 2`` in two's complement, ``s = max(max(x) / (half - 2), -min(x) /
    #: (half - 1))``; code ``half - 1`` is +1/2, code ``half`` is -1/2.
    FULL = "f"
    #: 0 to ``2^n - 3`` minus a zero point z, ``s = (high - low) / (2^n - 3)`` of the range extended
    #: to 0, ``z = clip(rint(-low / s), 0, 2^n - 3)``; the last two codes are +1/2 and -1/2.
    ASYMMETRIC = "a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dint(Scheme, arrays="numerics.conventions.dint_arrays"):
    """Integers, +1/2 and -1/2, with FP16 scales; :func:`quantize_group` is the definition.

    Magnitudes up to 1/4 of a step round to 0, those below 3/4 to 1/2, larger ones to the nearest
    integer, ties to even, saturated. Subnormal numbers count as zeros, a group of zeros has scale
    1, and a NaN or an infinity makes the scale NaN and the codes 0. Source: dINT, Lee et al., EMNLP
    2023, section 4.2; ``dint4`` is the symmetric variant.

    Examples
    --------
    >>> Dint(bits=4, kind=Kind.FULL).name, Dint(bits=4, kind=Kind.ASYMMETRIC).group_size
    ('dint4-f', 128)
    """

    has_free_group: ClassVar[bool] = True
    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="dint<bits>-<f|a>",
            pattern=rf"dint{NUMBER}-([fa])",
            make=lambda m, _: Dint(bits=int(m[1]), kind=Kind(m[2])),
            like="dint4-f",
        ),
    )

    bits: int
    kind: Kind
    size: int = DEFAULT_GROUP

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise ValueError(f"dINT has 3 to 8 bits, not {self.bits}")

    @property
    def name(self) -> str:
        """Name in the catalog, with the group size if it is not 128."""
        suffix = "" if self.size == DEFAULT_GROUP else f":g{self.size}"
        return f"dint{self.bits}-{self.kind}{suffix}"

    @property
    def group_size(self) -> int:
        """Number of values in a group."""
        return self.size

    @property
    def integer_range(self) -> tuple[int, int]:
        """Least and largest integer before the zero point is subtracted."""
        if self.kind is Kind.FULL:
            return 1 - (1 << (self.bits - 1)), (1 << (self.bits - 1)) - 2
        return 0, (1 << self.bits) - 3

    @property
    def half_codes(self) -> tuple[int, int]:
        """Codes of +1/2 and -1/2."""
        high = self.integer_range[1]
        return high + 1, high + 2

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes, scales and, if asymmetric, zero points."""
        groups = (*shape[:-1], -(-shape[-1] // self.size))
        byte, float16 = np.dtype(np.uint8), np.dtype(np.float16)
        fields = [
            Field(name="codes", shape=shape, bits=self.bits, dtype=byte, is_index=True),
            Field(name="scales", shape=groups, bits=16, dtype=float16),
        ]
        if self.kind is Kind.ASYMMETRIC:
            fields.append(Field(name="zero_points", shape=groups, bits=self.bits, dtype=byte))
        return tuple(fields)


def quantize_group(values: Sequence[float], scheme: Dint) -> tuple[list[int], np.float16, int]:
    """Return the codes, the scale and the zero point of a group.

    >>> full, asymmetric = Dint(bits=4, kind=Kind.FULL), Dint(bits=4, kind=Kind.ASYMMETRIC)
    >>> quantize_group([-7.0, 0.5, -0.5, 2.0], full)
    ([9, 7, 8, 2], np.float16(1.0), 0)
    >>> quantize_group([-3.0, 10.0, 0.5, 0.25], asymmetric)
    ([0, 13, 14, 3], np.float16(1.0), 3)
    """
    x = flushed(values)
    if not all(math.isfinite(v) for v in x):
        return [0] * len(x), np.float16(np.nan), 0
    scale = find_scale(x, scheme)
    zero = 0
    if scheme.kind is Kind.ASYMMETRIC:
        low = min(*x, np.float32(0))
        zero = int(np.clip(np.rint(flush(-low / np.float32(scale))), *scheme.integer_range))
    return [code(flush(v / np.float32(scale)), zero, scheme) for v in x], scale, zero


def find_scale(x: Sequence[np.float32], scheme: Dint) -> np.float16:
    """Return the FP16 scale of a group."""
    low, high = min(*x, np.float32(0)), max(*x, np.float32(0))
    least, most = (np.float32(end) for end in scheme.integer_range)
    if low == high:
        return np.float16(1)
    if scheme.kind is Kind.FULL:
        raw = max(high / most, low / least)
    else:
        raw = min(high - low, np.finfo(np.float32).max) / most
    return np.float16(np.clip(raw, np.float32(HALVES.smallest_subnormal), np.float32(HALVES.max)))


def code(ratio: np.float32, zero: int, scheme: Dint) -> int:
    """Return the code of a number in units of the scale.

    >>> full = Dint(bits=4, kind=Kind.FULL)
    >>> [code(np.float32(v), 0, full) for v in (0.25, 0.26, -0.74, -0.75, 9.0, -9.0)]
    [0, 7, 8, 15, 6, 9]
    """
    if 0.25 < abs(ratio) < 0.75:
        return scheme.half_codes[bool(ratio < 0)]
    integer = 0 if abs(ratio) <= 0.25 else np.rint(ratio)
    return int(np.clip(integer + zero, *scheme.integer_range)) % (1 << scheme.bits)

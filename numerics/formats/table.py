"""Formats that are a list of values."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from numerics.formats.base import Format, Real, check_code

#: Largest number of units in a value, exclusive, for which ``unit`` is defined.
MAX_UNITS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFormat(Format):
    """Values listed in increasing order; the code of a value is its index unless ``codes`` is set.

    ``encode`` counts the thresholds below ``x``; one equal to ``x`` counts where ``ties_up`` is
    true. Values and thresholds are float32 numbers. The thresholds are the rounded midpoints, as
    bitsandbytes computes them, unless ``boundaries`` is given.

    Examples
    --------
    >>> signs = TableFormat(name="signs", table=(-1.0, 0.0, 1.0), ties_up=(False, True))
    >>> signs.bits, signs.thresholds, signs.encode(-0.5), signs.encode(0.5)
    (2, (-0.5, 0.5), 0, 2)
    """

    name: str
    table: tuple[float, ...]
    #: Whether a number equal to a threshold rounds up, for each threshold; empty: all round down.
    ties_up: tuple[bool, ...] = ()
    #: Thresholds that replace the midpoints.
    boundaries: tuple[float, ...] = ()
    #: Code of each value; empty: its index. Two zeros may have a code each. Unused codes decode to
    #: the last value.
    codes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        zeros = 1 + (bool(self.codes) and self.table.count(0.0) == 2)
        values = len(set(self.table)) + zeros - 1
        if values < 2 or values < len(self.table) or list(self.table) != sorted(self.table):
            raise ValueError(f"the table of {self.name} needs two or more values, increasing")
        if self.codes and not self._has_a_code_each():
            raise ValueError(f"{self.name} has {len(self.table)} values and needs a code for each")
        if any(float(np.float32(value)) != value for value in (*self.table, *self.boundaries)):
            raise ValueError(f"the values of {self.name} must be float32 numbers")
        gaps = len(self.table) - 1
        if len(self.ties_up) not in (0, gaps) or len(self.boundaries) not in (0, gaps):
            raise ValueError(
                f"{self.name} has {gaps} gaps between values and needs a threshold for each"
            )

    @property
    def bits(self) -> int:  # type: ignore[override]
        """Bits of an index."""
        return (len(self.table) - 1).bit_length()

    @property
    def min(self) -> float:
        """First value."""
        return self.table[0]

    @property
    def max(self) -> float:
        """Last value."""
        return self.table[-1]

    @property
    def unit(self) -> float | None:
        """Largest power of two that divides every value, ``None`` above :data:`MAX_UNITS` units."""
        unit = 2.0 ** min(_trailing_exponent(value) for value in self.table if value)
        largest = max(abs(self.min), abs(self.max)) / unit
        return unit if largest < MAX_UNITS else None

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Float32 decision threshold between each pair of neighbouring values."""
        middles = ((low + high) / 2 for low, high in pairwise(self.table))
        return self.boundaries or tuple(float(np.float32(middle)) for middle in middles)

    def goes_up(self, index: int) -> bool:
        """Whether a number equal to a threshold rounds to the value above it."""
        return bool(self.ties_up) and self.ties_up[index]

    def encode(self, x: Real) -> int:
        """Return the code of the value nearest to ``x``."""
        if math.isnan(x):
            raise ValueError(f"{self.name} has no code for NaN")
        thresholds = self.thresholds
        index = bisect_left(thresholds, x)
        is_tie = index < len(thresholds) and thresholds[index] == x
        index += is_tie and self.goes_up(index)
        return self.codes[index] if self.codes else index

    def decode(self, code: int) -> float:
        """Return the value of a code; unused codes decode to the last value."""
        check_code(self, code)
        codes = self.codes or range(len(self.table))
        return self.table[codes.index(code) if code in codes else -1]

    def _has_a_code_each(self) -> bool:
        """Whether ``codes`` has a distinct code of ``bits`` bits for each value."""
        distinct = set(self.codes)
        return len(distinct) == len(self.table) == len(self.codes) and (
            distinct <= set(range(1 << self.bits))
        )


def _trailing_exponent(value: float) -> int:
    """Return the exponent of the largest power of two that divides a number."""
    numerator, denominator = value.as_integer_ratio()
    return (numerator & -numerator).bit_length() - denominator.bit_length()


def mirrored(name: str, magnitudes: Sequence[int | float], **rules: Any) -> TableFormat:
    """Return the table of zero and some positive magnitudes with both signs.

    Examples
    --------
    >>> mirrored("flint3", (1, 2, 4)).table
    (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
    """
    positive = [float(np.float32(m)) for m in magnitudes]
    table = (*(-m for m in reversed(positive)), 0.0, *positive)
    return TableFormat(name=name, table=table, **rules)

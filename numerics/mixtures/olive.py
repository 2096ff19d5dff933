"""OliVe: an outlier marks the code of its neighbour, the victim, whose value becomes zero.

Source: OliVe, arXiv:2304.07493, sections 3 and 4, and its code (ANT-Quantization).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from numerics.arithmetic.float32 import MAX_FLOAT32, MIN_NORMAL
from numerics.formats import FP32, SCALE_DTYPES, TableFormat
from numerics.mixtures.searched import squared_error
from numerics.schemes.scheme import Field, Scheme
from numerics.ternary.reference import flushed, tree_sum

Float = np.float32


class Normal(StrEnum):
    """Value set of the codes that are not outliers."""

    FLINT = "flint"
    INT = "int"


#: Magnitudes of normal (not outlier) codes by kind and bits of a code; outliers are above 32.
NORMAL: dict[tuple[Normal, int], tuple[int | float, ...]] = {
    (Normal.FLINT, 3): (0, 8, 16, 32),
    (Normal.FLINT, 4): (0, 2, 4, 6, 8, 12, 16, 32),
    (Normal.FLINT, 5): (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 12, 16, 32),
    (Normal.INT, 3): (0, 8, 16, 24),
    (Normal.INT, 4): (0, 4, 8, 12, 16, 20, 24, 28),
    (Normal.INT, 5): tuple(range(0, 32, 2)),
}
#: Magnitudes of outliers by bits of a code: floats with two exponent bits, without the smallest.
OUTLIERS = {
    3: (64, 128, 256),
    4: (48, 64, 96, 128, 192, 256, 384),
    5: (40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448),
}
THRESHOLD = 32
#: Factors on the first alpha that are tried, as in OliVe's scripts for language models.
TRIALS = tuple(percent / 100 for percent in range(75, 250, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Olive(Scheme, arrays="numerics.mixtures.olive_arrays"):
    """Rows of pairs: two normal codes, or an outlier code and the mark of its victim.

    A row's scale is ``alpha / top``, where ``top`` is the largest normal value: 32 for flint, 24,
    28 or 30 for integers; OliVe's code selects flint or integers by its mode. A number divided by
    the scale is rounded to the nearest normal value or outlier, ties to the larger one. Two
    consecutive numbers are a pair: if one is an outlier the other becomes zero, the right one if
    both are.

    A code is a sign and an index into the magnitudes. The code of negative zero marks a victim; the
    other code of its pair is an index into the outliers, which start at 1. The first ``alpha`` is
    ``max(|m + 3 d|, |m - 3 d|)`` with the mean ``m`` and the standard deviation ``d`` (n - 1) of
    the row; of its multiples by :data:`TRIALS` the one with the least squared error is taken, the
    first on ties.

    Numbers are float32, sums are :func:`numerics.schemes.scales.tree_sum`. The deviation of a row
    of equal numbers is 0, so its ``alpha`` is its mean; a row of zeros has scale 1. The last number
    of a row of odd length is unpaired and not an outlier. A row with a NaN or an infinity
    dequantizes to NaN; its codes are 0.
    """

    bits: int
    normal: Normal = Normal.FLINT

    def __post_init__(self) -> None:
        if self.bits not in OUTLIERS:
            raise ValueError(f"OliVe has codes of 3 to 5 bits, not {self.bits}")

    @property
    def name(self) -> str:
        """Name in the catalog."""
        return f"olive{self.bits}" + ("" if self.normal is Normal.FLINT else f"-{self.normal}")

    @property
    def magnitudes(self) -> tuple[int | float, ...]:
        """Normal magnitudes in increasing order."""
        return NORMAL[self.normal, self.bits]

    @property
    def table(self) -> TableFormat:
        """Format of all normal values and outliers in increasing order."""
        magnitudes = (*self.magnitudes, *OUTLIERS[self.bits])
        values = sorted({float(sign * m) for m in magnitudes for sign in (1, -1)})
        ties = (True,) * (len(values) - 1)
        return TableFormat(name=f"{self.name}_values", table=tuple(values), ties_up=ties)

    @property
    def mark(self) -> int:
        """The code of a victim."""
        return 1 << (self.bits - 1)

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes and scales.

        Examples
        --------
        >>> Olive(bits=4).bits_per_weight((64, 4096))
        4.0078125
        """
        byte = np.dtype(np.uint8)
        return (
            Field(name="codes", shape=shape, bits=self.bits, dtype=byte, is_index=True),
            Field(name="scales", shape=shape[:-1], bits=FP32.bits, dtype=SCALE_DTYPES[FP32]),
        )


def first_alpha(row: Sequence[np.float32]) -> np.float32:
    """Return ``max(|m + 3 d|, |m - 3 d|)`` of a row.

    >>> first_alpha([np.float32(x) for x in (1, 2, 3)])
    np.float32(5.0)
    """
    mean = tree_sum(row) / Float(len(row))
    squares = squared_error(row, [mean] * len(row)) / Float(max(len(row) - 1, 1))
    spread = Float(3) * np.sqrt(squares)
    return Float(min(max(abs(mean + spread), abs(mean - spread)), MAX_FLOAT32))


def round_pairs(row: Sequence[np.float32], scale: np.float32, scheme: Olive) -> list[float]:
    """Return numbers divided by the scale and rounded, victims as zeros.

    >>> row = [np.float32(x) for x in (90, 40, 3, 31)]
    >>> round_pairs(row, np.float32(1), Olive(bits=4))
    [96.0, 0.0, 4.0, 32.0]
    """
    values = [scheme.table.round(float(x / scale)) for x in row]
    values += [0.0] * (len(values) % 2)
    if len(row) % 2:
        values[-2] = float(np.clip(values[-2], -THRESHOLD, THRESHOLD))
    for left in range(0, len(values), 2):
        if abs(values[left]) > THRESHOLD:
            values[left + 1] = 0.0
        elif abs(values[left + 1]) > THRESHOLD:
            values[left] = 0.0
    return values[: len(row)]


def search_row(values: Sequence[float], scheme: Olive) -> tuple[np.float32, list[float]]:
    """Return the best scale of a row, and the row divided by it and rounded."""
    row = flushed(values)
    if not any(row):
        return Float(1), [0.0] * len(row)
    alpha, best = first_alpha(row), (Float(np.inf), Float(1), [0.0])
    for trial in TRIALS:
        with np.errstate(over="ignore"):
            clipped = np.minimum(alpha * Float(trial), Float(MAX_FLOAT32))
        scale = np.maximum(clipped / Float(scheme.magnitudes[-1]), Float(MIN_NORMAL))
        rounded = round_pairs(row, scale, scheme)
        error = squared_error(row, [Float(value) * scale for value in rounded])
        if error < best[0]:
            best = error, scale, rounded
    return best[1], best[2]

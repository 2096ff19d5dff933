"""A lookup table of values for each row, trained by k-means.

Source: SqueezeLLM, arXiv:2306.07629, section 4.1, with equal weights for all values; the code of
Any-Precision LLM, arXiv:2402.10517, stores such tables as FP16.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from numerics.formats import FP16, SCALE_DTYPES
from numerics.schemes.family import NUMBER, Family
from numerics.schemes.scheme import Field, Scheme

#: Integer that stands for the row's largest magnitude in training.
TRAINING_UNITS = 1 << 15
#: Most values in a row, so that sums of training integers fit in 32 bits.
MAX_ROW = (1 << 16) - 1
MAX_ROUNDS = 50
MAX_BITS = 8


def train(values: Sequence[int], count: int) -> list[int]:
    """Return the ``count`` centers that Lloyd's algorithm finds for integers, in increasing order.

    The initial centers are quantiles: the sorted values at ``(2 i + 1) n // (2 count)``. A value
    belongs to the nearest center, in a tie to the lower one; a center moves to the mean of its
    values, rounded half up, and stays if it has none. Training ends when no center moves, or after
    50 rounds.

    >>> train([-9, -8, 0, 1, 2, 11], 3)
    [-8, 1, 11]
    """
    ordered, length = sorted(values), len(values)
    centers = [ordered[(2 * i + 1) * length // (2 * count)] for i in range(count)]
    for _ in range(MAX_ROUNDS):
        members: list[list[int]] = [[] for _ in centers]
        for value in ordered:
            members[sum(2 * value > low + high for low, high in pairwise(centers))].append(value)
        moved = [
            (2 * sum(of) + len(of)) // (2 * len(of)) if of else center
            for center, of in zip(centers, members, strict=True)
        ]
        if moved == centers:
            break
        centers = moved
    return centers


@dataclass(frozen=True, slots=True, kw_only=True)
class KMeans(Scheme, arrays="numerics.codebooks.kmeans_arrays"):
    """A table for each row: ``value = codebook[row, code]``.

    A row is divided by its largest magnitude and rounded to multiples of 2^-15, half to even;
    :func:`train` finds the centers of these integers, whose sums don't depend on their order. The
    table holds the centers times ``amax / 2^15`` as FP16. The code of a weight is the index of the
    nearest stored entry: the number of midpoints below the weight, where a midpoint is half of a
    float32 sum; subnormal numbers count as zero.

    A row with a NaN or an infinity dequantizes to NaN; its codes are 0.
    """

    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="kmeans<bits>",
            pattern=rf"kmeans{NUMBER}",
            make=lambda m, _: KMeans(code_bits=int(m[1])),
            like="kmeans4",
        ),
    )

    code_bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.code_bits <= MAX_BITS:
            raise ValueError(f"k-means has codes of 1 to {MAX_BITS} bits, not {self.code_bits}")

    @property
    def name(self) -> str:
        """Name in the catalog: ``kmeans`` and the bits of a code."""
        return f"kmeans{self.code_bits}"

    def check_storable(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` for rows of more than 65535 values."""
        if shape[-1] > MAX_ROW:
            raise ValueError(f"{self.name} has rows of up to {MAX_ROW} values, not {shape[-1]}")

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of a tensor of this shape: codes and tables of rows.

        Examples
        --------
        >>> kmeans = KMeans(code_bits=3)
        >>> kmeans.bits_per_weight((1024, 4096)), kmeans.bits_per_weight((8, 4096), kind="index")
        (3.03125, 3.0)
        """
        tables = (*shape[:-1], 1 << self.code_bits)
        byte, half = np.dtype(np.uint8), SCALE_DTYPES[FP16]
        return (
            Field(name="codes", shape=shape, bits=self.code_bits, dtype=byte, is_index=True),
            Field(name="codebook", shape=tables, bits=FP16.bits, dtype=half),
        )

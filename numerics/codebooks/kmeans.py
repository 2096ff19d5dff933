"""A table of values for each row, made by k-means.

Source: SqueezeLLM, arXiv:2306.07629, section 4.1, with the same weight for every value; the code of
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

#: Values are integers in training: their quotient by the row's largest magnitude times this.
TRAINING_UNITS = 1 << 15
#: A longer row's sums would not fit into 32 bits.
MAX_ROW = (1 << 16) - 1
MAX_ROUNDS = 50
MAX_BITS = 8


def train(values: Sequence[int], count: int) -> list[int]:
    """Return the ``count`` centers that Lloyd's algorithm finds for integers, in order.

    It starts from quantiles, the sorted values number ``(2 i + 1) n // (2 count)``. A value belongs
    to the nearest center, to the lower one of two; a center moves to the mean of its values, half
    rounded up, and stays where it has none. It ends when nothing moves, or after 50 rounds.

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
    """Rows with tables of their own: ``value = codebook[row, code]``.

    A row is divided by its largest magnitude and rounded to multiples of 2^-15, half to even, of
    which :func:`train` makes the centers: everything is an integer, and the same in every order.
    The table holds the centers times ``amax / 2^15`` as FP16. Then each weight takes the entry
    nearest to it among those stored: its code is the number of midpoints below it, each a float32
    sum, halved; subnormal numbers count as zero.

    A row with a NaN or an infinity comes back NaN, its codes are 0.
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
        """``kmeans`` with the bits of a code."""
        return f"kmeans{self.code_bits}"

    def check_storable(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` for rows of more than 65535 values."""
        if shape[-1] > MAX_ROW:
            raise ValueError(f"{self.name} has rows of up to {MAX_ROW} values, not {shape[-1]}")

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return codes and tables of a tensor of this shape.

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

"""Nested codes: the upper bits of an 8-bit code are the code of each lower precision.

Source: Any-Precision LLM, arXiv:2402.10517, section 3.2, with equal weights for all values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from numerics.codebooks.kmeans import MAX_ROW, train
from numerics.formats import FP16, SCALE_DTYPES
from numerics.schemes.scheme import Field, Scheme

SEED_BITS, PARENT_BITS = 3, 8


def upscale(values: Sequence[int], codes: Sequence[int], centers: Sequence[int]) -> list[int]:
    """Return codes with one more bit for sorted integers: each cluster is cut in two.

    >>> upscale([-9, -8, 0, 1, 2, 11], [0, 0, 1, 1, 1, 1], [-8, 4])
    [0, 1, 2, 2, 2, 3]
    """
    found = []
    for code in range(len(centers)):
        cluster = [value for value, owner in zip(values, codes, strict=True) if owner == code]
        lower = cut(cluster)
        found += [2 * code] * lower + [2 * code + 1] * (len(cluster) - lower)
    return found


def cut(cluster: Sequence[int]) -> int:
    """Return the number of values in the lower part of a sorted cluster cut in two.

    Bisection finds a cut with the midpoint of both parts' means between the parts. That is a fixed
    point of Lloyd's algorithm, though not always the least squared error. Means and midpoint are
    float32, as in the code of Any-Precision LLM (flash1dkmeans, arXiv:2412.15295). Equal values are
    not cut apart; they are in the lower part.

    >>> cut([7, 8, 12, 19]), cut([5, 5, 5]), cut([4]), cut([])
    (2, 3, 1, 0)
    """
    low, high = 1, len(cluster) - 1
    while low < high:
        middle = (low + high) // 2
        midpoint = (_mean(cluster[:middle]) + _mean(cluster[middle:])) / np.float32(2)
        if cluster[middle - 1] > midpoint:
            high = max(low, middle - 1)
        elif cluster[middle] < midpoint:
            low = middle + 1
        else:
            low = high = middle
    return sum(value <= cluster[low - 1] for value in cluster) if cluster else 0


def _mean(values: Sequence[int]) -> np.float32:
    return np.float32(np.float32(sum(values)) / np.float32(len(values)))


def centers_of(values: Sequence[int], codes: Sequence[int], parents: Sequence[int]) -> list[int]:
    """Return the means of clusters, rounded half up; the parent's center for an empty cluster.

    >>> centers_of([-9, -8, 0, 1, 2, 2], [0, 1, 2, 2, 2, 2], [-8, 4])
    [-9, -8, 1, 4]
    """
    found = []
    for code in range(2 * len(parents)):
        of = [value for value, owner in zip(values, codes, strict=True) if owner == code]
        found.append((2 * sum(of) + len(of)) // (2 * len(of)) if of else parents[code // 2])
    return found


def nested(values: Sequence[int], seed_bits: int, bits: int) -> tuple[list[int], list[int]]:
    """Return codes and centers of sorted integers: k-means with few clusters, then upscaling.

    >>> nested([-9, -8, 0, 1, 2, 11], 1, 2)
    ([0, 1, 2, 2, 2, 3], [-9, -8, 1, 11])
    """
    centers = train(values, 1 << seed_bits)
    middles = [low + high for low, high in pairwise(centers)]
    codes = [sum(2 * value > middle for middle in middles) for value in values]
    for _ in range(bits - seed_bits):
        codes = upscale(values, codes, centers)
        centers = centers_of(values, codes, centers)
    return codes, centers


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyPrecision(Scheme, arrays="numerics.structures.any_precision_arrays"):
    """A table for each row, ``value = codebook[row, code]``, read with codes of ``bits`` bits.

    A row is converted to integers as in :class:`numerics.codebooks.kmeans.KMeans`. k-means finds 8
    clusters, which :func:`upscale` cuts into 16, 32 and so on: the code of ``b`` bits is the upper
    part of the code of 8 bits. The paper starts from random k-means++; this scheme starts from the
    quantiles of :func:`numerics.codebooks.kmeans.train`. Tables are FP16.

    A row with a NaN or an infinity dequantizes to NaN; its codes are 0.
    """

    bits: int

    def __post_init__(self) -> None:
        _check_bits(self.bits)

    @property
    def name(self) -> str:
        """Name in the catalog: ``any-precision`` and the bits of a code."""
        return f"any-precision-{self.bits}"

    def check_storable(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` for rows of more than 65535 values."""
        _check_row(self, shape)

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes and tables.

        Examples
        --------
        >>> AnyPrecision(bits=4).bits_per_weight((64, 4096))
        4.0625
        """
        return (_codes(shape, self.bits), _table("codebook", shape, self.bits))


@dataclass(frozen=True, slots=True, kw_only=True)
class AllPrecisions(Scheme, arrays="numerics.structures.any_precision_arrays"):
    """8-bit codes with the tables of every precision from 3 to 8 bits; dequantized with 8 bits."""

    @property
    def name(self) -> str:
        """Name in the catalog."""
        return "any-precision"

    def check_storable(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` for rows of more than 65535 values."""
        _check_row(self, shape)

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes and the six tables.

        Examples
        --------
        >>> AllPrecisions().bits_per_weight((64, 4096))
        9.96875
        """
        precisions = range(SEED_BITS, PARENT_BITS + 1)
        tables = (_table(f"codebook_{bits}", shape, bits) for bits in precisions)
        return (_codes(shape, PARENT_BITS), *tables)


def _check_bits(bits: int) -> None:
    if not SEED_BITS <= bits <= PARENT_BITS:
        raise ValueError(f"nested codes have {SEED_BITS} to {PARENT_BITS} bits, not {bits}")


def _check_row(scheme: Scheme, shape: tuple[int, ...]) -> None:
    if shape[-1] > MAX_ROW:
        raise ValueError(f"{scheme.name} has rows of up to {MAX_ROW} values, not {shape[-1]}")


def _codes(shape: tuple[int, ...], bits: int) -> Field:
    return Field(name="codes", shape=shape, bits=bits, dtype=np.dtype(np.uint8), is_index=True)


def _table(name: str, shape: tuple[int, ...], bits: int) -> Field:
    entries = (*shape[:-1], 1 << bits)
    return Field(name=name, shape=entries, bits=FP16.bits, dtype=SCALE_DTYPES[FP16])

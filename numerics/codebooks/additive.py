"""Additive codebooks: AQLM's storage format, with codebooks trained on the weights alone.

Source: AQLM, arXiv:2401.06118, section 3, and its code; the codebooks are AQLM's initial ones,
before its calibration.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.codebooks import lloyd
from numerics.formats import FP16, SCALE_DTYPES
from numerics.schemes.family import NUMBER, Family
from numerics.schemes.scheme import Field, Scheme

#: Weights in a vector, which is the length of a codebook entry.
DIMENSION = 8
MAX_CODEBOOKS = 8
MAX_CODE_BITS = 16


def residual_codes(
    vectors: Sequence[lloyd.Vector], codebooks: int, code_bits: int
) -> tuple[list[list[list[int]]], list[list[int]]]:
    """Return codebooks, each trained on the residual of those before it, and the codes in each.

    >>> residual_codes([[0, 0], [9, 9], [8, 9], [1, 0]], 2, 1)
    ([[[1, 0], [9, 9]], [[-1, 0], [0, 0]]], [[0, 1, 1, 0], [0, 1, 0, 1]])
    """
    tables, codes = [], []
    left = [list(vector) for vector in vectors]
    for _ in range(codebooks):
        chosen = lloyd.training_set(1 << code_bits, len(left))
        tables.append(lloyd.train([left[index] for index in chosen], 1 << code_bits))
        codes.append(lloyd.nearest(left, tables[-1]))
        entries = [tables[-1][code] for code in codes[-1]]
        left = [
            [max(-lloyd.MAX_UNITS, min(a - b, lloyd.MAX_UNITS)) for a, b in zip(*pair, strict=True)]
            for pair in zip(left, entries, strict=True)
        ]
    return tables, codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Additive(Scheme, arrays="numerics.codebooks.additive_arrays"):
    """Eight weights of a row as a sum of entries: ``value = (C_1[i_1] + C_2[i_2] + ...) * scale``.

    The scale of a row is its root mean square as FP16. Rows are divided by their scales, rounded to
    multiples of 2^-10 between -8 and 8 and padded with zeros to a multiple of eight; they give the
    vectors of :func:`residual_codes`: k-means for each codebook on the residual of those before,
    then the nearest entry, the first on ties. AQLM then refines both with calibration data;
    :func:`numerics.codebooks.beam.beam_search` finds better codes for given codebooks.

    Sums are float32 in the order of the codebooks. The tensor has one set of codebooks. A row of
    zeros has scale 0. A row with a NaN or an infinity dequantizes to NaN, its codes are 0, and its
    vectors count as zeros in training.
    """

    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="aqlm-<codebooks>x<bits>",
            pattern=rf"aqlm-{NUMBER}x{NUMBER}",
            make=lambda m, _: Additive(codebooks=int(m[1]), code_bits=int(m[2])),
            like="aqlm-2x8",
        ),
    )

    codebooks: int
    code_bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.codebooks <= MAX_CODEBOOKS or not 1 <= self.code_bits <= MAX_CODE_BITS:
            raise ValueError(
                f"AQLM has 1 to {MAX_CODEBOOKS} codebooks with codes of 1 to {MAX_CODE_BITS} bits, "
                f"not {self.codebooks} of {self.code_bits}"
            )

    @property
    def name(self) -> str:
        """Name in the catalog: ``aqlm``, number of codebooks, bits of a code."""
        return f"aqlm-{self.codebooks}x{self.code_bits}"

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of a tensor of this shape: codes, codebooks and scales.

        Examples
        --------
        >>> aqlm = Additive(codebooks=2, code_bits=8)
        >>> [field.shape for field in aqlm.layout((4096, 4096))]
        [(4096, 512, 2), (2, 256, 8), (4096,)]
        >>> aqlm.bits_per_weight((4096, 4096)), aqlm.bits_per_weight((4096, 4096), kind="index")
        (2.0078125, 2.0)
        """
        codes = (*shape[:-1], -(-shape[-1] // DIMENSION), self.codebooks)
        tables = (self.codebooks, 1 << self.code_bits, DIMENSION)
        dtype = np.dtype(np.uint8 if self.code_bits <= 8 else np.uint16)
        half = SCALE_DTYPES[FP16]
        return (
            Field(name="codes", shape=codes, bits=self.code_bits, dtype=dtype, is_index=True),
            Field(name="codebooks", shape=tables, bits=FP16.bits, dtype=half),
            Field(name="scales", shape=shape[:-1], bits=FP16.bits, dtype=half),
        )

    def stored_bits(self, shape: tuple[int, ...]) -> int:
        """Return the bits in AQLM's files, where each code is an integer of 8 or 16 bits.

        >>> Additive(codebooks=2, code_bits=12).bits_per_weight((4096, 4096), kind="stored")
        4.06640625
        """
        fields = self.layout(shape)
        return sum(8 * field.dtype.itemsize * math.prod(field.shape) for field in fields)

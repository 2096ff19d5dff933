"""VPTQ's storage format, vectors along the columns of a matrix, from the weights alone.

Source: VPTQ, arXiv:2409.17066, sections 3.2 to 3.4, and its code.
"""

import math
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.formats import FP16, SCALE_DTYPES
from numerics.schemes.family import NUMBER, PERCENT, Family
from numerics.schemes.scheme import Field, Scheme

#: Most weights in a vector, so that the squared norms of a search fit in 32 bits.
MAX_LENGTH = 16
MAX_CODE_BITS = 16
MAX_COLUMNS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Codebook:
    """Size of a codebook: ``2**bits`` entries of ``length`` numbers."""

    length: int
    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.length <= MAX_LENGTH or not 1 <= self.bits <= MAX_CODE_BITS:
            raise ValueError(
                f"VPTQ has vectors of 1 to {MAX_LENGTH} weights and codes of 1 to {MAX_CODE_BITS} "
                f"bits, not {self.length} and {self.bits}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vptq(Scheme, arrays="numerics.codebooks.vptq_arrays"):
    """Vectors of one column and ``length`` rows: ``value = (C[i] + R[j]) * scale + bias``.

    The ``bias`` of a column is its least value and its ``scale`` is its range, both FP16; the
    column is then rounded to multiples of 2^-13 between 0 and 1. The codebook ``C`` is
    :func:`numerics.codebooks.lloyd.train` of these vectors, and ``R`` that of the residuals of
    ``C``; a vector takes the nearest entry of each. The fraction ``outliers`` of the columns has a
    separate codebook without a residual. VPTQ uses calibration data: it orders columns and chooses
    outliers by the mean squared input and weights the vectors by it. This scheme orders and chooses
    columns by their squared norm, with equal weights, and applies no error feedback.

    Leading axes are flattened into rows, and columns are padded with zeros to whole vectors. A
    column with a NaN or an infinity dequantizes to NaN; its codes are 0, and it counts as zeros in
    training.
    """

    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="vptq-v<length>-k<entries>-<entries>[-o<percent>-v<length>-k<entries>]",
            pattern=rf"vptq-v{NUMBER}-k{NUMBER}-{NUMBER}(?:-o{PERCENT}-v{NUMBER}-k{NUMBER})?",
            make=lambda m, _: _by_name(m),
            like="vptq-v8-k256-256",
        ),
    )

    main: Codebook
    residual_bits: int = 0
    outlier_codebook: Codebook | None = None
    outliers: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.residual_bits <= MAX_CODE_BITS:
            raise ValueError(f"VPTQ has residuals of 0 to 16 bits, not {self.residual_bits}")
        if not 0 <= self.outliers < 1 or (self.outliers > 0) != (self.outlier_codebook is not None):
            raise ValueError(
                "a fraction of outlier columns is below 1 and needs a codebook, "
                f"not {self.outliers:g} with {self.outlier_codebook}"
            )

    @property
    def name(self) -> str:
        """Name in the catalog: lengths and entries as in VPTQ's model names, outliers last."""
        residual = f"{1 << self.residual_bits}" if self.residual_bits else "0"
        name = f"vptq-v{self.main.length}-k{1 << self.main.bits}-{residual}"
        if self.outlier_codebook is None:
            return name
        outlier = self.outlier_codebook
        return f"{name}-o{100 * self.outliers:g}-v{outlier.length}-k{1 << outlier.bits}"

    def check_storable(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` for more columns than a 16-bit index can number."""
        if shape[-1] > MAX_COLUMNS:
            raise ValueError(f"{self.name} has up to {MAX_COLUMNS} columns, not {shape[-1]}")

    def outlier_columns(self, columns: int) -> int:
        """Return the number of columns that use the outlier codebook."""
        return math.ceil(self.outliers * columns)

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of a tensor of this shape.

        Examples
        --------
        >>> vptq = Vptq(main=Codebook(length=8, bits=8), residual_bits=8)
        >>> vptq.bits_per_weight((4096, 4096)), vptq.bits_per_weight((4096, 4096), kind="index")
        (2.015625, 2.0)
        """
        rows, columns = math.prod(shape[:-1]), shape[-1]
        special = self.outlier_columns(columns)
        fields = [*_pair("", self.main, rows, columns - special)]
        if self.residual_bits:
            residual = Codebook(length=self.main.length, bits=self.residual_bits)
            fields += _pair("residual_", residual, rows, columns - special)
        if self.outlier_codebook is not None:
            fields += _pair("outlier_", self.outlier_codebook, rows, special)
        half, word = SCALE_DTYPES[FP16], np.dtype(np.uint16)
        return (
            *fields,
            Field(name="scales", shape=(columns,), bits=FP16.bits, dtype=half),
            Field(name="biases", shape=(columns,), bits=FP16.bits, dtype=half),
            Field(name="permutation", shape=(columns,), bits=16, dtype=word),
        )


def _pair(prefix: str, codebook: Codebook, rows: int, columns: int) -> tuple[Field, Field]:
    """Return the fields of the codes and of their codebook."""
    dtype = np.dtype(np.uint8 if codebook.bits <= 8 else np.uint16)
    codes = (-(-rows // codebook.length), columns)
    table = (1 << codebook.bits, codebook.length)
    return (
        Field(name=f"{prefix}codes", shape=codes, bits=codebook.bits, dtype=dtype, is_index=True),
        Field(name=f"{prefix}codebook", shape=table, bits=FP16.bits, dtype=SCALE_DTYPES[FP16]),
    )


def _by_name(match: re.Match[str]) -> Vptq:
    main = Codebook(length=int(match[1]), bits=_code_bits(int(match[2])))
    residual = _code_bits(int(match[3])) if int(match[3]) else 0
    if match[4] is None:
        return Vptq(main=main, residual_bits=residual)
    outlier = Codebook(length=int(match[5]), bits=_code_bits(int(match[6])))
    share = float(match[4]) / 100
    return Vptq(main=main, residual_bits=residual, outlier_codebook=outlier, outliers=share)


def _code_bits(entries: int) -> int:
    """Return log2 of the number of codebook entries."""
    if entries & (entries - 1) or entries < 2:
        raise ValueError(f"the entries of a codebook are a power of two such as 256, not {entries}")
    return entries.bit_length() - 1

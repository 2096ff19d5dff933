"""SpQR: small groups whose scales and zero points are also quantized, and FP16 outliers.

Source: SpQR, arXiv:2306.03078, section 4, and its code, without calibration.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.formats import FP16, FP32, SCALE_DTYPES, Format
from numerics.schemes.family import NUMBER, PERCENT, Family
from numerics.schemes.scheme import Field, Scheme

#: Number of values in a group, and number of rows whose scales (or zeros) are quantized together.
GROUP = 16
#: Bits of the codes of scales and of zeros.
STATISTICS_BITS = 3
MAX_COLUMNS = 1 << 16
#: Bits of the codes that SpQR's kernel reads, and bits of its word for each group.
KERNEL_BITS, KERNEL_WORD_BITS = 3, 64
OUTLIER_ARRAYS = ("outliers", "outlier_columns", "row_starts")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpQR(Scheme, arrays="numerics.structures.spqr_arrays"):
    """Groups of 16 values of a row: ``value = scale * (code - zero)`` with a fractional zero.

    The fit of a group is ``scale = (max - min) / (2^bits - 1)``, ``zero = -min / scale``. A group
    whose scale is below 2^-126 counts as a constant ``c`` and has the scale ``|c|`` and the zero
    ``-sign(c)``, which reproduces ``c``; SpQR's code fits the range -1 to 1 there, which doesn't
    reproduce a group of zeros. The 16 scales that 16 rows have in the same columns are quantized to
    3 bits in equal steps from the least to the largest, and so are their zeros; ``second`` is the
    format of the least and the step. SpQR stores the step and the zero point least / step, which
    overflows FP16 when scales are nearly equal. Codes are ``RNE(w / max(scale, 1e-9) + zero)``,
    saturated, with the dequantized scale and zero.

    The fraction ``outliers`` of the values is stored as FP16 with the column index and excluded
    from the fit: those whose removal reduces the squared error of their group most when the other
    15 values are fitted alone, as in SpQR with an identity Hessian. SpQR takes all values above a
    threshold instead. The code of an outlier is that of zero. An outlier replaces the value of its
    code or, with ``adds``, is added to it as in SpQR's kernel, although the value of that code is
    not exactly zero.

    Leading axes are flattened into rows. The last group of a row, and the last tile of 16 rows, may
    be shorter. A NaN or an infinity makes its tile of 16 x 16 values NaN, and counts as zero in the
    fit.
    """

    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="spqr-<bits>[-o<percent>][-add][-fp32]",
            pattern=rf"spqr-{NUMBER}(?:-o{PERCENT})?(-add)?(-fp32)?",
            make=lambda m, _: SpQR(
                bits=int(m[1]),
                outliers=float(m[2] or 0) / 100,
                adds=bool(m[3]),
                second=FP32 if m[4] else FP16,
            ),
            like="spqr-3",
        ),
    )

    bits: int
    outliers: float = 0.0
    adds: bool = False
    second: Format = FP16

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"SpQR has codes of 2 to 8 bits, not {self.bits}")
        if not 0 <= self.outliers < 1:
            raise ValueError(
                f"a fraction of outliers is at least 0 and below 1, not {self.outliers}"
            )
        if self.second not in (FP16, FP32):
            raise ValueError(f"SpQR's second level is fp16 or fp32, not {self.second.name}")

    @property
    def name(self) -> str:
        """Name in the catalog: bits, percent of outliers, and options that are not the default."""
        share = f"-o{100 * self.outliers:g}" if self.outliers else ""
        return f"spqr-{self.bits}{share}{'-add' * self.adds}{'-fp32' * (self.second == FP32)}"

    @property
    def group_size(self) -> int:
        """Number of values in a group."""
        return GROUP

    def check_storable(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` for more columns than a 16-bit index can number."""
        if shape[-1] > MAX_COLUMNS:
            raise ValueError(f"{self.name} has up to {MAX_COLUMNS} columns, not {shape[-1]}")

    def outlier_count(self, shape: tuple[int, ...]) -> int:
        """Return the number of outliers in a tensor of this shape."""
        return math.ceil(self.outliers * math.prod(shape))

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields: codes, codes of scales and zeros, their least and step, outliers.

        Examples
        --------
        >>> SpQR(bits=3).bits_per_weight((64, 256)), SpQR(bits=4).bits_per_weight((64, 256))
        (3.625, 4.625)
        """
        rows, groups = math.prod(shape[:-1]), -(-shape[-1] // GROUP)
        byte, statistics = np.dtype(np.uint8), SCALE_DTYPES[self.second]
        tiles = (-(-rows // GROUP), groups, 2)
        first = (rows, groups)
        fields = [
            Field(name="codes", shape=shape, bits=self.bits, dtype=byte, is_index=True),
            Field(name="scale_codes", shape=first, bits=STATISTICS_BITS, dtype=byte),
            Field(name="zero_codes", shape=first, bits=STATISTICS_BITS, dtype=byte),
            Field(name="scales", shape=tiles, bits=self.second.bits, dtype=statistics),
            Field(name="zeros", shape=tiles, bits=self.second.bits, dtype=statistics),
        ]
        if self.outliers:
            count, word = (self.outlier_count(shape),), np.dtype(np.uint16)
            half, index = SCALE_DTYPES[FP16], np.dtype(np.int32)
            fields += [
                Field(name="outliers", shape=count, bits=FP16.bits, dtype=half),
                Field(name="outlier_columns", shape=count, bits=16, dtype=word),
                # The paper's average bits don't count the offsets of rows.
                Field(name="row_starts", shape=(rows + 1,), bits=32, dtype=index, is_counted=False),
            ]
        return tuple(fields)

    def stored_bits(self, shape: tuple[int, ...]) -> int:
        """Return the bits in the files of SpQR's kernel, which supports codes of 3 bits only.

        A group is one 64-bit word with its codes, its statistics and a share of the second level;
        outliers are stored after the groups. Other code widths are counted by the layout.

        >>> SpQR(bits=3).bits_per_weight((64, 256), kind="stored")
        4.0
        """
        stored = Scheme.stored_bits(self, shape)
        if self.bits != KERNEL_BITS or self.second != FP16:
            return stored
        dense = [field for field in self.layout(shape) if field.name not in OUTLIER_ARRAYS]
        words = math.prod(shape[:-1]) * -(-shape[-1] // GROUP) * KERNEL_WORD_BITS
        return stored + words - sum(-(-field.total_bits // 8) * 8 for field in dense)

"""Small groups whose scales and zeros are quantized themselves, and outliers beside them: SpQR.

Source: SpQR, arXiv:2306.03078, section 4, and its code, without calibration.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.formats import FP16, FP32, SCALE_DTYPES, Format
from numerics.schemes.family import NUMBER, PERCENT, Family
from numerics.schemes.scheme import Field, Scheme

#: Values of a group, and rows whose scales, and zeros, are quantized together.
GROUP = 16
#: Bits of the codes of scales and of zeros.
STATISTICS_BITS = 3
MAX_COLUMNS = 1 << 16
#: Codes that SpQR's kernel reads, and what it reads them from: a word for each group.
KERNEL_BITS, KERNEL_WORD_BITS = 3, 64
OUTLIER_ARRAYS = ("outliers", "outlier_columns", "row_starts")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpQR(Scheme, arrays="numerics.structures.spqr_arrays"):
    """Groups of 16 of a row: ``value = scale * (code - zero)``, where the zero is no integer.

    The fit of a group is ``scale = (max - min) / (2^bits - 1)``, ``zero = -min / scale``. Where
    that scale is below 2^-126 and all count as the same ``c``, they are ``|c|`` and ``-sign(c)``,
    which keeps ``c``; SpQR's code fits -1 to 1 there, and a group of zeros does not come back. The
    16 scales that 16 rows have in the same columns become codes of 3 bits in equal steps from the
    least to the largest, and so do their zeros; the least and the step are stored in ``second``.
    SpQR stores the step and a zero, least over step, which is large for FP16 where scales are
    alike. Codes are ``RNE(w / max(scale, 1e-9) + zero)``, saturated, with scale and zero as they
    come back.

    The share ``outliers`` of the values is stored as FP16 with its column, and is left out of the
    fit: those which the squared error of their group sinks most without, when the other 15 are
    fitted by themselves, as in SpQR with a Hessian of one. SpQR takes all beyond a threshold
    instead. Their code is that of zero. They replace the value of the code, or, if ``adds``, are
    added to it as SpQR's kernel does, though zero is no multiple of the scale.

    Leading axes are rows too. The last group of a row, and the last 16 rows, may be short. A NaN or
    an infinity makes all of its 16 x 16 values NaN, and counts as zero otherwise.
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
            raise ValueError(f"a share of outliers is at least 0 and below 1, not {self.outliers}")
        if self.second not in (FP16, FP32):
            raise ValueError(f"SpQR's second level is fp16 or fp32, not {self.second.name}")

    @property
    def name(self) -> str:
        """Bits, percent of outliers, and what differs from the default."""
        share = f"-o{100 * self.outliers:g}" if self.outliers else ""
        return f"spqr-{self.bits}{share}{'-add' * self.adds}{'-fp32' * (self.second == FP32)}"

    @property
    def group_size(self) -> int:
        """Values of a group."""
        return GROUP

    def check_storable(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` for more columns than 16 bits tell apart."""
        if shape[-1] > MAX_COLUMNS:
            raise ValueError(f"{self.name} has up to {MAX_COLUMNS} columns, not {shape[-1]}")

    def outlier_count(self, shape: tuple[int, ...]) -> int:
        """Return how many values of a tensor of this shape are outliers."""
        return math.ceil(self.outliers * math.prod(shape))

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return codes, codes of scales and zeros, their least and step, and outliers.

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
                # The paper's average bits leave out where rows start.
                Field(name="row_starts", shape=(rows + 1,), bits=32, dtype=index, is_counted=False),
            ]
        return tuple(fields)

    def stored_bits(self, shape: tuple[int, ...]) -> int:
        """Return what the files of SpQR's kernel take, which have codes of 3 bits only.

        A group is a word of 64 bits, statistics and a share of the second level included; outliers
        follow. Other codes are stored as the layout says.

        >>> SpQR(bits=3).bits_per_weight((64, 256), kind="stored")
        4.0
        """
        stored = Scheme.stored_bits(self, shape)
        if self.bits != KERNEL_BITS or self.second != FP16:
            return stored
        dense = [field for field in self.layout(shape) if field.name not in OUTLIER_ARRAYS]
        words = math.prod(shape[:-1]) * -(-shape[-1] // GROUP) * KERNEL_WORD_BITS
        return stored + words - sum(-(-field.total_bits // 8) * 8 for field in dense)

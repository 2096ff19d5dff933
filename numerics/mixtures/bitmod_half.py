"""BitMoD as its published code computes it, in FP16; optionally with quantized group scales.

Source: BitMoD, arXiv:2411.11745, sections III-A and III-C, and its code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.formats import FP16, SCALE_DTYPES
from numerics.mixtures.bitmod import DEFAULT_GROUP, SELECTOR_BITS, SPECIAL_VALUES, BitMod
from numerics.mixtures.special_value import SpecialValueFormat
from numerics.schemes.family import NUMBER, Family
from numerics.schemes.scheme import Field, Scheme
from numerics.ternary.reference import tree_sum

Half = np.float16
LEAST_SCALE, LARGEST_SCALE = Half(1e-5), Half(1e4)
#: Mean squared error from which a candidate is rejected; a group without a candidate is zeros.
WORST_ERROR = Half(1e3)
#: FP16 scales per row with ``scale_bits``: candidates with the same largest value share one.
SCALES_OF_ROW = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BitModHalf(Scheme, arrays="numerics.mixtures.bitmod_half_arrays"):
    """Groups in the candidate of least squared error, every step rounded to FP16.

    Weights ``w`` are FP16 numbers and values ``v`` are those of the published code's tables: twice
    the FP4 values. A candidate's scale ``s`` is ``amax / largest``, at least 1e-5. A weight is
    rounded to the value nearest to ``w / s``, ties to the lower one, and dequantizes to ``v * s``.
    The error is the mean of ``(v * s - w)^2``, added in float32
    (:func:`numerics.schemes.scales.tree_sum`); the first candidate of least error below 1000 is
    chosen, and a group without such a candidate becomes zeros. Small squares underflow: in groups
    of standard deviation 0.005 every fourth choice differs from that of :class:`BitMod`.

    With ``scale_bits`` the scales of a row become unsigned codes ``q = rint(s / c)``, with
    ``c = max(s) / (2^scale_bits - 1)`` for each candidate separately, and a weight dequantizes to
    ``(v * c) * q``.

    A group with a NaN or an infinity in FP16 dequantizes to NaN and its codes are 0; with
    ``scale_bits`` its whole row does.
    """

    has_free_group: ClassVar[bool] = True
    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="bitmod-fp<3|4>-s<scale bits>-ref",
            pattern=rf"bitmod-fp{NUMBER}-s{NUMBER}-ref",
            make=lambda m, _: BitModHalf(weight_bits=int(m[1]), scale_bits=int(m[2])),
            like="bitmod-fp4-s8-ref",
        ),
    )

    weight_bits: int
    scale_bits: int = 0
    size: int = DEFAULT_GROUP

    def __post_init__(self) -> None:
        if self.weight_bits not in SPECIAL_VALUES:
            raise ValueError(f"BitMoD has weights of 3 or 4 bits, not {self.weight_bits}")
        if self.scale_bits and not 2 <= self.scale_bits <= 8:
            raise ValueError(f"BitMoD has scales of 2 to 8 bits, not {self.scale_bits}")

    @property
    def name(self) -> str:
        """Name in the catalog, with the group size if it is not 128."""
        kind = f"s{self.scale_bits}-ref" if self.scale_bits else "fp16"
        suffix = "" if self.size == DEFAULT_GROUP else f":g{self.size}"
        return f"bitmod-fp{self.weight_bits}-{kind}{suffix}"

    @property
    def group_size(self) -> int:
        """Number of values in a group."""
        return self.size

    @property
    def formats(self) -> tuple[SpecialValueFormat, ...]:
        """The candidates in the order of their selectors."""
        return BitMod(
            weight_bits=self.weight_bits, specials=SPECIAL_VALUES[self.weight_bits]
        ).formats

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes, scales and selectors.

        Examples
        --------
        >>> bitmod = BitModHalf(weight_bits=4, scale_bits=8)
        >>> [(field.name, field.shape, field.bits) for field in bitmod.layout((64, 256))[1:]]
        [('scale_codes', (64, 2), 8), ('scales', (64, 2), 16), ('selectors', (64, 2), 2)]
        """
        groups = (*shape[:-1], -(-shape[-1] // self.size))
        byte, half = np.dtype(np.uint8), SCALE_DTYPES[FP16]
        codes = Field(name="codes", shape=shape, bits=self.weight_bits, dtype=byte, is_index=True)
        selectors = Field(name="selectors", shape=groups, bits=SELECTOR_BITS, dtype=byte)
        if not self.scale_bits:
            return codes, Field(name="scales", shape=groups, bits=16, dtype=half), selectors
        of_rows = (*shape[:-1], SCALES_OF_ROW)
        return (
            codes,
            Field(name="scale_codes", shape=groups, bits=self.scale_bits, dtype=byte),
            Field(name="scales", shape=of_rows, bits=16, dtype=half),
            selectors,
        )


def quantize_row(
    values: Sequence[float], scheme: BitModHalf
) -> tuple[list[int], list[int], list[np.float16]]:
    """Return the codes, selectors and dequantized values of a row without NaN.

    >>> quantize_row([12.0, -6.0, 3.4, 0.9], BitModHalf(weight_bits=4))[1:]
    ([0], [np.float16(12.0), np.float16(-6.0), np.float16(3.0), np.float16(1.0)])
    """
    with np.errstate(over="ignore"):
        row = [Half(value) for value in values]
        groups = [row[i : i + scheme.size] for i in range(0, len(row), scheme.size)]
        scales = [[_scale(group, fmt) for group in groups] for fmt in scheme.formats]
        codes, selectors, restored = [], [], []
        for index, group in enumerate(groups):
            best = WORST_ERROR, [0] * len(group), 0, [Half(0)] * len(group)
            for selector, fmt in enumerate(scheme.formats):
                found = [fmt.encode(float(w / scales[selector][index]) * fmt.unit) for w in group]
                back = [_restore(fmt, code, scales[selector], index, scheme) for code in found]
                error = _error(group, back)
                if error < best[0]:
                    best = error, found, selector, back
            codes += best[1]
            selectors.append(best[2])
            restored += best[3]
    return codes, selectors, restored


def largest_units(fmt: SpecialValueFormat) -> float:
    """Return the largest magnitude in the units of BitMoD's code."""
    return fmt.largest / fmt.unit


def _scale(group: Sequence[np.float16], fmt: SpecialValueFormat) -> np.float16:
    raw = max(abs(w) for w in group) / Half(largest_units(fmt))
    return Half(min(max(raw, LEAST_SCALE), LARGEST_SCALE))


def _restore(
    fmt: SpecialValueFormat, code: int, scales: Sequence[np.float16], index: int, scheme: BitModHalf
) -> np.float16:
    units = Half(fmt.decode(code) / fmt.unit)
    if not scheme.scale_bits:
        return Half(units * scales[index])
    top = (1 << scheme.scale_bits) - 1
    of_row = max(scales) / Half(top)
    quotient = Half(np.clip(np.rint(scales[index] / of_row), 0, top))
    return Half(units * of_row) * quotient


def _error(group: Sequence[np.float16], back: Sequence[np.float16]) -> np.float16:
    squares = [np.float32((b - w) * (b - w)) for b, w in zip(back, group, strict=True)]
    mean = tree_sum(squares) / np.float32(len(group))
    return Half(mean) if math.isfinite(mean) else Half(np.inf)

"""BitMoD with group scales as its hardware reads them: 8-bit codes times one scale of the row.

Source: BitMoD, arXiv:2411.11745, sections III-C and IV.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.formats import FP16, SCALE_DTYPES
from numerics.mixtures.bitmod import DEFAULT_GROUP, SELECTOR_BITS, SPECIAL_VALUES, BitMod
from numerics.mixtures.special_value import SpecialValueFormat
from numerics.schemes.scheme import Field, Scheme

SCALE_BITS = 8
TOP = (1 << SCALE_BITS) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BitModScaled(Scheme, arrays="numerics.mixtures.bitmod_scaled_arrays"):
    """``value = number(code) * (q * c)``, 8-bit ``q`` of the group and FP16 ``c`` of the row.

    Candidates are chosen as in :class:`BitMod`, with FP16 scales ``s`` of groups. Then
    ``c = FP16(max(s) / 255)``, ``q = RNE(s / c)``, at least 1, and weights are divided by ``q * c``
    to find the codes. The published code has one ``c`` per candidate (:class:`BitModHalf`), which
    the published hardware can't store. A row with a NaN or an infinity dequantizes to NaN; its
    codes are 0.
    """

    has_free_group: ClassVar[bool] = True

    weight_bits: int
    size: int = DEFAULT_GROUP

    def __post_init__(self) -> None:
        if self.weight_bits not in SPECIAL_VALUES:
            raise ValueError(f"BitMoD has weights of 3 or 4 bits, not {self.weight_bits}")

    @property
    def name(self) -> str:
        """Name in the catalog, with the group size if it is not 128."""
        suffix = "" if self.size == DEFAULT_GROUP else f":g{self.size}"
        return f"bitmod-fp{self.weight_bits}-s{SCALE_BITS}-hw{suffix}"

    @property
    def plain(self) -> BitMod:
        """The scheme that chooses the candidate of each group, with FP16 scales."""
        specials = SPECIAL_VALUES[self.weight_bits]
        return BitMod(weight_bits=self.weight_bits, specials=specials, size=self.size)

    @property
    def group_size(self) -> int:
        """Number of values in a group."""
        return self.size

    @property
    def formats(self) -> tuple[SpecialValueFormat, ...]:
        """The candidates in the order of their selectors."""
        return self.plain.formats

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes, scale codes, scales of rows and selectors.

        Examples
        --------
        >>> BitModScaled(weight_bits=4).bits_per_weight((64, 4096))
        4.08203125
        """
        groups, byte = (*shape[:-1], -(-shape[-1] // self.size)), np.dtype(np.uint8)
        return (
            Field(name="codes", shape=shape, bits=self.weight_bits, dtype=byte, is_index=True),
            Field(name="scale_codes", shape=groups, bits=SCALE_BITS, dtype=byte),
            Field(name="scales", shape=shape[:-1], bits=16, dtype=SCALE_DTYPES[FP16]),
            Field(name="selectors", shape=groups, bits=SELECTOR_BITS, dtype=byte),
        )


def second_level(scales: Sequence[float]) -> tuple[list[int], np.float16]:
    """Return the codes of a row's group scales, and the scale of the row.

    >>> second_level([0.5, 127.5, 31.75])
    ([1, 255, 64], np.float16(0.5))
    """
    of_row = max(np.float16(max(scales) / TOP), np.finfo(np.float16).smallest_subnormal)
    quotients = (np.float32(scale) / np.float32(of_row) for scale in scales)
    return [int(np.clip(np.rint(quotient), 1, TOP)) for quotient in quotients], of_row

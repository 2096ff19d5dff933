"""BitMoD: the best of four small float formats for each group, each with one special value.

Source: BitMoD, arXiv:2411.11745, section III and table IV.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.formats import E2M0, E2M1, FP16, SCALE_DTYPES
from numerics.mixtures.special_value import SpecialValueFormat
from numerics.schemes.family import NUMBER, Family
from numerics.schemes.scheme import Field, Scheme

#: Special values by the bits of a weight: +-extra resolution, then +-extra asymmetry; table IV.
SPECIAL_VALUES = {3: (3.0, -3.0, 6.0, -6.0), 4: (5.0, -5.0, 8.0, -8.0)}
BASES = {3: E2M0, 4: E2M1}
DEFAULT_GROUP = 128
#: Largest magnitude of a special value, which the 8-bit terms of the processing elements can hold.
MAX_SPECIAL = 64
SELECTOR_BITS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BitMod(Scheme, arrays="numerics.mixtures.bitmod_arrays"):
    """Groups in the candidate format of least squared error, the first on ties.

    A candidate's scale is ``amax / largest`` in FP16, where ``largest`` is the largest magnitude of
    its values, of either sign. Weights are divided by the stored scale and rounded to the nearest
    value, ties to the lower one. Errors are the pairwise float32 sums
    (:func:`numerics.schemes.scales.tree_sum`) of squared float32 differences; the paper's code adds
    them in FP16, which chooses another candidate where squares underflow.

    ``specials`` are the values assigned to the code of negative zero, one per candidate.
    """

    has_free_group: ClassVar[bool] = True
    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="bitmod-fp<3|4><+-special values>",
            pattern=rf"bitmod-fp{NUMBER}-?((?:[+-]\d{{1,3}}(?:\.\d{{1,3}})?){{1,4}})",
            make=lambda m, _: BitMod(
                weight_bits=int(m[1]), specials=tuple(map(float, re.findall(r"[+-][\d.]+", m[2])))
            ),
            like="bitmod-fp4",
        ),
    )

    weight_bits: int
    specials: tuple[float, ...]
    size: int = DEFAULT_GROUP

    def __post_init__(self) -> None:
        if self.weight_bits not in BASES:
            raise ValueError(f"BitMoD has weights of 3 or 4 bits, not {self.weight_bits}")
        if not 1 <= len(self.specials) <= 1 << SELECTOR_BITS:
            raise ValueError(f"BitMoD has 1 to 4 special values, not {len(self.specials)}")
        unit = BASES[self.weight_bits].unit
        for value in self.specials:
            if not 0 < abs(value) <= MAX_SPECIAL or value % unit:
                raise ValueError(
                    f"a special value is a multiple of {unit:g} up to {MAX_SPECIAL} and not 0, "
                    f"not {value:g}"
                )

    @property
    def name(self) -> str:
        """Name in the catalog, with the group size if it is not 128."""
        specials = SPECIAL_VALUES[self.weight_bits]
        kinds = {specials: "", specials[:2]: "-er", specials[2:]: "-ea"}
        known = kinds.get(self.specials)
        values = "".join(f"{value:+g}" for value in self.specials)
        kind = f"-{values}" if known is None else known
        suffix = "" if self.size == DEFAULT_GROUP else f":g{self.size}"
        return f"bitmod-fp{self.weight_bits}{kind}{suffix}"

    @property
    def group_size(self) -> int:
        """Number of values in a group."""
        return self.size

    @property
    def formats(self) -> tuple[SpecialValueFormat, ...]:
        """The candidates in the order of their selectors."""
        base = BASES[self.weight_bits]
        return tuple(SpecialValueFormat(base=base, special=value) for value in self.specials)

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes, scales and selectors.

        Examples
        --------
        >>> bitmod = BitMod(weight_bits=4, specials=SPECIAL_VALUES[4])
        >>> bitmod.bits_per_weight((64, 256)), bitmod.bits_per_weight((64, 256), kind="index")
        (4.140625, 4.0)
        """
        groups = (*shape[:-1], -(-shape[-1] // self.size))
        byte = np.dtype(np.uint8)
        return (
            Field(name="codes", shape=shape, bits=self.weight_bits, dtype=byte, is_index=True),
            Field(name="scales", shape=groups, bits=FP16.bits, dtype=SCALE_DTYPES[FP16]),
            Field(name="selectors", shape=groups, bits=SELECTOR_BITS, dtype=byte),
        )

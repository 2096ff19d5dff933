"""Groups in one of several formats with absmax scales: BitMoD's version of ANT.

Source: the code of BitMoD, arXiv:2411.11745 (``mixed_ant``), after ANT, arXiv:2208.14286.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.formats import FP16, SCALE_DTYPES, Format
from numerics.schemes.element import ElementScheme
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scheme import Field, Scheme

DEFAULT_GROUP = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped(Scheme, arrays="numerics.mixtures.grouped_arrays"):
    """Groups in the candidate format of least squared error, the first on ties.

    A candidate quantizes a group as :class:`numerics.ElementScheme` with FP16 scales does. Errors
    are sums (:func:`numerics.schemes.scales.tree_sum`) of squared float32 differences; BitMoD's
    code adds them in FP16. A group with a NaN or an infinity dequantizes to NaN; its codes are 0.
    """

    has_free_group: ClassVar[bool] = True

    label: str
    candidates: tuple[Format, ...]
    size: int = DEFAULT_GROUP

    @property
    def name(self) -> str:
        """Name in the catalog, with the group size if it is not 128."""
        return self.label + ("" if self.size == DEFAULT_GROUP else f":g{self.size}")

    @property
    def group_size(self) -> int:
        """Number of values in a group."""
        return self.size

    @property
    def formats(self) -> tuple[Format, ...]:
        """The candidates in the order of their selectors."""
        return self.candidates

    @property
    def schemes(self) -> tuple[ElementScheme, ...]:
        """The scheme of each candidate, in the order of selectors."""
        return tuple(
            ElementScheme(element=fmt, granularity=PerGroup(self.size), scale_format=FP16)
            for fmt in self.candidates
        )

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes, scales and selectors."""
        groups, byte = (*shape[:-1], -(-shape[-1] // self.size)), np.dtype(np.uint8)
        bits = max(fmt.bits for fmt in self.candidates)
        selector_bits = (len(self.candidates) - 1).bit_length()
        return (
            Field(name="codes", shape=shape, bits=bits, dtype=byte, is_index=True),
            Field(name="scales", shape=groups, bits=FP16.bits, dtype=SCALE_DTYPES[FP16]),
            Field(name="selectors", shape=groups, bits=selector_bits, dtype=byte),
        )

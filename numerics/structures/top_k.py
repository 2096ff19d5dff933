"""Top-K sparsity of activations: each token keeps its codes of largest magnitude.

Source: Q-Sparse, arXiv:2407.10969, sections 2.1 and 2.2, on quantized activations; the division by
the norm is part of the layer there, not of this format.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.formats import FP32, Format
from numerics.schemes.element import ElementScheme
from numerics.schemes.family import NUMBER, Family, element_of
from numerics.schemes.granularity import PerToken
from numerics.schemes.scheme import Field, Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK(Scheme, arrays="numerics.structures.top_k_arrays"):
    """Rows quantized per token with float32 scales, of which ``percent`` of the codes are stored.

    A row of n numbers keeps the ``ceil(n * percent / 100)`` codes of largest magnitude, the first
    on ties; one mark bit per number marks the kept ones. A row with a NaN or an infinity
    dequantizes to NaN and keeps its first codes.
    """

    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="<element>-top<percent>",
            pattern=rf"(.+)-top{NUMBER}",
            make=lambda m, find: TopK(percent=int(m[2]), element=element_of(m[1], find)),
            like="int8-top54",
        ),
    )

    percent: int
    element: Format

    def __post_init__(self) -> None:
        if not 1 <= self.percent <= 99:
            raise ValueError(f"top-K keeps 1 to 99 percent of a row, not {self.percent}")

    @property
    def name(self) -> str:
        """Name in the catalog: element and percent."""
        return f"{self.element.name}-top{self.percent}"

    @property
    def formats(self) -> tuple[Format, ...]:
        """The element format."""
        return (self.element,)

    @property
    def dense(self) -> ElementScheme:
        """The scheme that quantizes all numbers of a row."""
        return ElementScheme(element=self.element, granularity=PerToken(), scale_format=FP32)

    def kept(self, length: int) -> int:
        """Return the number of codes kept in a row of this length."""
        return math.ceil(length * self.percent / 100)

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes, marks and scales.

        Examples
        --------
        >>> from numerics.formats import E4M3
        >>> top = TopK(percent=40, element=E4M3)
        >>> [(field.name, field.shape, field.bits) for field in top.layout((64, 200))]
        [('codes', (64, 80), 8), ('marks', (64, 200), 1), ('scales', (64, 1), 32)]
        >>> top.bits_per_weight((64, 200), kind="index")
        4.2
        """
        codes, scales = self.dense.layout(shape)
        kept, byte = (*shape[:-1], self.kept(shape[-1])), np.dtype(np.uint8)
        return (
            Field(name="codes", shape=kept, bits=codes.bits, dtype=codes.dtype, is_index=True),
            Field(name="marks", shape=shape, bits=1, dtype=byte, is_index=True),
            scales,
        )

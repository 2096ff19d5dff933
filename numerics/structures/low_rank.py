"""The sum of a quantized matrix and a matrix of low rank.

Source: LoRC of ZeroQuant-V2, arXiv:2303.08302, section 5, and of ZeroQuant-FP, arXiv:2307.09782;
the decomposition of LQ-LoRA, arXiv:2311.12023, section 3.1.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.formats import FP16, SCALE_DTYPES, Format
from numerics.schemes.element import ElementScheme
from numerics.schemes.family import NUMBER, Family, element_of
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scheme import Field, Scheme

DEFAULT_GROUP = 128
MAX_ROUNDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank(Scheme, arrays="numerics.structures.low_rank_arrays"):
    """``value = dense + left @ right``, the factors of rank ``rank`` in FP16.

    The dense part has symmetric groups with FP16 scales. With ``rounds=0`` (LoRC) it is the
    quantized matrix, and the factors are the truncated SVD of its error, ``left = U sqrt(S)`` and
    ``right = sqrt(S) V^T``. With rounds (LQ-LoRA, with equal weights) the factors of the matrix
    come first, then the residual is quantized, and the two steps alternate; the round of least
    squared error is taken. LQ-LoRA iterates until the error grows and takes the round after the
    best one.

    The SVD and the product of the factors are float32 by the machine's libraries: their last bits
    differ between machines, so this scheme is not bit-exact. Leading axes are flattened into rows.
    A group with a NaN or an infinity dequantizes to NaN, and its error counts as zero.
    """

    has_free_group: ClassVar[bool] = True
    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="<element>-lorc<rank>",
            pattern=rf"(.+)-lorc{NUMBER}",
            make=lambda m, find: LowRank(element=element_of(m[1], find), rank=int(m[2])),
            like="int4-lorc8",
        ),
        Family(
            form="<element>-lq<rounds>x<rank>",
            pattern=rf"(.+)-lq{NUMBER}x{NUMBER}",
            make=lambda m, find: LowRank(
                element=element_of(m[1], find), rounds=int(m[2]), rank=int(m[3])
            ),
            like="nf3-lq5x64",
        ),
    )

    element: Format
    rank: int
    rounds: int = 0
    size: int = DEFAULT_GROUP

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"a low-rank part has a rank of at least 1, not {self.rank}")
        if not 0 <= self.rounds <= MAX_ROUNDS:
            raise ValueError(f"there are 0 to {MAX_ROUNDS} rounds, not {self.rounds}")

    @property
    def name(self) -> str:
        """Name in the catalog: element, method and rank, and the group size if it is not 128."""
        method = f"lq{self.rounds}x" if self.rounds else "lorc"
        suffix = "" if self.size == DEFAULT_GROUP else f":g{self.size}"
        return f"{self.element.name}-{method}{self.rank}{suffix}"

    @property
    def is_exact(self) -> bool:
        """False, because singular vectors differ between machines."""
        return False

    @property
    def group_size(self) -> int:
        """Values of a group of the dense part."""
        return self.size

    @property
    def formats(self) -> tuple[Format, ...]:
        """The element format."""
        return (self.element,)

    @property
    def dense(self) -> ElementScheme:
        """The scheme of the dense part."""
        return ElementScheme(
            element=self.element, granularity=PerGroup(self.size), scale_format=FP16
        )

    def rank_of(self, shape: tuple[int, ...]) -> int:
        """Return the rank of the factors, at most the smaller side of the matrix."""
        return min(self.rank, math.prod(shape[:-1]), shape[-1])

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of the dense part's arrays and the factors.

        Examples
        --------
        >>> from numerics.formats import E2M1
        >>> LowRank(element=E2M1, rank=8).bits_per_weight((1024, 1024))
        4.375
        """
        half: np.dtype[np.generic] = SCALE_DTYPES[FP16]
        rows, rank = math.prod(shape[:-1]), self.rank_of(shape)
        return (
            *self.dense.layout(shape),
            Field(name="left", shape=(rows, rank), bits=FP16.bits, dtype=half),
            Field(name="right", shape=(rank, shape[-1]), bits=FP16.bits, dtype=half),
        )

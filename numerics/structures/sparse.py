"""N:M sparsity: the N largest magnitudes of each M consecutive numbers are kept and quantized.

Source: Accelerating Sparse Deep Neural Networks, arXiv:2104.08378, sections 3 and 4.1 (2:4 by
magnitude, positions of two bits); for activations, the blocks of Q-Sparse, arXiv:2407.10969.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.formats import FP16, Format
from numerics.schemes.element import ElementScheme
from numerics.schemes.family import NUMBER, Family, element_of
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scheme import Field, Scheme

DEFAULT_GROUP = 128
MAX_BLOCK = 16


def kept(block: Sequence[float], count: int) -> list[int]:
    """Return the positions of the ``count`` largest magnitudes, the first on ties.

    >>> kept([0.5, -3.0, 0.5, -0.25], 2), kept([0.0, 0.0, 0.0, 0.0], 2)
    ([0, 1], [0, 1])
    """
    order = sorted(range(len(block)), key=lambda place: -abs(block[place]))
    return sorted(order[:count])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse(Scheme, arrays="numerics.structures.sparse_arrays"):
    """``keep`` of each ``block`` consecutive numbers; the others are zero.

    The tensor with those zeros is quantized in symmetric groups with FP16 scales
    (:class:`numerics.schemes.element.ElementScheme`); each kept number is stored as its code and
    its position in the block. A NaN counts as the largest magnitude. Rows are padded to whole
    blocks with zeros, which are kept last. A group with a NaN or an infinity dequantizes to NaN.
    """

    has_free_group: ClassVar[bool] = True
    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="<element>-<keep>-of-<block>",
            pattern=rf"(.+)-{NUMBER}-of-{NUMBER}",
            make=lambda m, find: Sparse(
                keep=int(m[2]), block=int(m[3]), element=element_of(m[1], find)
            ),
            like="int4-2-of-4",
        ),
    )

    keep: int
    block: int
    element: Format
    size: int = DEFAULT_GROUP

    def __post_init__(self) -> None:
        if not 1 <= self.keep < self.block <= MAX_BLOCK:
            raise ValueError(
                f"N:M sparsity keeps 1 or more, not all, of up to {MAX_BLOCK} numbers, "
                f"not {self.keep} of {self.block}"
            )

    @property
    def name(self) -> str:
        """Name in the catalog: element, N, M, and the group size if it is not 128."""
        suffix = "" if self.size == DEFAULT_GROUP else f":g{self.size}"
        return f"{self.element.name}-{self.keep}-of-{self.block}{suffix}"

    @property
    def group_size(self) -> int:
        """Number of values in a group, zeros included."""
        return self.size

    @property
    def formats(self) -> tuple[Format, ...]:
        """The element format."""
        return (self.element,)

    @property
    def dense(self) -> ElementScheme:
        """The scheme that quantizes the masked tensor, zeros included."""
        return ElementScheme(
            element=self.element, granularity=PerGroup(self.size), scale_format=FP16
        )

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes, positions and scales.

        Examples
        --------
        >>> from numerics.formats import E2M1
        >>> sparse = Sparse(keep=2, block=4, element=E2M1)
        >>> [(field.name, field.shape, field.bits) for field in sparse.layout((64, 256))]
        [('codes', (64, 64, 2), 4), ('positions', (64, 64, 2), 2), ('scales', (64, 2), 16)]
        >>> sparse.bits_per_weight((64, 256)), sparse.bits_per_weight((64, 256), kind="index")
        (3.125, 3.0)
        """
        blocks = (*shape[:-1], -(-shape[-1] // self.block), self.keep)
        codes, *side = self.dense.layout(shape)
        bits = (self.block - 1).bit_length()
        byte = np.dtype(np.uint8)
        return (
            dataclasses.replace(codes, shape=blocks),
            Field(name="positions", shape=blocks, bits=bits, dtype=byte, is_index=True),
            *side,
        )

"""The 4-bit types of bitsandbytes: NF4 and FP4, scaled by the reciprocal of ``amax``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.arithmetic.float32 import MIN_NORMAL
from numerics.formats import FP4_BNB, NF4, Format, TableFormat
from numerics.schemes.scheme import Field, Scheme

BLOCK = 64
NAMES = {NF4: "nf4-bnb", FP4_BNB: "fp4-bnb"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bnb4(Scheme, arrays="numerics.conventions.bnb4_arrays"):
    """Blocks of 64 with their largest magnitude as float32 scale: ``value = element(code) * amax``.

    A code is that of ``x * (1 / amax)``, both operations rounded to float32; it sometimes differs
    from that of ``x / amax``. Ties go down. A block of zeros has scale 0. Each row is cut into
    blocks separately. :func:`quantize_block` is the definition. Source: ``quantize_4bit`` of
    bitsandbytes 0.50 on a CPU, which agrees in every bit, NaN included, with two exceptions:
    subnormal numbers count as zeros here, and an infinity is treated as NaN, where bitsandbytes
    stores an infinite scale.

    Examples
    --------
    >>> Bnb4(element=NF4).bits_per_weight((64, 256)), Bnb4(element=FP4_BNB, size=128).name
    (4.5, 'fp4-bnb:g128')
    """

    has_free_group: ClassVar[bool] = True

    element: TableFormat
    size: int = BLOCK

    @property
    def name(self) -> str:
        """Name in the catalog, with the block size if it is not 64."""
        suffix = "" if self.size == BLOCK else f":g{self.size}"
        return NAMES[self.element] + suffix

    @property
    def group_size(self) -> int:
        """Number of values in a block."""
        return self.size

    @property
    def formats(self) -> tuple[Format, ...]:
        """The element format."""
        return (self.element,)

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes and scales."""
        groups = (*shape[:-1], -(-shape[-1] // self.size))
        byte, float32 = np.dtype(np.uint8), np.dtype(np.float32)
        return (
            Field(name="codes", shape=shape, bits=self.element.bits, dtype=byte, is_index=True),
            Field(name="scales", shape=groups, bits=32, dtype=float32),
        )


def quantize_block(element: TableFormat, values: Sequence[float]) -> tuple[list[int], np.float32]:
    """Return codes and scale of a block; if a value is not finite, NaN and the codes of 1.

    >>> quantize_block(FP4_BNB, [1.0, -3.0, 0.0, 2.0, 0.001])
    ([4, 11, 0, 2, 8], np.float32(3.0))
    """
    x = [np.float32(0) if abs(v) < MIN_NORMAL else v for v in map(np.float32, values)]
    if not all(math.isfinite(v) for v in x):
        return [element.encode(1.0)] * len(x), np.float32(np.nan)
    amax = max(abs(v) for v in x)
    reciprocal = np.float32(1) / max(amax, np.float32(MIN_NORMAL))
    # For amax above 2^126 the reciprocal is subnormal; it is raised to the smallest normal number.
    reciprocal = max(reciprocal, np.float32(MIN_NORMAL))
    units = [min(max(v * reciprocal, np.float32(-1)), np.float32(1)) for v in x]
    return [element.encode(float(unit)) for unit in units], amax

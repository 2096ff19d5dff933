"""One bit per value: its sign, scaled by the mean magnitude of the group."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.arithmetic.float32 import MIN_NORMAL
from numerics.schemes.scheme import Field, Scheme
from numerics.ternary.reference import tree_sum

DEFAULT_GROUP = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs(Scheme, arrays="numerics.conventions.signs_arrays"):
    """INT1: code 1 (also of zeros) is ``+s`` and code 0 is ``-s``, with ``s = mean |x|``.

    The mean is the scale of least squared error. It is rounded to FP16, saturated; a group of zeros
    has scale 0 and dequantizes to zeros. :func:`quantize_signs` is the definition. Source:
    XNOR-Net, arXiv:1603.05279, section 3.1, with a scale for each filter there.

    Examples
    --------
    >>> Signs().bits_per_weight((64, 256)), Signs(size=64).name
    (1.125, 'int1:g64')
    """

    has_free_group: ClassVar[bool] = True

    size: int = DEFAULT_GROUP

    @property
    def name(self) -> str:
        """Name in the catalog, with the group size if it is not 128."""
        return "int1" if self.size == DEFAULT_GROUP else f"int1:g{self.size}"

    @property
    def group_size(self) -> int:
        """Number of values in a group."""
        return self.size

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes and scales."""
        groups = (*shape[:-1], -(-shape[-1] // self.size))
        byte, half = np.dtype(np.uint8), np.dtype(np.float16)
        return (
            Field(name="codes", shape=shape, bits=1, dtype=byte, is_index=True),
            Field(name="scales", shape=groups, bits=16, dtype=half),
        )


def quantize_signs(values: Sequence[float]) -> tuple[list[int], np.float16]:
    """Return codes and scale of a group; if a value is not finite, NaN and codes 0.

    The sum is a pairwise float32 sum; subnormal numbers count as zeros.

    >>> quantize_signs([0.5, -1.5, 0.0, 2.0])
    ([1, 0, 1, 1], np.float16(1.0))
    """
    x = [np.float32(0) if abs(v) < MIN_NORMAL else v for v in map(np.float32, values)]
    if not all(math.isfinite(v) for v in x):
        return [0] * len(x), np.float16(np.nan)
    mean = tree_sum([abs(v) for v in x]) / np.float32(len(x))
    largest = np.float32(np.finfo(np.float16).max)
    return [int(v >= 0) for v in x], np.float16(min(mean, largest))

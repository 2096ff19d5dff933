"""NF4 with quantized scales: QLoRA's double quantization.

Scales are rounded to the nearest value of the dynamic map. The native CPU kernel of bitsandbytes
0.50.2 picks the neighbouring value for about 2 of 1,000 scales, which lie near a midpoint.
"""

import functools
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from numerics.formats import NF4, Format, TableFormat
from numerics.schemes.scheme import Field, Scheme

BLOCK = 64
#: Number of block scales that share one second-level scale; QLoRA, arXiv:2305.14314.
SCALES_PER_BLOCK = 256
SCALE_CODE_BITS = 8
#: Decades of the dynamic map.
DECADES = 7


@functools.cache
def dynamic_map() -> TableFormat:
    """Return the 8-bit format of scales: decades of magnitudes, denser in the higher decades.

    Decade i has the ``2^i`` midpoints between equally spaced bounds from 0.1 to 1, times
    ``10^(i - 6)``, with both signs; 0 and 1 are added. Each bound is rounded once to float32.
    Source: Dettmers, arXiv:1511.04561, as ``create_dynamic_map`` of bitsandbytes computes it.

    >>> table = dynamic_map().table
    >>> len(table), table[0], table[127], table[-1]
    (256, -0.992968738079071, 0.0, 1.0)
    """
    values = [np.float32(0), np.float32(1)]
    for decade in range(DECADES):
        unit = np.float32(10.0 ** (decade + 1 - DECADES))
        for low, high in pairwise(_bounds(2**decade)):
            middle = unit * ((low + high) / np.float32(2))
            values += [middle, -middle]
    return TableFormat(name="dynamic8", table=tuple(sorted(map(float, values))))


def _bounds(gaps: int) -> list[np.float32]:
    """Return equally spaced numbers from 0.1 to 1, computed from the nearer end, rounded once."""
    first = np.float32(0.1)
    step = float((np.float32(1) - first) / np.float32(gaps))
    exact = [
        float(first) + step * i if i < (gaps + 1) // 2 else 1.0 - step * (gaps - i)
        for i in range(gaps + 1)
    ]
    return [np.float32(bound) for bound in exact]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubleNf4(Scheme, arrays="numerics.conventions.double_nf4_arrays"):
    """NF4 in blocks of 64 with scales of 8 bits: ``value = nf4(code) * s``.

    ``s = map(q) * t + offset``, where ``q`` is the code of the scale, ``offset`` the mean of the
    largest magnitudes of all blocks, and ``t`` the largest difference from it among 256 blocks.
    Codes are found by dividing by the block's largest magnitude, not by ``s``, which can be
    negative for blocks of small numbers.

    Numbers are float32 and quotients are products with a reciprocal of at least 2^-126, as in
    bitsandbytes; subnormal numbers count as zeros. A NaN or an infinity anywhere makes every scale
    NaN and every code 0. ``double_nf4_reference`` has the definition.

    Examples
    --------
    >>> round(DoubleNf4().bits_per_weight((4096, 4096)), 3)
    4.127
    """

    @property
    def name(self) -> str:
        """Name in the catalog."""
        return "nf4-dq"

    @property
    def group_size(self) -> int:
        """Number of values in a block."""
        return BLOCK

    @property
    def formats(self) -> tuple[Format, ...]:
        """The element format."""
        return (NF4,)

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields: codes, codes of scales, second-level scales and the offset."""
        groups = (*shape[:-1], -(-shape[-1] // BLOCK))
        blocks = (-(-int(np.prod(groups)) // SCALES_PER_BLOCK),)
        byte, float32 = np.dtype(np.uint8), np.dtype(np.float32)
        return (
            Field(name="codes", shape=shape, bits=NF4.bits, dtype=byte, is_index=True),
            Field(name="scale_codes", shape=groups, bits=SCALE_CODE_BITS, dtype=byte),
            Field(name="scale_scales", shape=blocks, bits=32, dtype=float32),
            Field(name="offset", shape=(), bits=32, dtype=float32),
        )

"""VS-Quant: integers in short vectors, with integer vector scales times one scale of the row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.arithmetic.float32 import MIN_NORMAL
from numerics.conventions.nvfp4_reference import flush, flushed
from numerics.schemes.family import NUMBER, Family
from numerics.schemes.scheme import Field, Scheme

DEFAULT_VECTOR = 16
DEFAULT_SCALE_BITS = 8
BITS = range(2, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class VsQuant(Scheme, arrays="numerics.conventions.vs_quant_arrays"):
    """Symmetric n-bit integers: ``value = code * (q * g)``, m-bit q per vector, FP16 g per row.

    The unquantized scale of a vector is ``s = amax / (2^(n-1) - 1)``; codes are ``rint(x / s)``,
    computed with s before it is quantized. Then ``g = fp16(max(s) / top)`` and ``q = rint(s / g)``,
    at most ``top = 2^m - 1``. :func:`quantize_row` is the definition. Source: Dai et al.,
    arXiv:2102.04503, section 4, with m = 8 unless stated otherwise.

    Subnormal numbers count as zeros, s is at least 2^-126, and a NaN or an infinity makes the
    scale of its row NaN and the row's codes 0.

    Examples
    --------
    >>> VsQuant(bits=4).name, VsQuant(bits=4).bits_per_weight((64, 256))
    ('int4-vs', 4.5625)
    """

    has_free_group: ClassVar[bool] = True
    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="int<bits>-vs[-s<scale bits>]",
            pattern=rf"int{NUMBER}-vs(?:-s{NUMBER})?",
            make=lambda m, _: VsQuant(bits=int(m[1]), scale_bits=int(m[2] or DEFAULT_SCALE_BITS)),
            like="int4-vs",
        ),
    )

    bits: int
    size: int = DEFAULT_VECTOR
    scale_bits: int = DEFAULT_SCALE_BITS

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise ValueError(f"VS-Quant has integers of 2 to 8 bits, not {self.bits}")
        if self.scale_bits not in BITS:
            raise ValueError(f"VS-Quant has scales of 2 to 8 bits, not {self.scale_bits}")

    @property
    def name(self) -> str:
        """Name in the catalog, with the scale bits if not 8 and the vector size if not 16."""
        scale = "" if self.scale_bits == DEFAULT_SCALE_BITS else f"-s{self.scale_bits}"
        suffix = "" if self.size == DEFAULT_VECTOR else f":g{self.size}"
        return f"int{self.bits}-vs{scale}{suffix}"

    @property
    def largest_scale(self) -> int:
        """Largest integer scale of a vector."""
        return (1 << self.scale_bits) - 1

    @property
    def group_size(self) -> int:
        """Number of values in a vector."""
        return self.size

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes, scales of vectors and scales of rows."""
        vectors = (*shape[:-1], -(-shape[-1] // self.size))
        byte, half = np.dtype(np.uint8), np.dtype(np.float16)
        return (
            Field(name="codes", shape=shape, bits=self.bits, dtype=byte, is_index=True),
            Field(name="scales", shape=vectors, bits=self.scale_bits, dtype=byte),
            Field(name="row_scales", shape=(*shape[:-1], 1), bits=16, dtype=half),
        )


def quantize_row(
    vectors: Sequence[Sequence[float]], *, bits: int, scale_bits: int = DEFAULT_SCALE_BITS
) -> tuple[list[list[int]], list[int], np.float16]:
    """Return the codes of each vector of a row, the integer vector scales and the row's scale.

    >>> quantize_row([[1785.0, -255.0], [14.0, 7.0]], bits=4)
    ([[7, -1], [7, 4]], [255, 2], np.float16(1.0))
    """
    parts = [flushed(vector) for vector in vectors]
    if not all(math.isfinite(v) for part in parts for v in part):
        return [[0] * len(part) for part in parts], [0] * len(parts), np.float16(np.nan)
    own = [vector_scale(max(abs(v) for v in part), bits) for part in parts]
    codes = [
        [int(np.rint(flush(v / s))) if s else 0 for v in part]
        for part, s in zip(parts, own, strict=True)
    ]
    halves = np.finfo(np.float16)
    least, most = np.float32(halves.smallest_subnormal), np.float32(halves.max)
    largest, top = max(own), (1 << scale_bits) - 1
    row = np.float16(np.clip(largest / np.float32(top), least, most) if largest else 1)
    scales = [int(min(np.rint(flush(s / np.float32(row))), top)) for s in own]
    return codes, scales, row


def vector_scale(amax: np.float32, bits: int) -> np.float32:
    """Return the unquantized scale of a vector, 0 for a vector of zeros.

    >>> vector_scale(np.float32(14), 4)
    np.float32(2.0)
    """
    largest = np.float32((1 << (bits - 1)) - 1)
    return max(amax / largest, np.float32(MIN_NORMAL)) if amax else amax

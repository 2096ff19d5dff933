"""NVFP4 of three libraries: E2M1 in blocks of 16, E4M3 scales, a float32 scale of the tensor."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from numerics.formats import E2M1, E4M3, SCALE_DTYPES, Format
from numerics.schemes.scheme import Field, Scheme

BLOCK = 16


class Library(StrEnum):
    """Library whose float32 arithmetic is used.

    ``amax`` is the largest magnitude of the tensor, ``b`` that of the block. Codes are E2M1, ties
    to even, saturated. The catalog's ``nvfp4`` differs from modelopt's only in signs of zero.
    """

    #: ``g = amax / 2688``, ``s = e4m3(max(b / (6 * g), 2^-9))``, 1 for a block of zeros, ``code(x /
    #: (s * g))``; -0 has the code of +0, and the code of -0 the value +0.
    MODELOPT = "modelopt"
    #: ``g = amax / 2688``, ``s = e4m3(max(b / 6 / g, 2^-6))``, ``code(x * (1 / g / s))``: a product
    #: with a reciprocal; scales are never subnormal.
    TORCHAO = "torchao"
    #: ``h = 2688 / amax``, the stored scale of the tensor, 1 if it overflows,
    #: ``s = e4m3(h * (b / 6))``, 1/8 if that is 0, ``code(x / (s / h))``; -0 has the code of +0.
    COMPRESSED = "ct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvfp4(Scheme, arrays="numerics.conventions.nvfp4_arrays"):
    """NVFP4 by a :class:`Library`: ``value = code * (s * g)``, or ``code * (s / h)``.

    Edge cases differ from the libraries: subnormal numbers count as zeros, g and h of a tensor of
    zeros are 1, g is at least 2^-117 and h at most 2^117, and a tensor with a NaN or an infinity
    has NaN scales and codes 0. ``nvfp4_reference`` has the definition.

    Examples
    --------
    >>> Nvfp4(library=Library.TORCHAO).bits_per_weight((64, 256))
    4.501953125
    """

    library: Library

    @property
    def name(self) -> str:
        """Name in the catalog."""
        return f"nvfp4-{self.library}"

    @property
    def group_size(self) -> int:
        """Number of values in a block."""
        return BLOCK

    @property
    def formats(self) -> tuple[Format, ...]:
        """The element format."""
        return (E2M1,)

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Names of NVFP4 schemes with per-token scales, and with a precomputed tensor scale."""
        return "nvfp4:token", "nvfp4:scale=<number>"

    def scale_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the block scales of a tensor of this shape."""
        return (*shape[:-1], -(-shape[-1] // BLOCK))

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields: codes, block scales and the scale of the tensor."""
        byte, float32 = np.dtype(np.uint8), np.dtype(np.float32)
        top = "global_scale" if self.library is Library.COMPRESSED else "tensor_scale"
        return (
            Field(name="codes", shape=shape, bits=E2M1.bits, dtype=byte, is_index=True),
            Field(
                name="scales",
                shape=self.scale_shape(shape),
                bits=E4M3.bits,
                dtype=SCALE_DTYPES[E4M3],
            ),
            Field(name=top, shape=(), bits=32, dtype=float32),
        )

"""NVFP4 as libraries compute it: E2M1 in blocks of 16, E4M3 scales, one float32 for the tensor."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from numerics.formats import E2M1, E4M3, SCALE_DTYPES, Format
from numerics.schemes.scheme import Field, Scheme

BLOCK = 16


class Library(StrEnum):
    """Whose arithmetic; ``amax`` is of the tensor, ``b`` of the block, all is float32.

    Codes are E2M1, ties to even, saturated. The catalog's ``nvfp4`` differs from the one of
    modelopt by signs of zero alone.
    """

    #: ``g = amax / 2688``, ``s = e4m3(max(b / (6 * g), 2^-9))``, 1 for a block of zeros, ``code(x /
    #: (s * g))``; -0 has the code of +0, and the code of -0 the value +0.
    MODELOPT = "modelopt"
    #: ``g = amax / 2688``, ``s = e4m3(max(b / 6 / g, 2^-6))``, ``code(x * (1 / g / s))``: products
    #: with a reciprocal, and no subnormal scale.
    TORCHAO = "torchao"
    #: ``h = 2688 / amax``, which is what is stored, ``s = e4m3(h * (b / 6))``, 1/8 if that is 0,
    #: ``code(x / (s / h))``; -0 has the code of +0. If h overflows it is 1.
    COMPRESSED = "ct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvfp4(Scheme, arrays="numerics.conventions.nvfp4_arrays"):
    """NVFP4 by a :class:`Library`: ``value = code * (s * g)``, or ``code * (s / h)``.

    Beyond the libraries: subnormal numbers count as zeros, a tensor of zeros has 1 for g and h, g
    is at least 2^-117 and h at most 2^117, and a tensor with a NaN or an infinity has NaN for its
    scales and zeros for codes. ``nvfp4_reference`` has the definition.

    Examples
    --------
    >>> Nvfp4(library=Library.TORCHAO).bits_per_weight((64, 256))
    4.501953125
    """

    library: Library

    @property
    def name(self) -> str:
        """The catalog's name."""
        return f"nvfp4-{self.library}"

    @property
    def group_size(self) -> int:
        """Values of a block."""
        return BLOCK

    @property
    def formats(self) -> tuple[Format, ...]:
        """The element format."""
        return (E2M1,)

    @property
    def alternatives(self) -> tuple[str, ...]:
        """NVFP4 with statistics of each token alone, and with the tensor's scale given before."""
        return "nvfp4:token", "nvfp4:scale=<number>"

    def scale_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the block scales of a tensor of this shape."""
        return (*shape[:-1], -(-shape[-1] // BLOCK))

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return codes, block scales and what scales the tensor."""
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

"""Ternary and binary schemes: BitNet b1.58, Ternary Weight Networks, FBI-LLM."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.schemes.scheme import Field, Scheme

BYTE, FLOAT32, FLOAT16 = np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float16)
TRIT_BITS, INT8_BITS, SIGNS_OF_BYTE = 2, 8, 8
DEFAULT_GROUP = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class BitNetTernary(Scheme, arrays="numerics.ternary.arrays"):
    """Weights -1, 0 and 1 with one scale for the tensor: ``reference.quantize_absmean``.

    The code is the weight plus one; ``value = (code - 1) / scale``.

    Examples
    --------
    >>> BitNetTernary().bits_per_weight((64, 256))
    2.001953125
    """

    @property
    def name(self) -> str:
        """Name in the catalog."""
        return "bitnet-ternary"

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes and the scale."""
        one = (1,) * len(shape)
        return (
            Field(name="codes", shape=shape, bits=TRIT_BITS, dtype=BYTE, is_index=True),
            Field(name="scales", shape=one, bits=32, dtype=FLOAT32),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BitNetInt8(Scheme, arrays="numerics.ternary.arrays"):
    """Activations as int8 with one scale a token: ``reference.quantize_token``.

    ``value = code / scale``.

    Examples
    --------
    >>> BitNetInt8().bits_per_weight((64, 256))
    8.125
    """

    @property
    def name(self) -> str:
        """Name in the catalog."""
        return "bitnet-int8"

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes and a scale for each token."""
        return (
            Field(name="codes", shape=shape, bits=INT8_BITS, dtype=BYTE, is_index=True),
            Field(name="scales", shape=(*shape[:-1], 1), bits=32, dtype=FLOAT32),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Twn(Scheme, arrays="numerics.ternary.arrays"):
    """Weights -1, 0 and 1 by a threshold, one scale per group: ``reference.quantize_twn``.

    The code is the weight plus one; ``value = (code - 1) * scale``. The paper has one scale for
    each filter. The last group of a row may be shorter.

    Examples
    --------
    >>> Twn().bits_per_weight((64, 256)), Twn(size=64).name
    (2.125, 'twn:g64')
    """

    has_free_group: ClassVar[bool] = True

    size: int = DEFAULT_GROUP

    @property
    def name(self) -> str:
        """Name in the catalog, with the group size if it is not 128."""
        return "twn" if self.size == DEFAULT_GROUP else f"twn:g{self.size}"

    @property
    def group_size(self) -> int:
        """Number of values in a group."""
        return self.size

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes and scales."""
        groups = (*shape[:-1], -(-shape[-1] // self.size))
        return (
            Field(name="codes", shape=shape, bits=TRIT_BITS, dtype=BYTE, is_index=True),
            Field(name="scales", shape=groups, bits=16, dtype=FLOAT16),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnBinary(Scheme, arrays="numerics.ternary.arrays"):
    """Signs with a scale and an offset for each column: ``reference.quantize_column``.

    A column holds all weights of one input, along the next to last axis. Eight sign bits of a row
    are packed in a byte, low bits first; ``value = offset + scale`` if the bit is 1, else
    ``offset - scale``.

    Examples
    --------
    >>> round(ColumnBinary().bits_per_weight((4096, 4096)), 4)
    1.0078
    """

    @property
    def name(self) -> str:
        """Name in the catalog."""
        return "fbi-binary"

    def check_storable(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` for a tensor of fewer than two dimensions."""
        if len(shape) < 2:
            raise ValueError(f"{self.name} needs a matrix, not a tensor of shape {list(shape)}")

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of signs, scales and offsets."""
        row_bytes = -(-shape[-1] // SIGNS_OF_BYTE)
        columns = (*shape[:-2], 1, shape[-1])
        return (
            Field(name="signs", shape=(*shape[:-1], row_bytes), bits=8, dtype=BYTE, is_index=True),
            Field(name="scales", shape=columns, bits=16, dtype=FLOAT16),
            Field(name="offsets", shape=columns, bits=16, dtype=FLOAT16),
        )

"""GGUF block types as schemes."""

from dataclasses import dataclass

import numpy as np

from numerics.gguf.block_type import BlockType
from numerics.gguf.block_types import BLOCK_TYPES
from numerics.schemes.scheme import Field, Scheme, StorageKind


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufScheme(Scheme, arrays="numerics.gguf.arrays"):
    """Blocks as stored in a GGUF file; rows must be whole blocks.

    The quantizers are those of ggml without an importance matrix. A block with a NaN or an infinity
    dequantizes to NaN; in MXFP4, whose scales have no NaN in GGUF, to infinities.

    Examples
    --------
    >>> scheme = GgufScheme(type_name="q4_0")
    >>> [scheme.bits_per_weight((4, 64), kind=kind) for kind in ("index", "full", "stored")]
    [4.0, 4.5, 4.5]
    """

    type_name: str

    def __post_init__(self) -> None:
        if self.type_name not in BLOCK_TYPES:
            raise ValueError(f"'{self.type_name}' is not one of {', '.join(BLOCK_TYPES)}")

    @property
    def name(self) -> str:
        """The name of the type."""
        return self.type_name

    @property
    def ggml_name(self) -> str:
        """The name of the type in GGUF files.

        >>> GgufScheme(type_name="mxfp4-gguf").ggml_name
        'MXFP4'
        """
        return self.type_name.removesuffix("-gguf").upper()

    @property
    def block_type(self) -> BlockType:
        """Layout and levels of a block."""
        return BLOCK_TYPES[self.type_name]

    @property
    def group_size(self) -> int:
        """Number of values of a block."""
        return self.block_type.values

    def check_storable(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` for rows that are not whole blocks."""
        self._check_rows(shape)

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the blocks, which hold codes and scales, row by row."""
        self._check_rows(shape)
        row_bytes = shape[-1] // self.group_size * self.block_type.size
        byte = np.dtype(np.uint8)
        return (Field(name="blocks", shape=(*shape[:-1], row_bytes), bits=8, dtype=byte),)

    def bits_per_weight(self, shape: tuple[int, ...], *, kind: StorageKind = "full") -> float:
        """Return the storage of one value; codes and scales share the blocks."""
        if kind == "index":
            return self.block_type.index_bits / self.group_size
        return Scheme.bits_per_weight(self, shape, kind=kind)

    def _check_rows(self, shape: tuple[int, ...]) -> None:
        if shape[-1] % self.group_size:
            raise ValueError(
                f"{self.name} stores rows of whole blocks of {self.group_size} values, "
                f"not rows of {shape[-1]}"
            )

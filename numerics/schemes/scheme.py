"""What every scheme is: a way from numbers to stored arrays and back.

A scheme is a frozen description, needs no JAX to be made, read and costed, and imports its array
code when it is first used.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from numerics.formats import Format

if TYPE_CHECKING:
    from jax import Array
    from jaxtyping import Float32

    from numerics.schemes.tensor import QuantizedTensor

#: What ``bits_per_weight`` counts. ``"index"``: what says which value each number has, the codes
#: alone. ``"full"``: scales, zero points, selectors, codebooks too. ``"stored"``: the same in the
#: files of the source where those are known, else each array filled up to whole bytes.
StorageKind = Literal["index", "full", "stored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One of the arrays that a quantized tensor is stored as."""

    name: str
    shape: tuple[int, ...]
    #: Bits of an entry in storage; codes of fewer than 8 bits have a byte each in memory.
    bits: int
    #: Array type in memory.
    dtype: np.dtype[np.generic]
    #: Whether its bits count as ``"index"``.
    is_index: bool = False
    #: Whether its bits count as ``"full"``: not where the source's own count leaves them out.
    is_counted: bool = True

    @property
    def total_bits(self) -> int:
        """Bits of all entries."""
        return math.prod(self.shape) * self.bits


class Scheme(ABC):
    """How the values of a tensor become codes and side data; equal schemes compute the same.

    ``quantize``, ``dequantize`` and ``fake_quantize`` can be traced by JAX with the scheme as a
    static argument. Values are float32, and rows run along the last axis.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """Canonical text, which :func:`numerics.parse_scheme` reads back."""

    @property
    def is_exact(self) -> bool:
        """Whether its results are defined in every bit, on every machine."""
        return True

    @property
    def mixes_rows(self) -> bool:
        """Whether a row's codes depend on other rows: a token would see those after it."""
        return False

    @property
    def group_size(self) -> int | None:
        """Consecutive values of a row that share side data; ``None`` without such groups."""
        return None

    @property
    def formats(self) -> tuple[Format, ...]:
        """Formats of elements that the scheme chooses from; none for codebooks of vectors."""
        return ()

    def with_group_size(self, size: int) -> "Scheme":
        """Return the scheme with groups of another size."""
        raise ValueError(f"{self.name} has no groups whose size could be {size}")

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` if a tensor of this shape can't be quantized."""
        size = self.group_size
        if size is not None and size > shape[-1]:
            raise ValueError(f"group size {size} is larger than a row of {shape[-1]} values")

    @abstractmethod
    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the arrays that a tensor of this shape is stored as."""

    def bits_per_weight(self, shape: tuple[int, ...], *, kind: StorageKind = "full") -> float:
        """Return the storage of one value of a tensor of this shape."""
        if kind == "stored":
            return self.stored_bits(shape) / math.prod(shape)
        wanted = "is_index" if kind == "index" else "is_counted"
        fields = (field for field in self.layout(shape) if getattr(field, wanted))
        return sum(field.total_bits for field in fields) / math.prod(shape)

    def stored_bits(self, shape: tuple[int, ...]) -> int:
        """Return what a tensor of this shape takes in a file, in whole bytes for each array."""
        return sum(-(-field.total_bits // 8) * 8 for field in self.layout(shape))

    @abstractmethod
    def quantize(self, x: "Float32[Array, '*shape']") -> "QuantizedTensor":
        """Return the arrays of :meth:`layout`."""

    @abstractmethod
    def dequantize(self, q: "QuantizedTensor") -> "Float32[Array, '*shape']":
        """Return the numbers that the arrays stand for."""

    def fake_quantize(self, x: "Float32[Array, '*shape']") -> "Float32[Array, '*shape']":
        """Return ``dequantize(quantize(x))``, bit for bit."""
        return self.dequantize(self.quantize(x))

"""The base class of schemes, which convert numbers to stored arrays and back.

A scheme is a frozen description. Its array code is a separate module, imported on first use, so
that describing a scheme and computing its storage does not need JAX. A new scheme is one class::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Mine(Scheme, arrays="package.mine_arrays"):
        @property
        def name(self) -> str: ...
        def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]: ...

and one module with the two functions of :class:`ArrayCode`.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast, runtime_checkable

import numpy as np

from numerics.formats import Format
from numerics.schemes.family import Family
from numerics.schemes.granularity import PerGroup

if TYPE_CHECKING:
    from jax import Array
    from jaxtyping import Float32

    from numerics.schemes.tensor import QuantizedTensor

#: Arrays that ``bits_per_weight`` counts. ``"index"``: the codes only. ``"full"``: all arrays, with
#: scales, zero points, selectors and codebooks. ``"stored"``: all arrays as in the files of the
#: source where their layout is known, else each padded to whole bytes.
StorageKind = Literal["index", "full", "stored"]
#: Rows of two probe matrices, primes that no size of a side array equals in both; groups per row.
PROBE_ROWS = (1009, 2003)
PROBE_GROUPS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One of the arrays that a quantized tensor is stored as."""

    name: str
    shape: tuple[int, ...]
    #: Bits of an entry in storage; in memory codes of fewer than 8 bits have a byte each.
    bits: int
    #: Array type in memory.
    dtype: np.dtype[np.generic]
    #: Whether the bits of the array count as ``"index"``.
    is_index: bool = False
    #: Whether the bits of the array count as ``"full"``; the sources of some schemes omit some.
    is_counted: bool = True
    #: Whether the content is fixed by the scheme and independent of the tensor.
    is_given: bool = False

    @property
    def total_bits(self) -> int:
        """Bits of all entries of the array."""
        return math.prod(self.shape) * self.bits


@runtime_checkable
class ArrayCode(Protocol):
    """The array code of a scheme: a module with these functions.

    JAX can trace its functions, with the scheme as a static argument. A module may also have
    ``fake_quantize(x, scheme)``, which returns ``dequantize(quantize(x, scheme))`` bit for bit in
    fewer steps.
    """

    def quantize(self, x: "Float32[Array, '*shape']", scheme: Any, /) -> "QuantizedTensor":
        """Return the arrays of ``scheme.layout(x.shape)``."""

    def dequantize(self, q: "QuantizedTensor", /) -> "Float32[Array, '*shape']":
        """Return the numbers that the arrays stand for."""


class Scheme(ABC):
    """How the values of a tensor become codes and side data; equal schemes compute the same.

    Values are float32, and rows run along the last axis.
    """

    __slots__ = ()

    #: Module with the functions of :class:`ArrayCode`, given as ``class X(Scheme, arrays=...)``.
    arrays: ClassVar[str]
    #: Whether the user chooses the group size, in a field ``size``.
    has_free_group: ClassVar[bool] = False
    #: Families of names that contain parameters.
    families: ClassVar[tuple[Family, ...]] = ()

    def __init_subclass__(cls, *, arrays: str | None = None) -> None:
        # A dataclass with slots creates its class a second time, without the keyword.
        if arrays is not None:
            cls.arrays = arrays
        elif not hasattr(cls, "arrays"):
            raise TypeError(
                f"{cls.__name__} names no array module: class {cls.__name__}(Scheme, arrays='...')"
            )

    @property
    @abstractmethod
    def name(self) -> str:
        """Canonical text, which :func:`numerics.parse_scheme` reads back."""

    @property
    def is_exact(self) -> bool:
        """Whether results are defined in every bit, on every machine."""
        return True

    @property
    def mixes_rows(self) -> bool:
        """Whether a row's values depend on other rows, so that a token would depend on later ones.

        Derived from :meth:`layout`: an array that depends on the tensor and does not have entries
        per row, such as a tensor scale, depends on all rows.
        """
        columns = (self.group_size or 1) * PROBE_GROUPS
        layouts = [(rows, self.layout((rows, columns))) for rows in PROBE_ROWS]
        return any(
            field.shape[:1] != (rows,) and not field.is_given
            for rows, fields in layouts
            for field in fields
        )

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Names of similar schemes that suit activations and caches, if this one mixes rows."""
        return ("int8", "mxfp8_e4m3")

    @property
    def group_size(self) -> int | None:
        """Number of consecutive values of a row that share side data; ``None`` without groups."""
        return None

    @property
    def formats(self) -> tuple[Format, ...]:
        """Element formats that the scheme chooses from; empty for codebooks of vectors."""
        return ()

    def with_group_size(self, size: int) -> "Scheme":
        """Return the scheme with groups of this size."""
        if size == self.group_size:
            return self
        if not self.has_free_group:
            is_defined = f"is defined with blocks of {self.group_size}, not {size}"
            has_none = f"has no groups, so {size} can't be their size"
            raise ValueError(f"{self.name} {is_defined if self.group_size else has_none}")
        changed: Scheme = dataclasses.replace(cast(Any, self), size=PerGroup(size).size)
        return changed

    def check_storable(self, shape: tuple[int, ...]) -> None:  # noqa: B027  Most store every shape.
        """Raise :class:`ValueError` if the scheme stores no tensor of this shape."""

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` unless the shape can be stored and rows fill a group."""
        self.check_storable(shape)
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
        """Return the size of a tensor of this shape in a file, in whole bytes for each array."""
        return sum(-(-field.total_bits // 8) * 8 for field in self.layout(shape))

    def quantize(self, x: "Float32[Array, '*shape']") -> "QuantizedTensor":
        """Return the arrays of :meth:`layout`."""
        self.check_storable(x.shape)
        return array_code(self.arrays).quantize(x, self)

    def dequantize(self, q: "QuantizedTensor") -> "Float32[Array, '*shape']":
        """Return the numbers that the arrays stand for."""
        return array_code(self.arrays).dequantize(q)

    def fake_quantize(self, x: "Float32[Array, '*shape']") -> "Float32[Array, '*shape']":
        """Return ``dequantize(quantize(x))``, bit for bit."""
        code: Any = array_code(self.arrays)
        if not hasattr(code, "fake_quantize"):
            return self.dequantize(self.quantize(x))
        self.check_storable(x.shape)
        values: Array = code.fake_quantize(x, self)
        return values


@cache
def array_code(module: str) -> ArrayCode:
    """Return the array code of a module, imported."""
    return cast(ArrayCode, import_module(module))

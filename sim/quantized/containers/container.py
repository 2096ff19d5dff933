"""The interface of a container, and what its modules share."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, UInt8

from numerics import ElementScheme, QuantizedTensor, Scheme
from numerics.formats import IntFormat
from numerics.schemes.element import ZeroPoint
from numerics.schemes.granularity import PerGroup
from sim.sources.readers.bit_stream import pack_rows


@runtime_checkable
class Container(Protocol):
    """How one tool stores quantized linear layers."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    def check(self, scheme: Scheme, shape: tuple[int, int]) -> None:
        """Raise ``ValueError`` for a scheme or a shape (out, in) that the container can't hold."""

    def names(self, scheme: Scheme) -> tuple[str, ...]:
        """Return the names of a layer's tensors, after that of the module."""

    def tensors(self, q: QuantizedTensor) -> dict[str, np.ndarray]:
        """Return the tensors of a layer, by those names."""

    def settings(
        self, schemes: Mapping[str, Scheme], kept: tuple[str, ...], recipe: str
    ) -> dict[str, Any]:
        """Return the quantization settings of ``config.json``.

        Parameters
        ----------
        schemes
            Scheme of each quantized module, by its name in the file.
        kept
            Linear modules that are in floating point.
        recipe
            Name of the recipe.
        """


def integer_scheme(scheme: Scheme) -> tuple[ElementScheme, IntFormat] | None:
    """Return a scheme of integers with float scales, and its element; ``None`` for others."""
    if not isinstance(scheme, ElementScheme) or not isinstance(scheme.element, IntFormat):
        return None
    is_plain = scheme.zero_point is not ZeroPoint.MINIMUM and scheme.element.unit == 1.0
    has_floats = not scheme.has_power_of_two_scales and scheme.second_level is None
    return (scheme, scheme.element) if is_plain and has_floats else None


def group_of(scheme: ElementScheme, columns: int) -> int | None:
    """Return the size of a group; ``None`` for one scale a row. Raise ``ValueError`` for others."""
    if not isinstance(scheme.granularity, PerGroup):
        return None
    size = scheme.granularity.size
    if columns % size:
        fits = columns & -columns  # the largest power of two that divides
        raise ValueError(
            f"rows of {columns} are not whole groups of {size}; give --group-size {fits} or less"
        )
    return size


def offset_codes(q: QuantizedTensor, element: IntFormat) -> UInt8[np.ndarray, "out in"]:
    """Return codes that count from the least integer: those of unsigned formats as they are."""
    codes = np.asarray(q.codes)
    if element.kind == "unsigned":
        return codes
    half = 1 << (element.bits - 1)
    return (codes ^ np.uint8(half)) & np.uint8((1 << element.bits) - 1)


def words(codes: UInt8[np.ndarray, "rows count"], bits: int) -> Int32[np.ndarray, "rows words"]:
    """Return each row as a dense stream in words of 32 bits."""
    return pack_rows(codes, bits).view("<i4")

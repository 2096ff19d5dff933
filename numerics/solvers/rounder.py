"""The interface of a scheme to a solver: side data of a matrix, then codes column by column.

``fit`` finds the side data of all groups (scales, zero points, selectors); ``columns`` broadcasts
it to columns; ``round`` returns codes and values of a single column for fixed side data. A solver
chooses codes in any order, and ``tensor`` combines them with the unchanged side data.

Every scheme with one code for each value has a rounder: :class:`ElementRounder` uses the scheme's
own arithmetic, :class:`TableRounder` a table of the values of each column's codes, which it gets
from ``dequantize``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32, UInt8

from numerics.schemes import grouping
from numerics.schemes.element import ElementScheme
from numerics.schemes.element_arrays import (
    element_codes,
    find_second_level,
    restored_values,
    rows_of,
)
from numerics.schemes.granularity import PerTensor
from numerics.schemes.scales import SecondLevel, SideData, find_side_data
from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor

Matrix = Float32[Array, "out n"]
#: Side data, as a pytree of arrays.
Side = Any

#: Largest number of codes for which :class:`TableRounder` holds a table of values per column.
MOST_CODES = 64


@runtime_checkable
class Rounder(Protocol):
    """The interface of a scheme to a solver; hashable, because it is a static argument of jit."""

    @property
    def scheme(self) -> Scheme:
        """The scheme that codes and side data belong to."""

    def fit(self, weight: Matrix, importance: Float32[Array, " n"] | None) -> Side:
        """Return the side data of every group, found from the weights.

        ``importance`` is the diagonal of the Hessian: the clip of each group then minimises the
        weighted squared error. Without it the scheme's own scale rule applies.
        """

    def columns(self, side: Side, shape: tuple[int, ...]) -> Side:
        """Return side data broadcast to columns; the axes of each leaf start (columns, rows)."""

    def check(self, weight: Matrix, side: Side) -> None:
        """Raise :class:`ValueError` if a code's value depends on codes of other columns."""

    def round(self, column: Float32[Array, " out"], side: Side) -> tuple[UInt8[Array, " out"], Any]:
        """Return codes and values of one column under its side data."""

    def tensor(self, codes: UInt8[Array, "out n"], side: Side) -> QuantizedTensor:
        """Return the quantized tensor of these codes and this side data."""


#: Fractions of a group's range that the clip search tries; 1 comes first and wins ties.
CLIPS = tuple(1 - i / 40 for i in range(21))
#: Factors that the clip search tries on power-of-two scales; 1 comes first and wins ties.
POWER_OF_TWO_CLIPS = (1.0, 0.5, 2.0)


@dataclass(frozen=True, slots=True)
class ElementRounder:
    """The rounder of element schemes: any element format, scale format and zero point."""

    scheme: ElementScheme

    def fit(self, weight: Matrix, importance: Float32[Array, " n"] | None) -> Side:
        """Return scales and zero points of the groups, and the scale of the tensor if any."""
        scheme = self.scheme
        tensor_scale = find_second_level(weight, scheme)
        by_row = rows_of(tensor_scale)
        blocks = grouping.split_groups(weight, scheme.granularity)
        if importance is None:
            sides = [find_side_data(block, scheme, by_row) for block in blocks]
        else:
            spread = jnp.broadcast_to(importance, weight.shape)
            weights = grouping.split_groups(spread, scheme.granularity)
            sides = [
                self._clipped(block, w, by_row) for block, w in zip(blocks, weights, strict=True)
            ]
        shape = scheme.scale_shape(weight.shape)
        joined = jax.tree.map(lambda *parts: grouping.join_scales(list(parts), shape), *sides)
        return joined, tensor_scale

    def columns(self, side: Side, shape: tuple[int, ...]) -> Side:
        """Return side data by column."""
        groups, tensor_scale = side
        rows, width = shape
        size = self.scheme.group_size or width
        index = jnp.arange(width) // size
        if isinstance(self.scheme.granularity, PerTensor):
            index = jnp.zeros(width, int)
        spread = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf.T[index], (width, rows)), groups)
        if tensor_scale is not None:
            per_row = tensor_scale.reshape(-1) if tensor_scale.ndim else tensor_scale
            tensor_scale = jnp.broadcast_to(per_row, (width, *per_row.shape))
        return spread, tensor_scale

    def check(self, weight: Matrix, side: Side) -> None:
        """Accept every element scheme: a code's value doesn't depend on other columns."""

    def round(self, column: Float32[Array, " out"], side: Side) -> tuple[UInt8[Array, " out"], Any]:
        """Return codes and values of one column."""
        groups, tensor_scale = side
        values = column[:, None]
        codes = element_codes(values, groups, self.scheme, tensor_scale)
        return codes[:, 0], restored_values(values, groups, self.scheme, tensor_scale)[:, 0]

    def tensor(self, codes: UInt8[Array, "out n"], side: Side) -> QuantizedTensor:
        """Return the quantized tensor of these codes and this side data."""
        groups, tensor_scale = side
        arrays = {
            "codes": codes,
            "scales": groups.scales,
            "zero_points": groups.zero_points,
            "minimums": groups.minimums,
            "tensor_scale": tensor_scale,
        }
        present = {name: array for name, array in arrays.items() if array is not None}
        return QuantizedTensor(arrays=present, scheme=self.scheme, shape=codes.shape)

    def _clipped(
        self, block: Array, importance: Array, tensor_scale: SecondLevel | None
    ) -> SideData:
        """Return the side data of the best clip of each group."""
        clips = POWER_OF_TWO_CLIPS if self.scheme.has_power_of_two_scales else CLIPS

        def attempt(best: tuple[SideData, Array], clip: Array) -> tuple[Any, None]:
            side = find_side_data(block * clip, self.scheme, tensor_scale)
            error = self._error(block, side, importance, tensor_scale)
            better = error < best[1]
            chosen = jax.tree.map(partial(jnp.where, better), side, best[0])
            return (chosen, jnp.where(better, error, best[1])), None

        first = find_side_data(block, self.scheme, tensor_scale)
        least = self._error(block, first, importance, tensor_scale)
        (side, _), _ = lax.scan(attempt, (first, least), jnp.float32(clips[1:]))
        found: SideData = side
        return found

    def _error(
        self,
        block: Array,
        side: SideData,
        importance: Array,
        tensor_scale: SecondLevel | None,
    ) -> Array:
        difference = restored_values(block, side, self.scheme, tensor_scale) - block
        return jnp.sum(importance * difference * difference, axis=-1)


@dataclass(frozen=True, slots=True)
class TableRounder:
    """Rounding to the nearest value in a table of a column's codes; ties to the lower code.

    It serves every scheme with one code for each value whose value depends on side data only:
    mixtures, tables with double quantization, k-means. The side data are those of ``quantize``.
    """

    scheme: Scheme

    def fit(self, weight: Matrix, importance: Float32[Array, " n"] | None) -> Side:
        """Return the side data of ``quantize``; ``importance`` is ignored (no clip search)."""
        del importance
        arrays = dict(self.scheme.quantize(weight).arrays)
        del arrays["codes"]
        return arrays

    def columns(self, side: Side, shape: tuple[int, ...]) -> Side:
        """Return the values of all codes for each column, shape (in, codes, out)."""
        count = 2 ** _code_bits(self.scheme, shape)

        def values(code: Array) -> Array:
            codes = jnp.full(shape, code, jnp.uint8)
            return self.scheme.dequantize(self.tensor(codes, side)).T

        return jnp.moveaxis(jax.lax.map(values, jnp.arange(count, dtype=jnp.uint8)), 0, 1)

    def check(self, weight: Matrix, side: Side) -> None:
        """Raise :class:`ValueError` if table values differ from dequantized ones.

        The check fails for OliVe, where a code is an outlier only if its neighbour is a victim.
        """
        own = self.scheme.quantize(weight)
        found = jnp.take_along_axis(side, own.codes.T[:, None], axis=1)[:, 0].T
        if not bool(jnp.array_equal(found, own.dequantize(), equal_nan=True)):
            raise ValueError(depends_on_neighbours(self.scheme))

    def round(self, column: Float32[Array, " out"], side: Side) -> tuple[UInt8[Array, " out"], Any]:
        """Return the code of the nearest value, and the value."""
        distances = jnp.abs(side - column)
        codes = jnp.argmin(jnp.where(jnp.isnan(distances), jnp.inf, distances), axis=0)
        return codes.astype(jnp.uint8), jnp.take_along_axis(side, codes[None], axis=0)[0]

    def tensor(self, codes: UInt8[Array, "out n"], side: Side) -> QuantizedTensor:
        """Return the quantized tensor of these codes and this side data."""
        arrays: Mapping[str, Array] = {"codes": codes, **side}
        return QuantizedTensor(arrays=arrays, scheme=self.scheme, shape=codes.shape)


def rounder_of(scheme: Scheme, shape: tuple[int, ...]) -> Rounder:
    """Return the rounder of a scheme.

    Raises
    ------
    ValueError
        The scheme doesn't have one code per value, or has too many codes for a table.
    """
    if isinstance(scheme, ElementScheme):
        return ElementRounder(scheme)
    bits = _code_bits(scheme, shape)
    if 2**bits > MOST_CODES:
        raise ValueError(
            f"{scheme.name} has {2**bits} codes; column solvers support up to {MOST_CODES}"
        )
    return TableRounder(scheme)


def depends_on_neighbours(scheme: Scheme) -> str:
    """Return the error message for a scheme in which a code's value depends on its neighbours."""
    return (
        f"the value of a {scheme.name} code depends on neighbouring codes; "
        "column solvers need schemes with one independent code per value"
    )


def _code_bits(scheme: Scheme, shape: tuple[int, ...]) -> int:
    """Return the bits of a code; raise ValueError without one code per value."""
    fields = {field.name: field for field in scheme.layout(shape)}
    codes = fields.get("codes")
    if codes is None or codes.shape != shape or codes.dtype != np.uint8:
        raise ValueError(
            f"{scheme.name} doesn't have one code per value, which column solvers need; "
            "use an element format, a mixture or a table"
        )
    return codes.bits

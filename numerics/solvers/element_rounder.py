"""The rounder of element schemes: any element format, scale format and zero point."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
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
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import (
    Codes,
    Importance,
    Matrix,
    Root,
    Side,
    Spread,
    Unit,
    by_value,
)

#: Fractions of a group's range that the clip search tries; 1 comes first and wins ties.
CLIPS = tuple(1 - i / 40 for i in range(21))
#: Factors that the clip search tries on power-of-two scales; 1 comes first and wins ties.
POWER_OF_TWO_CLIPS = (1.0, 0.5, 2.0)


@dataclass(frozen=True, slots=True)
class ElementRounder:
    """Rounding by the scheme's own arithmetic under fixed scales and zero points."""

    unit: ClassVar[int] = 1

    scheme: ElementScheme

    def fit(self, weight: Matrix, importance: Importance | None) -> Side:
        """Return scales and zero points of the groups, and the scale of the tensor if any.

        The scale of the tensor is that of the matrix; a clip changes only scales of groups.
        """
        return self.fit_groups(weight, importance, find_second_level(weight, self.scheme))

    def fit_groups(
        self, weight: Matrix, importance: Importance | None, tensor_scale: Array | None
    ) -> Side:
        """Return side data under a given scale of the tensor."""
        side: Side = _fit(weight, importance, tensor_scale, self.scheme)
        return side

    def spread(self, side: Side, shape: tuple[int, ...]) -> Spread:
        """Return side data by column, and the scale of the tensor."""
        groups, tensor_scale = side
        rows, width = shape
        index = jnp.arange(width) // (self.scheme.group_size or width)
        if isinstance(self.scheme.granularity, PerTensor):
            index = jnp.zeros(width, int)
        by_column = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf.T[index], (width, rows)), groups
        )
        return Spread(rows_of(tensor_scale), by_column)

    def round(self, target: Unit, shared: Side, of_unit: Side, root: Root) -> tuple[Codes, Unit]:
        """Return codes and values of one column."""
        del root
        values = target[0][:, None]
        codes = element_codes(values, of_unit, self.scheme, shared)
        return codes.T, restored_values(values, of_unit, self.scheme, shared).T

    def tensor(self, codes: Codes, side: Side, shape: tuple[int, ...]) -> QuantizedTensor:
        """Return the quantized tensor of these codes and this side data."""
        groups, tensor_scale = side
        return tensor_of(by_value(codes, shape), groups, tensor_scale, self.scheme)


def tensor_of(
    codes: UInt8[Array, "out n"],
    groups: SideData,
    tensor_scale: Array | None,
    scheme: ElementScheme,
) -> QuantizedTensor:
    """Return the quantized tensor of these codes, side data of groups and scale of the tensor."""
    arrays = {
        "codes": codes,
        "scales": groups.scales,
        "zero_points": groups.zero_points,
        "minimums": groups.minimums,
        "tensor_scale": tensor_scale,
    }
    present = {name: array for name, array in arrays.items() if array is not None}
    return QuantizedTensor(arrays=present, scheme=scheme, shape=codes.shape)


@partial(jax.jit, static_argnames="scheme")
def _fit(
    weight: Matrix,
    importance: Importance | None,
    tensor_scale: Array | None,
    scheme: ElementScheme,
) -> Side:
    by_row = rows_of(tensor_scale)
    blocks = grouping.split_groups(weight, scheme.granularity)
    if importance is None:
        sides = [find_side_data(block, scheme, by_row) for block in blocks]
    else:
        spread = jnp.broadcast_to(importance, weight.shape)
        weights = grouping.split_groups(spread, scheme.granularity)
        sides = [
            _clipped(block, w, by_row, scheme) for block, w in zip(blocks, weights, strict=True)
        ]
    shape = scheme.scale_shape(weight.shape)
    joined = jax.tree.map(lambda *parts: grouping.join_scales(list(parts), shape), *sides)
    return joined, tensor_scale


def _clipped(
    block: Array, importance: Array, tensor_scale: SecondLevel | None, scheme: ElementScheme
) -> SideData:
    """Return the side data of the best clip of each group."""
    clips = POWER_OF_TWO_CLIPS if scheme.has_power_of_two_scales else CLIPS

    def attempt(best: tuple[SideData, Array], clip: Array) -> tuple[Any, None]:
        side = find_side_data(block * clip, scheme, tensor_scale)
        error = _error(block, side, importance, tensor_scale, scheme)
        better = error < best[1]
        chosen = jax.tree.map(partial(jnp.where, better), side, best[0])
        return (chosen, jnp.where(better, error, best[1])), None

    first = find_side_data(block, scheme, tensor_scale)
    least = _error(block, first, importance, tensor_scale, scheme)
    (side, _), _ = lax.scan(attempt, (first, least), jnp.float32(clips[1:]))
    found: SideData = side
    return found


def _error(
    block: Array,
    side: SideData,
    importance: Array,
    tensor_scale: SecondLevel | None,
    scheme: ElementScheme,
) -> Float32[Array, "rows groups"]:
    difference = restored_values(block, side, scheme, tensor_scale) - block
    return jnp.sum(importance * difference * difference, axis=-1)

"""Ranges of groups: factors on them, and a search of the factors by the layer's output error.

The search visits the groups of columns in turn. All rows choose, independently, the factor with
the least ``tr(D H D^T)``, where ``D = Q(W) - W`` has the errors of the other groups as they are
now. An error that another group compensates costs less than on its own, which the diagonal of the
Hessian can't tell. The loss never increases.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32

from numerics.schemes import grouping
from numerics.schemes.element import ElementScheme, ZeroPoint
from numerics.schemes.element_arrays import element_codes, restored_values
from numerics.schemes.granularity import PerTensor
from numerics.schemes.scales import Groups, SecondLevel, SideData, find_side_data
from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.element_rounder import CLIPS, POWER_OF_TWO_CLIPS, tensor_of

#: Factors of the largest and of the smallest value of each group; equal without a zero point.
Factors = tuple[Float32[Array, "_ _"], Float32[Array, "_ _"]]
#: Full float32 products; the default of an accelerator is BF16 or TF32.
HIGHEST = jax.lax.Precision.HIGHEST


def check_ranges(scheme: Scheme) -> ElementScheme:
    """Return the scheme if each row has ranges of its own, else raise :class:`ValueError`."""
    if not isinstance(scheme, ElementScheme):
        raise ValueError(
            f"{scheme.name} has no ranges to learn; they are for element formats with scales, such "
            "as int4, fp4 and mxfp4"
        )
    if isinstance(scheme.granularity, PerTensor):
        raise ValueError(
            f"{scheme.name} has one scale for the whole tensor; learned ranges need a scale per "
            "row or group, as in int4:channel or int4:g64"
        )
    return scheme


def side_data(
    block: Groups, factors: Factors, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> SideData:
    """Return the side data of groups whose ranges are multiplied by the factors."""
    upper, lower = factors
    if scheme.zero_point is ZeroPoint.NONE:
        return find_side_data(block * upper[..., None], scheme, tensor_scale)
    ends = [block.max(axis=-1) * upper, block.min(axis=-1) * lower]
    return find_side_data(jnp.stack(ends, axis=-1), scheme, tensor_scale)


def quantized(
    weight: Float32[Array, "out n"],
    factors: Sequence[Factors],
    scheme: ElementScheme,
    tensor_scale: Array | None,
    by_row: SecondLevel | None,
) -> QuantizedTensor:
    """Return the nearest codes under the ranges of the groups."""
    blocks = grouping.split_groups(weight, scheme.granularity)
    sides = [side_data(b, f, scheme, by_row) for b, f in zip(blocks, factors, strict=True)]
    codes = [
        element_codes(block, side, scheme, by_row)
        for block, side in zip(blocks, sides, strict=True)
    ]
    shape = scheme.scale_shape(weight.shape)
    joined = jax.tree.map(lambda *parts: grouping.join_scales(list(parts), shape), *sides)
    return tensor_of(grouping.join_groups(codes, weight.shape), joined, tensor_scale, scheme)


def search_ranges(
    weight: Float32[Array, "out n"],
    hessian: Float32[Array, "n n"],
    scheme: ElementScheme,
    by_row: SecondLevel | None,
    sweeps: int,
) -> list[Factors]:
    """Return the factors after ``sweeps`` visits of every group; 1 without a visit."""
    blocks = grouping.split_groups(weight, scheme.granularity)
    factors = [jnp.ones(block.shape[:2]) for block in blocks]
    start = [_difference(b, f, scheme, by_row) for b, f in zip(blocks, factors, strict=True)]
    state = grouping.join_groups(start, weight.shape), factors
    for _ in range(sweeps):
        first = 0
        for index, block in enumerate(blocks):
            visit = partial(
                _visit, block=block, first=first, hessian=hessian, scheme=scheme, by_row=by_row
            )
            difference, factors = state
            (difference, found), _ = lax.scan(
                visit, (difference, factors[index]), jnp.arange(block.shape[1])
            )
            state = difference, [*factors[:index], found, *factors[index + 1 :]]
            first += block.shape[1] * block.shape[2]
    return [(f, f) for f in state[1]]


def _visit(
    state: tuple[Array, Array],
    group: Array,
    *,
    block: Groups,
    first: int,
    hessian: Float32[Array, "n n"],
    scheme: ElementScheme,
    by_row: SecondLevel | None,
) -> tuple[tuple[Array, Array], None]:
    """Choose the factor of one group in every row."""
    difference, factors = state
    size = block.shape[2]
    columns = partial(lax.dynamic_slice_in_dim, start_index=first + group * size, slice_size=size)
    coupling = columns(hessian, axis=1)
    pull = 2 * jnp.matmul(difference, coupling, precision=HIGHEST)
    now = columns(difference, axis=1)
    values = lax.dynamic_slice_in_dim(block, group, 1, axis=1)
    clips = jnp.float32(POWER_OF_TWO_CLIPS if scheme.has_power_of_two_scales else CLIPS)

    def change(clip: Array) -> Array:
        factor = jnp.full(values.shape[:2], clip)
        return _difference(values, factor, scheme, by_row)[:, 0] - now

    changes = jax.vmap(change)(clips)
    inner = jnp.matmul(changes, columns(coupling), precision=HIGHEST)
    gains = jnp.sum((pull + inner) * changes, axis=-1)
    best = jnp.argmin(gains, axis=0)
    is_better = jnp.take_along_axis(gains, best[None], axis=0)[0] < 0
    change_of_best = jnp.take_along_axis(changes, best[None, :, None], axis=0)[0]
    after = now + jnp.where(is_better[:, None], change_of_best, 0)
    kept = lax.dynamic_slice_in_dim(factors, group, 1, axis=1)[:, 0]
    factor = jnp.where(is_better, clips[best], kept)[:, None]
    return (
        lax.dynamic_update_slice_in_dim(difference, after, first + group * size, 1),
        lax.dynamic_update_slice_in_dim(factors, factor, group, 1),
    ), None


def _difference(
    block: Groups, factor: Array, scheme: ElementScheme, by_row: SecondLevel | None
) -> Groups:
    side = side_data(block, (factor, factor), scheme, by_row)
    return restored_values(block, side, scheme, by_row) - block

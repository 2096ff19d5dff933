"""Scales of groups moved one after another to the least-squares solution for fixed codes.

With values ``t s`` (plus the minimum, in schemes that have one) and all other groups as they are,
``tr(D H D^T)`` of a row changes by ``2 d t^T (H D)_G + d^2 t^T H_GG t`` when the scale of group G
changes by ``d``. The scale is rounded to its stored format, and moves only if that reduces the
loss.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32

from numerics.arithmetic.division import float_bits
from numerics.schemes.element import ElementScheme
from numerics.schemes.granularity import PerTensor
from numerics.schemes.scales import SideData, scale_values, store_scale
from numerics.solvers.contract import Side
from numerics.solvers.loop import Columns, product


def has_free_scales(scheme: ElementScheme) -> bool:
    """Whether rows have scales of their own that can take any value of the scale format."""
    return not (
        scheme.has_power_of_two_scales
        or scheme.static_scale is not None
        or isinstance(scheme.granularity, PerTensor)
    )


@partial(jax.jit, static_argnames="scheme")
def move_scales(
    weight: Columns,
    values: Columns,
    side: Side,
    hessian: Float32[Array, "m m"],
    scheme: ElementScheme,
) -> Side:
    """Return side data whose scales are the least-squares solution of each group in turn."""
    groups, tensor_scale = side
    scales = scale_values(groups, scheme, tensor_scale).T
    second = jnp.ones(1) if tensor_scale is None else jnp.reshape(tensor_scale, -1)
    low = groups.minimums
    minimums = jnp.zeros_like(scales) if low is None else low.astype(jnp.float32).T
    width = len(weight)
    size = min(scheme.group_size or width, width)

    def visit(difference: Array, start: Array, size: int) -> tuple[Array, Array]:
        columns = partial(lax.dynamic_slice_in_dim, start_index=start, slice_size=size)
        number = start // (scheme.group_size or width)
        gradient = columns(hessian, axis=1)
        pull = product(gradient[:width].T, difference)
        scale, least = scales[number], minimums[number]
        within = columns(difference)
        steps = (columns(weight) + within - least) / scale
        pulled = jnp.sum(steps * pull, axis=0)
        curve = jnp.sum(steps * product(columns(gradient), steps), axis=0)
        raw = (scale - pulled / jnp.where(curve > 0, curve, 1)) / second
        stored = store_scale(raw, float_bits(raw), scheme.scale_format)
        moved = stored.astype(jnp.float32) * second - scale
        is_better = (raw > 0) & (moved * (2 * pulled + moved * curve) < 0)
        change = jnp.where(is_better, moved, 0) * steps
        after = lax.dynamic_update_slice_in_dim(difference, within + change, start, 0)
        return after, jnp.where(is_better, stored, groups.scales[:, number])

    full = jnp.arange(0, width - width % size, size)
    difference, found = lax.scan(partial(visit, size=size), values - weight, full)
    if width % size:
        _, last = visit(difference, jnp.int32(width - width % size), width % size)
        found = jnp.concatenate([found, last[None]])
    by_row = found.T.reshape(groups.scales.shape)
    moved = SideData(scales=by_row, zero_points=groups.zero_points, minimums=groups.minimums)
    return moved, tensor_scale

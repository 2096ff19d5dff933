"""Clip search: the scales for which a group has the least (optionally weighted) rounding error."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32

from numerics.schemes.element import ElementScheme
from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import Codes, Rounder, Side
from numerics.solvers.rounder import rounder_of
from numerics.solvers.side_search import is_searchable
from numerics.solvers.table_rounder import TableRounder


def clip_search(
    weight: Float32[np.ndarray, "out n"],
    scheme: Scheme,
    importance: Float[np.ndarray, " n"] | None = None,
) -> QuantizedTensor:
    """Return the codes of the nearest values under the best clip of each group.

    Parameters
    ----------
    weight : array (out, in)
        Float weights.
    scheme : Scheme
        A format with scales, each of a group, a row or the tensor. Constraints on the scales, such
        as powers of two, hold during the search.
    importance : array (in,), optional
        Weight of each column's squared error, such as the diagonal of the Hessian; 1 without it.

    Raises
    ------
    ValueError
        The scheme has no scale that a clip could change.
    """
    check_clip(scheme, weight.shape)
    columns = np.ones(weight.shape[1]) if importance is None else importance
    rounder = rounder_of(scheme, weight.shape)
    matrix = jnp.asarray(weight)
    side = rounder.fit(matrix, jnp.asarray(columns, jnp.float32))
    return nearest(matrix, side, rounder)


def nearest(weight: Float32[Array, "out n"], side: Side, rounder: Rounder) -> QuantizedTensor:
    """Return the codes of the nearest values under given side data, for units of one column."""
    shared, by_column = rounder.spread(side, weight.shape)
    return rounder.tensor(_codes(weight.T, shared, by_column, rounder), side, weight.shape)


@partial(jax.jit, static_argnames="rounder")
def _codes(
    columns: Float32[Array, "n out"], shared: Side, by_column: Side, rounder: Rounder
) -> Codes:
    def one(column: Array, of_column: Side) -> Codes:
        return rounder.round(column[None], shared, of_column, jnp.ones((1, 1)))[0]

    return jax.vmap(one)(columns, by_column)


def check_clip(scheme: Scheme, shape: tuple[int, ...]) -> None:
    """Raise :class:`ValueError` unless a clip can change the scales of a matrix of this shape."""
    if isinstance(scheme, ElementScheme):
        return
    sides = [field for field in scheme.layout(shape) if not (field.is_index or field.is_given)]
    empty = {field.name: np.empty(field.shape, field.dtype) for field in sides}
    groups = -(-shape[-1] // (scheme.group_size or shape[-1]))
    sizes = {1, shape[0], shape[0] * groups}
    if (
        type(rounder_of(scheme, shape)) is not TableRounder
        or not is_searchable(empty, scheme, shape)
        or any(array.size not in sizes for array in empty.values())
    ):
        raise ValueError(
            f"{scheme.name} has no clip search; it is for formats whose values are codes times a "
            "scale, such as int4, fp4, mxfp4 and bitmod-fp4"
        )

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
from numerics.solvers.contract import Codes, Side
from numerics.solvers.element_rounder import ElementRounder


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
        An element scheme: a format with scales.
    importance : array (in,), optional
        Weight of each column's squared error, such as the diagonal of the Hessian; 1 without it.

    Raises
    ------
    ValueError
        The scheme has no scale that a clip could change.
    """
    columns = np.ones(weight.shape[1]) if importance is None else importance
    found: QuantizedTensor = _clipped(
        jnp.asarray(weight), jnp.asarray(columns, jnp.float32), ElementRounder(check_clip(scheme))
    )
    return found


def check_clip(scheme: Scheme) -> ElementScheme:
    """Return the scheme if a clip can change its scales, else raise :class:`ValueError`."""
    if not isinstance(scheme, ElementScheme):
        raise ValueError(
            f"{scheme.name} has no clip search; it is for element formats with scales, "
            "such as int4, fp4 and mxfp4"
        )
    return scheme


@partial(jax.jit, static_argnames="rounder")
def _clipped(
    weight: Float32[Array, "out n"], importance: Float32[Array, " n"], rounder: ElementRounder
) -> QuantizedTensor:
    side = rounder.fit(weight, importance)
    shared, by_column = rounder.spread(side, weight.shape)

    def one(column: Array, of_column: Side) -> Codes:
        return rounder.round(column[None], shared, of_column, jnp.ones((1, 1)))[0]

    codes = jax.vmap(one)(weight.T, by_column)
    return rounder.tensor(codes, side, weight.shape)

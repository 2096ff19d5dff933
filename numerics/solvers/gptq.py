"""GPTQ for any scheme: columns are rounded in turn with error feedback from earlier columns.

The LDLQ form (QuIP, arXiv:2307.13304; equal to GPTQ, arXiv:2210.17323): with ``H = (I + A) D
(I + A)^T`` and ``A`` strictly upper triangular, column j is rounded from ``w_j + sum_{i<j} (w_i -
q_i) A_ij``. Feedback starts from the original weights, so float32 rounding does not accumulate.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Float32

from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.hessian import Factor, Order, factorize
from numerics.solvers.rounder import Rounder, depends_on_neighbours, rounder_of

#: Number of columns in a block; the feedback of a block to later columns is one matrix product.
BLOCK = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """Codes of a layer and their loss."""

    weight: QuantizedTensor
    #: ``sum e^2``: equal to ``tr(D H D^T)`` with the damped Hessian.
    loss: float
    #: Damping that the factorisation needed.
    damping: float


def gptq(
    weight: Float32[np.ndarray, "out n"],
    hessian: Float[np.ndarray, "n n"],
    scheme: Scheme,
    *,
    order: Order = "activation",
    damping: float = 0.01,
    clip: bool = True,
) -> Solution:
    """Quantize a matrix with the least change of its layer's outputs.

    Parameters
    ----------
    weight : array (out, in)
        Float weights.
    hessian : array (in, in)
        ``sum x x^T`` of the layer's inputs; a constant factor doesn't matter.
    scheme : Scheme
        Any scheme with a code for each value.
    order : {"activation", "natural", "group"}
        Order in which columns are rounded. Side data are fitted before the first column, by
        original columns, so that groups stay consecutive in every order.
    damping : float
        Relative to the mean of the Hessian's diagonal.
    clip : bool
        Fit scales by a clip search weighted with the Hessian's diagonal.

    Raises
    ------
    ValueError
        The scheme has no code for each value, or the Hessian can't be factorised.
    """
    matrix = np.asarray(weight, np.float32)
    rounder = rounder_of(scheme, matrix.shape)
    scheme.check_shape(matrix.shape)
    factor = factorize(hessian, damping=damping, order=order, group_size=scheme.group_size)
    # A column that no calibration token activates is zeroed: it would widen its group's range.
    live = jnp.asarray(np.where(factor.dead, np.float32(0), matrix))
    importance = jnp.asarray(np.diag(hessian).astype(np.float32)) if clip else None
    side = _fit(live, importance, rounder)
    codes, loss = solve_columns(live, side, factor, rounder)
    return Solution(weight=rounder.tensor(codes, side), loss=loss, damping=factor.damping)


def solve_columns(
    weight: Float32[Array, "out n"], side: Any, factor: Factor, rounder: Rounder
) -> tuple[Array, float]:
    """Return codes in the original column order, and ``sum e^2``, for fixed side data.

    Raises
    ------
    ValueError
        The value of a code depends on its neighbours, so that a column solver can't choose it.
    """
    order = jnp.asarray(factor.order)
    by_column = rounder.columns(side, weight.shape)
    rounder.check(weight, by_column)
    ordered = jax.tree.map(lambda leaf: leaf[order], by_column)
    feedback = jnp.asarray(factor.feedback.astype(np.float32))
    diagonal = jnp.asarray(np.diag(factor.root).astype(np.float32))
    codes, values, loss = _columns(weight.T[order], ordered, feedback, diagonal, rounder)
    codes, values = (jnp.zeros_like(a).at[order].set(a).T for a in (codes, values))
    if not bool((rounder.tensor(codes, side).dequantize() == values).all()):
        raise ValueError(depends_on_neighbours(rounder.scheme))
    return codes, float(loss)


@partial(jax.jit, static_argnames="rounder")
def _fit(weight: Array, importance: Array | None, rounder: Rounder) -> Any:
    return rounder.fit(weight, importance)


@partial(jax.jit, static_argnames="rounder")
def _columns(
    weight: Float32[Array, "n out"],
    side: Any,
    feedback: Float32[Array, "n n"],
    diagonal: Float32[Array, " n"],
    rounder: Rounder,
) -> tuple[Array, Array, Array]:
    """Round the columns (rows of the transposed arrays) in order: codes, values and loss."""
    count, rows = weight.shape
    padding = -count % BLOCK
    starts = jnp.arange(0, count + padding, BLOCK)
    padded = jnp.pad(weight, [(0, padding), (0, 0)])
    gains = jnp.pad(feedback, [(0, padding), (0, padding)])
    scales = jnp.pad(diagonal, (0, padding))
    sides = jax.tree.map(
        lambda leaf: jnp.pad(leaf, [(0, padding)] + [(0, 0)] * (leaf.ndim - 1), mode="edge"), side
    )

    def block(difference: Array, start: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        part = partial(lax.dynamic_slice_in_dim, start_index=start, slice_size=BLOCK)
        columns, gain, scale = part(padded), part(gains, axis=1), part(scales)
        side = jax.tree.map(part, sides)
        # Rows of ``difference`` from this block on are zeros.
        shifted = columns + gain.T @ difference
        inner = part(gain)

        def column(j: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            within, codes, values, loss = state
            target = shifted[j] + inner[:, j] @ within
            code, value = rounder.round(target, jax.tree.map(lambda leaf: leaf[j], side))
            error = (target - value) * scale[j]
            return (
                within.at[j].set(columns[j] - value),
                codes.at[j].set(code),
                values.at[j].set(value),
                loss + jnp.sum(error * error),
            )

        zeros = jnp.zeros((BLOCK, rows))
        started = (zeros, zeros.astype(jnp.uint8), zeros, jnp.float32(0))
        within, codes, values, loss = lax.fori_loop(0, BLOCK, column, started)
        after = lax.dynamic_update_slice_in_dim(difference, within, start, 0)
        return after, (codes, values, loss)

    _, (codes, values, losses) = lax.scan(block, jnp.zeros_like(padded), starts)
    codes, values = (a.reshape(-1, rows)[:count] for a in (codes, values))
    return codes, values, jnp.sum(losses)

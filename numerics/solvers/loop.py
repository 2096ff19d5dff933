"""The compiled loop over columns: each unit is rounded with the feedback of all earlier ones.

The LDLQ form (QuIP, arXiv:2307.13304; equal to GPTQ, arXiv:2210.17323), by units of columns: with
``H = (I + A) D (I + A)^T``, ``A`` strictly upper block-triangular, unit G is rounded from ``w_G +
sum_{i<G} (w_i - q_i) A_iG``. Feedback starts from the original weights, so float32 rounding does
not accumulate.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32

from numerics.solvers.contract import Codes, Rounder, Side, Spread

#: Number of columns in a block; the feedback of a block to later columns is one matrix product.
BLOCK = 128

#: A matrix transposed: each row holds a column of weights.
Columns = Float32[Array, "n out"]


class Swept(NamedTuple):
    """Codes by unit, values by column, and the loss of each row."""

    codes: Codes
    values: Columns
    losses: Float32[Array, " out"]


def product(left: Array, right: Array) -> Array:
    """Return a float32 matrix product in full precision on every device."""
    result: Array = jnp.matmul(left, right, precision="highest")
    return result


@partial(jax.jit, static_argnames="rounder")
def sweep(
    weight: Columns,
    spread: Spread,
    feedback: Float32[Array, "n n"],
    roots: Float32[Array, "units unit unit"],
    rounder: Rounder,
) -> Swept:
    """Round all columns, which are in the order of the solver, as are side data and factors."""
    count, rows = weight.shape
    size = min(BLOCK // rounder.unit * rounder.unit, count)
    padding = -count % size
    starts = jnp.arange(0, count + padding, size)
    padded = jnp.pad(weight, [(0, padding), (0, 0)])
    gains = jnp.pad(feedback, [(0, padding), (0, padding)])
    added = padding // rounder.unit
    by_unit = jax.tree.map(lambda leaf: _padded(leaf, added, "edge"), spread.by_unit)
    # A root of zeros: a format without a zero has errors in the columns added here.
    metrics = _padded(roots, added, "constant")

    def block(difference: Array, start: Array) -> tuple[Array, tuple[Codes, Array, Array]]:
        part = partial(lax.dynamic_slice_in_dim, start_index=start, slice_size=size)
        of_block = partial(
            lax.dynamic_slice_in_dim,
            start_index=start // rounder.unit,
            slice_size=size // rounder.unit,
        )
        gain = part(gains, axis=1)
        # Rows of ``difference`` from this block on are zeros.
        shifted = part(padded) + product(gain.T, difference)
        within, codes, values, losses = inside(
            part(padded),
            shifted,
            part(gain),
            Spread(spread.shared, jax.tree.map(of_block, by_unit)),
            of_block(metrics),
            rounder,
        )
        after = lax.dynamic_update_slice_in_dim(difference, within, start, 0)
        return after, (codes, values, losses)

    _, (codes, values, losses) = lax.scan(block, jnp.zeros_like(padded), starts)
    codes = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[: len(roots)], codes)
    return Swept(codes, values.reshape(-1, rows)[:count], jnp.sum(losses, axis=0))


def inside(
    columns: Columns,
    shifted: Columns,
    gain: Float32[Array, "n n"],
    spread: Spread,
    roots: Float32[Array, "units unit unit"],
    rounder: Rounder,
) -> tuple[Columns, Codes, Columns, Float32[Array, " out"]]:
    """Round the units of one block: differences, codes, values and the loss of each row.

    ``shifted`` has the feedback of earlier blocks, ``gain`` that of the block to itself.
    """
    rows = columns.shape[1]

    def one(
        state: tuple[Array, Array], unit: tuple[Array, Side, Array]
    ) -> tuple[tuple[Array, Array], tuple[Codes, Array]]:
        (within, losses), (start, of_unit, root) = state, unit
        part = partial(lax.dynamic_slice_in_dim, start_index=start, slice_size=rounder.unit)
        target = part(shifted) + product(part(gain, axis=1).T, within)
        codes, values = rounder.round(target, spread.shared, of_unit, root)
        error = product(root.T, target - values)
        within = lax.dynamic_update_slice_in_dim(within, part(columns) - values, start, 0)
        return (within, losses + jnp.sum(error * error, axis=0)), (codes, values)

    starts = jnp.arange(len(roots)) * rounder.unit
    state: tuple[Array, Any] = (jnp.zeros_like(columns), jnp.zeros(rows))
    (within, losses), (codes, values) = lax.scan(one, state, (starts, spread.by_unit, roots))
    return within, codes, values.reshape(-1, rows), losses


def _padded(leaf: Array, count: int, mode: str) -> Array:
    return jnp.pad(leaf, [(0, count)] + [(0, 0)] * (leaf.ndim - 1), mode=mode)

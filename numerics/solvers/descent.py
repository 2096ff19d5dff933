"""Coordinate descent: codes and scales are improved with all other columns as they are.

The column loop chooses a code from the columns before it and trusts those after it to compensate.
Here each unit of columns is visited again, with the codes of all others fixed: the loss ``tr(D H
D^T)`` of a row is least at ``v_U - H_UU^-1 (H D)_U``, to which the unit is rounded (QuantEase,
arXiv:2309.01885, without its outliers). After the codes, the scale of each group moves to the
least-squares solution for them. A change that does not reduce the loss of its row is not made.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Float32

from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import Codes, Matrix, Rounder, Side, Spread
from numerics.solvers.element_rounder import ElementRounder
from numerics.solvers.loop import BLOCK, Columns, product
from numerics.solvers.pair_rounder import PairRounder
from numerics.solvers.scale_steps import has_free_scales, move_scales
from numerics.solvers.sparse_rounder import SparseRounder
from numerics.solvers.table_rounder import TableRounder

#: Diagonal of columns that complete the last unit, relative to the mean of the diagonal.
PADDED = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The damped Hessian as the visits read it, divided by the mean of its diagonal."""

    hessian: Float32[Array, "n n"]
    #: Inverse of each unit's part ``H_UU``.
    inverses: Float32[Array, "units unit unit"]
    #: Upper triangular ``R`` with ``H_UU = R R^T``.
    roots: Float32[Array, "units unit unit"]
    #: Mean of the diagonal.
    mean: Float32[Array, ""]


jax.tree_util.register_dataclass(
    Metric, data_fields=["hessian", "inverses", "roots", "mean"], meta_fields=[]
)


def descend(
    weight: Matrix,
    codes: Codes,
    side: Side,
    metric: Metric,
    rounder: Rounder,
    *,
    sweeps: int,
    refit: bool = True,
) -> tuple[QuantizedTensor, Float[np.ndarray, " out"]]:
    """Return the tensor after visits of all its codes, and ``tr(D H D^T)`` of each row.

    Parameters
    ----------
    weight : array (out, n)
        Float weights.
    codes, side : pytrees of arrays
        Codes to start from, by unit in natural order, and their side data.
    sweeps : int
        Number of visits of every unit.
    refit : bool
        Move scales too, where the scheme has any that are free to change.
    """
    shape = weight.shape
    padding = len(metric.hessian) - shape[1]
    columns = jnp.pad(weight.T, ((0, padding), (0, 0)))
    tensor = rounder.tensor(codes, side, shape)
    for _ in range(sweeps):
        values = jnp.pad(tensor.dequantize().T, ((0, padding), (0, 0)))
        spread = rounder.spread(side, shape)
        codes = visit_codes(columns, codes, values, spread, metric, rounder)
        tensor = rounder.tensor(codes, side, shape)
        if refit and isinstance(rounder, ElementRounder) and has_free_scales(rounder.scheme):
            values = tensor.dequantize().T
            side = move_scales(weight.T, values, side, metric.hessian, rounder.scheme)
            tensor = rounder.tensor(codes, side, shape)
    found = losses(weight, tensor.dequantize(), metric)
    return tensor, np.asarray(found, np.float64)


def can_descend(rounder: Rounder) -> bool:
    """Whether the codes of each row are its own, so that a row can keep a unit as it was."""
    return isinstance(rounder, ElementRounder | TableRounder | PairRounder | SparseRounder)


def metric_of(
    hessian: Float[np.ndarray, "n n"], diagonal: Float[np.ndarray, " n"], unit: int
) -> Metric:
    """Return the metric of units of columns in natural order, with the damped diagonal given."""
    mean, width = float(diagonal.mean()), len(diagonal)
    padding = -width % unit
    scaled = np.zeros((width + padding, width + padding), np.float32)
    # Without a second matrix in float64.
    np.divide(hessian, mean, out=scaled[:width, :width], casting="same_kind")
    filled = np.pad(diagonal / mean, (0, padding), constant_values=PADDED)
    np.fill_diagonal(scaled, filled)
    places = np.arange(width + padding).reshape(-1, unit)
    parts = scaled[places[:, :, None], places[:, None, :]].astype(np.float64)
    # The flip J makes a lower factor upper: J (J H J) J = (J L J) (J L J)^T.
    roots = np.linalg.cholesky(parts[:, ::-1, ::-1])[:, ::-1, ::-1]
    return Metric(
        hessian=jnp.asarray(scaled),
        inverses=jnp.asarray(np.linalg.inv(parts), jnp.float32),
        roots=jnp.asarray(roots, jnp.float32),
        mean=jnp.float32(mean),
    )


@partial(jax.jit, static_argnames="rounder")
def visit_codes(
    weight: Columns, codes: Codes, values: Columns, spread: Spread, metric: Metric, rounder: Rounder
) -> Codes:
    """Return the codes after one visit of every unit; all arrays are in natural order.

    Parameters
    ----------
    weight, values : array (n, out)
        Float and quantized values, padded to whole units.
    codes : pytree of arrays (units, unit, out)
        Codes of ``values``.
    """
    unit = rounder.unit
    count = len(weight)
    size = min(BLOCK // unit * unit, count)
    padding = -count % size
    hessian = jnp.pad(metric.hessian, (0, padding))

    def by_unit(leaf: Array) -> Array:
        widths = [(0, padding // unit)] + [(0, 0)] * (leaf.ndim - 1)
        padded = jnp.pad(leaf, widths, mode="edge")
        return padded.reshape(-1, size // unit, *leaf.shape[1:])

    def block(difference: Array, part: tuple[Array, Any]) -> tuple[Array, Codes]:
        start, units = part
        columns = partial(lax.dynamic_slice_in_dim, start_index=start, slice_size=size)
        gradient = columns(hessian, axis=1)
        pull = product(gradient.T, difference)
        own = columns(gradient)
        state = columns(difference), pull

        def one(state: tuple[Array, Array], of: Any) -> tuple[tuple[Array, Array], Codes]:
            (within, pull), (first, before, of_unit, inverse, root) = state, of
            of_columns = partial(lax.dynamic_slice_in_dim, start_index=first, slice_size=unit)
            mine, pulled, original = (of_columns(a) for a in (within, pull, columns(padded)))
            now = original + mine
            found, rounded = rounder.round(
                now - product(inverse, pulled), spread.shared, of_unit, root
            )
            change = rounded - now
            curve = product(of_columns(of_columns(own, axis=1)), change)
            is_better = jnp.sum(change * (2 * pulled + curve), axis=0) < 0
            change = jnp.where(is_better, change, 0)
            pull = pull + product(of_columns(own, axis=1), change)
            within = lax.dynamic_update_slice_in_dim(within, mine + change, first, 0)
            chosen = jax.tree.map(partial(jnp.where, is_better), found, before)
            return (within, pull), chosen

        firsts = jnp.arange(0, size, unit)
        (within, _), chosen = lax.scan(one, state, (firsts, *units))
        return lax.dynamic_update_slice_in_dim(difference, within, start, 0), chosen

    padded = jnp.pad(weight, [(0, padding), (0, 0)])
    difference = jnp.pad(values - weight, [(0, padding), (0, 0)])
    per_unit = codes, spread.by_unit, metric.inverses, metric.roots
    starts = jnp.arange(0, count + padding, size)
    _, chosen = lax.scan(block, difference, (starts, jax.tree.map(by_unit, per_unit)))
    units = count // unit
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:units], chosen)


@jax.jit
def losses(weight: Matrix, values: Matrix, metric: Metric) -> Float32[Array, " out"]:
    """Return ``tr(D H D^T)`` of each row."""
    width = weight.shape[1]
    difference = values - weight
    pull = product(difference, metric.hessian[:width, :width])
    return metric.mean * jnp.sum(pull * difference, axis=1)

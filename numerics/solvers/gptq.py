"""GPTQ for any scheme: columns are rounded in turn with error feedback from earlier columns.

:mod:`numerics.solvers.loop` has the loop, :mod:`numerics.solvers.contract` what it asks of a
scheme. The matrices that read one input share a factorisation, and one loop where the scheme lets
their rows be stacked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32

from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import Matrix, Rounder, Side, Spread
from numerics.solvers.hessian import Factor, Order, factorize
from numerics.solvers.loop import sweep
from numerics.solvers.rounder import rounder_of
from numerics.solvers.rows import split_rows
from numerics.solvers.table_rounder import depends_on_neighbours


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
        Any scheme that has a rounder; see :func:`numerics.solvers.rounder.rounder_of`.
    order : {"activation", "natural", "group"}
        Order in which columns are rounded. Side data are fitted before the first column, by
        original columns, so that groups stay consecutive in every order.
    damping : float
        Relative to the mean of the Hessian's diagonal.
    clip : bool
        Fit side data by a search weighted with the Hessian's diagonal.

    Raises
    ------
    ValueError
        The scheme has no rounder, or the Hessian can't be factorised.
    """
    return gptq_layers([weight], hessian, scheme, order=order, damping=damping, clip=clip)[0]


def gptq_layers(
    weights: Sequence[Float32[np.ndarray, "_ n"]],
    hessian: Float[np.ndarray, "n n"],
    scheme: Scheme,
    *,
    order: Order = "activation",
    damping: float = 0.01,
    clip: bool = True,
) -> list[Solution]:
    """Quantize matrices that read the same input, each as :func:`gptq` does alone.

    The Hessian is factorised once. Rows are stacked, so that one loop serves all matrices, unless
    the scheme mixes rows.
    """
    matrices = [np.asarray(weight, np.float32) for weight in weights]
    rounders = [rounder_of(scheme, matrix.shape) for matrix in matrices]
    for matrix in matrices:
        scheme.check_shape(matrix.shape)
    factor = factorize(
        hessian,
        damping=damping,
        order=order,
        group_size=scheme.group_size,
        unit=rounders[0].unit,
    )
    # A column that no calibration token activates is zeroed: it would widen its group's range.
    live = [np.where(factor.dead, np.float32(0), matrix) for matrix in matrices]
    importance = jnp.asarray(np.diag(hessian).astype(np.float32)) if clip else None
    if scheme.mixes_rows:
        return [
            _solution(jnp.asarray(matrix), importance, factor, rounder)
            for matrix, rounder in zip(live, rounders, strict=True)
        ]
    found, losses = _solve(jnp.asarray(np.concatenate(live)), importance, factor, rounders[0])
    counts = [len(matrix) for matrix in matrices]
    ends = np.cumsum(counts)
    return [
        Solution(weight=part, loss=float(losses[end - count : end].sum()), damping=factor.damping)
        for part, end, count in zip(split_rows(found, counts), ends, counts, strict=True)
    ]


def _solution(
    weight: Matrix, importance: Array | None, factor: Factor, rounder: Rounder
) -> Solution:
    found, losses = _solve(weight, importance, factor, rounder)
    return Solution(weight=found, loss=float(losses.sum()), damping=factor.damping)


def _solve(
    weight: Matrix, importance: Array | None, factor: Factor, rounder: Rounder
) -> tuple[QuantizedTensor, Float[np.ndarray, " out"]]:
    """Return the quantized matrix and ``sum e^2`` of each row."""
    return solve_columns(weight, rounder.fit(weight, importance), factor, rounder)


def solve_columns(
    weight: Matrix, side: Side, factor: Factor, rounder: Rounder
) -> tuple[QuantizedTensor, Float[np.ndarray, " out"]]:
    """Return the quantized matrix and ``sum e^2`` of each row, for fixed side data.

    Raises
    ------
    ValueError
        The value of a code depends on its neighbours, so that a column solver can't choose it.
    """
    width = weight.shape[1]
    order = jnp.asarray(factor.order)
    of_units = order[:: rounder.unit] // rounder.unit
    spread = rounder.spread(side, weight.shape)
    ordered = Spread(spread.shared, jax.tree.map(lambda leaf: leaf[of_units], spread.by_unit))
    units = factor.units(rounder.unit)
    columns = jnp.pad(weight.T, ((0, len(order) - width), (0, 0)))[order]
    found = sweep(columns, ordered, *map(jnp.asarray, units), rounder)
    codes = jax.tree.map(lambda leaf: jnp.zeros_like(leaf).at[of_units].set(leaf), found.codes)
    values = jnp.zeros_like(found.values).at[order].set(found.values)[:width].T
    tensor = rounder.tensor(codes, side, weight.shape)
    if not bool(jnp.array_equal(tensor.dequantize(), values, equal_nan=True)):
        raise ValueError(depends_on_neighbours(rounder.scheme))
    return tensor, np.asarray(found.losses, np.float64)
